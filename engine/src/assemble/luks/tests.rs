//! What the LUKS assembler asks for, with scripted hands.

use cmdline::plan::{KeyDevice, KeyTarget, LuksIdKind, LuksKey, LuksSelector};
use ondisk::Kind;
use std::time::Duration;

use crate::script::{Script, content, is_ask, is_open, is_switch, mounted, opened, plan, uuid};
use crate::{Action, DevName, Event, Failure, ImageFacts, Outcome, QuestionId, SecretId, SecretSource};
use cmdline::Plan;

mod formats;
mod options;
mod time_limit;
mod tokens;

const ID: &str = "c15167d9-e233-3846-c457-81ffc102baa0";

fn luks() -> ondisk::Content {
    content(Kind::Luks2, ID)
}

fn selector(kind: LuksIdKind, id: &str) -> LuksSelector {
    LuksSelector { kind, id: id.to_owned(), keysource: false, name: None }
}

/// A plan that opens the container whatever else there is.
fn explicit(id: &str) -> Plan {
    let mut plan = plan(uuid("inner"));
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, id));
    plan
}

fn key(path: &str, device: KeyDevice, target: KeyTarget) -> LuksKey {
    LuksKey { path: path.to_owned(), device, target }
}

fn crypttab(text: &str) -> ImageFacts {
    ImageFacts { crypttab: cmdline::crypttab::parse(text).0, ..ImageFacts::default() }
}

fn typed(script: &mut Script, number: u64) -> Vec<(String, String)> {
    opened(&script.types(SecretId(number)))
}

fn wrong(script: &mut Script) -> Vec<Action> {
    script.answer(is_open, Err(Failure::WrongSecret))
}

fn asks(actions: &[Action]) -> Vec<(String, Option<String>)> {
    let ask = |action: &Action| match action {
        Action::AskPassphrase { prompt, note, .. } => Some((prompt.clone(), note.clone())),
        _ => None,
    };
    actions.iter().filter_map(ask).collect()
}

/// The number of the question.
fn number(actions: &[Action]) -> QuestionId {
    let one = |action: &Action| match action {
        Action::AskPassphrase { question, .. } => Some(*question),
        _ => None,
    };
    actions.iter().find_map(one).expect("a question")
}

#[test]
fn selectors_choose_and_name() {
    let named = |mut plan: Plan, name: &str| {
        plan.luks.selectors[0].name = Some(name.to_owned());
        plan
    };
    let row = format!("tabbed UUID={ID} none");
    for (what, plan, tab, expected) in [
        ("whole id", explicit(ID), "", Some(format!("luks-{ID}"))),
        (
            "a part of it, in capitals, without dashes",
            explicit("D9E2333846"),
            "",
            Some("luks-D9E2333846".into()),
        ),
        ("another id", explicit("00000000"), "", None),
        ("named on the command line", named(explicit(ID), "root"), "", Some("root".into())),
        ("the command line's name goes first", named(explicit(ID), "root"), &row, Some("root".into())),
        ("crypttab's name otherwise", explicit(ID), &row, Some("tabbed".into())),
    ] {
        let mut script = Script::with_image(plan, crypttab(tab));
        let asked = script.disk("sda", luks()).iter().any(is_ask);
        assert_eq!(asked, expected.is_some(), "{what}");
        if let Some(name) = expected {
            assert_eq!(typed(&mut script, 1), [("sda".to_owned(), name)], "{what}");
        }
    }
}

#[test]
fn a_serial_selects_what_lies_on_the_drive() {
    let mut plan = plan(uuid("inner"));
    plan.luks.selectors.push(selector(LuksIdKind::Serial, "S3Z"));
    for (serial, expected) in [("xS3Z9", true), ("other", false)] {
        let mut script = Script::new(plan.clone());
        let facts = crate::DeviceFacts {
            major: 8,
            size: 1 << 30,
            serial: Some(serial.to_owned()),
            ..crate::DeviceFacts::default()
        };
        assert_eq!(script.add("sda", facts, luks()).iter().any(is_ask), expected, "{serial}");
    }
}

