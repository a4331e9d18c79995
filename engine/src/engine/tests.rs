//! Waiting, stopping, break points, and what the goal does.

use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{BreakPoint, EmergencyAction, Patience};
use ondisk::{Content, Kind, Signature};

use super::*;
use crate::command::{GiveUp, Loudness};
use crate::event::{DeviceFacts, Driverless};
use crate::script::{Script, content, is_mount, is_rescue, is_switch, mounted, plan, uuid};

fn ext4(id: &str) -> Content {
    content(Kind::Ext4, id)
}

fn explains(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Explain(..))).count()
}

fn patient(patience: Patience) -> Plan {
    Plan { patience, ..plan(uuid("root")) }
}

#[test]
fn the_shortest_way() {
    let mut script = Script::new(plan(uuid("root")));
    let actions = script.disk("sda", ext4("root"));
    let modules = |action: &Action| *action == Action::LoadModules(vec!["fs-ext4".into()]);
    assert!(actions.iter().any(modules));
    assert_eq!(mounted(&actions), ["sda"]);
    let actions = script.answer(is_mount, Ok(Outcome::Done));
    assert!(actions.iter().any(is_switch));
    assert!(script.disk("sdb", ext4("root")).is_empty(), "not a word after the hand-over");
    assert_eq!(script.engine.deadline(), None);
}

#[test]
fn when_it_speaks_and_when_it_gives_up() {
    // (patience, explanations by 4 s, by 40 s, seconds until the stop)
    for (patience, stop) in [
        (Patience::Quiet(Duration::from_secs(180)), Some(180)),
        (Patience::Quiet(Duration::from_secs(5)), Some(5)),
        (Patience::Total(Duration::from_secs(60)), Some(60)),
        (Patience::Forever, None),
    ] {
        let mut script = Script::new(patient(patience));
        script.disk("sda", ext4("other"));
        let early = script.wait(4_000);
        assert_eq!(explains(&early), 1, "{patience:?}: {early:?}");
        assert!(!early.iter().any(is_rescue));
        let rest = script.wait(1_000_000);
        match stop {
            Some(_) => {
                assert!(rest.iter().any(is_rescue), "{patience:?}");
                assert_eq!(script.engine.stopped(), Some(&StopReason::OutOfPatience));
            }
            None => {
                assert_eq!(script.engine.stopped(), None);
                assert_eq!(explains(&rest), 1, "once more at 30 s");
            }
        }
        if let Some(stop) = stop {
            let mut script = Script::new(patient(patience));
            script.disk("sda", ext4("other"));
            assert!(!script.wait(stop * 1_000 - 1).iter().any(is_rescue), "{patience:?}: too early");
            assert!(script.wait(1_000).iter().any(is_rescue), "{patience:?}: too late");
        }
    }
}

#[test]
fn a_new_device_starts_the_patience_over_but_not_the_total() {
    for (patience, stopped) in
        [(Patience::Quiet(Duration::from_secs(10)), false), (Patience::Total(Duration::from_secs(10)), true)]
    {
        let mut script = Script::new(patient(patience));
        script.wait(9_000);
        script.disk("sda", ext4("other"));
        assert_eq!(script.wait(9_000).iter().any(is_rescue), stopped, "{patience:?}");
    }
}

#[test]
fn a_disk_that_comes_late_is_taken() {
    let mut script = Script::new(plan(uuid("root")));
    script.wait(100_000);
    assert_eq!(mounted(&script.disk("sda", ext4("root"))), ["sda"]);
}

#[test]
fn nothing_is_a_deadline_while_a_driver_hangs() {
    let mut script = Script::new(patient(Patience::Forever));
    script.tell(Event::Drivers(DriverFacts { pending: 1, ..DriverFacts::default() }));
    // `wait` itself asserts that no deadline lies in the past.
    script.wait(29_000);
    assert_eq!(script.engine.other_drivers_asked, None, "a driver is being loaded");
    script.wait(2_000);
    assert!(script.engine.other_drivers_asked.is_some(), "one that hangs holds up nothing for ever");
}

