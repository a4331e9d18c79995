//! What must come of a world, worked out from the truth behind it instead of from events.
//!
//! Deliberately written without the engine's own matching: a mistake there must not be repeated here.

use std::collections::BTreeSet;
use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{KeyDevice, KeyTarget, LuksIdKind, Patience, RootSpec};

use super::world::{Arrival, Place, Reads, World, partition_name};

/// The verdict on a world.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Contents that may end up as root: never any other.
    pub roots: BTreeSet<u32>,
    /// One of these has no init: a stop after the mount is right as well.
    pub may_lack_init: bool,
    /// Root must be reached (or stopped at for want of an init).
    pub must_reach: bool,
    /// A disk changes under its name while the boot goes on.
    pub swapped: bool,
    /// Nothing in the world depends on the order or the delays of events: two runs must end alike.
    pub strict: bool,
}

fn plain(id: &str) -> String {
    id.replace('-', "").to_lowercase()
}

/// The selector of the command line that names a container.
fn selector_of(world: &World, plan: &Plan, at: usize) -> Option<usize> {
    let uuid = world.volumes[at].content.only()?.uuid.clone()?;
    let serial = match world.volumes[at].place {
        Place::Disk(disk) | Place::Partition { disk, .. } => Some(world.disks[disk].serial.clone()),
        Place::Inside(_) => None,
    };
    plan.luks.selectors.iter().position(|selector| match selector.kind {
        LuksIdKind::Uuid => plain(&uuid).contains(&plain(&selector.id)),
        LuksIdKind::Serial => {
            serial.as_ref().is_some_and(|serial| plain(serial).contains(&plain(&selector.id)))
        }
        LuksIdKind::PartUuid => false,
    })
}

fn row_of<'a>(world: &'a World, plan: &Plan, at: usize) -> Option<&'a cmdline::crypttab::CrypttabEntry> {
    let uuid = world.volumes[at].content.only()?.uuid.clone()?;
    world
        .crypttab
        .iter()
        .filter(|_| plan.luks.crypttab)
        .find(|row| row.device == RootSpec::Uuid(uuid.clone()))
}

/// The name that the mapping of a container gets.
pub fn mapping_name(world: &World, plan: &Plan, at: usize) -> Option<String> {
    let uuid = world.volumes[at].content.only()?.uuid.clone()?;
    let row = row_of(world, plan, at).map(|row| row.name.clone());
    Some(match selector_of(world, plan, at) {
        Some(index) => {
            let selector = &plan.luks.selectors[index];
            selector.name.clone().or(row).unwrap_or_else(|| format!("luks-{}", selector.id))
        }
        None => row.unwrap_or_else(|| format!("luks-{uuid}")),
    })
}

/// Whether the plan lets a container be opened at all; `unasked`: even without the root being asked for by it.
pub fn may_open(world: &World, plan: &Plan, at: usize) -> bool {
    let volume = &world.volumes[at];
    if !plan.luks.enabled || volume.luks.is_none() || volume.content.signatures.len() != 1 {
        return false;
    }
    // What is made anew at each start never; `noauto` is taken back by nothing but the root's own name.
    let row = row_of(world, plan, at).map(|row| &row.options);
    if row.is_some_and(|row| row.scratch || row.noauto && !named_as_root(world, plan, at)) {
        return false;
    }
    match plan.auto {
        _ if selector_of(world, plan, at).is_some() => true,
        _ if !plan.luks.selectors.is_empty() => false,
        Some(auto) => auto,
        None => true,
    }
}

/// Whether `root=/dev/mapper/NAME` names this container's mapping.
pub fn named_as_root(world: &World, plan: &Plan, at: usize) -> bool {
    mapping_name(world, plan, at)
        .is_some_and(|name| plan.root.spec == Some(RootSpec::Path(format!("/dev/mapper/{name}"))))
}

/// Whether a container may be opened only when the root is nowhere else.
pub fn is_last_resort(world: &World, plan: &Plan, at: usize) -> bool {
    plan.auto.is_none()
        && selector_of(world, plan, at).is_none()
        && plan.luks.selectors.is_empty()
        && !named_as_root(world, plan, at)
}