#[test]
fn what_is_opened_without_being_named() {
    let by_name = plan(cmdline::root_spec(&format!("/dev/mapper/luks-{ID}")));
    let auto = |auto| Plan { auto, ..plan(uuid("inner")) };
    let off = |mut plan: Plan| {
        plan.luks.enabled = false;
        plan
    };
    // (at once, when nothing else is left)
    for (what, plan, tab, expected) in [
        ("on demand", auto(None), "", (false, true)),
        ("rd.auto", auto(Some(true)), "", (true, true)),
        ("rd.auto=0", auto(Some(false)), "", (false, false)),
        ("root=/dev/mapper names it", by_name.clone(), "", (true, true)),
        ("rd.luks=0", off(auto(Some(true))), "", (false, false)),
        ("rd.luks=0 with its name", off(by_name), "", (false, false)),
        ("rd.luks=0 with its id", off(explicit(ID)), "", (false, false)),
        ("others are named", explicit("0000"), "", (false, false)),
    ] {
        let mut script = Script::with_image(plan, crypttab(tab));
        let at_once = script.disk("sda", luks()).iter().any(is_ask);
        let later = at_once || script.wait(2_000).iter().any(is_ask);
        assert_eq!((at_once, later), expected, "{what}");
    }
}

#[test]
fn the_root_is_not_asked_a_passphrase_for_when_it_is_there() {
    let mut script = Script::new(plan(uuid("root")));
    script.disk("sda", luks());
    assert!(script.wait(2_000).iter().any(is_ask));
    let actions = script.disk("sdb", content(Kind::Ext4, "root"));
    assert_eq!(mounted(&actions), ["sdb"]);
    let actions = script.answer(crate::script::is_mount, Ok(Outcome::Done));
    let order: Vec<bool> =
        actions.iter().filter(|one| **one == Action::StopAsking || is_switch(one)).map(is_switch).collect();
    assert_eq!(order, [false, true], "the question goes before the hand-over: {actions:?}");
}

#[test]
fn a_break_point_takes_the_question_back_and_its_end_asks_again() {
    let mut plan = plan(uuid("root"));
    plan.failure.breaks = vec![cmdline::plan::BreakPoint::PreMount];
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    assert!(script.wait(2_000).iter().any(is_ask));
    let actions = script.disk("sdb", content(Kind::Ext4, "root"));
    let order: Vec<bool> = actions
        .iter()
        .filter(|one| matches!(one, Action::StopAsking | Action::Break(_)))
        .map(|one| *one == Action::StopAsking)
        .collect();
    assert_eq!(order, [true, false], "{actions:?}");
    script.tell(Event::Continue);
    let actions = script.answer(crate::script::is_mount, Err(Failure::Other("refused".into())));
    let later = script.wait(2_000);
    assert!(actions.iter().chain(&later).any(is_ask), "{actions:?} {later:?}");
}

#[test]
fn wrong_passphrases_to_the_limit() {
    for (tab, limit) in [("", 5), (&*format!("x UUID={ID} none tries=2"), 2)] {
        let mut script = Script::with_image(explicit(ID), crypttab(tab));
        script.disk("sda", luks());
        for number in 1..=limit {
            assert_eq!(typed(&mut script, number).len(), 1, "try {number} of {limit}");
            let notes = asks(&wrong(&mut script));
            let left = limit - number;
            match notes.as_slice() {
                [(prompt, Some(note))] => {
                    assert!(prompt.contains("sda"), "{prompt}");
                    let expected =
                        if left == 1 { "1 try left".to_owned() } else { format!("{left} tries left") };
                    assert!(note.contains(&expected), "{note}");
                }
                [] => assert_eq!(left, 0, "no question although {left} tries are left"),
                other => panic!("{other:?}"),
            }
        }
        // Waiting cannot help any more, but a stop comes with a little grace.
        assert!(!script.wait(9_000).iter().any(crate::script::is_rescue));
        assert!(script.wait(3_000).iter().any(crate::script::is_rescue));
        let text = script.engine.explain(crate::Moment(script.now)).to_string();
        assert!(text.contains(&format!("{limit} wrong passphrases")), "{text}");
        assert!(text.contains("type the right passphrase of sda"), "{text}");
        // After a retry by the operator all tries are there again.
        assert!(script.tell(Event::Retry).iter().any(is_ask));
        assert_eq!(typed(&mut script, 77).len(), 1);
    }
}

