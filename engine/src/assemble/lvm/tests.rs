use cmdline::plan::{LuksIdKind, LuksSelector};
use cmdline::root_spec;
use ondisk::lvm::{LogicalVolume, PhysicalVolume, PvEntry, Section, Segment, Value, VolumeGroup};
use ondisk::{Content, Kind, Member};

use super::LvmConf;
use crate::script::{Script, content, is_ask, is_mount, is_open, is_rescue, mounted, plan};
use crate::{
    Action, DevName, DeviceFacts, DmFacts, Event, Failure, ImageFacts, Loudness, Outcome, QueueFacts,
    ReadAhead, SecretId,
};

mod pools;
mod snapshots;

fn id(letter: char) -> String {
    letter.to_string().repeat(32)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A group of PVs of these ids, with `lvs` of one extent each on the PV that is given.
fn group(name: &str, letter: char, seqno: u64, pvs: &str, lvs: &[(&str, usize)]) -> VolumeGroup {
    let entry = |(at, pv): (usize, char)| PvEntry {
        name: format!("pv{at}"),
        id: id(pv),
        device: Some(format!("/dev/was-{pv}")),
        status: words(&["ALLOCATABLE"]),
        dev_size: 1 << 21,
        pe_start: 2048,
        pe_count: 100,
        ..PvEntry::default()
    };
    VolumeGroup {
        name: name.into(),
        id: id(letter),
        seqno,
        status: words(&["READ", "WRITE", "RESIZEABLE"]),
        extent_size: 8192,
        pvs: pvs.chars().enumerate().map(entry).collect(),
        lvs: lvs.iter().enumerate().map(|(at, (name, pv))| linear(name, at, &format!("pv{pv}"))).collect(),
        ..VolumeGroup::default()
    }
}

fn linear(name: &str, at: usize, pv: &str) -> LogicalVolume {
    let place = vec![Value::Text(pv.into()), Value::Number(i64::try_from(at).unwrap())];
    let config = vec![("stripe_count".into(), Value::Number(1)), ("stripes".into(), Value::List(place))];
    LogicalVolume {
        name: name.into(),
        id: id(char::from(b'A' + u8::try_from(at).unwrap())),
        status: words(&["READ", "WRITE", "VISIBLE"]),
        segments: vec![Segment {
            extent_count: 1,
            kind: "striped".into(),
            config: Section(config),
            ..Segment::default()
        }],
        ..LogicalVolume::default()
    }
}

/// A raid1 volume with its parts on the first two PVs.
fn mirror(vg: &mut VolumeGroup, name: &str) {
    let mut raids = Vec::new();
    let mut parts = Vec::new();
    for leg in 0..2 {
        for what in ["rmeta", "rimage"] {
            let part = format!("{name}_{what}_{leg}");
            let at = vg.lvs.len() + parts.len();
            parts.push(LogicalVolume {
                status: words(&["READ", "WRITE"]),
                ..linear(&part, at, &format!("pv{leg}"))
            });
            raids.push(Value::Text(part));
        }
    }
    let mut lv = linear(name, vg.lvs.len() + parts.len(), "pv0");
    let config = vec![
        ("device_count".into(), Value::Number(2)),
        ("region_size".into(), Value::Number(4096)),
        ("raids".into(), Value::List(raids)),
    ];
    lv.segments[0].kind = "raid1".into();
    lv.segments[0].config = Section(config);
    vg.lvs.push(lv);
    vg.lvs.extend(parts);
}

fn pv(letter: char, vg: Option<&VolumeGroup>) -> Content {
    let label = PhysicalVolume {
        id: id(letter),
        device_size: 1 << 30,
        data_areas: Vec::new(),
        metadata_areas: Vec::new(),
        vg: vg.cloned(),
        doubts: Vec::new(),
    };
    Content { member: Some(Box::new(Member::Lvm(label))), ..content(Kind::Lvm2Pv, &id(letter)) }
}

fn script(command_line: &str) -> Script {
    script_with(command_line, "")
}

fn script_with(command_line: &str, lvm_conf: &str) -> Script {
    let mut plan = plan(root_spec("UUID=root"));
    for word in command_line.split_whitespace() {
        match word.split_once('=').unwrap() {
            ("root", value) => plan.root.spec = Some(root_spec(value)),
            ("rd.lvm", _) => plan.lvm.enabled = false,
            ("rd.lvm.vg", value) => plan.lvm.vgs.push(value.into()),
            ("rd.lvm.lv", value) => {
                let (vg, lv) = value.split_once('/').unwrap();
                plan.lvm.lvs.push((vg.into(), lv.into()));
            }
            ("rd.lvm.conf", _) => plan.lvm.conf = false,
            ("rd.auto", value) => plan.auto = Some(value == "1"),
            ("degraded", "never") => plan.degraded = None,
            ("degraded", value) => {
                plan.degraded = Some(std::time::Duration::from_secs(value.parse().unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }
    let lvm = LvmConf::read(Some(lvm_conf.as_bytes()), None);
    Script::with_image(plan, ImageFacts { lvm, kernel: (6, 12), ..ImageFacts::default() })
}

/// Names of the devices that were to be made.
fn created(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::CreateDm(device) => Some(device.name.as_str()),
            _ => None,
        })
        .collect()
}

/// The device that was asked for is made, with this content.
fn make(script: &mut Script, minor: u32, content: Content) -> Vec<Action> {
    make_on(script, minor, &["sda"], Some(content))
}

/// Without content it is there and was not read yet.
fn make_on(script: &mut Script, minor: u32, slaves: &[&str], content: Option<Content>) -> Vec<Action> {
    let found = std::cell::RefCell::new(None);
    let is_create = |action: &Action| match action {
        Action::CreateDm(device) => {
            *found.borrow_mut() = Some(device.clone());
            true
        }
        _ => false,
    };
    let asked = script.asked(is_create).expect("a device was to be made");
    let device = found.into_inner().unwrap();
    let mut actions = script.tell(Event::Done(asked, Outcome::Made { major: 253, minor }));
    let facts = DeviceFacts {
        major: 253,
        minor,
        size: 1 << 22,
        dm: Some(DmFacts { name: device.name, uuid: device.uuid }),
        slaves: slaves.iter().map(|name| DevName((*name).into())).collect(),
        ..DeviceFacts::default()
    };
    let name = format!("dm-{minor}");
    actions.extend(match content {
        Some(content) => script.add(&name, facts, content),
        None => script.tell(Event::Device(name.as_str().into(), facts)),
    });
    actions
}

fn root() -> Content {
    content(Kind::Ext4, "root")
}

fn why(script: &Script) -> String {
    script.engine.explain(crate::Moment(script.now)).to_string()
}

#[test]
fn the_named_volume_at_once_and_no_other() {
    for root_is in ["/dev/vg/root", "/dev/mapper/vg-root", "/dev/disk/by-id/dm-name-vg-root"] {
        let mut script = script(&format!("root={root_is}"));
        let vg = group("vg", 'v', 1, "ab", &[("home", 0), ("root", 1)]);
        assert!(created(&script.disk("sda", pv('a', Some(&vg)))).is_empty());
        // Made with --metadatacopies 0.
        let actions = script.disk("sdb", pv('b', None));
        assert_eq!(created(&actions), ["vg-root"], "{root_is}");
        let Some(Action::CreateDm(device)) =
            actions.iter().find(|action| matches!(action, Action::CreateDm(_)))
        else {
            panic!()
        };
        assert_eq!(device.uuid, format!("LVM-{}{}", id('v'), id('B')));
        assert_eq!((device.targets.len(), device.targets[0].params.as_str()), (1, "8:32 10240"));
        let actions = make(&mut script, 0, root());
        assert_eq!(mounted(&actions), ["dm-0"]);
        assert!(actions.contains(&Action::Link(
            "dm-0".into(),
            vec![
                "disk/by-id/dm-name-vg-root".into(),
                format!("disk/by-id/dm-uuid-LVM-{}{}", id('v'), id('B')),
                "disk/by-uuid/root".into(),
                "mapper/vg-root".into(),
                "vg/root".into()
            ]
        )));
    }
}

/// lvm2 raises a volume's read-ahead to that of the physical volumes below.
#[test]
fn the_read_ahead_of_pvs_is_taken_over() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    for (queue, read_ahead) in [
        (None, ReadAhead::AtLeast(0)),
        (Some(QueueFacts { read_ahead: 8192, dax: false }), ReadAhead::AtLeast(8192)),
    ] {
        let mut script = script("root=/dev/vg/root");
        let facts = DeviceFacts { major: 8, size: 1 << 30, ..DeviceFacts::default() };
        script.tell(Event::Device("sda".into(), facts.clone()));
        let read = script.asked(|action| matches!(action, Action::Identify(_))).expect("it is read");
        // In this order, as init says it; a report of the device by itself lacks the queue.
        script.tell(Event::Device("sda".into(), DeviceFacts { queue, ..facts.clone() }));
        script.tell(Event::Device("sda".into(), facts));
        let actions = script.tell(Event::Identified(read, pv('a', Some(&vg))));
        let made = actions.iter().find_map(|action| match action {
            Action::CreateDm(device) => Some(device.read_ahead),
            _ => None,
        });
        assert_eq!(made, Some(read_ahead));
    }
}

#[test]
fn dashes_in_names() {
    let mut script = script("root=/dev/mapper/my--vg-a--b");
    let vg = group("my-vg", 'v', 1, "a", &[("a", 0), ("a-b", 0)]);
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["my--vg-a--b"]);
    let actions = make(&mut script, 0, root());
    assert_eq!(mounted(&actions), ["dm-0"]);
}

#[test]
fn an_unnamed_root_is_sought_one_volume_after_the_other() {
    let mut script = script("");
    let mut vg =
        group("vg", 'v', 1, "a", &[("swap", 0), ("skipped", 0), ("hidden", 0), ("root", 0), ("home", 0)]);
    vg.lvs[1].flags = words(&["ACTIVATION_SKIP"]);
    vg.lvs[2].status = words(&["READ", "WRITE"]);
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-swap"]);
    let id = script.asked(|action| matches!(action, Action::CreateDm(_))).unwrap();
    assert!(
        created(&script.tell(Event::Done(id, Outcome::Made { major: 253, minor: 0 }))).is_empty(),
        "not read yet"
    );
    let dm = DmFacts {
        name: "vg-swap".into(),
        uuid: format!("LVM-{}{}", super::tests::id('v'), super::tests::id('A')),
    };
    let facts = DeviceFacts { major: 253, size: 9, dm: Some(dm), ..DeviceFacts::default() };
    let facts = DeviceFacts { size: 1 << 20, slaves: vec!["sda".into()], ..facts };
    assert_eq!(created(&script.add("dm-0", facts, content(Kind::Swap, "s"))), ["vg-root"]);
    let actions = make(&mut script, 1, root());
    assert_eq!((mounted(&actions), created(&actions).len()), (vec!["dm-1".to_owned()], 0));
}

#[test]
fn these_and_only_these() {
    let vg = group("vg", 'v', 1, "a", &[("one", 0), ("two", 0)]);
    let other = group("other", 'o', 1, "b", &[("three", 0)]);
    for (line, wanted) in [
        ("rd.lvm=0", &[][..]),
        ("rd.auto=0", &[]),
        ("rd.auto=0 root=/dev/vg/one", &[]),
        ("rd.lvm.vg=vg", &["vg-one", "vg-two"]),
        ("rd.lvm.vg=vg rd.auto=0", &["vg-one", "vg-two"]),
        ("rd.lvm.lv=vg/two", &["vg-two"]),
        ("rd.lvm.lv=vg/two rd.lvm.vg=other root=/dev/vg/one", &["vg-two", "other-three"]),
        ("rd.lvm.lv=vg/none", &[]),
        ("rd.auto=1", &["vg-one", "vg-two", "other-three"]),
        ("root=/dev/vg/two", &["vg-two"]),
        ("root=/dev/sdx", &["vg-one", "vg-two", "other-three"]),
    ] {
        let mut script = script(line);
        let mut all = Vec::new();
        all.extend(script.disk("sda", pv('a', Some(&vg))));
        all.extend(script.disk("sdb", pv('b', Some(&other))));
        for minor in 0..5 {
            if created(&all).len() > minor {
                all.extend(make(&mut script, u32::try_from(minor).unwrap(), content(Kind::Swap, "x")));
            }
        }
        assert_eq!(created(&all), wanted, "{line}");
    }
}

/// As dracut waits for `/dev/VG` and `/dev/VG/LV` of everything that is named.
#[test]
fn what_is_named_holds_the_root() {
    let vg = group("vg", 'v', 1, "ab", &[("swap", 0), ("more", 1)]);
    for line in ["rd.lvm.lv=vg/swap", "rd.lvm.vg=vg"] {
        let mut script = script(line);
        assert_eq!(mounted(&script.disk("sdr", root())), [""; 0], "{line}");
        script.disk("sda", pv('a', Some(&vg)));
        let mut actions = script.disk("sdb", pv('b', None));
        let mut minor = 0;
        while !created(&actions).is_empty() {
            assert_eq!(mounted(&actions), [""; 0], "{line}");
            actions = make(&mut script, minor, content(Kind::Swap, "x"));
            minor += 1;
        }
        assert_eq!(
            (mounted(&actions).as_slice(), minor),
            (&["sdr".to_owned()][..], if line.contains("lv=") { 1 } else { 2 })
        );
    }
    // What does not come holds it for a while only.
    let mut script = script("rd.lvm.lv=vg/swap");
    script.disk("sdr", root());
    assert_eq!(mounted(&script.wait(9_900)), [""; 0]);
    assert_eq!(mounted(&script.wait(200)), ["sdr"]);
}

/// A copy that is there already is seen before it is too late.
#[test]
fn a_complete_group_waits_for_devices_that_are_being_read() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    for copied in [true, false] {
        let mut script = script("root=/dev/vg/root");
        let facts = DeviceFacts { major: 8, minor: 99, size: 1 << 22, diskseq: 99, ..DeviceFacts::default() };
        script.tell(Event::Device("sdz".into(), facts));
        assert!(created(&script.disk("sda", pv('a', Some(&vg)))).is_empty());
        if copied {
            let id = script.asked(|action| matches!(action, Action::Identify(_))).unwrap();
            let actions = script.tell(Event::Identified(id, pv('a', Some(&vg))));
            assert!(
                created(&actions).is_empty() && why(&script).contains("one is a copy"),
                "{}",
                why(&script)
            );
        } else {
            assert!(created(&script.wait(900)).is_empty());
            assert_eq!(created(&script.wait(200)), ["vg-root"], "a disk that hangs is nothing to wait for");
        }
    }
}

