//! Containers that do not speak for themselves: detached headers, plain, BitLocker and TrueCrypt volumes; key sources;
//! and what the root waits for.

use super::*;
use crate::script::{gpt, is_mount, partition};
use crate::{CryptFormat, CryptOptions, HeaderSource, SealedKey};
use ondisk::Content;

/// The options of the first container that is to be opened.
fn options(actions: &[Action]) -> CryptOptions {
    let open = |action: &Action| match action {
        Action::OpenCrypt { options, .. } => Some(options.clone()),
        _ => None,
    };
    actions.iter().find_map(open).expect("nothing is opened")
}

fn is_read(action: &Action) -> bool {
    matches!(action, Action::ReadKey { .. })
}

fn is_close(action: &Action) -> bool {
    matches!(action, Action::RemoveDm(_))
}

fn with_options(mut plan: Plan, words: &[&str]) -> Plan {
    plan.luks.options.push((None, words.iter().map(|word| (*word).to_owned()).collect()));
    plan
}

/// A disk whose only partition has this PARTUUID and nothing readable on it.
fn bare_partition(script: &mut Script, id: &str) -> Vec<Action> {
    script.disk("sda", gpt(&[(1, id, None)]));
    script.add("sda1", partition("sda", 1), Content::default())
}

#[test]
fn a_header_on_another_device() {
    let by_data = {
        let mut plan = explicit(ID);
        plan.luks.data.push((ID.to_owned(), cmdline::root_spec("PARTUUID=part-1")));
        plan
    };
    let mut by_part = plan(uuid("inner"));
    by_part.luks.selectors.push(selector(LuksIdKind::PartUuid, "part-1"));
    let row = format!("x PARTUUID=part-1 none luks,x-initrd.attach,header=UUID={ID}");
    for (what, plan, tab, name) in [
        ("rd.luks.data", by_data, "", format!("luks-{ID}")),
        (
            "rd.luks.partuuid",
            with_options(by_part, &[&format!("header=UUID={ID}")]),
            "",
            "luks-part-1".to_owned(),
        ),
        ("crypttab", plan(uuid("inner")), &*row, "x".to_owned()),
    ] {
        // The data first, or the header first.
        for header_first in [false, true] {
            let mut script = Script::with_image(plan.clone(), crypttab(tab));
            let mut actions = Vec::new();
            if header_first {
                actions.extend(script.disk("sdb", luks()));
            }
            actions.extend(bare_partition(&mut script, "part-1"));
            if !header_first {
                assert!(!actions.iter().any(is_ask), "{what}: nothing to try a passphrase on yet");
                actions.extend(script.disk("sdb", luks()));
            }
            assert!(
                asks(&actions).iter().all(|(prompt, _)| prompt.contains("sda1") && !prompt.contains("sdb"))
            );
            let opening = script.types(SecretId(1));
            assert_eq!(opened(&opening), [("sda1".to_owned(), name.clone())], "{what}");
            assert_eq!(options(&opening).header, Some(HeaderSource::Device("sdb".into())), "{what}");
        }
    }
}

#[test]
fn a_header_that_does_not_come_is_named() {
    let row = "x PARTUUID=part-1 none luks,x-initrd.attach,header=/h:LABEL=KEYS";
    let mut script = Script::with_image(plan(uuid("inner")), crypttab(row));
    assert!(!bare_partition(&mut script, "part-1").iter().any(is_ask));
    assert!(!script.wait(60_000).iter().any(is_ask));
    let text = script.engine.explain(crate::Moment(script.now)).to_string();
    assert!(text.contains("waits for its header, /h on LABEL=KEYS"), "{text}");
    let mut stick = content(Kind::Vfat, "1234-5678");
    stick.signatures[0].label = Some(b"KEYS".to_vec());
    let actions = script.disk("sdc", stick);
    let loads = |name: &str| {
        actions
            .iter()
            .any(|one| matches!(one, Action::LoadModules(names) if names.iter().any(|one| one == name)))
    };
    assert!(loads("nls_cp437") && loads("dm-crypt"), "{actions:?}");
    assert!(actions.iter().any(is_ask));
    let header = options(&script.types(SecretId(1))).header;
    let expected = HeaderSource::FileOn {
        device: "sdc".into(),
        fstype: "vfat".to_owned(),
        path: "/h".to_owned(),
        named: true,
    };
    assert_eq!(header, Some(expected));
}

