//! Volumes of the image's veritytab and integritytab, and `/usr` by the words of the command line.

use super::*;

fn is_switch(action: &Action) -> bool {
    matches!(action, Action::SwitchRoot { .. })
}

/// A boot with these words and this veritytab.
fn with_tab(words: &str, tab: &str) -> Script {
    let (veritytab, remarks) = cmdline::verity::parse_tab(tab);
    assert!(remarks.is_empty(), "{remarks:?}");
    Script::with_image(read(words), ImageFacts { veritytab, ..ImageFacts::default() })
}

fn names(actions: &[Action]) -> Vec<&str> {
    made(actions).iter().map(|device| device.name.as_str()).collect()
}

/// The data device and, after it, the one with the hashes, each a disk of its own.
fn two_disks(script: &mut Script) -> Vec<Action> {
    let mut actions = script.disk("sdx", content(Kind::Ext4, "data"));
    actions.extend(script.disk("sdy", hashes(superblock())));
    actions
}

#[test]
fn a_root_of_the_veritytab() {
    let tab = format!("root /dev/sdx UUID=hash-uuid {HASH} ignore-zero-blocks");
    let mut script = with_tab("root=/dev/mapper/root rd.retry=5", &tab);
    let actions = two_disks(&mut script);
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    assert_eq!(
        device.targets[0].params,
        format!("1 8:16 8:32 4096 4096 1000 1 sha256 {HASH} aabb 1 ignore_zero_blocks")
    );
    assert_eq!(device.uuid, "CRYPT-VERITY-c1f3a2b46d7e4f8091a2b3c4d5e6f701-root");
    script.answer(is_make, Ok(Outcome::Made { major: 253, minor: 0 }));
    let mounts = mapping(&mut script, device, "sdx", content(Kind::Ext4, "data"));
    assert_eq!(mounted(&mounts), ["dm-0"]);
}

/// Its data is nobody's file system, whether it is needed for root or not.
#[test]
fn data_of_a_row_are_never_root() {
    let tab = format!("tools /dev/sdx /dev/sdy {HASH}");
    let mut script = with_tab("root=UUID=data rd.retry=5", &tab);
    let mut actions = two_disks(&mut script);
    assert_eq!(names(&actions), ["tools"]);
    actions.extend(script.answer(is_make, Err(Failure::Other("no".into()))));
    actions.extend(script.wait(60_000));
    assert!(!actions.iter().any(is_mount) && actions.iter().any(is_rescue), "{actions:?}");
    assert!(why(&script).contains("verity device tools"), "{}", why(&script));
}

#[test]
fn a_row_with_noauto_is_for_a_root_that_names_it() {
    for (root, option, expected) in [
        ("UUID=other", "noauto", &[][..]),
        ("UUID=other", "auto", &["tools"]),
        ("/dev/mapper/tools", "noauto", &["tools"]),
        ("/dev/mapper/other", "noauto", &[]),
    ] {
        let tab = format!("tools /dev/sdx /dev/sdy {HASH} {option}");
        let mut script = with_tab(&format!("root={root}"), &tab);
        assert_eq!(names(&two_disks(&mut script)), expected, "root={root}, {option}");
        let claimed = script.engine.table().get(&"sdx".into()).is_some_and(|disk| disk.claimed.is_some());
        assert_eq!(claimed, !expected.is_empty(), "root={root}, {option}");
    }
}

#[test]
fn the_command_line_goes_before_a_row_of_the_same_name() {
    let tab = format!("usr /dev/sdx /dev/sdy {}\ntools /dev/sdx /dev/sdy {HASH}", "00".repeat(32));
    let mut script = with_tab(&format!("root=UUID=other usrhash={HASH}"), &tab);
    // The row's hash is another one, so that it would make nothing.
    assert_eq!(names(&two_disks(&mut script)), ["tools"]);
    assert_eq!(names(&machine(&mut script, superblock())), ["usr"]);
}

/// A machine whose root is mounted, with these words for its `/usr`.
fn with_usr(words: &str) -> Script {
    let mut script = Script::new(read(&format!("root=UUID=other rd.retry=5 usrhash={HASH} {words}")));
    script.disk("sdo", content(Kind::Ext4, "other"));
    assert!(!script.answer(is_mount, Ok(Outcome::Done)).iter().any(is_switch), "there is a /usr to come");
    script
}

#[test]
fn usr_on_the_devices_that_are_named() {
    let mut script = with_usr(
        "systemd.verity_usr_data=/dev/sdx systemd.verity_usr_hash=UUID=hash-uuid \
         systemd.verity_usr_options=restart-on-corruption,check-at-most-once",
    );
    let actions = two_disks(&mut script);
    let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
    assert_eq!(
        (device.name.as_str(), device.uuid.as_str(), device.read_only),
        ("usr", "CRYPT-VERITY-c1f3a2b46d7e4f8091a2b3c4d5e6f701-usr", true)
    );
    assert_eq!(
        device.targets[0].params,
        format!("1 8:32 8:48 4096 4096 1000 1 sha256 {HASH} aabb 2 restart_on_corruption check_at_most_once")
    );
    script.answer(is_make, Ok(Outcome::Made { major: 253, minor: 0 }));
    assert_eq!(mounted(&mapping(&mut script, device, "sdx", content(Kind::Ext4, "data"))), ["dm-0"]);
    assert!(script.answer(is_mount, Ok(Outcome::Done)).iter().any(is_switch));
}

