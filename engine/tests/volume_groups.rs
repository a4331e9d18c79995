//! Random volume groups whose disks come in any order: every order must lead to the same root, or to the same stop.
//!
//! Not promised, and not compared: which volumes that nobody named were activated while root was sought.
//!
//! `ROOTWARD_SIM_SEEDS` says how many worlds are tried, `ROOTWARD_SIM_SEED` which one to replay, `ROOTWARD_SIM_LOSE` that
//! disks vanish in it.

#[path = "sim/groups.rs"]
mod groups;
#[path = "sim/kernel.rs"]
mod kernel;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/tables.rs"]
mod tables;

use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{LuksIdKind, LuksSelector, Patience, RootSpec};
use engine::{Action, Command, DmDevice, Engine, ImageFacts};
use groups::{CONTAINER, Carrier, Form, Groups, Obstacle, container, dm_name, opens};
use kernel::{End, Kernel, Timing};
use rng::Rng;

/// Grace before a degraded start, in milliseconds.
const GRACE: u64 = 10_000;

/// What a broken engine might do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Takes the extents of another volume.
    WrongExtents,
    /// Activates volumes of whatever group it sees.
    IgnoresPlan,
    /// Does not wait for what may still come.
    Hasty,
    /// Makes a mapping again.
    MakesTwice,
    /// Names a device that is not there.
    WrongDevice,
    /// Forgets to resume.
    LeavesHeld,
    /// Goes on after the hand-over.
    TalksAfterTheEnd,
}

fn plan(rng: &mut Rng, world: &Groups) -> Plan {
    let mut plan = Plan::default();
    let path = |text: String| Some(RootSpec::Path(text));
    plan.root.spec = match world.root {
        Some((group, lv)) if rng.percent(40) && !world.locked => {
            let (vg, lv) = (&world.groups[group].name, &world.groups[group].lvs[lv].name);
            if rng.percent(50) {
                path(format!("/dev/{vg}/{lv}"))
            } else {
                path(format!("/dev/mapper/{}", dm_name(vg, lv)))
            }
        }
        Some(_) if rng.percent(40) && world.locked => path(format!("/dev/mapper/luks-{CONTAINER}")),
        _ => Some(RootSpec::Uuid("root".into())),
    };
    plan.auto = *rng.pick(&[None, None, None, Some(true), Some(false)]);
    plan.lvm.enabled = !rng.percent(4);
    let of = |rng: &mut Rng| {
        world.root.filter(|_| rng.percent(80)).map_or(rng.index(world.groups.len()), |(group, _)| group)
    };
    if rng.percent(25) {
        plan.lvm.vgs.push(world.groups[of(rng)].name.clone());
    }
    if rng.percent(25) {
        let group = of(rng);
        let volume = match world.root {
            Some((at, lv)) if at == group && rng.percent(70) => lv,
            _ => rng.index(world.groups[group].lvs.len()),
        };
        let group = &world.groups[group];
        plan.lvm.lvs.push((group.name.clone(), group.lvs[volume].name.clone()));
    }
    // Who types slowly is waited for only if somebody has asked for it.
    if world.typing > GRACE || rng.percent(20) {
        let mut add = |id: String| {
            plan.luks.selectors.push(LuksSelector {
                kind: LuksIdKind::Uuid,
                id,
                keysource: false,
                name: None,
            });
        };
        for pv in world.groups.iter().flat_map(|group| &group.pvs) {
            if let Carrier::Container(disk) = pv.carrier {
                add(container(disk));
            }
        }
        if world.locked {
            add(CONTAINER.to_owned());
        }
    }
    plan.patience = Patience::Quiet(Duration::from_secs(60));
    plan.degraded = rng.percent(80).then_some(Duration::from_millis(GRACE));
    plan
}