#[test]
fn a_header_in_the_image_and_a_drive_by_its_serial_number() {
    let mut plan = plan(uuid("inner"));
    plan.luks.selectors.push(selector(LuksIdKind::Serial, "S3Z"));
    let plan = with_options(plan, &["header=/h.img"]);
    let facts = crate::DeviceFacts {
        major: 8,
        size: 1 << 30,
        serial: Some("S3Z9".to_owned()),
        ..crate::DeviceFacts::default()
    };
    let mut script = Script::new(plan.clone());
    assert!(script.add("sda", facts.clone(), Content::default()).iter().any(is_ask));
    let opening = options(&script.types(SecretId(1)));
    assert_eq!(opening.header, Some(HeaderSource::File("/h.img".to_owned())));
    for other in [content(Kind::Ext4, "x"), gpt(&[(1, "p", None)])] {
        let actions = Script::new(plan.clone()).add("sda", facts.clone(), other);
        assert!(!actions.iter().any(is_ask), "what holds something else is not its data");
    }
}

#[test]
fn plain_takes_only_what_was_typed_for_it() {
    let tab = "p PARTUUID=part-1 none plain,x-initrd.attach,size=512,cipher=aes-xts-plain64\n\
               l UUID=aaaa none luks,x-initrd.attach\n";
    let mut script = Script::with_image(plan(uuid("inner")), crypttab(tab));
    script.disk("sdb", content(Kind::Luks2, "aaaa"));
    let actions = bare_partition(&mut script, "part-1");
    assert!(asks(&actions).iter().all(|(prompt, _)| !prompt.contains("sda1")), "{actions:?}");
    assert_eq!(typed(&mut script, 1), [("sdb".into(), "l".into())]);
    let actions = script.answer(is_open, Ok(Outcome::Done));
    assert!(!actions.iter().any(is_open), "any passphrase would open it");
    assert_eq!(asks(&actions)[0].0, "Passphrase for sda1 (p)");
    let actions = script.types(SecretId(2));
    assert_eq!(opened(&actions), [("sda1".into(), "p".into())]);
    let CryptFormat::Plain(plain) = options(&actions).format else { panic!("{actions:?}") };
    assert_eq!((plain.cipher.as_str(), plain.key_size), ("aes-xts-plain64", 64));
    assert_eq!(plain.hash.as_deref(), Some("ripemd160"), "as systemd does");
}

#[test]
fn plain_with_a_key_file_is_not_hashed() {
    for (words, hash) in [("plain", None), ("plain,hash=plain", None), ("plain,hash=sha512", Some("sha512"))]
    {
        let tab = format!("p PARTUUID=part-1 /k {words},x-initrd.attach,keyfile-offset=3");
        let mut script = Script::with_image(plan(uuid("inner")), crypttab(&tab));
        let actions = bare_partition(&mut script, "part-1");
        let CryptFormat::Plain(plain) = options(&actions).format else { panic!("{actions:?}") };
        assert_eq!(plain.hash.as_deref(), hash, "{words}");
        let source = SecretSource::File { path: "/k".to_owned(), offset: 3, size: Some(32) };
        assert!(
            actions.iter().any(|one| matches!(one, Action::OpenCrypt { secret, .. } if *secret == source)),
            "{actions:?}"
        );
    }
}