/// As for the root, each device that is not named is the partition of its half of the hash.
#[test]
fn usr_with_one_device_named() {
    for (word, params) in
        [("systemd.verity_usr_data=/dev/sdx", "8:32 8:2"), ("systemd.verity_usr_hash=/dev/sdy", "8:1 8:48")]
    {
        let mut script = with_usr(word);
        let mut actions = two_disks(&mut script);
        actions.extend(machine(&mut script, superblock()));
        let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
        assert!(device.targets[0].params.starts_with(&format!("1 {params} 4096")), "{:?}", device.targets);
    }
}

#[test]
fn usr_that_is_not_verified_is_not_mounted() {
    for (words, superblock, wanted) in [
        // The file system's own UUID is that of the raw data device, too.
        (
            "mount.usr=UUID=root",
            verity::Superblock { root: Some("00".into()), ..superblock() },
            "is not that of the hashes on sda2",
        ),
        (
            "systemd.verity_usr_hash=UUID=elsewhere",
            superblock(),
            "verity device usr misses UUID=elsewhere (hashes)",
        ),
        (
            "systemd.verity_usr_hash=UUID=elsewhere",
            superblock(),
            "name the devices of usr with systemd.verity_usr_data= and systemd.verity_usr_hash=",
        ),
    ] {
        let mut script = with_usr(words);
        let mut actions = machine(&mut script, superblock);
        actions.extend(script.wait(60_000));
        let done = actions.iter().any(|one| is_make(one) || is_mount(one) || is_switch(one));
        assert!(!done && actions.iter().any(is_rescue), "{words}: {actions:?}");
        let why = why(&script);
        assert!(why.contains("cannot reach /usr") && why.contains(wanted), "{words}: {why}");
    }
}

#[test]
fn a_signature_of_usr() {
    for words in ["usrhashsig=/sig", "systemd.verity_usr_options=root-hash-signature=/sig"] {
        let mut script = with_usr(words);
        let actions = machine(&mut script, superblock());
        let key = actions.iter().find_map(|action| match action {
            Action::CreateKeyedDm(device, DmKey::Keyring { description, source }) => {
                Some((device.name.as_str(), description.as_str(), format!("{source:?}")))
            }
            _ => None,
        });
        let description = "cryptsetup:c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701-usr";
        assert_eq!(key, Some(("usr", description, "/sig".to_owned())), "{words}");
    }
}

/// In bitmap mode the two numbers mean other things, as in `crypt_params_integrity` of libcryptsetup.h.
#[test]
fn modes_of_integrity() {
    let numbers = "journal-watermark=50,journal-commit-time=3";
    for (key, options, params, read_only) in [
        ("-", "", "J 4 block_size:4096 internal_hash:crc32c fix_padding fix_hmac", false),
        (
            "/key",
            "mode=bitmap",
            "B 4 block_size:4096 internal_hash:hmac(sha256):{key} fix_padding fix_hmac",
            false,
        ),
        (
            "/key",
            "mode=bitmap,integrity-algorithm=hmac-sha512,allow-discards,NUMBERS",
            "B 7 sectors_per_bit:50 bitmap_flush_interval:3 block_size:4096 internal_hash:hmac(sha512):{key} \
             fix_padding fix_hmac allow_discards",
            false,
        ),
        (
            "-",
            "integrity-algorithm=sha256,NUMBERS",
            "J 6 journal_watermark:50 commit_time:3 block_size:4096 internal_hash:sha256 fix_padding fix_hmac",
            false,
        ),
        (
            "/key",
            "mode=direct",
            "D 4 block_size:4096 internal_hash:hmac(sha256):{key} fix_padding fix_hmac",
            false,
        ),
        ("-", "mode=recovery", "R 4 block_size:4096 internal_hash:crc32c fix_padding fix_hmac", true),
    ] {
        let mut script =
            integrity_script(&format!("root /dev/sda {key} {}", options.replace("NUMBERS", numbers)));
        let actions = script.disk("sda", tagged(0));
        let [device] = made(&actions)[..] else { panic!("one device: {actions:?}") };
        assert_eq!(
            (device.targets[0].params.as_str(), device.read_only),
            (&*format!("8:16 0 4 {params}"), read_only)
        );
        let has_key =
            |one: &Action| matches!(one, Action::CreateKeyedDm(_, DmKey::Hex(path)) if path == "/key");
        assert_eq!(actions.iter().any(has_key), key == "/key", "{options}");
    }
}

#[test]
fn a_key_of_integrity_that_cannot_be_had_is_named() {
    let mut script = integrity_script("root /dev/sda /key mode=bitmap");
    script.disk("sda", tagged(0));
    let mut actions = script.answer(is_make, Err(Failure::NoKeyFile("/key".into())));
    let said = |one: &Action| matches!(one, Action::Say(Loudness::Error, text) if text.contains("integrity device root cannot be made") && text.contains("/key"));
    actions.extend(script.wait(60_000));
    assert_eq!(actions.iter().filter(|one| said(one)).count(), 1, "{actions:?}");
    assert!(!actions.iter().any(is_mount) && actions.iter().any(is_rescue), "{actions:?}");
}