#[test]
fn an_event_that_changes_nothing_does_not_disturb_the_patience() {
    let mut script = Script::new(patient(Patience::Quiet(Duration::from_secs(10))));
    script.disk("sda", ext4("other"));
    let facts = script.engine.table().get(&"sda".into()).expect("sda").facts.clone();
    for _ in 0..9 {
        script.wait(1_000);
        assert!(script.tell(Event::Device("sda".into(), facts.clone())).is_empty());
    }
    assert!(script.wait(1_500).iter().any(is_rescue));
}

#[test]
fn how_it_ends_without_a_root() {
    use EmergencyAction::{Halt, PowerOff, Reboot};
    let act = |action| Action::GiveUp(GiveUp::Act(action));
    for (shell, emergency, panic, breaks, expected) in [
        (None, None, None, false, Action::Rescue),
        (Some(true), Some(Reboot), Some(10), false, Action::Rescue),
        (Some(false), None, None, false, act(PowerOff)),
        (Some(false), Some(Reboot), None, false, act(Reboot)),
        (Some(false), Some(Halt), Some(10), false, act(Halt)),
        (Some(false), None, Some(0), false, Action::GiveUp(GiveUp::Panic)),
        (Some(false), None, Some(-1), false, Action::GiveUp(GiveUp::Panic)),
        (Some(false), None, None, true, Action::Rescue),
    ] {
        let mut plan = patient(Patience::Quiet(Duration::from_secs(1)));
        plan.failure.shell = shell;
        plan.failure.emergency = emergency;
        plan.failure.panic = panic;
        if breaks {
            plan.failure.breaks = vec![BreakPoint::Cleanup];
        }
        let mut script = Script::new(plan);
        let actions = script.wait(40_000);
        let words = format!("shell {shell:?} emergency {emergency:?} panic {panic:?} break {breaks}");
        assert_eq!(actions.last(), Some(&expected), "{words}");
        assert_eq!(actions.iter().any(is_rescue), expected == Action::Rescue, "{words}");
        assert!(script.wait(1_000_000).is_empty(), "{words}: nothing more by itself");
    }
}

#[test]
fn without_root_it_says_so_once_the_devices_are_known() {
    let mut script = Script::new(Plan::default());
    assert!(!script.disk("sda", ext4("x")).iter().any(is_rescue));
    let actions = script.wait(1_000);
    assert!(actions.iter().any(is_rescue));
    assert_eq!(script.engine.stopped(), Some(&StopReason::NoRoot));
    assert!(!actions.contains(&Action::LoadOtherDrivers));
    // The operator names one.
    assert_eq!(mounted(&script.tell(Event::UseRoot("sda".into()))), ["sda"]);
}

#[test]
fn break_points_hold_the_boot_one_by_one() {
    let mut plan = plan(uuid("root"));
    plan.failure.breaks = vec![
        BreakPoint::Cmdline,
        BreakPoint::PreTrigger,
        BreakPoint::Initqueue,
        BreakPoint::PreMount,
        BreakPoint::Mount,
        BreakPoint::PrePivot,
        BreakPoint::Cleanup,
    ];
    let breaks = |actions: &[Action]| -> Vec<BreakPoint> {
        let point = |action: &Action| match action {
            Action::Break(point) => Some(*point),
            _ => None,
        };
        actions.iter().filter_map(point).collect()
    };
    let mut engine = Engine::new(plan.clone(), ImageFacts::default());
    let first: Vec<Action> = engine.start(Moment(0)).into_iter().map(|command| command.action).collect();
    assert_eq!(breaks(&first), [BreakPoint::Cmdline]);
    assert!(!first.contains(&Action::Coldplug));
    assert_eq!(engine.deadline(), None, "nothing is due while somebody looks around");

    let mut script = Script::new(plan);
    assert_eq!(breaks(&script.tell(Event::Continue)), [BreakPoint::PreTrigger]);
    let actions = script.tell(Event::Continue);
    assert!(actions.contains(&Action::Coldplug));
    assert_eq!(breaks(&actions), [BreakPoint::Initqueue]);
    // Devices are read and linked for whoever looks, but nothing is done with them.
    let actions = script.disk("sda", ext4("root"));
    assert!(actions.iter().any(|action| matches!(action, Action::Link(..))), "{actions:?}");
    assert!(mounted(&actions).is_empty());
    // An hour at the prompt is not an hour of waiting.
    script.wait(3_600_000);
    assert_eq!(breaks(&script.tell(Event::Continue)), [BreakPoint::PreMount]);
    assert_eq!(script.engine.stopped(), None);
    assert_eq!(mounted(&script.tell(Event::Continue)), ["sda"]);
    let actions = script.answer(is_mount, Ok(Outcome::Done));
    assert_eq!(breaks(&actions), [BreakPoint::Mount]);
    assert_eq!(breaks(&script.tell(Event::Continue)), [BreakPoint::PrePivot]);
    assert_eq!(breaks(&script.tell(Event::Continue)), [BreakPoint::Cleanup]);
    assert!(script.tell(Event::Continue).iter().any(is_switch));
}