#[test]
fn foreign_formats() {
    let mut script =
        Script::with_image(plan(uuid("inner")), crypttab("w /dev/sda none bitlk,x-initrd.attach"));
    let mut volume = content(Kind::BitLocker, "");
    volume.signatures[0].uuid = None;
    volume.signatures[0].cipher = Some("aes-cbc-elephant".to_owned());
    let actions = script.disk("sda", volume.clone());
    let modules: Vec<&String> = actions
        .iter()
        .filter_map(|one| match one {
            Action::LoadModules(names) => Some(names),
            _ => None,
        })
        .flatten()
        .collect();
    for name in ["dm-crypt", "algif_aead", "crypto-ccm", "crypto-cbc(aes)"] {
        assert!(modules.iter().any(|one| *one == name), "{name} is not among {modules:?}");
    }
    let actions = script.types(SecretId(1));
    assert_eq!(
        (opened(&actions), options(&actions).format),
        (vec![("sda".into(), "w".into())], CryptFormat::BitLocker)
    );

    // Recognised by itself, too, once nothing else is left.
    let mut script = Script::new(plan(uuid("inner")));
    script.disk("sda", volume);
    assert!(script.wait(2_000).iter().any(is_ask));
    assert_eq!(typed(&mut script, 1), [("sda".to_owned(), "luks-sda".to_owned())]);

    let tab = "t /dev/sda none tcrypt-veracrypt,tcrypt-hidden,veracrypt-pim=7,x-initrd.attach";
    let mut script = Script::with_image(plan(uuid("inner")), crypttab(tab));
    assert!(script.disk("sda", Content::default()).iter().any(is_ask));
    let CryptFormat::Tcrypt(tcrypt) = options(&script.types(SecretId(1))).format else { panic!() };
    assert!(tcrypt.hidden && tcrypt.veracrypt && !tcrypt.system);
    assert_eq!(tcrypt.pim, Some(7));
}

#[test]
fn what_says_nothing_is_left_alone() {
    for tab in [
        "",
        "x PARTUUID=part-1 none luks,x-initrd.attach",
        "x PARTUUID=part-1 none plain,swap,x-initrd.attach",
    ] {
        let mut script = Script::with_image(plan(uuid("inner")), crypttab(tab));
        let mut actions = bare_partition(&mut script, "part-1");
        actions.extend(script.wait(20_000));
        assert!(!actions.iter().any(is_ask) && !actions.iter().any(is_open), "{tab}: {actions:?}");
    }
}

#[test]
fn a_key_on_a_device_as_such_and_keys_that_nobody_names() {
    let tab = "x UUID=aaaa /dev/disk/by-partuuid/part-1 keyfile-size=64,x-initrd.attach";
    let mut script = Script::with_image(plan(uuid("inner")), crypttab(tab));
    assert!(!script.disk("sdb", content(Kind::Luks2, "aaaa")).iter().any(is_ask));
    let actions = bare_partition(&mut script, "part-1");
    let raw = |one: &Action| matches!(one, Action::ReadKey { device, fstype: None, size: Some(64), .. } if device.0 == "sda1");
    assert!(actions.iter().any(raw), "{actions:?}");

    let mut image = crypttab("x UUID=aaaa - x-initrd.attach");
    image.key_files.insert("/etc/cryptsetup-keys.d/x.key".to_owned());
    image.key_files.insert("/etc/cryptsetup-keys.d/other.key".to_owned());
    let actions = Script::with_image(plan(uuid("inner")), image).disk("sdb", content(Kind::Luks2, "aaaa"));
    let paths: Vec<_> = actions
        .iter()
        .filter_map(|one| match one {
            Action::OpenCrypt { secret: SecretSource::File { path, .. }, .. } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, ["/etc/cryptsetup-keys.d/x.key"]);
}

#[test]
fn a_key_anywhere_begins_with_the_image() {
    for in_image in [true, false] {
        let mut plan = explicit(ID);
        plan.luks.keys.push(key("/k", KeyDevice::Any, KeyTarget::All));
        let mut image = ImageFacts::default();
        if in_image {
            image.key_files.insert("/k".to_owned());
        }
        let mut script = Script::with_image(plan, image);
        assert_eq!(script.disk("sda", luks()).iter().any(is_open), in_image);
        if in_image {
            wrong(&mut script);
        }
        assert!(script.disk("sdb", content(Kind::Ext4, "x")).iter().any(is_read), "then every device");
    }
}

#[test]
fn a_key_source_is_asked_for_at_once_and_closed_in_the_end() {
    let mut plan = plan(uuid("inner"));
    plan.luks.selectors.push(LuksSelector { keysource: true, ..selector(LuksIdKind::Uuid, "eeee") });
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, "aaaa"));
    plan.luks.keys.push(key("/k", KeyDevice::Label("KEYS".into()), KeyTarget::All));
    let mut script = Script::new(plan);
    script.disk("sda", content(Kind::Luks2, "aaaa"));
    let actions = script.disk("sdb", content(Kind::Luks2, "eeee"));
    assert_eq!(asks(&actions), [("Passphrase for sdb (luks-eeee)".to_owned(), None)]);
    assert!(!script.wait(30_000).iter().any(|one| is_open(one) || is_ask(one)), "the key may still come");
    let actions = script.types(SecretId(1));
    assert_eq!(opened(&actions), [("sda".into(), "luks-aaaa".into())], "tried on the other, too");
    let actions = wrong(&mut script);
    assert_eq!(opened(&actions), [("sdb".into(), "luks-eeee".into())]);
    assert!(!script.answer(is_open, Ok(Outcome::Done)).iter().any(is_ask));
    let mut keys = content(Kind::Ext4, "k");
    keys.signatures[0].label = Some(b"KEYS".to_vec());
    assert!(script.mapping("dm-0", "luks-eeee", "sdb", keys).iter().any(is_read));
    let actions = script.answer(is_read, Ok(Outcome::Secret(SecretId(2))));
    assert_eq!(opened(&actions), [("sda".into(), "luks-aaaa".into())]);
    script.answer(is_open, Ok(Outcome::Done));
    script.mapping("dm-1", "luks-aaaa", "sda", content(Kind::Ext4, "inner"));
    let actions = script.answer(is_mount, Ok(Outcome::Done));
    assert!(actions.contains(&Action::RemoveDm("luks-eeee".to_owned())), "{actions:?}");
    assert!(!actions.iter().any(is_switch), "not before it is closed");
    assert!(script.answer(is_close, Ok(Outcome::Done)).iter().any(is_switch));
}