/// Whether a key of the command line may be looked for on this volume.
pub fn may_hold_key(world: &World, plan: &Plan, at: usize, name: &str, path: &str) -> bool {
    plan.luks.enabled
        && plan.luks.keys.iter().any(|key| key.path == path && lies_on(&key.device, world, at, name))
}

fn lies_on(device: &KeyDevice, world: &World, at: usize, name: &str) -> bool {
    let signature = world.volumes[at].content.only();
    match device {
        KeyDevice::Initramfs => false,
        KeyDevice::Any => true,
        KeyDevice::Path(wanted) => *wanted == format!("/dev/{name}"),
        KeyDevice::Uuid(prefix) => signature
            .and_then(|signature| signature.uuid.as_deref())
            .is_some_and(|uuid| plain(uuid).starts_with(&plain(prefix))),
        KeyDevice::Label(label) => {
            signature.and_then(|signature| signature.label.as_deref()) == Some(label.as_bytes())
        }
    }
}

/// Whether `root=` names this volume, going by the truth. `name` is its kernel name, `mapping` its dm name.
pub fn is_named(spec: &RootSpec, world: &World, at: usize, name: &str, mapping: Option<&str>) -> bool {
    let volume = &world.volumes[at];
    let fs = match volume.content.signatures.as_slice() {
        [one] if one.kind.is_filesystem() => Some(one),
        _ => None,
    };
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    match spec {
        RootSpec::Uuid(uuid) => fs.and_then(|fs| fs.uuid.as_ref()).is_some_and(|seen| same(seen, uuid)),
        RootSpec::Label(label) => {
            fs.and_then(|fs| fs.label.as_ref()).is_some_and(|seen| seen == label.as_bytes())
        }
        RootSpec::PartUuid { uuid, offset } => {
            let Place::Partition { disk, number } = volume.place else { return false };
            let table = world.volumes[world.disks[disk].volume].content.table.as_ref();
            table.is_some_and(|table| {
                table.partitions.iter().any(|entry| {
                    same(&entry.uuid, uuid)
                        && i64::from(entry.number) + i64::from(*offset) == i64::from(number)
                })
            })
        }
        RootSpec::PartLabel(label) => {
            world.entry_of(at).is_some_and(|entry| entry.name.as_ref() == Some(label))
        }
        RootSpec::Path(path) => {
            let by_id = match volume.place {
                Place::Disk(disk) => format!("/dev/disk/by-id/sim-{}", world.disks[disk].serial),
                Place::Partition { disk, number } => {
                    format!("/dev/disk/by-id/sim-{}-part{number}", world.disks[disk].serial)
                }
                Place::Inside(_) => String::new(),
            };
            *path == format!("/dev/{name}")
                || *path == by_id
                || mapping.is_some_and(|mapping| *path == format!("/dev/mapper/{mapping}"))
        }
        RootSpec::DevNum { major, minor } => {
            let number = match volume.place {
                Place::Disk(disk) => super::machine::minor(disk, 0),
                Place::Partition { disk, number } => super::machine::minor(disk, number),
                Place::Inside(_) => return false,
            };
            (*major, *minor) == (8, number)
        }
        RootSpec::Unsupported(_) => false,
    }
}

/// Latest time at which a disk of the chain is there.
fn arrival(world: &World, at: usize) -> u64 {
    let disk = &world.disks[world.disk_of(at)];
    let first = match disk.arrival {
        Arrival::Start => 0,
        Arrival::Driver(ms) | Arrival::Late(ms) => ms,
        // Asked for when devices are quiet, which takes its time.
        Arrival::OtherDrivers(ms) => ms + 40_000,
    };
    first.max(disk.absent.map_or(0, |(_, back)| back))
}

fn is_swapped(world: &World, at: usize) -> bool {
    world.disks[world.disk_of(at)].swapped.is_some()
}