#[test]
fn without_a_limit_the_question_comes_again_and_again() {
    let mut script = Script::with_image(explicit(ID), crypttab(&format!("x UUID={ID} none tries=0")));
    script.disk("sda", luks());
    for number in 1..20 {
        assert_eq!(typed(&mut script, number).len(), 1);
        assert_eq!(asks(&wrong(&mut script))[0].1.as_deref(), Some("wrong passphrase"));
    }
}

#[test]
fn one_passphrase_is_tried_on_every_container_and_on_later_ones() {
    let mut plan = plan(uuid("inner"));
    plan.auto = Some(true);
    let mut script = Script::new(plan);
    script.disk("sda", content(Kind::Luks2, "aaaa"));
    let prompt = asks(&script.disk("sdb", content(Kind::Luks1, "bbbb")));
    assert!(prompt[0].0.contains("sda") && prompt[0].0.contains("sdb"), "{prompt:?}");
    assert_eq!(typed(&mut script, 1), [("sda".into(), "luks-aaaa".into())], "one derivation at a time");
    let next = script.answer(is_open, Ok(Outcome::Done));
    assert_eq!(opened(&next), [("sdb".into(), "luks-bbbb".into())]);
    let after = wrong(&mut script);
    // It opened something, so it was not wrong.
    assert_eq!(asks(&after), [("Passphrase for sdb (luks-bbbb)".to_owned(), None)]);
    let late = script.disk("sdc", content(Kind::Luks2, "cccc"));
    assert_eq!(opened(&late), [("sdc".into(), "luks-cccc".into())], "tried before anybody is asked");
}

#[test]
fn a_key_file_of_the_image_goes_first() {
    let mut plan = explicit(ID);
    plan.luks.keys.push(key("/key", KeyDevice::Initramfs, KeyTarget::All));
    let mut script = Script::new(plan);
    let actions = script.disk("sda", luks());
    assert!(!actions.iter().any(is_ask));
    let source = actions.iter().find_map(|action| match action {
        Action::OpenCrypt { secret, .. } => Some(secret.clone()),
        _ => None,
    });
    assert_eq!(source, Some(SecretSource::File { path: "/key".into(), offset: 0, size: None }));
    let actions = script.answer(is_open, Err(Failure::NoKeyFile("/key".into())));
    assert!(asks(&actions)[0].1.as_deref().is_some_and(|note| note.contains("/key")), "{actions:?}");
}

#[test]
fn a_key_file_that_cannot_be_used_leaves_the_next_key_and_the_passphrase() {
    let mut plan = explicit(ID);
    for path in ["/empty", "/good"] {
        plan.luks.keys.push(key(path, KeyDevice::Initramfs, KeyTarget::All));
    }
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    let bad = |path: &str| Err(Failure::BadKey(format!("key file {path} is empty")));
    let said = |actions: &[Action], path: &str| {
        let fits = |one: &Action| matches!(one, Action::Say(crate::Loudness::Error, text) if text.contains(path) && text.contains("sda"));
        actions.iter().any(fits)
    };
    let actions = script.answer(is_open, bad("/empty"));
    assert!(said(&actions, "/empty") && actions.iter().any(is_open), "{actions:?}");
    let actions = script.answer(is_open, bad("/good"));
    assert!(said(&actions, "/good"), "{actions:?}");
    assert!(
        asks(&actions)[0].1.as_deref().is_some_and(|note| note.contains("/good is empty")),
        "{actions:?}"
    );
    assert_eq!(typed(&mut script, 1).len(), 1);
}

#[test]
fn keys_are_for_the_container_that_they_name() {
    for (target, tried) in [
        (KeyTarget::All, true),
        (KeyTarget::Uuid("c15167d9".into()), true),
        (KeyTarget::Uuid("5167d9".into()), false),
        (KeyTarget::Path("/dev/sda".into()), true),
        (KeyTarget::Path("/dev/sdb".into()), false),
        (KeyTarget::Label("x".into()), false),
    ] {
        let mut plan = explicit(ID);
        plan.luks.keys.push(key("/key", KeyDevice::Initramfs, target.clone()));
        let actions = Script::new(plan).disk("sda", luks());
        assert_eq!(actions.iter().any(is_open), tried, "{target:?}");
    }
}