#[test]
fn the_root_waits_for_containers_that_are_named() {
    let root = || content(Kind::Ext4, "inner");
    let attached = "x UUID=aaaa none x-initrd.attach";
    let nofail = "x UUID=aaaa none x-initrd.attach,nofail";
    // (is the root mounted at once, after the container was opened)
    for (what, plan, tab, at_once) in [
        ("named", explicit("aaaa"), "", false),
        ("named, but not needed", explicit("aaaa"), "x UUID=aaaa none nofail", true),
        ("crypttab", plan(uuid("inner")), attached, false),
        ("crypttab, but not needed", plan(uuid("inner")), nofail, true),
        ("nobody", plan(uuid("inner")), "", true),
    ] {
        let mut script = Script::with_image(plan, crypttab(tab));
        script.disk("sda", content(Kind::Luks2, "aaaa"));
        let actions = script.disk("sdb", root());
        assert_eq!(!mounted(&actions).is_empty(), at_once, "{what}");
        if at_once {
            continue;
        }
        assert!(mounted(&script.wait(300_000)).is_empty(), "{what}: somebody may still type");
        assert_eq!(typed(&mut script, 1).len(), 1, "{what}");
        script.answer(is_open, Ok(Outcome::Done));
        let actions = script.mapping("dm-0", "x", "sda", content(Kind::Ext4, "data"));
        assert!(script.engine.root_device().is_some() || mounted(&actions) == ["sdb"], "{what}: {actions:?}");
    }
}

#[test]
fn the_root_waits_a_little_for_a_named_container_that_is_not_there() {
    for (plan, tab) in [(explicit("aaaa"), ""), (plan(uuid("inner")), "x UUID=aaaa none x-initrd.attach")] {
        let mut script = Script::with_image(plan, crypttab(tab));
        assert!(mounted(&script.disk("sdb", content(Kind::Ext4, "inner"))).is_empty());
        assert!(mounted(&script.wait(9_000)).is_empty());
        assert_eq!(mounted(&script.wait(2_000)), ["sdb"]);
    }
}