#[test]
fn two_roots_of_one_uuid() {
    let mut script = Script::new(plan(uuid("root")));
    let actions = script.disk("sda", ext4("root"));
    assert_eq!(mounted(&actions), ["sda"]);
    let actions = script.disk("sdb", ext4("root"));
    let said = |action: &Action| matches!(action, Action::Say(_, text) if text.contains("sdb") && text.contains("sda"));
    assert_eq!(actions.iter().filter(|action| said(action)).count(), 1);
    // The first cannot be mounted: the second is taken.
    let broken = Failure::Os { what: "mount /dev/sda as ext4".into(), errno: 117 };
    let actions = script.answer(is_mount, Err(broken));
    assert_eq!(mounted(&actions), ["sdb"]);
}

#[test]
fn the_devices_of_one_btrfs_are_no_lookalikes() {
    let member = |sub: &str| {
        let mut content = content(Kind::Btrfs, "root");
        content.signatures[0].uuid_sub = Some(sub.to_owned());
        content
    };
    let mut script = Script::new(plan(uuid("root")));
    assert_eq!(mounted(&script.disk("sda", member("a"))), ["sda"]);
    let missing = Failure::Os { what: "mount /dev/sda as btrfs".into(), errno: 2 };
    script.answer(is_mount, Err(missing));
    assert!(!script.wait(60_000).iter().any(is_rescue), "the other device may come late");
    let actions = script.disk("sdb", member("b"));
    assert!(!actions.iter().any(|action| matches!(action, Action::Say(..))), "{actions:?}");
    // Once the new device was read, the kernel knows it, and the mount is tried again.
    assert!(!mounted(&actions).is_empty());
}

#[test]
fn a_mount_that_fails_is_final_only_after_a_while() {
    let mut script = Script::new(plan(uuid("root")));
    script.disk("sda", ext4("root"));
    let actions = script.answer(is_mount, Err(Failure::Os { what: "mount".into(), errno: 22 }));
    assert!(mounted(&actions).is_empty(), "not again and again");
    assert!(!script.wait(9_000).iter().any(is_rescue));
    assert!(script.wait(2_000).iter().any(is_rescue));
    assert_eq!(script.engine.stopped(), Some(&StopReason::Hopeless));
    assert_eq!(mounted(&script.tell(Event::Retry)), ["sda"]);
}