/// Which volumes can be read in the end. `sure`: whatever the order of events; otherwise: with luck.
fn reachable(world: &World, plan: &Plan, sure: bool) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    // Whether the names of mappings collide is the engine's business; where they might, nothing is sure.
    let typed: BTreeSet<u32> = world.typed.iter().map(|(_, secret)| *secret).collect();
    let wrong = world.typed.len() as u32;
    loop {
        let before = found.len();
        for at in 0..world.volumes.len() {
            let volume = &world.volumes[at];
            let outer = match volume.place {
                Place::Disk(_) => true,
                // Where a partition's name is not needed it can be read even if its disk cannot.
                Place::Partition { .. } => true,
                Place::Inside(outer) => {
                    found.contains(&outer) && opens(world, plan, outer, &found, &typed, wrong, sure)
                }
            };
            let readable = match volume.reads {
                Reads::Fine | Reads::Slow(_) | Reads::FailsFirst(_) => true,
                Reads::Broken | Reads::Hangs => false,
            };
            if outer && readable && !(sure && is_swapped(world, at)) {
                found.insert(at);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn opens(
    world: &World,
    plan: &Plan,
    at: usize,
    found: &BTreeSet<usize>,
    typed: &BTreeSet<u32>,
    wrong: u32,
    sure: bool,
) -> bool {
    if !may_open(world, plan, at) || world.crypt_missing {
        return false;
    }
    let Some((secrets, _)) = &world.volumes[at].luks else { return false };
    let row = row_of(world, plan, at);
    let uuid = world.volumes[at].content.signatures[0].uuid.clone().unwrap_or_default();
    if sure && shares_uuid_or_name(world, plan, at) {
        return false;
    }
    let tries = match row.and_then(|row| row.options.tries) {
        Some(0) => u32::MAX,
        Some(tries) => tries,
        None => 5,
    };
    // Every typed passphrase may be the wrong one for a container that is locked when it is typed.
    let survives_typing = wrong < tries && plan.luks.prompt_timeout.is_none();
    let in_image =
        |path: &str| world.image_keys.iter().any(|(name, secret)| name == path && secrets.contains(secret));
    let by_row = row.is_some_and(|row| match &row.key {
        cmdline::crypttab::CryptKey::File { path, .. } => in_image(path),
        cmdline::crypttab::CryptKey::Ask => false,
    });
    let by_image = by_row
        || plan.luks.keys.iter().any(|key| {
            key.device == KeyDevice::Initramfs && is_target(&key.target, &uuid) && in_image(&key.path)
        });
    let by_device = plan.luks.keys.iter().any(|key| {
        is_target(&key.target, &uuid)
            && found.iter().any(|holder| {
                let volume = &world.volumes[*holder];
                let name = world.kernel_name(*holder).unwrap_or_default();
                volume.content.only().is_some_and(|signature| signature.kind.is_filesystem())
                    && volume
                        .key_file
                        .as_ref()
                        .is_some_and(|(path, secret)| *path == key.path && secrets.contains(secret))
                    && lies_on(&key.device, world, *holder, &name)
            })
    });
    let by_hand = secrets.iter().any(|secret| typed.contains(secret));
    if sure {
        by_image || (survives_typing && (by_device || by_hand))
    } else {
        by_image || by_device || by_hand
    }
}

fn is_target(target: &KeyTarget, uuid: &str) -> bool {
    match target {
        KeyTarget::All => true,
        KeyTarget::Uuid(prefix) => plain(uuid).starts_with(&plain(prefix)),
        _ => false,
    }
}

/// Containers that are copies of each other, or want the same name: only one of them is opened.
fn shares_uuid_or_name(world: &World, plan: &Plan, at: usize) -> bool {
    let uuid = &world.volumes[at].content.signatures[0].uuid;
    let name = mapping_name(world, plan, at);
    (0..world.volumes.len()).any(|other| {
        other != at
            && world.volumes[other].luks.is_some()
            && (world.volumes[other].content.signatures[0].uuid == *uuid
                || mapping_name(world, plan, other) == name)
    })
}

/// The verdict.
pub fn judge(world: &World, plan: &Plan) -> Expected {
    let Some(spec) = &plan.root.spec else {
        return Expected {
            roots: BTreeSet::new(),
            may_lack_init: false,
            must_reach: false,
            swapped: false,
            strict: true,
        };
    };
    let lucky = reachable(world, plan, false);
    let sure = reachable(world, plan, true);
    let matches = |at: usize| {
        let name = world.kernel_name(at).unwrap_or_default();
        let mapping = match world.volumes[at].place {
            Place::Inside(outer) => mapping_name(world, plan, outer),
            _ => None,
        };
        is_named(spec, world, at, &name, mapping.as_deref())
    };
    let mountable = |at: usize| {
        let volume = &world.volumes[at];
        volume.mountable && fits(at, world) && volume.sibling.is_none_or(|other| lucky.contains(&other))
    };
    let candidates: Vec<usize> = lucky.iter().copied().filter(|at| matches(*at) && mountable(*at)).collect();
    // A name from the partition table needs the disk itself to be readable.
    let named_by_table = matches!(spec, RootSpec::PartUuid { .. } | RootSpec::PartLabel(_));
    let table_readable = |at: usize| {
        let Place::Partition { disk, .. } = world.volumes[at].place else { return true };
        sure.contains(&world.disks[disk].volume)
    };
    let late_limit = if something_may_fail(world, plan) { 6_000 } else { 60_000 };
    let patient = match plan.patience {
        Patience::Forever => true,
        Patience::Quiet(limit) => limit >= Duration::from_secs(100),
        Patience::Total(_) => false,
    };
    let must_reach = patient
        && !may_be_held(world, plan, &sure)
        && candidates.iter().any(|at| {
            let sibling = world.volumes[*at].sibling;
            sure.contains(at)
                && sibling.is_none_or(|other| {
                    sure.contains(&other)
                        && chain(world, other).iter().all(|below| arrival(world, *below) <= late_limit)
                })
                && chain(world, *at).iter().all(|below| arrival(world, *below) <= late_limit)
                && (!named_by_table || table_readable(*at))
        });
    let may_lack_init = candidates.iter().any(|at| !world.volumes[*at].has_init);
    let roots: BTreeSet<u32> = candidates.iter().map(|at| world.volumes[*at].tag).collect();
    let calm = world.disks.iter().all(|disk| {
        matches!(disk.arrival, Arrival::Start | Arrival::Driver(_))
            && disk.absent.is_none()
            && disk.swapped.is_none()
    });
    let one_kind =
        roots.len() <= 1 && !(may_lack_init && candidates.iter().any(|at| world.volumes[*at].has_init));
    let twins = (0..world.volumes.len())
        .any(|at| world.volumes[at].luks.is_some() && shares_uuid_or_name(world, plan, at));
    let hand = world.typed.len() <= 3
        && plan.luks.prompt_timeout.is_none()
        && !world.crypttab.iter().any(|row| row.options.tries.is_some());
    let strict = calm && one_kind && !twins && patient && (must_reach || hand) && !world.driver_hangs;
    Expected { roots, may_lack_init, must_reach, swapped: world.spares > 0, strict }
}

/// Whether there is one file system on it.
fn fits(at: usize, world: &World) -> bool {
    let content = &world.volumes[at].content;
    match content.signatures.as_slice() {
        [one] => one.kind.is_filesystem(),
        _ => false,
    }
}

/// Something can fail for good, after which the boot waits only a little longer.
fn something_may_fail(world: &World, plan: &Plan) -> bool {
    plan.luks.enabled && world.volumes.iter().any(|volume| volume.luks.is_some())
        || world.volumes.iter().any(|volume| !volume.mountable || volume.sibling.is_some())
}

/// Whether the root may have to wait for ever for another container, one that is named and that nobody opens.
fn may_be_held(world: &World, plan: &Plan, sure: &BTreeSet<usize>) -> bool {
    let typed: BTreeSet<u32> = world.typed.iter().map(|(_, secret)| *secret).collect();
    let wrong = world.typed.len() as u32;
    (0..world.volumes.len()).any(|at| {
        selector_of(world, plan, at).is_some()
            && world.volumes[at].luks.is_some()
            && !opens(world, plan, at, sure, &typed, wrong, true)
    })
}

/// The volume and every container around it.
fn chain(world: &World, at: usize) -> Vec<usize> {
    let mut chain = vec![at];
    let mut at = at;
    while let Place::Inside(outer) = world.volumes[at].place {
        chain.push(outer);
        at = outer;
    }
    chain
}

/// The kernel name of every volume that is no mapping, with the volume.
pub fn kernel_names(world: &World) -> Vec<(String, usize)> {
    let mut names = Vec::new();
    for disk in &world.disks {
        names.push((disk.name.clone(), disk.volume));
        for (number, volume) in &disk.partitions {
            names.push((partition_name(&disk.name, *number), *volume));
        }
    }
    names
}