#[test]
fn the_root_does_not_wait_for_what_has_failed() {
    let mut script = Script::with_image(explicit(ID), crypttab(&format!("x UUID={ID} none tries=1")));
    script.disk("sda", luks());
    assert!(mounted(&script.disk("sdb", content(Kind::Ext4, "inner"))).is_empty());
    assert_eq!(typed(&mut script, 1).len(), 1);
    assert_eq!(mounted(&wrong(&mut script)), ["sdb"]);
    // Nothing else is opened on the way.
    let mut script = Script::new(explicit(ID));
    script.disk("sda", luks());
    script.disk("sdb", content(Kind::Ext4, "inner"));
    let actions = script.disk("sdc", content(Kind::Luks2, "other"));
    assert!(asks(&actions).is_empty() && asks(&script.wait(60_000)).is_empty());
}

fn is_unseal(action: &Action) -> bool {
    matches!(action, Action::UnsealKey(..))
}

/// The secrets with which images are to be opened; 0 stands for looking whether there is one.
fn unsealed(actions: &[Action]) -> Vec<(HeaderSource, u64)> {
    let one = |action: &Action| match action {
        Action::UnsealKey(SealedKey::File(place), secret) => {
            Some((place.clone(), secret.map_or(0, |secret| secret.0)))
        }
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

fn sealed(device: KeyDevice) -> Plan {
    let mut plan = explicit("aa");
    plan.luks.keys.push(key("/k.img", device, KeyTarget::All));
    plan
}

#[test]
fn a_key_in_a_luks_image() {
    let place = HeaderSource::File("/k.img".to_owned());
    let mut script = Script::new(sealed(KeyDevice::Initramfs));
    let actions = script.disk("sda", content(Kind::Luks2, "aa11"));
    assert_eq!(unsealed(&actions), [(place.clone(), 0)]);
    assert!(!actions.iter().any(|one| is_ask(one) || is_open(one)), "it may not be there");
    let loads =
        |one: &Action| matches!(one, Action::LoadModules(names) if names.iter().any(|name| name == "loop"));
    assert!(actions.iter().any(loads), "{actions:?}");
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!(asks(&actions)[0].0, "Passphrase for /k.img, the key of sda (luks-aa)");
    // A wrong one may still be that of the container itself.
    let actions = script.types(SecretId(1));
    assert_eq!(unsealed(&actions), [(place.clone(), 1)]);
    assert!(!actions.iter().any(is_open));
    let actions = script.answer(is_unseal, Err(Failure::WrongSecret));
    assert_eq!(opened(&actions).len(), 1);
    assert!(asks(&wrong(&mut script))[0].1.as_deref().is_some_and(|note| note.contains("4 tries left")));
    assert_eq!(unsealed(&script.types(SecretId(2))), [(place.clone(), 2)]);
    let actions = script.answer(is_unseal, Ok(Outcome::Secret(SecretId(9))));
    let with = |actions: &[Action]| {
        actions.iter().find_map(|one| match one {
            Action::OpenCrypt { secret: SecretSource::Held(secret), .. } => Some(secret.0),
            _ => None,
        })
    };
    assert_eq!(with(&actions), Some(9), "{actions:?}");
    assert!(!script.answer(is_open, Ok(Outcome::Done)).iter().any(is_ask));
    // What was typed is tried on the image of a later one before anybody is asked; the useless one goes first.
    let actions = script.disk("sdb", content(Kind::Luks2, "aa22"));
    assert_eq!(unsealed(&actions), [(place.clone(), 0)]);
    assert_eq!(unsealed(&script.answer(is_unseal, Ok(Outcome::Done))), [(place.clone(), 1)]);
    assert_eq!(unsealed(&script.answer(is_unseal, Err(Failure::WrongSecret))), [(place, 2)]);
}

#[test]
fn a_key_that_gpg_has_encrypted() {
    let mut plan = explicit("aa");
    plan.luks.keys.push(key("/k.gpg", KeyDevice::Initramfs, KeyTarget::All));
    let mut script = Script::new(plan);
    let actions = script.disk("sda", content(Kind::Luks2, "aa11"));
    assert_eq!(unsealed(&actions), [(HeaderSource::File("/k.gpg".to_owned()), 0)]);
    let loads =
        |one: &Action| matches!(one, Action::LoadModules(names) if names.iter().any(|name| name == "loop"));
    assert!(!actions.iter().any(loads), "{actions:?}");
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!(asks(&actions)[0].0, "Passphrase for /k.gpg, the key of sda (luks-aa)");
    script.types(SecretId(1));
    let actions = script.answer(is_unseal, Ok(Outcome::Secret(SecretId(9))));
    assert_eq!(opened(&actions).len(), 1);
}

#[test]
fn one_image_opens_all_containers_whose_key_it_holds() {
    let mut script = Script::new(sealed(KeyDevice::Initramfs));
    script.disk("sda", content(Kind::Luks2, "aa11"));
    script.answer(is_unseal, Ok(Outcome::Done));
    script.disk("sdb", content(Kind::Luks2, "aa22"));
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    let asked = asks(&actions);
    assert!(asked[0].0.contains("the key of sda") && asked[0].0.contains("the key of sdb"), "{asked:?}");
    assert_eq!(unsealed(&script.types(SecretId(1))).len(), 1);
    let actions = script.answer(is_unseal, Ok(Outcome::Secret(SecretId(9))));
    assert_eq!(opened(&actions).len(), 1);
    let actions = script.answer(is_open, Ok(Outcome::Done));
    assert!(opened(&actions).len() == 1 && !actions.iter().any(is_unseal), "{actions:?}");
    assert!(!script.answer(is_open, Ok(Outcome::Done)).iter().any(is_ask));
}

#[test]
fn a_luks_image_that_cannot_be_had() {
    // On a stick that is waited for, and on which there is none.
    let mut script = Script::new(sealed(KeyDevice::Label("KEYS".into())));
    assert!(
        !script.disk("sda", content(Kind::Luks2, "aa11")).iter().any(|one| is_ask(one) || is_unseal(one))
    );
    let mut stick = content(Kind::Vfat, "1234-5678");
    stick.signatures[0].label = Some(b"KEYS".to_vec());
    let actions = script.disk("sdc", stick);
    let place = HeaderSource::FileOn {
        device: "sdc".into(),
        fstype: "vfat".to_owned(),
        path: "/k.img".to_owned(),
        named: true,
    };
    assert_eq!(unsealed(&actions), [(place, 0)]);
    let mut actions = script.answer(is_unseal, Err(Failure::NoKeyFile("/k.img".into())));
    actions.extend(script.wait(15_000));
    assert!(asks(&actions)[0].0.starts_with("Passphrase for sda"), "{actions:?}");
    // What is there and no image is said aloud.
    let mut script = Script::new(sealed(KeyDevice::Initramfs));
    script.disk("sda", content(Kind::Luks2, "aa11"));
    let actions = script.answer(is_unseal, Err(Failure::Other("it is no container".into())));
    assert_eq!(asks(&actions)[0].0, "Passphrase for sda (luks-aa)");
    assert!(actions.iter().chain(&script.wait(1)).any(|one| matches!(one, Action::Say(_, text)
        if text.contains("/k.img") && text.contains("no container"))));
}

#[test]
fn a_plain_mapping_never_gets_the_passphrase_of_its_key() {
    let mut plan = plan(uuid("inner"));
    plan.luks.keys.push(key("/k.img", KeyDevice::Initramfs, KeyTarget::All));
    let tab = "p PARTUUID=part-1 none plain,x-initrd.attach";
    let mut script = Script::with_image(plan, crypttab(tab));
    bare_partition(&mut script, "part-1");
    script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!(unsealed(&script.types(SecretId(1))).len(), 1);
    let actions = script.answer(is_unseal, Err(Failure::WrongSecret));
    assert!(!actions.iter().any(is_open) && actions.iter().any(is_ask), "{actions:?}");
    script.types(SecretId(2));
    let actions = script.answer(is_unseal, Ok(Outcome::Secret(SecretId(9))));
    assert_eq!(opened(&actions), [("sda1".into(), "p".into())]);
}

#[test]
fn a_loop_device_is_no_container() {
    let mut script = Script::new(Plan { auto: Some(true), ..plan(uuid("inner")) });
    assert!(!script.disk("loop0", luks()).iter().any(is_ask));
    assert!(script.disk("sda", content(Kind::Luks2, "aa11")).iter().any(is_ask));
}
