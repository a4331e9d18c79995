use cmdline::Plan;
use ondisk::{Content, Kind, Member, integrity, verity};

use crate::command::{Action, DmDevice, DmKey, Loudness};
use crate::script::{Script, content, gpt, is_mount, is_rescue, mounted, partition};
use crate::{DevName, DeviceFacts, DmFacts, Failure, ImageFacts, Moment, Outcome};

mod tables;

const HASH: &str = "36e3f740ad502e2c25e2a23d9c7c17bf0fdad2300b7580842d4b7ec1fb0fa263";
const DATA_PART: &str = "36e3f740-ad50-2e2c-25e2-a23d9c7c17bf";
const HASH_PART: &str = "0fdad230-0b75-8084-2d4b-7ec1fb0fa263";

fn read(words: &str) -> Plan {
    let (plan, remarks) = cmdline::parse(&cmdline::Sources { kernel: words.into(), ..Default::default() });
    assert!(remarks.is_empty(), "{remarks:?}");
    plan
}

fn superblock() -> verity::Superblock {
    verity::Superblock {
        format: 1,
        uuid: Some("c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701".into()),
        algorithm: "sha256".into(),
        data_block: 4096,
        hash_block: 4096,
        data_blocks: 1000,
        salt: "aabb".into(),
        root: Some(HASH.into()),
    }
}

fn hashes(superblock: verity::Superblock) -> Content {
    Content { member: Some(Box::new(Member::Verity(superblock))), ..content(Kind::DmVerity, "hash-uuid") }
}

/// A disk with both partitions.
fn machine(script: &mut Script, superblock: verity::Superblock) -> Vec<Action> {
    script.disk("sda", gpt(&[(1, DATA_PART, None), (2, HASH_PART, None)]));
    let mut actions = script.add("sda1", partition("sda", 1), content(Kind::Ext4, "root"));
    actions.extend(script.add("sda2", partition("sda", 2), hashes(superblock)));
    actions
}

fn made(actions: &[Action]) -> Vec<&DmDevice> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::CreateDm(device) | Action::CreateKeyedDm(device, _) => Some(device),
            _ => None,
        })
        .collect()
}

fn is_make(action: &Action) -> bool {
    matches!(action, Action::CreateDm(_) | Action::CreateKeyedDm(..))
}

fn mapping(script: &mut Script, device: &DmDevice, below: &str, content: Content) -> Vec<Action> {
    let facts = DeviceFacts {
        major: 253,
        size: 1000 * 4096,
        read_only: true,
        dm: Some(DmFacts { name: device.name.clone(), uuid: device.uuid.clone() }),
        slaves: vec![below.into()],
        ..DeviceFacts::default()
    };
    script.add("dm-0", facts, content)
}

fn why(script: &Script) -> String {
    script.engine.explain(Moment(script.now)).to_string()
}

#[test]
fn root_by_the_halves_of_its_hash() {
    let mut script = Script::new(read(&format!("roothash={HASH} rd.retry=5")));
    let actions = machine(&mut script, superblock());
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    assert_eq!((device.name.as_str(), device.read_only), ("root", true));
    assert_eq!(device.uuid, "CRYPT-VERITY-c1f3a2b46d7e4f8091a2b3c4d5e6f701-root");
    let [target] = &device.targets[..] else { panic!("one target") };
    assert_eq!((target.start, target.length, target.kind.as_str()), (0, 8000, "verity"));
    assert_eq!(target.params, format!("1 8:1 8:2 4096 4096 1000 1 sha256 {HASH} aabb"));
    let asked = actions.iter().any(
        |action| matches!(action, Action::LoadModules(names) if *names == ["dm-verity", "crypto-sha256"]),
    );
    assert!(asked, "{actions:?}");
    assert!(!actions.iter().any(is_mount));
    script.answer(is_make, Ok(Outcome::Made { major: 253, minor: 0 }));
    let mounts = mapping(&mut script, device, "sda1", content(Kind::Ext4, "root"));
    assert_eq!(mounted(&mounts), ["dm-0"]);
}