#[test]
fn a_disk_that_becomes_another_while_its_driver_loads_is_not_mounted() {
    let mut engine = Engine::new(plan(uuid("root")), ImageFacts::default());
    let facts = |diskseq| DeviceFacts { major: 8, size: 1 << 30, diskseq, ..DeviceFacts::default() };
    let id = |commands: &[Command], fits: fn(&Action) -> bool| {
        commands.iter().find(|command| fits(&command.action)).map(|command| command.id)
    };
    engine.start(Moment(0));
    engine.handle(Moment(0), Event::Coldplugged);
    let commands = engine.handle(Moment(1), Event::Device("sda".into(), facts(1)));
    let read = id(&commands, |action| matches!(action, Action::Identify(_))).expect("a read");
    let commands = engine.handle(Moment(2), Event::Identified(read, ext4("root")));
    let load = id(&commands, |action| matches!(action, Action::LoadModules(_))).expect("a driver");
    let commands = engine.handle(Moment(3), Event::Device("sda".into(), facts(2)));
    let read = id(&commands, |action| matches!(action, Action::Identify(_))).expect("another read");
    engine.handle(Moment(4), Event::Identified(read, ext4("other")));
    let commands = engine.handle(Moment(5), Event::Done(load, Outcome::Done));
    assert!(id(&commands, is_mount).is_none(), "{commands:?}");
    assert_eq!(engine.root_device(), None);
}

#[test]
fn no_init_stops_with_nothing_moved() {
    let mut script = Script::new(plan(uuid("root")));
    script.disk("sda", ext4("root"));
    script.answer(is_mount, Ok(Outcome::Done));
    let failure = Failure::NoInit(vec![("/sbin/init".into(), "does not exist".into())]);
    let actions = script.answer(is_switch, Err(failure));
    assert!(actions.iter().any(is_rescue));
    assert_eq!(script.engine.stopped(), Some(&StopReason::Handover));
    // Retry hands over again, without mounting a second time.
    let actions = script.tell(Event::Retry);
    assert!(mounted(&actions).is_empty() && actions.iter().any(is_switch), "{actions:?}");
    let other = Failure::NoInit(Vec::new());
    script.answer(is_switch, Err(other));
    script.disk("sdb", ext4("other"));
    assert_eq!(mounted(&script.tell(Event::UseRoot("/dev/sdb".into()))), ["sdb"]);
}

#[test]
fn a_device_without_a_signature_is_mounted_only_if_its_type_is_named() {
    for (fstype, expected) in [(vec![], 0), (vec!["auto".to_owned()], 0), (vec!["f2fs".to_owned()], 1)] {
        let mut plan = plan(cmdline::root_spec("/dev/sda"));
        plan.root.fstype.clone_from(&fstype);
        let mut script = Script::new(plan);
        assert_eq!(mounted(&script.disk("sda", Content::default())).len(), expected, "{fstype:?}");
    }
}

#[test]
fn ambiguous_content_is_reported_not_guessed() {
    let mut both = ext4("root");
    both.signatures.push(Signature::new(Kind::Swap));
    for spec in [uuid("root"), cmdline::root_spec("/dev/sda")] {
        let mut script = Script::new(plan(spec));
        assert!(mounted(&script.disk("sda", both.clone())).is_empty());
        let text = script.engine.explain(Moment(1)).to_string();
        assert!(text.contains("several valid signatures (ext4, swap)"), "{text}");
    }
}

#[test]
fn unreadable_devices_are_read_again_when_they_report_themselves() {
    let mut engine = Engine::new(plan(uuid("root")), ImageFacts::default());
    engine.start(Moment(0));
    let facts = DeviceFacts { major: 8, size: 1 << 30, ..DeviceFacts::default() };
    let mut reads = 0;
    for _ in 0..50 {
        for command in engine.handle(Moment(1), Event::Device("sda".into(), facts.clone())) {
            if matches!(command.action, Action::Identify(_)) {
                reads += 1;
                let failure = Failure::Os { what: "read /dev/sda".into(), errno: 5 };
                engine.handle(Moment(1), Event::Failed(command.id, failure));
            }
        }
    }
    assert_eq!(reads, 3);
}