/// What must hold for every mapping of LVM that is made, in whatever world.
fn check(
    world: &Groups,
    plan: &Plan,
    kernel: &Kernel<'_>,
    engine: &Engine,
    device: &DmDevice,
) -> Result<(), String> {
    let Some(ids) = device.uuid.strip_prefix("LVM-") else {
        return Err(format!("{} is nobody's", device.uuid));
    };
    let (vg, lv) = (ids.get(..32).unwrap_or_default(), ids.get(32..64).unwrap_or_default());
    let at = world.groups.iter().position(|group| group.id == vg).ok_or("a group that is nowhere")?;
    let group = &world.groups[at];
    let hole = device.name.contains("-missing_");
    let name = device.name.as_str();
    // A copy or a twin may have vanished.
    let stays = |obstacle: &Obstacle| {
        matches!(obstacle, Obstacle::Exported | Obstacle::Foreign) || !world.loses_disks()
    };
    if let Some(obstacle) = group.obstacle.filter(stays) {
        return Err(format!("{name} is made, whose group is {obstacle:?}"));
    }
    // The stand-in for an image that is missing has no identifier of its own.
    let lv = group.volume_of(lv).ok_or_else(|| format!("{name} belongs to no volume"))?;
    let volume = &group.lvs[lv];
    if !world.is_allowed(at, lv, plan) {
        return Err(format!("{name} is made, which {plan:?} does not allow"));
    }
    let is_there = |pv: &groups::Pv| {
        engine.table().iter().any(|device| {
            let label = device.content().and_then(|content| content.member.as_ref()?.lvm());
            label.is_some_and(|label| label.id == pv.id)
        })
    };
    let open = |pv: &&usize| !world.is_removed(at, **pv, plan) && !is_there(&group.pvs[**pv]);
    let all: Vec<usize> = (0..group.pvs.len()).collect();
    let missing: Vec<&usize> = all.iter().filter(open).collect();
    // What was begun goes on when another disk comes.
    if !missing.is_empty() && !world.loses_disks() && kernel.now < kernel.last_arrival + GRACE {
        return Err(format!("{name} is made without waiting for the rest of its group"));
    }
    // A PV in another group that is incomplete itself may come later than a volume that does not need it, or where the
    // volume that it lies in needs its own redundancy.
    let too_soon = |pv: &&&usize| {
        let free = match group.pvs[***pv].carrier {
            Carrier::Volume(outer, on) => {
                let mut below = world.groups[outer].lvs[on].pvs.iter();
                !volume.pvs.contains(pv) || below.any(|pv| world.is_missing(outer, *pv, plan))
            }
            _ => false,
        };
        world.arrives(&group.pvs[***pv], plan) && !free
    };
    if !world.loses_disks() && missing.iter().any(|pv| too_soon(&pv)) {
        return Err(format!("{name} is made although more of its group was to come"));
    }
    let redundant = matches!(volume.form, Form::Raid1 | Form::Raid5) && plan.degraded.is_some();
    if hole && !redundant {
        return Err(format!("{name} stands for a part of {:?}", volume.form));
    }
    if device.targets.iter().any(|target| target.kind == "error") != hole {
        return Err(format!("{name} has a hole: {:?}", device.targets));
    }
    Ok(())
}

/// Whether this plan must come to the root in this world.
fn is_due(world: &Groups, plan: &Plan) -> bool {
    let Some((group, lv)) = world.root else { return true };
    world.is_reachable(group, lv, plan) && (!world.locked || opens(plan))
}

/// Boots a world in one order; gives how it ended.
fn play(world: &Groups, plan: &Plan, seed: u64, fault: Fault, talk: bool) -> Result<End, String> {
    let mut rng = Rng::new(seed, 7);
    let timing = Timing::invent(&mut rng);
    let mut kernel = Kernel::new(world, rng, timing);
    kernel.log = talk.then(Vec::new);
    let image = ImageFacts { hostname: "box".into(), kernel: (6, 12), ..ImageFacts::default() };
    let mut given = plan.clone();
    match fault {
        Fault::IgnoresPlan => (given.lvm.vgs, given.lvm.lvs, given.auto) = (vec![], vec![], Some(true)),
        Fault::Hasty => given.degraded = given.degraded.map(|_| Duration::from_secs(1)),
        _ => {}
    }
    let mut engine = Engine::new(given, image);
    let mut watch = |kernel: &Kernel<'_>, engine: &Engine, command: Command| {
        let commands = bend(fault, command);
        for command in &commands {
            if let Action::CreateDm(device) = &command.action {
                check(world, plan, kernel, engine, device)?;
            }
        }
        Ok(commands)
    };
    let end = kernel::boot(&mut kernel, &mut engine, &mut watch);
    if let Some(log) = &kernel.log {
        println!("--- order {}\n{}", seed & 0xff, log.join("\n"));
    }
    end.and_then(|end| verdict(world, plan, &kernel, &end).map(|()| end))
}

