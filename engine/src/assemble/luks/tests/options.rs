//! Options: whose count, and which containers they leave alone.

use super::*;

/// A plan with these words of a command line, whose root is in the container.
fn words(line: &str) -> Plan {
    let sources = cmdline::Sources { kernel: line.into(), ..Default::default() };
    let (plan, remarks) = cmdline::parse(&sources);
    assert!(remarks.is_empty(), "{line}: {remarks:?}");
    plan
}

#[test]
fn what_may_fail_by_the_command_line_holds_no_root() {
    for (option, held) in [("nofail", false), ("read-only", true)] {
        for there in [false, true] {
            let mut plan = plan(uuid("inner"));
            plan.luks.selectors.push(selector(LuksIdKind::Uuid, ID));
            plan.luks.options.push((Some(ID.to_owned()), vec![option.to_owned()]));
            let mut script = Script::new(plan);
            if there {
                assert_eq!(asks(&script.disk("sdb", luks())).len(), 1);
            }
            let actions = script.disk("sda", content(Kind::Ext4, "inner"));
            assert_eq!(mounted(&actions).is_empty(), held, "{option}, there: {there}");
        }
    }
}

#[test]
fn options_reach_the_mapping() {
    let mut plan = explicit(ID);
    plan.luks.options.push((None, vec!["no-read-workqueue".into(), "key-slot=3".into()]));
    plan.luks.options.push((Some("0000".into()), vec!["read-only".into()]));
    plan.luks.discards = cmdline::plan::Discards::Some(vec![ID.into()]);
    let mut script =
        Script::with_image(plan, crypttab(&format!("x UUID={ID} none same-cpu-crypt,key-slot=1")));
    script.disk("sda", luks());
    let actions = script.types(SecretId(1));
    let options = actions.iter().find_map(|action| match action {
        Action::OpenCrypt { options, .. } => Some(options.clone()),
        _ => None,
    });
    let expected = crate::CryptOptions {
        discard: true,
        no_read_workqueue: true,
        same_cpu_crypt: true,
        keyslot: Some(3),
        ..crate::CryptOptions::default()
    };
    assert_eq!(options, Some(expected));
}

/// systemd's generator makes a unit of what has `noauto` that nothing but its mapping pulls in, named or not; dracut's
/// script opens it for nobody.
#[test]
fn noauto_leaves_a_container_to_a_root_that_names_its_mapping() {
    let id = format!("rd.luks.uuid={ID}");
    let option = format!("rd.luks.options={ID}=noauto");
    for (line, options, expected) in [
        ("", "noauto", false),
        ("rd.auto=1", "noauto", false),
        (&*id, "noauto", false),
        (&id, "auto,noauto", false),
        (&id, "noauto,auto", true),
        (&id, "-", true),
        ("rd.luks.options=noauto", "x-initrd.attach", false),
        (&option, "x-initrd.attach", false),
        (&format!("{id} {option}"), "-", false),
        (&format!("{id} {option} rd.luks.options={ID}=auto"), "-", true),
        (&format!("{id} rd.luks.options={ID}=auto"), "noauto", true),
        (&format!("{id} rd.luks.options=auto"), "noauto", true),
        (&format!("{id} rd.luks.options=00000000=auto"), "noauto", false),
        (&format!("{id} rd.luks.crypttab=0"), "noauto", true),
        (&format!("rd.luks.name={ID}=y"), "noauto", false),
    ] {
        // The mapping's name is the row's, unless the command line has another.
        let named = !line.contains("name=") && !line.contains("crypttab=0");
        for (root, expected) in [("UUID=inner", expected), ("/dev/mapper/x", expected || named)] {
            let image = crypttab(&format!("x UUID={ID} none {options}"));
            let mut script = Script::with_image(words(&format!("root={root} {line}")), image);
            let mut actions = script.disk("sda", luks());
            actions.extend(script.wait(60_000));
            assert_eq!(actions.iter().any(is_ask), expected, "root={root} {line}: {options}");
        }
    }
}