#[test]
fn missing_drivers_are_named() {
    let mut script = Script::new(plan(uuid("root")));
    let driverless = vec![
        Driverless {
            devpath: "devices/pci0/x".into(),
            modalias: "pci:v00001AF4d00001001sv0sd0bc01sc00i00".into(),
        },
        Driverless { devpath: "devices/y".into(), modalias: "platform:pcspkr".into() },
    ];
    script.tell(Event::Drivers(DriverFacts { driverless, ..DriverFacts::default() }));
    let text = script.engine.explain(Moment(1)).to_string();
    assert!(text.contains("storage controller") && text.contains("rootward build"), "{text}");
    assert!(!text.contains("pcspkr"), "{text}");
}

/// A device of a btrfs of two.
fn half(index: u64) -> Content {
    let member = ondisk::btrfs::Membership { devices: 2, index };
    let mut half = content(Kind::Btrfs, "root");
    half.signatures[0].uuid_sub = Some(format!("device {index}"));
    half.member = Some(Box::new(ondisk::Member::Btrfs(member)));
    half
}

fn mount_requests(actions: &[Action]) -> Vec<(Vec<&str>, u64)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Mount(request) => {
                Some((request.members.iter().map(|name| name.0.as_str()).collect(), request.missing))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_file_system_of_two_devices_waits_for_both() {
    let mut script = Script::new(plan(uuid("root")));
    let first = script.disk("sdb", half(2));
    assert!(!first.iter().any(is_mount));
    assert!(!script.wait(9_000).iter().any(is_mount));
    let why = script.engine.explain(Moment(script.now)).to_string();
    assert!(why.contains("btrfs UUID=root: 1 of 2 devices seen (sdb), waiting 1 s more"), "{why}");
    let both = script.disk("sda", half(1));
    assert_eq!(mount_requests(&both), [(vec!["sda", "sdb"], 0)]);
}

#[test]
fn a_missing_device_is_done_without_after_the_grace() {
    let mut script = Script::new(plan(uuid("root")));
    script.disk("sda", half(1));
    // A second copy of the same device is no second device.
    script.disk("sdc", half(1));
    assert!(!script.wait(9_900).iter().any(is_mount));
    let late = script.wait(200);
    assert_eq!(mount_requests(&late), [(vec!["sda"], 1)]);
    assert!(
        late.iter().any(
            |action| matches!(action, Action::Say(Loudness::Warning, text) if text.contains("degraded"))
        )
    );
    // The kernel refuses, and the other one comes after all.
    let no = Failure::Os { what: "mount".into(), errno: 5 };
    script.answer(is_mount, Err(no.clone()));
    script.answer(is_mount, Err(no));
    let both = script.disk("sdb", half(2));
    assert_eq!(mount_requests(&both), [(vec!["sda", "sdb"], 0)]);
}

#[test]
fn the_user_decides_about_degraded_file_systems() {
    let mut at_once = plan(uuid("root"));
    at_once.degraded = Some(Duration::ZERO);
    assert_eq!(mount_requests(&Script::new(at_once).disk("sda", half(1))), [(vec!["sda"], 1)]);
    let mut by_flag = plan(uuid("root"));
    by_flag.root.flags = Some("compress,degraded".into());
    assert_eq!(mount_requests(&Script::new(by_flag).disk("sda", half(1))), [(vec!["sda"], 1)]);
    let mut never = plan(uuid("root"));
    never.degraded = None;
    let mut script = Script::new(never);
    script.disk("sda", half(1));
    let actions = script.wait(200_000);
    assert!(mount_requests(&actions).is_empty() && actions.iter().any(is_rescue));
    let why = script.engine.explain(Moment(script.now)).to_string();
    assert!(why.contains("rootward.degraded=never"), "{why}");
}

#[test]
fn zfs_is_named() {
    let mut script = Script::new(plan(uuid("root")));
    let pool = ondisk::zfs::Pool { name: "tank".into() };
    let mut member = content(Kind::ZfsMember, "77");
    member.member = Some(Box::new(ondisk::Member::Zfs(pool)));
    script.disk("sda", member);
    let why = script.engine.explain(Moment(script.now)).to_string();
    assert!(why.contains("sda is a member of the ZFS pool tank"), "{why}");
}