fn bend(fault: Fault, mut command: Command) -> Vec<Command> {
    let copy = command.clone();
    match (fault, &mut command.action) {
        (Fault::WrongExtents, Action::CreateDm(device)) => {
            for target in device.targets.iter_mut().filter(|target| target.kind == "linear") {
                if let Some((below, at)) = target.params.split_once(' ') {
                    target.params = format!("{below} {}", at.parse::<u64>().unwrap_or(0) + 8192);
                }
            }
        }
        (Fault::WrongDevice, Action::CreateDm(device)) => {
            for target in &mut device.targets {
                target.params = target.params.replace("8:", "7:");
            }
        }
        (Fault::MakesTwice, Action::CreateDm(_)) => return vec![copy, command],
        (Fault::LeavesHeld, Action::CreateDm(device)) => device.held = true,
        (Fault::TalksAfterTheEnd, Action::SwitchRoot { .. }) => {
            let talk = Command { id: engine::CommandId(u64::MAX), action: Action::StopAsking };
            return vec![command, talk];
        }
        _ => {}
    }
    vec![command]
}

/// Whether a boot may end like this.
fn verdict(world: &Groups, plan: &Plan, kernel: &Kernel<'_>, end: &End) -> Result<(), String> {
    let due = is_due(world, plan);
    match end {
        End::Stopped(_, text) if text.len() < 3 => Err("no explanation".into()),
        // What was there for a while may have been enough, or not.
        End::Stopped(..) if world.loses_disks() => Ok(()),
        End::Stopped(reason, text) if due => Err(format!("{reason:?} although root can be had: {text:#?}")),
        End::Stopped(..) => Ok(()),
        End::Root(place) if !due && !world.loses_disks() => {
            Err(format!("root at {place}, which cannot be had"))
        }
        End::Root(place) => {
            let right = match world.root {
                None => vec![format!("{}+0", world.root_disk)],
                Some((group, lv)) => {
                    let seen = world.seen(group, plan);
                    // The newest metadata may have vanished.
                    let versions = if world.loses_disks() { 0..=seen } else { seen..=seen };
                    let places = versions.flat_map(|version| world.places(group, lv, version, 0));
                    let inside =
                        |place: String| if world.locked { format!("crypt+0 in {place}") } else { place };
                    places.map(inside).collect()
                }
            };
            if !right.contains(place) {
                return Err(format!("a wrong root: {place} instead of {right:?}"));
            }
            if world.loses_disks() { Ok(()) } else { named_are_active(world, plan, kernel) }
        }
    }
}

/// What was named is there before the hand-over, if nothing of it was missing.
fn named_are_active(world: &Groups, plan: &Plan, kernel: &Kernel<'_>) -> Result<(), String> {
    for (vg, lv) in &plan.lvm.lvs {
        let at = world.groups.iter().position(|group| group.name == *vg).ok_or("a group")?;
        let group = &world.groups[at];
        if group.obstacle.is_some() {
            continue;
        }
        let lv = group.lvs.iter().position(|volume| volume.name == *lv).ok_or("a volume")?;
        let plain = |pv: &groups::Pv| matches!(pv.carrier, Carrier::Disk(_)) && world.arrives(pv, plan);
        let name = dm_name(vg, &group.lvs[lv].name);
        if group.pvs.iter().all(plain)
            && !group.has_lost()
            && world.is_reachable(at, lv, plan)
            && kernel.mapping(&name).is_none()
        {
            return Err(format!("{name} was named, and is not active"));
        }
    }
    Ok(())
}