#[test]
fn a_missing_pv_without_redundancy_is_waited_for_and_explained() {
    let mut script = script("root=/dev/vg/root degraded=6");
    let vg = group("vg", 'v', 1, "abc", &[("root", 2)]);
    script.disk("sda", pv('a', Some(&vg)));
    script.disk("sdb", pv('b', None));
    let text = why(&script);
    let line = format!(
        "VG vg: 2 of 3 PVs seen, missing PV {} (last seen on was-c), waiting 6 s more before degraded start",
        id('c')
    );
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("there is no redundancy that covers it"), "{text}");
    assert!(created(&script.wait(30_000)).is_empty());
    let text = why(&script);
    assert!(text.contains(&format!("attach the disk with PV {}", id('c'))), "{text}");
    let mut late = Script::with_image(script.engine.plan().clone(), ImageFacts::default());
    std::mem::swap(&mut script, &mut late);
    assert_eq!(created(&late.disk("sdc", pv('c', Some(&vg)))), ["vg-root"], "late, but there");
}

#[test]
fn degraded_after_the_grace_time_if_redundancy_covers_it() {
    let mut vg = group("vg", 'v', 1, "ab", &[]);
    mirror(&mut vg, "root");
    for (grace, before, after) in [("6", 5_900, 200), ("0", 0, 1)] {
        let mut script = script(&format!("root=/dev/vg/root degraded={grace}"));
        let mut actions = script.disk("sda", pv('a', Some(&vg)));
        actions.extend(script.wait(before));
        if before > 0 {
            assert!(created(&actions).is_empty());
        }
        actions.extend(script.wait(after));
        assert_eq!(created(&actions), ["vg-root_rmeta_0"], "{grace}");
        let warning = |action: &Action| matches!(action, Action::Say(Loudness::Warning, text) if text.contains("DEGRADED"));
        assert!(actions.iter().any(warning));
    }
    let mut script = script("root=/dev/vg/root degraded=never");
    let mut actions = script.disk("sda", pv('a', Some(&vg)));
    actions.extend(script.wait(60_000));
    assert!(created(&actions).is_empty());
    assert!(why(&script).contains("rootward.degraded=never"), "{}", why(&script));
    // A volume that does not lie on what is missing needs no redundancy.
    let mut script = self::script("rd.lvm.lv=vg/root root=/dev/vg/root degraded=never");
    let vg = group("vg", 'v', 1, "ab", &[("root", 0)]);
    let mut actions = script.disk("sda", pv('a', Some(&vg)));
    actions.extend(script.wait(9_000));
    assert!(created(&actions).is_empty(), "what is missing may be newer");
    assert_eq!(created(&script.wait(2_000)), ["vg-root"]);
}

