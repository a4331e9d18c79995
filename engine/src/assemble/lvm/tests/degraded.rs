//! Groups of which PVs are missing.

use cmdline::plan::{LuksIdKind, LuksSelector};
use cmdline::root_spec;
use ondisk::Kind;

use super::{created, group, id, make_on, mirror, pv, script, why};
use crate::script::{Script, content, is_ask, is_open, plan};
use crate::{Action, ImageFacts, Loudness, Outcome, SecretId};

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
