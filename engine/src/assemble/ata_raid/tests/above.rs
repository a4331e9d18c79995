//! What lies on an Intel mirror that runs read-only until somebody wants to write.

use ondisk::md::{Role, Superblock, Version};
use ondisk::{Content, Kind, Member, bcache, btrfs, integrity};

use super::external::{anchor, content as disk_content, disk, running};
use crate::command::{Action, MarkedVolume};
use crate::event::{DeviceFacts, MdFacts, Outcome, SecretId};
use crate::script::{Script, content, is_ask, is_mount, plan, uuid};
use crate::{CryptOptions, DmDevice, ImageFacts};

/// A mirror as md126, with `kinds` on its partitions; gives what was asked for because of these.
fn on_mirror(image: ImageFacts, auto: bool, partitions: &[Content]) -> (Script, Vec<Action>) {
    let mut plan = plan(uuid("root"));
    plan.auto = auto.then_some(true);
    let mut script = Script::with_image(plan, image);
    disk(&mut script, "sda", "one", disk_content(&anchor()));
    disk(&mut script, "sdb", "two", disk_content(&anchor()));
    script.wait(11_000);
    script.answer(|action| matches!(action, Action::StartContainer(_)), Ok(Outcome::Done));
    let facts = |minor: u32| DeviceFacts {
        major: 9,
        minor,
        size: 50 << 20,
        diskseq: 100,
        read_only: true,
        ..DeviceFacts::default()
    };
    let whole =
        DeviceFacts { slaves: vec!["sda".into(), "sdb".into()], md: Some(running(&anchor())), ..facts(126) };
    let mut actions = script.add("md126", whole, Content::default());
    for (number, content) in (1..).zip(partitions) {
        let part = DeviceFacts { parent: Some("md126".into()), partn: Some(number), ..facts(126 + number) };
        actions.extend(script.add(&format!("md126p{number}"), part, content.clone()));
    }
    (script, actions)
}

/// The names of the volumes that an action opens first.
fn names(volumes: &[MarkedVolume]) -> Vec<&str> {
    volumes.iter().map(|volume| volume.array.0.as_str()).collect()
}

fn find<'a, T>(actions: &'a [Action], of: impl Fn(&'a Action) -> Option<T>) -> T {
    actions.iter().find_map(of).unwrap_or_else(|| panic!("{actions:?}"))
}

fn mapping(below: &str) -> DeviceFacts {
    let mut dm =
        DeviceFacts { major: 253, size: 40 << 20, slaves: vec![below.into()], ..DeviceFacts::default() };
    dm.dm = Some(crate::DmFacts { name: "inner".into(), uuid: "CRYPT-LUKS2-0-inner".into() });
    dm
}

fn member(slot: u16) -> Content {
    let superblock = Superblock {
        version: Version::V1_2,
        minor: 2,
        big_endian: false,
        uuid: [0x11; 16],
        name: "box:data".into(),
        level: 1,
        layout: 0,
        chunk: 0,
        raid_disks: 2,
        size: 1 << 15,
        created: 0,
        updated: 0,
        events: 10,
        clean: true,
        slots: "AA".into(),
        number: slot.into(),
        role: Role::Active(slot),
        replacement: false,
        write_mostly: false,
        failfast: false,
        device_uuid: None,
        data_offset: 2048,
        data_size: 1 << 15,
        recovery_offset: None,
        bitmap_offset: None,
        nodes: 0,
        journal: false,
        ppl: false,
        bad_block_log: 0,
        reshape: None,
    };
    Content { member: Some(Box::new(Member::Md(superblock))), ..content(Kind::MdMember, "array") }
}

/// The kernel starts it read-only over a member that is, for good.
#[test]
fn an_array_of_the_kernels_own_metadata() {
    let (mut script, actions) = on_mirror(ImageFacts::default(), true, &[member(0), member(1)]);
    let volumes = find(&actions, |action| match action {
        Action::AssembleArray(request) => Some(&request.volumes),
        _ => None,
    });
    assert_eq!(names(volumes), ["md126"], "once, though both members lie on it");
    script.answer(
        |action| matches!(action, Action::AssembleArray(_)),
        Ok(Outcome::Made { major: 9, minor: 125 }),
    );
    let facts = DeviceFacts {
        major: 9,
        minor: 125,
        size: 40 << 20,
        slaves: vec!["md126p1".into(), "md126p2".into()],
        md: Some(MdFacts { path: "/dev/md/data".into(), ..MdFacts::default() }),
        ..DeviceFacts::default()
    };
    let actions = script.add("md125", facts, content(Kind::Ext4, "root"));
    let mount = find(&actions, |action| match action {
        Action::Mount(request) => Some(request),
        _ => None,
    });
    assert_eq!((mount.device.0.as_str(), names(&mount.volumes)), ("md125", vec!["md126"]));
}