#[test]
fn the_newest_metadata_of_all_pvs_counts() {
    let old = group("vg", 'v', 3, "ab", &[("root", 0)]);
    let mut new = group("vg", 'v', 4, "ab", &[("root", 1)]);
    for (first, second) in [(&old, &new), (&new, &old)] {
        let mut script = script("root=/dev/vg/root");
        script.disk("sda", pv('a', Some(first)));
        let actions = script.disk("sdb", pv('b', Some(second)));
        assert!(actions.iter().any(|action| matches!(action, Action::CreateDm(device) if device.targets[0].params.starts_with("8:32 "))));
    }
    // A PV that was counted as lost stays so although it is back.
    new.pvs[1].flags = words(&["MISSING"]);
    let mut script = script("root=/dev/vg/root degraded=1");
    script.disk("sda", pv('a', Some(&new)));
    let actions = script.disk("sdb", pv('b', Some(&old)));
    assert!(created(&actions).is_empty());
    script.wait(30_000);
    assert!(why(&script).contains("vgextend --restoremissing vg"), "{}", why(&script));
    // One that was taken out is named, and not used.
    let reduced = group("vg", 'v', 9, "a", &[("root", 0)]);
    let mut script = self::script("root=/dev/vg/other");
    script.disk("sda", pv('a', Some(&reduced)));
    script.disk("sdb", pv('b', Some(&old)));
    assert!(why(&script).contains("was taken out of VG vg"), "{}", why(&script));
}