#[test]
fn a_key_device_is_waited_for_and_taken_even_late() {
    let mut plan = explicit(ID);
    plan.luks.keys.push(key("/key", KeyDevice::Label("KEYS".into()), KeyTarget::All));
    let mut stick = content(Kind::Vfat, "1234-5678");
    stick.signatures[0].label = Some(b"KEYS".to_vec());
    let read = |action: &Action| matches!(action, Action::ReadKey { .. });

    for wait in [1_000, 30_000] {
        let mut script = Script::new(plan.clone());
        assert!(!script.disk("sda", luks()).iter().any(is_ask), "not before rd.luks.key.tout");
        assert_eq!(script.wait(wait).iter().any(is_ask), wait > 10_000);
        assert!(script.disk("sdb", content(Kind::Vfat, "other")).iter().all(|action| !read(action)));
        let actions = script.disk("sdc", stick.clone());
        assert!(actions.iter().any(read), "{actions:?}");
        assert!(!actions.contains(&Action::StopAsking), "somebody may be typing");
        let actions = script.answer(read, Ok(Outcome::Secret(SecretId(9))));
        assert_eq!(opened(&actions), [("sda".to_owned(), format!("luks-{ID}"))]);
        // A wrong key is said, and the question comes at once.
        assert!(wait > 10_000 || wrong(&mut script).iter().any(is_ask));
    }
}

/// crypttab(5): `keyfile-timeout=` of one container goes before rd.luks.key.tout=, and 0 is for ever.
#[test]
fn a_key_device_is_waited_for_as_long_as_the_container_says() {
    for (option, before, after) in [("3", 2_000, 2_000), ("1min", 50_000, 20_000), ("0", 170_000, 0)] {
        let mut plan = explicit(ID);
        plan.luks.keys.push(key("/key", KeyDevice::Label("KEYS".into()), KeyTarget::All));
        plan.luks.options.push((None, vec![format!("keyfile-timeout={option}")]));
        let mut script = Script::new(plan);
        assert!(!script.disk("sda", luks()).iter().any(is_ask), "{option}");
        assert!(!script.wait(before).iter().any(is_ask), "{option}");
        assert_eq!(script.wait(after).iter().any(is_ask), after > 0, "{option}");
    }
}

/// What is waited for is the device: one that is there without a usable key is none to wait for (systemd-cryptsetup asks
/// then, too).
#[test]
fn a_key_that_its_device_does_not_give_is_not_waited_for() {
    let mut stick = content(Kind::Vfat, "1234-5678");
    stick.signatures[0].label = Some(b"KEYS".to_vec());
    let read = |action: &Action| matches!(action, Action::ReadKey { .. });
    for option in ["keyfile-timeout=0", "keyfile-timeout=1min", "tries=5"] {
        for device in [KeyDevice::Label("KEYS".into()), KeyDevice::Any] {
            let any = device == KeyDevice::Any;
            let mut plan = explicit(ID);
            plan.luks.keys.push(key("/key", device, KeyTarget::All));
            plan.luks.options.push((None, vec![option.to_owned()]));
            let mut script = Script::new(plan);
            script.disk("sda", luks());
            assert!(script.disk("sdb", stick.clone()).iter().any(read));
            let actions = script.answer(read, Err(Failure::NoKeyFile("/key".into())));
            // Where any device will do, another one may come.
            assert_eq!(actions.iter().any(is_ask), !any, "{option}");
        }
    }
}

/// systemd reads that part of the file whoever names it; the plaintext of an image is the whole key.
#[test]
fn a_part_of_a_key_file() {
    let mut plan = explicit(ID);
    plan.luks
        .options
        .push((Some(ID.to_owned()), vec!["keyfile-offset=512".into(), "keyfile-size=64".into()]));
    plan.luks.keys.push(key("/dev/sdb", KeyDevice::Initramfs, KeyTarget::All));
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    let actions = script.disk("sdb", ondisk::Content::default());
    let part = |action: &Action| {
        let Action::ReadKey { fstype: None, offset: 512, size: Some(64), device, .. } = action else {
            return false;
        };
        device.0 == "sdb"
    };
    assert!(actions.iter().any(part), "{actions:?}");
}

