//! What the command line of a simulated boot asks for.

use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{BreakPoint, EmergencyAction, LuksIdKind, LuksKey, LuksSelector, Patience, RootSpec};

use super::rng::Rng;
use super::world::{Place, World, uuid};

/// Invents a plan that mostly leads to some file system of the world.
pub fn invent(rng: &mut Rng, world: &World) -> Plan {
    let mut plan = Plan::default();
    let target = target(rng, world);
    luks(rng, world, &mut plan);
    plan.root.spec = spec(rng, world, target, &plan);
    if rng.percent(10) {
        plan.root.fstype = vec![(*rng.pick(&["ext4", "xfs", "auto"])).to_owned()];
    }
    plan.patience = match rng.below(20) {
        0 => Patience::Forever,
        1 => Patience::Total(Duration::from_secs(rng.between(5, 60))),
        2 => Patience::Quiet(Duration::from_secs(rng.between(2, 30))),
        _ => Patience::Quiet(Duration::from_secs(180)),
    };
    plan.failure.shell = *rng.pick(&[None, Some(true), Some(false)]);
    plan.failure.emergency =
        *rng.pick(&[None, None, Some(EmergencyAction::Reboot), Some(EmergencyAction::Halt)]);
    plan.failure.panic = *rng.pick(&[None, None, Some(0), Some(-1), Some(30)]);
    if rng.percent(6) {
        let all = [
            BreakPoint::Cmdline,
            BreakPoint::PreUdev,
            BreakPoint::PreTrigger,
            BreakPoint::Initqueue,
            BreakPoint::PreMount,
            BreakPoint::Mount,
            BreakPoint::PrePivot,
            BreakPoint::Cleanup,
        ];
        plan.failure.breaks = all.into_iter().filter(|_| rng.percent(30)).collect();
    }
    plan
}

fn luks(rng: &mut Rng, world: &World, plan: &mut Plan) {
    let uuids = world.luks_uuids();
    plan.luks.enabled = !rng.percent(5);
    plan.auto = *rng.pick(&[None, None, None, Some(true), Some(false)]);
    if rng.percent(40) {
        for id in &uuids {
            if !rng.percent(75) {
                continue;
            }
            // Ids are compared as parts, without dashes, in either case.
            let id = match rng.below(4) {
                0 => id.replace('-', ""),
                1 => id.to_uppercase(),
                2 => id[..13].to_owned(),
                _ => id.clone(),
            };
            plan.luks.selectors.push(selector(LuksIdKind::Uuid, id, rng));
        }
        if rng.percent(10) {
            plan.luks.selectors.push(selector(LuksIdKind::Uuid, uuid(rng), rng));
        }
        if rng.percent(10) && !world.disks.is_empty() {
            let serial = world.disks[rng.index(world.disks.len())].serial.clone();
            plan.luks.selectors.push(selector(LuksIdKind::Serial, serial, rng));
        }
    }
    for _ in 0..*rng.pick(&[0, 0, 1, 1, 2]) {
        let (path, device, target) = world.invent_key(rng);
        plan.luks.keys.push(LuksKey { path, device, target });
    }
    plan.luks.key_timeout = Duration::from_secs(*rng.pick(&[0, 2, 10]));
    plan.luks.prompt_timeout = rng.percent(5).then(|| Duration::from_secs(rng.between(1, 40)));
    plan.luks.crypttab = !rng.percent(10);
}

fn selector(kind: LuksIdKind, id: String, rng: &mut Rng) -> LuksSelector {
    let name = rng.percent(25).then(|| format!("named{}", rng.below(1000)));
    LuksSelector { kind, id, keysource: false, name }
}

/// The volume that is to be the root.
fn target(rng: &mut Rng, world: &World) -> Option<usize> {
    let mut fit: Vec<usize> = (0..world.volumes.len())
        .filter(|at| {
            world.volumes[*at].content.only().is_some_and(|signature| signature.kind.is_filesystem())
        })
        .collect();
    // Roots that are hidden are the interesting ones.
    let hidden: Vec<usize> =
        fit.iter().copied().filter(|at| matches!(world.volumes[*at].place, Place::Inside(_))).collect();
    if !hidden.is_empty() && rng.percent(60) {
        fit = hidden;
    }
    let swapped: Vec<usize> =
        world.disks.iter().filter(|disk| disk.swapped.is_some()).map(|disk| disk.volume).collect();
    if !swapped.is_empty() && rng.percent(70) {
        fit = swapped;
    }
    if rng.percent(4) {
        fit = (0..world.volumes.len()).collect();
    }
    (!fit.is_empty()).then(|| *rng.pick(&fit))
}

fn spec(rng: &mut Rng, world: &World, target: Option<usize>, plan: &Plan) -> Option<RootSpec> {
    match rng.below(100) {
        0 => return None,
        1 => return Some(RootSpec::Unsupported("nfs:server:/root".into())),
        2..=4 => return Some(RootSpec::Uuid(uuid(rng))),
        5 => return Some(RootSpec::Path("/dev/absent1".into())),
        _ => {}
    }
    let Some(at) = target else { return Some(RootSpec::Label("root".into())) };
    let volume = &world.volumes[at];
    let any_case = |rng: &mut Rng, id: &str| if rng.percent(30) { id.to_uppercase() } else { id.to_owned() };
    for _ in 0..12 {
        let signature = volume.content.signatures.first();
        let found = match rng.below(8) {
            0 | 1 => signature
                .and_then(|signature| signature.uuid.as_ref())
                .map(|id| RootSpec::Uuid(any_case(rng, id))),
            2 => signature
                .and_then(|signature| signature.label.as_ref())
                .and_then(|label| String::from_utf8(label.clone()).ok())
                .map(RootSpec::Label),
            3 => world
                .entry_of(at)
                .map(|entry| RootSpec::PartUuid { uuid: any_case(rng, &entry.uuid), offset: 0 }),
            4 => world.entry_of(at).and_then(|entry| {
                let Place::Partition { disk, .. } = volume.place else { return None };
                let partitions = &world.volumes[world.disks[disk].volume].content.table.as_ref()?.partitions;
                let other = rng.pick(partitions);
                let offset = i32::try_from(entry.number).ok()? - i32::try_from(other.number).ok()?;
                Some(RootSpec::PartUuid { uuid: other.uuid.clone(), offset })
            }),
            5 => world.entry_of(at).and_then(|entry| entry.name.clone()).map(RootSpec::PartLabel),
            6 => match volume.place {
                Place::Inside(outer) => {
                    super::oracle::mapping_name(world, plan, outer).map(|name| format!("/dev/mapper/{name}"))
                }
                _ => world.kernel_name(at).map(|name| format!("/dev/{name}")),
            }
            .map(RootSpec::Path),
            _ => match volume.place {
                Place::Disk(disk) => {
                    Some(RootSpec::DevNum { major: 8, minor: super::machine::minor(disk, 0) })
                }
                Place::Partition { disk, number } => {
                    let id = format!("sim-{}-part{number}", world.disks[disk].serial);
                    Some(RootSpec::Path(format!("/dev/disk/by-id/{id}")))
                }
                Place::Inside(_) => None,
            },
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