#[test]
fn groups_that_are_left_alone() {
    type Case = (fn(&mut VolumeGroup), &'static str, &'static str);
    let cases: [Case; 6] = [
        (|vg| vg.status = words(&["READ", "EXPORTED"]), "", "vgimport vg"),
        (|vg| vg.status = words(&["READ", "CLUSTERED"]), "", "belongs to a cluster"),
        (|vg| vg.lock_type = Some("sanlock".into()), "", "shared through sanlock"),
        (|vg| vg.system_id = Some("elsewhere".into()), "", "belongs to the system elsewhere"),
        (
            |vg| vg.system_id = Some("elsewhere".into()),
            "global { system_id_source = \"lvmlocal\" } local { system_id = \"here\" }",
            "belongs to the system elsewhere",
        ),
        (|_| {}, "activation { volume_list = [ \"other\" ] }", "volume_list"),
    ];
    for (change, conf, text) in cases {
        for line in ["root=/dev/vg/root", "rd.auto=1", "rd.lvm.vg=vg"] {
            let mut script = script_with(line, conf);
            let mut vg = group("vg", 'v', 1, "a", &[("root", 0)]);
            change(&mut vg);
            let mut actions = script.disk("sda", pv('a', Some(&vg)));
            actions.extend(script.wait(20_000));
            assert!(created(&actions).is_empty(), "{text}");
            assert!(why(&script).contains(text), "{text}: {}", why(&script));
            assert_eq!(actions.iter().any(is_rescue), line.starts_with("root"), "{text}");
        }
    }
    let own = "global { system_id_source = \"lvmlocal\" } local { system_id = \"here\" }";
    let mut script = script_with("root=/dev/vg/root", own);
    let vg = VolumeGroup { system_id: Some("here".into()), ..group("vg", 'v', 1, "a", &[("root", 0)]) };
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-root"]);
}