/// `root=gpt-auto` with a root hash asks for the partitions that the hash names, and for nothing that the GPT calls a root.
#[test]
fn left_to_the_gpt_root_is_what_the_hash_names() {
    for word in ["gpt-auto", "dissect"] {
        let mut script = Script::new(read(&format!("root={word} roothash={HASH} rd.retry=5")));
        let mut actions = script.disk("sdb", gpt(&[(1, "aaaa-1", None)]));
        actions.extend(script.add("sdb1", partition("sdb", 1), content(Kind::Ext4, "root")));
        assert!(!actions.iter().any(is_mount), "{word}: {actions:?}");
        let actions = machine(&mut script, superblock());
        let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
        assert_eq!((device.name.as_str(), device.read_only), ("root", true));
        assert!(!actions.iter().any(is_mount), "{word}: {actions:?}");
        script.answer(is_make, Ok(Outcome::Made { major: 253, minor: 0 }));
        let mounts = mapping(&mut script, device, "sda1", content(Kind::Ext4, "root"));
        assert_eq!(mounted(&mounts), ["dm-0"], "{word}");
    }
}

#[test]
fn what_is_not_verified_is_never_root() {
    // By any name: the raw data device has the file system's UUID too.
    for root in ["UUID=root", "/dev/sda1", &format!("PARTUUID={DATA_PART}")] {
        let mut script = Script::new(read(&format!("roothash={HASH} root={root} rd.retry=5")));
        let mut actions =
            machine(&mut script, verity::Superblock { root: Some("00".into()), ..superblock() });
        actions.extend(script.wait(60_000));
        assert!(made(&actions).is_empty() && !actions.iter().any(is_mount), "{root}: {actions:?}");
        assert!(actions.iter().any(is_rescue), "{root}");
        let why = why(&script);
        assert!(
            why.contains("is not that of the hashes on sda2") && why.contains("compare the root hash"),
            "{why}"
        );
    }
    let mut script = Script::new(read(&format!("roothash={HASH} root=/dev/sda1 rd.retry=5")));
    machine(&mut script, superblock());
    assert!(why(&script).contains("root=/dev/mapper/root: root= names its data device"), "{}", why(&script));
}

/// Another disk may have the UUID of the root; only somebody at the console can take it.
#[test]
fn a_stranger_with_the_same_name_is_not_root() {
    for root in ["root=UUID=root", "root=LABEL=root"] {
        let mut script = Script::new(read(&format!("roothash={HASH} {root} rd.retry=5")));
        let mut found = content(Kind::Ext4, "root");
        found.signatures[0].label = Some(b"root".to_vec());
        let facts = DeviceFacts { major: 8, minor: 64, size: 1 << 30, diskseq: 9, ..DeviceFacts::default() };
        let mut actions = script.add("sde", facts, found.clone());
        actions.extend(script.wait(60_000));
        assert!(!actions.iter().any(is_mount) && actions.iter().any(is_rescue), "{actions:?}");
        let actions = machine(&mut script, superblock());
        assert!(!actions.iter().any(is_mount), "{actions:?}");
    }
    // Off is off.
    let mut script = Script::new(read(&format!("roothash={HASH} root=UUID=root systemd.verity=0")));
    let facts = DeviceFacts { major: 8, minor: 64, size: 1 << 30, diskseq: 9, ..DeviceFacts::default() };
    assert!(script.add("sde", facts, content(Kind::Ext4, "root")).iter().any(is_mount));
}

/// What a partition is, its disk tells: until it has, the partition may be the data.
#[test]
fn data_are_kept_before_they_are_known_as_such() {
    let is_read = |name: &'static str| move |action: &Action| *action == Action::Identify(name.into());
    let mut script = Script::new(read(&format!("roothash={HASH} root=UUID=root rd.retry=5")));
    let facts = DeviceFacts { major: 8, minor: 16, size: 1 << 30, diskseq: 1, ..DeviceFacts::default() };
    let mut actions = script.tell(crate::Event::Device("sda".into(), facts));
    actions.extend(script.add("sda1", partition("sda", 1), content(Kind::Ext4, "root")));
    actions.extend(script.add("sda3", partition("sda", 3), content(Kind::Swap, "swap")));
    assert!(!actions.iter().any(is_read("sda1")) && !actions.iter().any(is_mount), "{actions:?}");
    let asked = script.asked(is_read("sda")).expect("the table");
    let table = gpt(&[(1, DATA_PART, None), (2, HASH_PART, None), (3, "aaaa-3", None)]);
    let mut actions = script.tell(crate::Event::Identified(asked, table));
    assert!(actions.iter().any(is_read("sda3")), "not the data after all: {actions:?}");
    actions.extend(script.wait(60_000));
    assert!(!actions.iter().any(is_read("sda1")) && !actions.iter().any(is_mount), "{actions:?}");
}