/// What is made anew at each start holds no root, and nothing is made anew here: dracut's script leaves it alone, too.
#[test]
fn scratch_is_never_opened() {
    for option in ["swap", "tmp", "tmp=xfs"] {
        for (line, row) in [
            (format!("root=UUID=inner rd.luks.uuid={ID}"), option),
            (format!("root=UUID=inner rd.luks.uuid={ID} rd.luks.options={option}"), "-"),
            (format!("root=UUID=inner rd.luks.options={ID}={option}"), "x-initrd.attach"),
            (format!("root=/dev/mapper/x rd.luks.uuid={ID}"), option),
            (format!("root=/dev/mapper/x rd.luks.options={ID}={option},auto"), "-"),
        ] {
            let mut script = Script::with_image(words(&line), crypttab(&format!("x UUID={ID} none {row}")));
            let mut actions = script.disk("sda", luks());
            actions.extend(script.wait(400_000));
            assert!(!actions.iter().any(|one| is_ask(one) || is_open(one)), "{line}, {row}: {actions:?}");
            let text = script.engine.explain(crate::Moment(script.now)).to_string();
            assert!(text.contains("have swap or tmp") && !text.contains("if root lies in"), "{text}");
        }
    }
}

#[test]
fn what_is_left_alone_holds_no_root_and_is_explained() {
    for option in ["noauto", "swap"] {
        for (line, row) in [
            (format!("rd.luks.uuid={ID}"), option),
            (format!("rd.luks.uuid={ID} rd.luks.options={option}"), "-"),
            (format!("rd.luks.options={option}"), "x-initrd.attach"),
            (format!("rd.luks.options={ID}={option}"), "x-initrd.attach"),
        ] {
            let tab = format!("x UUID={ID} none {row}");
            for there in [true, false] {
                let mut script =
                    Script::with_image(words(&format!("root=UUID=inner {line}")), crypttab(&tab));
                if there {
                    script.disk("sda", luks());
                }
                let actions = script.disk("sdb", content(Kind::Ext4, "inner"));
                assert_eq!(mounted(&actions), ["sdb"], "{line}, {row}, there: {there}");
            }
        }
    }
    let line = format!("root=UUID=inner rd.luks.uuid={ID}");
    let mut script = Script::with_image(words(&line), crypttab(&format!("x UUID={ID} none noauto")));
    script.disk("sda", luks());
    let text = script.engine.explain(crate::Moment(script.now)).to_string();
    let remedy = format!("in the container sda: rd.luks.uuid={ID} rd.luks.options={ID}=auto");
    assert!(text.contains("its options have noauto") && text.contains(&remedy), "{text}");
}

/// Word by word: what neither list says stays, and the last of several words counts.
#[test]
fn the_command_line_goes_before_the_row() {
    let options = |line: &str, row: &str| {
        let line = format!("root=UUID=inner rd.luks.uuid={ID} {line}");
        let mut script = Script::with_image(words(&line), crypttab(&format!("x UUID={ID} none {row}")));
        script.disk("sda", luks());
        script.types(SecretId(1)).iter().find_map(|action| match action {
            Action::OpenCrypt { options, .. } => Some(options.clone()),
            _ => None,
        })
    };
    for (line, row, discard, slot, read_only) in [
        ("", "discard,key-slot=1", true, Some(1), false),
        ("rd.luks.options=key-slot=2", "discard,key-slot=1", true, Some(2), false),
        (&*format!("rd.luks.options={ID}=key-slot=2,read-only"), "discard,key-slot=1", true, Some(2), true),
        (&format!("rd.luks.options={ID}=key-slot=2 rd.luks.options=key-slot=3"), "-", false, Some(3), false),
        ("rd.luks.options=c15167d9=discard rd.luks.options=00000000=key-slot=1", "-", true, None, false),
    ] {
        let made = options(line, row).map(|one| (one.discard, one.keyslot, one.read_only));
        assert_eq!(made, Some((discard, slot, read_only)), "{line}: {row}");
    }
}