#[test]
fn a_group_is_ones_own_by_the_host_name_or_a_file() {
    for (source, hostname, file, own) in [
        ("uname", "here", None, true),
        ("uname", "there", None, false),
        ("uname", "", None, false),
        ("machineid", "there", Some("here\n"), true),
        ("machineid", "here", None, false),
        ("file", "there", Some("# mine\nhere\n"), true),
    ] {
        let text = format!("global {{ system_id_source = \"{source}\" system_id_file = \"/etc/id\" }}");
        let mut lvm = LvmConf::read(Some(text.as_bytes()), None);
        lvm.identify(hostname, file.map(str::as_bytes));
        let plan = plan(root_spec("/dev/vg/root"));
        let mut script = Script::with_image(plan, ImageFacts { lvm, ..ImageFacts::default() });
        let vg = VolumeGroup { system_id: Some("here".into()), ..group("vg", 'v', 1, "a", &[("root", 0)]) };
        let actions = script.disk("sda", pv('a', Some(&vg)));
        assert_eq!(created(&actions).len(), usize::from(own), "{source} {hostname}");
        assert_eq!(
            why(&script).contains("left alone: it belongs to the system here"),
            !own,
            "{}",
            why(&script)
        );
    }
}

#[test]
fn copies_of_a_pv_and_of_a_name() {
    let vg = group("vg", 'v', 1, "ab", &[("root", 0)]);
    let mut script = script("root=/dev/vg/root");
    script.disk("sda", pv('a', Some(&vg)));
    script.disk("sdb", pv('a', Some(&vg)));
    let actions = script.disk("sdc", pv('b', Some(&vg)));
    assert!(created(&actions).is_empty());
    assert!(why(&script).contains("is on sda and sdb"), "{}", why(&script));
    assert_eq!(created(&script.tell(Event::Gone("sdb".into()))), ["vg-root"]);

    // The path of a device that is built on it is not a copy.
    let one = group("vg", 'v', 1, "a", &[("root", 0)]);
    let mut script = self::script("root=/dev/vg/root rd.auto=0 rd.lvm.lv=vg/root");
    script.disk("sda", pv('b', None));
    script.mapping("dm-7", "mpatha", "sda", pv('a', Some(&one)));
    assert!(script.asked(|action| matches!(action, Action::CreateDm(_))).is_some());

    let twin = group("vg", 'w', 1, "c", &[("root", 0)]);
    let mut script = self::script("root=/dev/vg/root");
    let both = group("vg", 'v', 1, "ab", &[("root", 0)]);
    script.disk("sda", pv('a', Some(&both)));
    assert_eq!(created(&script.disk("sdc", pv('c', Some(&twin)))), [""; 0]);
    assert!(created(&script.disk("sdb", pv('b', Some(&both)))).is_empty());
    assert!(why(&script).contains("there are two groups of this name"), "{}", why(&script));
    assert!(why(&script).contains("vgrename"), "{}", why(&script));

    // A guest's disk in a volume of the host does not cost the host its root.
    let host = group("vg", 'v', 1, "ab", &[("guest", 0), ("root", 0)]);
    let mut script = self::script("root=/dev/vg/root");
    script.disk("sda", pv('a', Some(&host)));
    let guest = DeviceFacts {
        major: 253,
        size: 1 << 30,
        sector_size: 512,
        dm: Some(DmFacts { name: "vg-guest".into(), uuid: "LVM-x".into() }),
        ..DeviceFacts::default()
    };
    assert!(created(&script.add("dm-9", guest, pv('c', Some(&twin)))).is_empty());
    assert_eq!(created(&script.disk("sdb", pv('b', Some(&host)))), ["vg-root"]);
}

