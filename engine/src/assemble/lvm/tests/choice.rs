//! Which volumes are activated, and what is waited for.

use ondisk::Kind;

use super::{created, group, id, make, make_on, pv, root, script, why, words};
use crate::script::{content, is_mount, mounted};
use crate::{Action, DeviceFacts, DmFacts, Event, Outcome};

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
    let dm = DmFacts { name: "vg-swap".into(), uuid: format!("LVM-{}{}", super::id('v'), super::id('A')) };
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
