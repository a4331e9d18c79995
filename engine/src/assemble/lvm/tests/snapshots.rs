//! Origins and snapshots hold the same file system.

use ondisk::lvm::{Section, Value, VolumeGroup};
use ondisk::{Content, Kind};

use super::{created, group, linear, make, make_on, pv, root, script, words};
use crate::script::{Script, content, is_mount, mounted};
use crate::{Action, Event, Failure, Outcome};

/// A volume `root` with a snapshot `snap`.
fn with_snapshot() -> VolumeGroup {
    let mut vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    let mut cow = linear("snap", 1, "pv0");
    cow.status = words(&["READ", "WRITE"]);
    let mut snapshot = linear("snapshot0", 2, "pv0");
    snapshot.segments[0].kind = "snapshot".into();
    snapshot.segments[0].config = Section(vec![
        ("chunk_size".into(), Value::Number(8)),
        ("origin".into(), Value::Text("root".into())),
        ("cow_store".into(), Value::Text("snap".into())),
    ]);
    vg.lvs.extend([cow, snapshot]);
    vg
}

/// Both are made; what they hold, if they were read. The last actions.
fn snapshot_made(script: &mut Script, origin: Option<Content>, snapshot: Content) -> Vec<Action> {
    let mut actions = script.disk("sda", pv('a', Some(&with_snapshot())));
    actions.extend(script.wait(3000));
    for (minor, name) in (0..).zip(["vg-root-real", "vg-root", "vg-snap-cow", "vg-snap"]) {
        assert_eq!(created(&actions), [name]);
        let holds = match name {
            "vg-root" => origin.clone(),
            "vg-snap" => Some(snapshot.clone()),
            _ => Some(Content::default()),
        };
        actions = make_on(script, minor, &["sda"], holds);
    }
    while let Some(resumed) = script.asked(|action| matches!(action, Action::ResumeDm(..))) {
        actions.extend(script.tell(Event::Done(resumed, Outcome::Done)));
    }
    actions
}

#[test]
fn a_snapshot_is_not_taken_for_its_origin() {
    let mut script = script("");
    let actions = snapshot_made(&mut script, None, root());
    assert!(!actions.iter().any(is_mount), "before the origin was read: {actions:?}");
    let is_read = |action: &Action| matches!(action, Action::Identify(name) if name.0 == "dm-1");
    let asked = script.asked(is_read).expect("the origin is read");
    let mut actions = script.tell(Event::Identified(asked, root()));
    assert_eq!(mounted(&actions), ["dm-1"]);
    let refused = Failure::Os { what: "mount".into(), errno: 117 };
    actions.extend(script.answer(is_mount, Err(refused)));
    actions.extend(script.wait(60_000));
    assert_eq!(mounted(&actions), ["dm-1"], "what was is no substitute for what is");
    assert!(!actions.iter().any(|one| matches!(one, Action::Say(_, text) if text.contains("also names"))));
}

#[test]
fn a_snapshot_with_an_id_of_its_own_can_be_root() {
    let mut script = script("");
    let actions = snapshot_made(&mut script, Some(content(Kind::Ext4, "other")), root());
    assert_eq!(mounted(&actions), ["dm-3"]);
}

#[test]
fn nobody_uses_a_volume_before_all_of_it_is_made() {
    let vg = with_snapshot();
    for line in ["root=/dev/vg/root", ""] {
        let mut script = script(line);
        let mut actions = script.disk("sda", pv('a', Some(&vg)));
        let mut made = Vec::new();
        for minor in 0..8 {
            let Some(name) = created(&actions).first().map(|name| (*name).to_owned()) else { break };
            assert!(!actions.iter().any(is_mount), "before all is made: {actions:?}");
            let holds = if name == "vg-root" || name == "vg-snap" { root() } else { Content::default() };
            actions = make(&mut script, minor, holds);
            made.push(name);
        }
        assert!(
            made.contains(&"vg-root-real".to_owned()) && made.contains(&"vg-snap".to_owned()),
            "{made:?}"
        );
        while !actions.iter().any(is_mount) {
            actions = script.answer(|action| matches!(action, Action::ResumeDm(..)), Ok(Outcome::Done));
        }
        let root = made.iter().position(|name| name == "vg-root").unwrap();
        assert_eq!(mounted(&actions), [format!("dm-{root}")]);
    }
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