/// `rd.luks.name=` goes by the UUID of the container whatever selects it.
#[test]
fn a_name_by_uuid_is_that_of_a_container_selected_otherwise() {
    let mut plan = plan(uuid("inner"));
    plan.luks.selectors.push(selector(LuksIdKind::Serial, "S3Z"));
    plan.luks.names.push((ID[..13].to_uppercase(), "vault".to_owned()));
    let mut script = Script::new(plan);
    let facts = crate::DeviceFacts {
        major: 8,
        size: 1 << 30,
        serial: Some("S3Z".to_owned()),
        ..crate::DeviceFacts::default()
    };
    assert!(script.add("sda", facts, luks()).iter().any(is_ask));
    assert_eq!(typed(&mut script, 1), [("sda".to_owned(), "vault".to_owned())]);
}

#[test]
fn a_stick_that_comes_back_is_searched_again() {
    let mut plan = explicit(ID);
    plan.luks.keys.push(key("/key", KeyDevice::Any, KeyTarget::All));
    let read = |action: &Action| matches!(action, Action::ReadKey { .. });
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    assert!(script.disk("sdb", content(Kind::Vfat, "x")).iter().any(read));
    script.answer(read, Err(Failure::NoKeyFile("/key".into())));
    assert!(!script.wait(20_000).iter().any(read), "once per device");
    script.tell(Event::Gone("sdb".into()));
    assert!(script.disk("sdb", content(Kind::Vfat, "x")).iter().any(read));
}

#[test]
fn only_a_device_that_was_named_may_have_its_journal_replayed() {
    for (device, expected) in [(KeyDevice::Any, false), (KeyDevice::Uuid("1234".into()), true)] {
        let mut plan = explicit(ID);
        plan.luks.keys.push(key("/key", device, KeyTarget::All));
        let mut script = Script::new(plan);
        script.disk("sda", luks());
        let actions = script.disk("sdb", content(Kind::Ext4, "1234-5678"));
        let named = actions.iter().find_map(|action| match action {
            Action::ReadKey { named, .. } => Some(*named),
            _ => None,
        });
        assert_eq!(named, Some(expected));
    }
}

/// Whoever mounts the same device meanwhile shares that mount's superblock, which replays no journal.
#[test]
fn root_is_not_mounted_while_a_key_is_looked_for_on_it() {
    let mut plan = explicit(ID);
    plan.luks.keys.push(key("/key", KeyDevice::Any, KeyTarget::All));
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    let reads = |action: &Action| matches!(action, Action::ReadKey { .. });
    assert!(script.disk("sdb", content(Kind::Ext4, "root")).iter().any(reads));
    assert!(mounted(&script.tell(Event::UseRoot("sdb".into()))).is_empty());
    assert_eq!(mounted(&script.answer(reads, Err(Failure::NoKeyFile("/key".into())))), ["sdb"]);
}

#[test]
fn copies_are_left_alone_until_the_first_is_gone_or_broken() {
    let twin = |how: &str| {
        let mut script = Script::new(explicit(ID));
        script.disk("sda", luks());
        let actions = script.disk("sdb", luks());
        let warned = |action: &Action| matches!(action, Action::Say(_, text) if text.contains("sdb"));
        assert!(actions.iter().any(warned), "{actions:?}");
        assert!(!actions.iter().any(is_ask));
        assert_eq!(typed(&mut script, 1).len(), 1);
        let actions = match how {
            "gone" => {
                wrong(&mut script);
                script.tell(Event::Gone(DevName("sda".into())))
            }
            _ => script.answer(is_open, Err(Failure::Os { what: "read sda".into(), errno: 5 })),
        };
        assert_eq!(opened(&actions).first().map(|(device, _)| device.as_str()), Some("sdb"), "{how}");
    };
    twin("gone");
    twin("broken");
}