#[test]
fn a_segment_of_an_unknown_type_or_flag_is_not_made() {
    let mut vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    for (flag, made) in [("METADATA_FORMAT", true), ("NEW_ONE", false)] {
        vg.lvs[0].segments[0].kind_flags = vec![flag.to_owned()];
        let mut script = script("root=/dev/vg/root");
        let actions = [script.disk("sda", pv('a', Some(&vg))), script.wait(2_000)].concat();
        assert_eq!(!created(&actions).is_empty(), made, "{flag}");
        assert!(made || why(&script).contains("striped+NEW_ONE"), "{}", why(&script));
    }
    vg.lvs[0].segments[0].kind_flags = Vec::new();
    vg.lvs[0].segments[0].kind = "teleported".to_owned();
    let mut script = script("root=/dev/vg/root");
    let actions = [script.disk("sda", pv('a', Some(&vg))), script.wait(20_000)].concat();
    assert!(created(&actions).is_empty(), "{actions:?}");
    assert!(why(&script).contains("unknown type teleported"), "{}", why(&script));
}

/// `pv0` in an area is the physical volume, whatever volumes are called.
#[test]
fn a_volume_with_the_name_that_the_metadata_have_for_a_pv() {
    let vg = group("vg", 'v', 1, "a", &[("pv0", 0), ("root", 0)]);
    let mut script = script("root=/dev/vg/root");
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-root"]);
    // What lies on a missing one is missing, though there is a volume of its name.
    let vg = group("vg", 'v', 1, "ab", &[("pv1", 0), ("root", 1)]);
    let mut script = self::script("rd.lvm.lv=vg/root root=/dev/vg/root degraded=never");
    let actions = [script.disk("sda", pv('a', Some(&vg))), script.wait(60_000)].concat();
    assert!(created(&actions).is_empty(), "{actions:?}");
    assert_eq!(created(&script.disk("sdb", pv('b', Some(&vg)))), ["vg-root"]);
}

/// vgchange activates origins, which bring their snapshots along: what keeps an origin down keeps them down.
#[test]
fn a_snapshot_does_not_pull_its_origin_up() {
    for (skipped, count) in [(false, 1), (true, 0)] {
        let mut vg = group("vg", 'v', 1, "a", &[("origin", 0), ("snap", 0)]);
        let mut snapshot = linear("snapshot0", 2, "pv0");
        snapshot.status = words(&["READ", "WRITE"]);
        snapshot.segments[0].kind = "snapshot".into();
        snapshot.segments[0].config = Section(vec![
            ("chunk_size".into(), Value::Number(8)),
            ("origin".into(), Value::Text("origin".into())),
            ("cow_store".into(), Value::Text("snap".into())),
        ]);
        vg.lvs.push(snapshot);
        if skipped {
            vg.lvs[0].flags = words(&["ACTIVATION_SKIP"]);
        }
        let mut script = script("rd.lvm.vg=vg");
        let actions = script.disk("sda", pv('a', Some(&vg)));
        assert_eq!(created(&actions).len(), count, "{actions:?}");
    }
}

#[test]
fn what_cannot_be_made_is_taken_down_again() {
    let mut vg = group("vg", 'v', 1, "ab", &[]);
    mirror(&mut vg, "root");
    let mut script = script("root=/dev/vg/root");
    script.disk("sda", pv('a', Some(&vg)));
    assert_eq!(created(&script.disk("sdb", pv('b', Some(&vg)))), ["vg-root_rmeta_0"]);
    assert_eq!(created(&make(&mut script, 0, Content::default())), ["vg-root_rimage_0"]);
    let is_create = |action: &Action| matches!(action, Action::CreateDm(_));
    let actions = script.answer(is_create, Err(Failure::Other("device-mapper: too small".into())));
    assert!(actions.contains(&Action::RemoveDm("vg-root_rmeta_0".into())), "{actions:?}");
    let actions = script.answer(|action| matches!(action, Action::RemoveDm(_)), Ok(Outcome::Done));
    assert!(created(&actions).is_empty());
    // What was taken down is no reason to try again; another disk in the place of one of its PVs is.
    assert!(created(&script.tell(Event::Gone("dm-0".into()))).is_empty());
    assert!(why(&script).contains("too small"), "{}", why(&script));
    script.tell(Event::Gone("sdb".into()));
    assert_eq!(created(&script.disk("sdc", pv('b', Some(&vg)))), ["vg-root_rmeta_0"]);
}