/// What must be the same in every order.
fn strip(world: &Groups, end: &End) -> String {
    match end {
        // Which copy is read depends on which disk came first.
        End::Root(place) => match world.root {
            Some((group, lv)) => format!("root {group}/{lv} {}", place.split('+').count()),
            None => place.clone(),
        },
        End::Stopped(reason, _) => format!("{reason:?}"),
    }
}

fn make(seed: u64) -> (Groups, Plan) {
    let mut rng = Rng::new(seed, 1);
    let world = Groups::invent(&mut rng);
    let plan = plan(&mut rng, &world);
    (world, plan)
}

fn all_orders(seed: u64, fault: Fault) -> Result<End, String> {
    let (world, plan) = make(seed);
    let first = play(&world, &plan, seed << 8, fault, false)?;
    for schedule in 1..5 {
        let other = play(&world, &plan, seed << 8 | schedule, fault, false)
            .map_err(|what| format!("order {schedule}: {what}"))?;
        if strip(&world, &other) != strip(&world, &first) {
            return Err(format!("order {schedule}: {other:?} instead of {first:?}"));
        }
    }
    Ok(first)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_order_ends_alike() {
    let seeds = number("ROOTWARD_SIM_SEEDS").unwrap_or(400);
    let (mut roots, mut stops, mut failures) = (0, 0, Vec::new());
    for seed in 0..seeds {
        match all_orders(seed, Fault::None) {
            Ok(End::Root(_)) => roots += 1,
            Ok(End::Stopped(..)) => stops += 1,
            Err(what) => failures.push((seed, what)),
        }
    }
    println!("{seeds} worlds, {roots} roots, {stops} stops");
    for (seed, what) in failures.iter().take(10) {
        println!(
            "seed {seed}: {what}\n  ROOTWARD_SIM_SEED={seed} cargo test -p rootward-engine --test volume_groups -- --nocapture replay"
        );
    }
    assert!(failures.is_empty(), "{} of {seeds} worlds failed", failures.len());
    assert!(seeds < 100 || (roots > 20 && stops > 20), "the worlds are too much alike");
}

/// How it ends depends on when the disks vanish; that nothing wrong is made or mounted does not.
#[test]
fn disks_that_vanish_lead_to_nothing_wrong() {
    let seeds = number("ROOTWARD_SIM_SEEDS").unwrap_or(400);
    let mut failures = Vec::new();
    let mut roots = 0;
    for seed in 0..seeds {
        let (mut world, plan) = make(seed);
        world.lose_disks(&mut Rng::new(seed, 2));
        for schedule in 0..3 {
            match play(&world, &plan, seed << 8 | schedule, Fault::None, false) {
                Ok(End::Root(_)) => roots += 1,
                Ok(End::Stopped(..)) => {}
                Err(what) => failures.push((seed, what)),
            }
        }
    }
    failures.iter().take(10).for_each(|(seed, what)| println!("seed {seed}: {what}"));
    assert!(failures.is_empty(), "{} boots failed", failures.len());
    assert!(seeds < 100 || roots > 100, "{roots} roots: too many disks are lost");
}

#[test]
fn replay() {
    let Some(seed) = number("ROOTWARD_SIM_SEED") else { return };
    let (mut world, plan) = make(seed);
    if std::env::var_os("ROOTWARD_SIM_LOSE").is_some() {
        world.lose_disks(&mut Rng::new(seed, 2));
    }
    println!("{world:#?}\n{plan:?}\ndue: {}", is_due(&world, &plan));
    for schedule in 0..5 {
        let end = play(&world, &plan, seed << 8 | schedule, Fault::None, true);
        println!("=> {end:?}");
    }
}

/// A checker that cannot fail proves nothing: each fault must be noticed within a few hundred worlds.
#[test]
fn faults_are_noticed() {
    for fault in [
        Fault::WrongExtents,
        Fault::IgnoresPlan,
        Fault::Hasty,
        Fault::MakesTwice,
        Fault::WrongDevice,
        Fault::LeavesHeld,
        Fault::TalksAfterTheEnd,
    ] {
        let noticed = (0..300).find(|seed| all_orders(*seed, fault).is_err());
        assert!(noticed.is_some(), "{fault:?} was not noticed");
    }
}