/// Mapped over what is read-only it would stay read-only, and root on it too.
#[test]
fn an_encrypted_container() {
    let options = |row: &str| -> CryptOptions {
        let crypttab = cmdline::crypttab::parse(row).0;
        let image = ImageFacts { crypttab, ..ImageFacts::default() };
        let (mut script, mut actions) = on_mirror(image, false, &[content(Kind::Luks2, "container")]);
        actions.extend(script.wait(60_000));
        assert!(actions.iter().any(is_ask), "{actions:?}");
        let actions = script.types(SecretId(1));
        let options = find(&actions, |action| match action {
            Action::OpenCrypt { options, .. } => Some(options.clone()),
            _ => None,
        });
        if !options.read_only {
            script.answer(crate::script::is_open, Ok(Outcome::Done));
            let actions = script.add("dm-0", mapping("md126p1"), content(Kind::Xfs, "root"));
            let volumes = find(&actions, |action| match action {
                Action::Mount(request) => Some(&request.volumes),
                _ => None,
            });
            assert_eq!(names(volumes), ["md126"]);
        }
        options
    };
    let written = options("");
    assert_eq!((written.read_only, names(&written.volumes)), (false, vec!["md126"]));
    // Who wants it read-only needs no writable volume.
    let kept = options("inner UUID=container none readonly,x-initrd.attach");
    assert_eq!((kept.read_only, kept.volumes.len()), (true, 0));
}

#[test]
fn dm_integrity() {
    let device = |mode: &str| -> DmDevice {
        let row = format!("root /dev/md126p1 - {mode}");
        let image =
            ImageFacts { integritytab: cmdline::integritytab::parse(&row).0, ..ImageFacts::default() };
        let superblock = integrity::Superblock { version: 5, tag: 4, sectors: 7000, block: 4096, flags: 0 };
        let mut found = content(Kind::DmIntegrity, "none");
        found.member = Some(Box::new(Member::Integrity(superblock)));
        let (_, actions) = on_mirror(image, true, &[found]);
        find(&actions, |action| match action {
            Action::CreateDm(device) => Some(device.clone()),
            _ => None,
        })
    };
    let written = device("mode=journal");
    assert_eq!(
        (written.read_only, names(&written.volumes)),
        (false, vec!["md126"]),
        "it replays its journal"
    );
    let recovered = device("mode=recovery");
    assert_eq!((recovered.read_only, recovered.volumes.len()), (true, 0));
}

/// The kernel takes no part of bcache that it cannot write to.
#[test]
fn bcache() {
    let member = bcache::Superblock { backing: true, set: None, dirty: false };
    let part = Content { member: Some(Box::new(Member::Bcache(member))), ..content(Kind::Bcache, "part") };
    let (_, actions) = on_mirror(ImageFacts::default(), true, &[part]);
    let volumes = find(&actions, |action| match action {
        Action::StartBcache(_, false, volumes) => Some(volumes),
        _ => None,
    });
    assert_eq!(names(volumes), ["md126"]);
}

/// Not only that one which is given to mount(2).
#[test]
fn every_device_of_a_file_system_counts() {
    let part = |index: u64| {
        let place = btrfs::Membership { index, devices: 2 };
        let mut found =
            Content { member: Some(Box::new(Member::Btrfs(place))), ..content(Kind::Btrfs, "root") };
        found.signatures[0].uuid_sub = Some(format!("part{index}"));
        found
    };
    let (mut script, actions) = on_mirror(ImageFacts::default(), false, &[part(2)]);
    assert!(!actions.iter().any(is_mount));
    let actions = script.disk("sdc", part(1));
    let mount = find(&actions, |action| match action {
        Action::Mount(request) => Some(request),
        _ => None,
    });
    assert_eq!((mount.members.len(), names(&mount.volumes)), (2, vec!["md126"]));
}