#[test]
fn a_pv_that_vanishes_while_its_volume_is_made() {
    let mut vg = group("vg", 'v', 1, "ab", &[]);
    mirror(&mut vg, "root");
    let mut script = script("root=/dev/vg/root");
    script.disk("sda", pv('a', Some(&vg)));
    script.disk("sdb", pv('b', Some(&vg)));
    make(&mut script, 0, Content::default());
    assert!(created(&script.tell(Event::Gone("sdb".into()))).is_empty());
    let actions = make(&mut script, 1, Content::default());
    assert!(actions.contains(&Action::RemoveDm("vg-root_rimage_0".into())), "{actions:?}");
    let is_remove = |action: &Action| matches!(action, Action::RemoveDm(_));
    let actions = script.answer(is_remove, Ok(Outcome::Done));
    assert!(actions.contains(&Action::RemoveDm("vg-root_rmeta_0".into())), "{actions:?}");
    assert!(created(&script.answer(is_remove, Ok(Outcome::Done))).is_empty());
    for name in ["dm-0", "dm-1"] {
        script.tell(Event::Gone(name.into()));
    }
    assert_eq!(created(&script.disk("sdb", pv('b', Some(&vg)))), ["vg-root_rmeta_0"]);
}

#[test]
fn a_volume_on_a_volume() {
    let outer = group("outer", 'o', 1, "a", &[("pv", 0)]);
    let inner = group("inner", 'i', 1, "b", &[("root", 0)]);
    for line in ["root=/dev/inner/root", "", "rd.auto=1"] {
        let mut script = script(line);
        assert_eq!(created(&script.disk("sda", pv('a', Some(&outer)))), ["outer-pv"], "{line}");
        assert_eq!(created(&make(&mut script, 0, pv('b', Some(&inner)))), ["inner-root"], "{line}");
        let actions = make_on(&mut script, 1, &["dm-0"], Some(root()));
        if line.starts_with("root") {
            assert_eq!(mounted(&actions), ["dm-1"]);
        }
        assert!(actions.iter().any(is_mount), "{line}");
    }
}

#[test]
fn root_found_elsewhere_does_not_leave_a_volume_half_made() {
    let mut vg = group("vg", 'v', 1, "ab", &[]);
    mirror(&mut vg, "data");
    let mut script = script("rd.auto=1");
    script.disk("sda", pv('a', Some(&vg)));
    script.disk("sdb", pv('b', Some(&vg)));
    assert!(script.disk("sdc", root()).iter().any(is_mount));
    script.answer(is_mount, Ok(Outcome::Done));
    let mut last = Vec::new();
    for minor in 0..5 {
        assert!(!last.iter().any(crate::script::is_switch), "after {minor}");
        last = make(&mut script, minor, Content::default());
    }
    assert!(last.iter().any(crate::script::is_switch), "{last:?}");
}

#[test]
fn volumes_that_are_listed_are_read_only() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0), ("home", 0)]);
    for (line, list, expected) in [
        ("root=/dev/vg/root", "\"vg/root\"", true),
        ("root=/dev/vg/root", "\"vg\"", true),
        ("root=/dev/vg/root", "\"vg/home\"", false),
        ("root=/dev/vg/root", "", false),
        ("root=/dev/vg/root rd.lvm.conf=0", "\"vg\"", false),
    ] {
        let conf = format!("activation {{ read_only_volume_list = [ {list} ] }}");
        let mut script = script_with(line, &conf);
        let actions = script.disk("sda", pv('a', Some(&vg)));
        let made = actions.iter().find_map(|action| match action {
            Action::CreateDm(device) => Some(device.read_only),
            _ => None,
        });
        assert_eq!(made, Some(expected), "{line} {list}");
    }
    // A snapshot is activated with its origin, and judged by it.
    for (listed, expected) in [("origin", true), ("snap", false)] {
        let mut vg = group("vg", 'v', 1, "a", &[("origin", 0), ("snap", 0)]);
        let mut snapshot = linear("snapshot0", 2, "pv0");
        snapshot.segments[0].kind = "snapshot".into();
        snapshot.segments[0].config = Section(vec![
            ("chunk_size".into(), Value::Number(8)),
            ("origin".into(), Value::Text("origin".into())),
            ("cow_store".into(), Value::Text("snap".into())),
        ]);
        vg.lvs.push(snapshot);
        let conf = format!("activation {{ read_only_volume_list = [ \"vg/{listed}\" ] }}");
        let mut script = script_with("root=/dev/vg/snap", &conf);
        let actions = script.disk("sda", pv('a', Some(&vg)));
        let Some(Action::CreateDm(device)) = actions.iter().find(|one| matches!(one, Action::CreateDm(_)))
        else {
            panic!("{actions:?}")
        };
        assert_eq!((device.name.as_str(), device.read_only), ("vg-origin-real", expected));
    }
}