#[test]
fn corruption_stops_the_boot_with_a_reason() {
    let mut script = Script::new(read(&format!("roothash={HASH}")));
    let actions = machine(&mut script, superblock());
    script.answer(is_make, Ok(Outcome::Made { major: 253, minor: 0 }));
    let facts = DeviceFacts {
        major: 253,
        size: 1000 * 4096,
        dm: Some(DmFacts { name: "root".into(), uuid: made(&actions)[0].uuid.clone() }),
        slaves: vec!["sda1".into(), "sda2".into()],
        ..DeviceFacts::default()
    };
    script.tell(crate::Event::Device("dm-0".into(), facts));
    let error = Failure::Os { what: "read dm-0".into(), errno: 5 };
    script.answer(|action| *action == Action::Identify("dm-0".into()), Err(error));
    let actions = script.wait(30_000);
    assert!(actions.iter().any(is_rescue), "{actions:?}");
    assert!(why(&script).contains("ignore-corruption reads them all the same"), "{}", why(&script));
}

#[test]
fn a_device_of_the_wrong_size_is_refused() {
    let mut script = Script::new(read(&format!("roothash={HASH}")));
    let actions = machine(&mut script, verity::Superblock { data_blocks: 1 << 20, ..superblock() });
    assert!(made(&actions).is_empty());
    assert!(why(&script).contains("the hashes on sda2 are for 4294967296"), "{}", why(&script));
}

#[test]
fn options_become_words_of_the_table() {
    let options = "panic-on-corruption,ignore-zero-blocks,check-at-most-once,fec-device=/dev/sdc,fec-offset=4096,\
                   fec-roots=4,hash-offset=8192,root-hash-signature=/sig";
    let mut script = Script::new(read(&format!(
        "roothash={HASH} systemd.verity_root_data=/dev/sdb systemd.verity_root_hash=UUID=hash-uuid \
         systemd.verity_root_options={options}"
    )));
    script.disk("sdb", content(Kind::Ext4, "root"));
    script.disk("sdc", Content::default());
    let actions = script.disk("sdd", content(Kind::DmVerity, "hash-uuid"));
    assert!(actions.contains(&Action::ReadVerity("sdd".into(), 8192)), "{actions:?}");
    let answer = Outcome::Member(Box::new(Member::Verity(superblock())));
    let actions = script.answer(|action| matches!(action, Action::ReadVerity(..)), Ok(answer));
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    // 1 GiB of hashes are 262144 blocks, of which the first three are before them.
    assert_eq!(
        device.targets[0].params,
        format!(
            "1 8:16 8:48 4096 4096 1000 3 sha256 {HASH} aabb 13 panic_on_corruption ignore_zero_blocks \
             check_at_most_once use_fec_from_device 8:32 fec_blocks {} fec_start 1 fec_roots 4 \
             root_hash_sig_key_desc cryptsetup:c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701-root",
            262_144 - 3 + 1000
        )
    );
    let key = actions.iter().find_map(|action| match action {
        Action::CreateKeyedDm(_, DmKey::Keyring { description, source }) => Some((description, source)),
        _ => None,
    });
    assert!(key.is_some_and(|(_, source)| format!("{source:?}") == "/sig"), "{key:?}");
}

/// The engine itself compares hashes; what the kernel refuses of a signed one is the signature.
#[test]
fn a_refused_signature_is_called_so() {
    for (words, wanted) in [("roothashsig=/sig", "signature of root"), ("", "compare the root hash")] {
        let mut script = Script::new(read(&format!("roothash={HASH} rd.retry=5 {words}")));
        machine(&mut script, superblock());
        let refused = Failure::Os { what: "load the table of root".into(), errno: 22 };
        script.answer(is_make, Err(refused));
        let why = why(&script);
        assert!(why.contains("load the table of root") && why.contains(wanted), "{why}");
        assert_eq!(why.contains("PKCS#7"), !words.is_empty(), "{why}");
    }
}

