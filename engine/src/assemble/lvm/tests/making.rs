//! How a volume is made, and taken down again when it cannot be.

use ondisk::Content;

use super::{created, group, make, mirror, pv, root, script, why};
use crate::script::is_mount;
use crate::{Action, DeviceFacts, Event, Failure, Outcome, QueueFacts, ReadAhead};

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