#[test]
fn filters_hide_devices() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    let conf = "devices { filter = [ \"r|/dev/sda$|\" ] }";
    let mut script = script_with("root=/dev/vg/root", conf);
    assert!(created(&script.disk("sda", pv('a', Some(&vg)))).is_empty());
    assert!(why(&script).contains("rejected by the filter"), "{}", why(&script));
    let mut script = script_with("root=/dev/vg/root rd.lvm.conf=0", conf);
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-root"]);
}

#[test]
fn a_group_that_nobody_has_seen_is_named() {
    for line in ["root=/dev/data/root", "rd.lvm.vg=data", "rd.lvm.lv=data/x"] {
        let mut script = script(line);
        script.wait(1000);
        assert!(why(&script).contains("VG data is named, and no PV of it has been seen"), "{}", why(&script));
    }
    let mut script = script("root=/dev/vg/typo");
    script.disk("sda", pv('a', Some(&group("vg", 'v', 1, "a", &[("root", 0)]))));
    assert!(why(&script).contains("VG vg has no volume typo"), "{}", why(&script));
}

/// The second half of a mirror lies in a container: while that is being opened, or asked for because it was named, the first
/// half does not start alone. An unnamed one is nothing to wait for: there may be nobody to type.
#[test]
fn a_degraded_start_waits_for_containers() {
    let mut vg = group("vg", 'v', 1, "ab", &[]);
    mirror(&mut vg, "root");
    for (named, typed) in [(true, false), (true, true), (false, true), (false, false)] {
        let mut plan = plan(root_spec("/dev/vg/root"));
        plan.degraded = Some(std::time::Duration::from_secs(6));
        if named {
            let selector =
                LuksSelector { kind: LuksIdKind::Uuid, id: "luks".into(), keysource: false, name: None };
            plan.luks.selectors.push(selector);
        }
        let mut script = Script::with_image(plan, ImageFacts::default());
        let mut actions = script.disk("sda", pv('a', Some(&vg)));
        actions.extend(script.disk("sdb", content(Kind::Luks2, "luks")));
        actions.extend(script.wait(1_000));
        assert!(actions.iter().any(is_ask));
        if typed {
            actions.extend(script.types(SecretId(1)));
        }
        actions.extend(script.wait(25_000));
        assert_eq!(created(&actions).is_empty(), named || typed, "named {named}, typed {typed}");
        if typed {
            script.answer(is_open, Ok(Outcome::Done));
            let actions = script.mapping("dm-9", "luks-luks", "sdb", pv('b', None));
            assert_eq!(created(&actions), ["vg-root_rmeta_0"]);
            assert!(!actions.iter().any(|action| matches!(action, Action::Say(Loudness::Warning, _))));
        }
    }
}

/// What is missing may lie in a volume that needs no redundancy to start, and waits for the same moment.
#[test]
fn redundancy_is_used_up_last() {
    let mut inner = group("inner", 'i', 1, "ab", &[]);
    mirror(&mut inner, "root");
    let outer = group("outer", 'o', 1, "cd", &[("pv", 0)]);
    let mut script = script("degraded=6");
    script.disk("sda", pv('a', Some(&inner)));
    script.disk("sdc", pv('c', Some(&outer)));
    assert_eq!(created(&script.wait(6_500)), ["outer-pv"]);
    let actions = make_on(&mut script, 0, &["sdc"], Some(pv('b', None)));
    assert_eq!(created(&actions), ["inner-root_rmeta_0"]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Say(Loudness::Warning, _))));

    // Nor on suspicion, while the volume that is root can be had.
    let mut other = group("other", 'o', 1, "cd", &[]);
    mirror(&mut other, "data");
    let mut script = self::script("degraded=6 root=/dev/inner/root");
    script.disk("sdc", pv('c', Some(&other)));
    script.disk("sda", pv('a', Some(&inner)));
    assert_eq!(created(&script.wait(6_500)), ["inner-root_rmeta_0"]);
}