#[test]
fn a_container_that_cannot_be_opened_is_named_in_the_log() {
    let mut script = Script::new(explicit(ID));
    script.disk("sda", luks());
    typed(&mut script, 1);
    let actions = script.answer(is_open, Err(Failure::Os { what: "read sda".into(), errno: 5 }));
    let said =
        |action: &Action| matches!(action, Action::Say(_, text) if text.contains("sda cannot be opened as"));
    assert_eq!(actions.iter().filter(|action| said(action)).count(), 1, "{actions:?}");
}

#[test]
fn a_container_that_comes_back_while_it_is_being_opened_is_not_opened_twice() {
    let mut script = Script::new(explicit(ID));
    script.disk("sda", luks());
    assert_eq!(typed(&mut script, 1).len(), 1);
    script.tell(Event::Gone("sda".into()));
    assert!(opened(&script.disk("sda", luks())).is_empty(), "the first attempt is still under way");
    let actions = script.answer(is_open, Ok(Outcome::Done));
    assert!(!actions.iter().any(is_open) && !actions.iter().any(is_ask), "{actions:?}");
}

#[test]
fn a_copy_is_not_opened_in_place_of_an_open_container_that_went_away() {
    let mut script = Script::new(explicit(ID));
    script.disk("sda", luks());
    script.disk("sdb", luks());
    assert_eq!(typed(&mut script, 1).len(), 1);
    script.answer(is_open, Ok(Outcome::Done));
    let actions = script.tell(Event::Gone("sda".into()));
    assert!(!actions.iter().any(is_open) && !actions.iter().any(is_ask), "{actions:?}");
}

#[test]
fn names_do_not_collide() {
    let mut script = Script::new(explicit("aa"));
    script.disk("sda", content(Kind::Luks2, "aa11"));
    script.disk("sdb", content(Kind::Luks2, "aa22"));
    assert_eq!(typed(&mut script, 1), [("sda".into(), "luks-aa".into())]);
    assert_eq!(opened(&script.answer(is_open, Ok(Outcome::Done))), [("sdb".into(), "luks-aa22".into())]);
}

#[test]
fn a_hostile_uuid_makes_a_harmless_name() {
    assert_eq!(super::choice::default_name("../../etc/passwd\n", &"sda".into()), "luks-______etc_passwd_");
}

#[test]
fn what_is_typed_stays_while_it_is_for_those_that_can_tell_a_wrong_one() {
    let table = "a UUID=aaaa none x-initrd.attach\nb UUID=bbbb none x-initrd.attach\np /dev/sdz none plain,x-initrd.attach";
    let mut script = Script::with_image(plan(uuid("inner")), crypttab(table));
    let shared = number(&script.disk("sda", content(Kind::Luks2, "aaaa")));
    assert_eq!(number(&script.disk("sdb", content(Kind::Luks2, "bbbb"))), shared);
    script.disk("sdz", ondisk::Content::default());
    script.types(SecretId(1));
    wrong(&mut script);
    assert_eq!(number(&wrong(&mut script)), shared);
    script.types(SecretId(2));
    script.answer(is_open, Ok(Outcome::Done));
    let actions = script.answer(is_open, Ok(Outcome::Done));
    assert_ne!(number(&actions), shared, "{actions:?}");
    // Anything opens a plain mapping, the rest of the others' passphrase too.
    assert_eq!(opened(&script.tell(Event::Typed(SecretId(3), shared))), []);
    assert_eq!(opened(&script.types(SecretId(4))), [("sdz".into(), "p".into())]);
}

#[test]
fn a_root_two_containers_deep() {
    let mut plan = plan(uuid("root"));
    plan.auto = Some(true);
    let mut script = Script::new(plan);
    script.disk("sda", content(Kind::Luks2, "outer"));
    assert_eq!(typed(&mut script, 1).len(), 1);
    script.answer(is_open, Ok(Outcome::Done));
    let actions = script.mapping("dm-0", "luks-outer", "sda", content(Kind::Luks2, "within"));
    assert_eq!(opened(&actions), [("dm-0".into(), "luks-within".into())], "with the passphrase typed before");
    script.answer(is_open, Ok(Outcome::Done));
    let actions = script.mapping("dm-1", "luks-within", "dm-0", content(Kind::Ext4, "root"));
    assert_eq!(mounted(&actions), ["dm-1"]);
}