#[test]
fn without_superblock_the_options_say_it_all() {
    let mut script = Script::new(read(&format!(
        "roothash={HASH} systemd.verity_root_data=/dev/sda systemd.verity_root_hash=/dev/sdb \
         systemd.verity_root_options=superblock=no,hash=sha512,format=0,use-tasklets,hash-block-size=1024"
    )));
    script.disk("sda", content(Kind::Ext4, "root"));
    let actions = script.disk("sdb", Content::default());
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    assert_eq!(device.uuid, format!("CRYPT-VERITY-{}-root", &HASH[..32]));
    let table = format!("0 8:16 8:32 4096 1024 262144 0 sha512 {HASH} -");
    assert_eq!(device.targets[0].params, format!("{table} 1 try_verify_in_tasklet"));
    // An older kernel does not take that word.
    let actions = script.answer(is_make, Err(Failure::Other("no".into())));
    assert_eq!(made(&actions)[0].targets[0].params, table);
    let actions = script.answer(is_make, Err(Failure::Other("no".into())));
    assert!(made(&actions).is_empty());
}

#[test]
fn missing_devices_are_named() {
    let mut script = Script::new(read(&format!("roothash={HASH}")));
    script.disk("sda", gpt(&[(1, DATA_PART, None)]));
    script.add("sda1", partition("sda", 1), content(Kind::Ext4, "root"));
    let why = why(&script);
    assert!(why.contains(&format!("verity device root misses PARTUUID={HASH_PART} (hashes)")), "{why}");
    assert!(why.contains("systemd.verity_root_hash="), "{why}");
}

#[test]
fn usr_is_made_and_a_device_that_returns_is_used() {
    let mut script = Script::new(read(&format!("root=UUID=other usrhash={HASH}")));
    let actions = machine(&mut script, superblock());
    assert_eq!(made(&actions)[0].name, "usr");
    script.answer(is_make, Err(Failure::Gone));
    script.tell(crate::Event::Gone("sda2".into()));
    let actions = script.add("sda2", partition("sda", 2), hashes(superblock()));
    assert_eq!(made(&actions).len(), 1);
}

fn integrity_script(line: &str) -> Script {
    let (integritytab, remarks) = cmdline::integritytab::parse(line);
    assert!(remarks.is_empty(), "{remarks:?}");
    let image = ImageFacts { integritytab, ..ImageFacts::default() };
    Script::with_image(read("root=/dev/mapper/root"), image)
}

fn tagged(flags: u32) -> Content {
    let superblock = integrity::Superblock { version: 5, tag: 4, sectors: 7000, block: 4096, flags };
    let mut content = content(Kind::DmIntegrity, "none");
    content.signatures[0].uuid = None;
    Content { member: Some(Box::new(Member::Integrity(superblock))), ..content }
}

#[test]
fn standalone_integrity() {
    let mut script =
        integrity_script("root /dev/sda - allow-discards,journal-watermark=50,journal-commit-time=3");
    let actions = script.disk("sda", tagged(0));
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    assert_eq!(
        (device.uuid.as_str(), device.targets[0].length, device.read_only),
        ("CRYPT-INTEGRITY-root", 7000, false)
    );
    assert_eq!(
        device.targets[0].params,
        "8:16 0 4 J 7 journal_watermark:50 commit_time:3 block_size:4096 internal_hash:crc32c fix_padding fix_hmac allow_discards"
    );
    script.answer(is_make, Ok(Outcome::Made { major: 253, minor: 0 }));
    let mounts = mapping(&mut script, device, "sda", content(Kind::Ext4, "root"));
    assert_eq!(mounted(&mounts), ["dm-0"]);
}

#[test]
fn integrity_with_key_bitmap_and_data_elsewhere() {
    let mut script = integrity_script("root /dev/sda /key mode=bitmap,data-device=/dev/sdb");
    script.disk("sda", tagged(2));
    let actions = script.disk("sdb", content(Kind::Ext4, "root"));
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    assert_eq!(
        device.targets[0].params,
        "8:32 0 4 B 6 block_size:4096 internal_hash:hmac(sha256):{key} fix_padding fix_hmac recalculate meta_device:8:16"
    );
    assert!(
        actions
            .iter()
            .any(|action| { matches!(action, Action::CreateKeyedDm(_, DmKey::Hex(path)) if path == "/key") })
    );
    assert!(actions.iter().any(|action| {
        matches!(action, Action::LoadModules(names) if *names == ["dm-integrity", "crypto-hmac", "crypto-sha256"])
    }));
    // Its data are somebody else's file system to look at.
    assert!(!actions.iter().any(is_mount));
    assert_eq!(
        script.engine.table().get(&DevName::from("sdb")).and_then(|device| device.claimed.as_deref()),
        Some("integrity device root")
    );
}
