//! Multipath: several paths to one unit become one device-mapper device.
//!
//! Every disk that is a path is claimed before anybody else sees it, since what it holds is the whole unit's. The maps
//! themselves are made on demand, all of them at once: which unit holds the root only their content tells, and content
//! cannot be read safely through a single path, which may be a passive one. They wait until all devices that are there
//! were reported, so that a map is loaded once and with all its paths.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cmdline::multipath::{Config, Find};
use cmdline::plan::RootSpec;

use super::dm_partitions::{self, DmPartitions};
use super::{Assembler, Requests, View};
use crate::command::{Action, DmDevice, Loudness};
use crate::event::{CommandId, DevName, DeviceFacts, DmFacts, Failure, Outcome, ScsiFacts};
use crate::explain::{Node, State};
use crate::image::ImageFacts;
use crate::table::{Device, Table};
use crate::time::Moment;
use map::{MapPath, Patience};

mod map;
#[cfg(test)]
mod tests;

/// The assembler of multipath devices.
#[derive(Default)]
pub struct Multipath {
    /// Disks with an id, as they were last looked at.
    disks: BTreeMap<DevName, Known>,
    /// Disks that are claimed.
    claimed: BTreeSet<DevName>,
    /// Units by their world-wide id.
    units: BTreeMap<String, Unit>,
    partitions: DmPartitions,
    /// When the first disk is given back that waits for another path.
    wake: Option<Moment>,
}

/// What kpartx.rules of multipath-tools puts between the name of a map and the number of a partition. Red Hat's packages
/// leave that to kpartx itself ([`dm_partitions::name`]).
const DELIMITER: &str = "-part";

/// What is remembered of a disk, so that expressions are matched and maps written only when something has changed.
struct Known {
    scsi: ScsiFacts,
    node: (u32, u32, u64, bool),
}

impl Known {
    fn node_of(facts: &DeviceFacts) -> (u32, u32, u64, bool) {
        (facts.major, facts.minor, facts.size, facts.read_only)
    }

    fn is(&self, path: MapPath<'_>) -> bool {
        self.scsi == *path.scsi && self.node == Known::node_of(&path.device.facts)
    }
}

/// Whether the root or `/usr` is named as kpartx itself names partitions of a map that is there.
fn is_spelled_by_kpartx(view: View<'_>) -> bool {
    let specs = [&view.plan.root.spec, &view.plan.usr.spec];
    let paths = specs.into_iter().flatten().filter_map(|spec| match spec {
        RootSpec::Path(path) => path.strip_prefix("/dev/mapper/"),
        _ => None,
    });
    let maps = || view.table.iter().filter_map(|device| device.facts.dm.as_ref());
    paths.into_iter().any(|path| {
        maps().filter(|map| map.uuid.starts_with("mpath-")).any(|map| {
            let number =
                path.strip_prefix(map.name.as_str()).map(|rest| rest.strip_prefix('p').unwrap_or(rest));
            let number = number.and_then(|number| number.parse().ok());
            number.is_some_and(|number| dm_partitions::name(&map.name, None, number) == path)
        })
    })
}

/// One unit.
struct Unit {
    /// Kernel names of its paths.
    paths: BTreeSet<DevName>,
    verdict: Verdict,
    first_seen: Moment,
    map: Map,
    /// `skip_kpartx`
    skip_partitions: bool,
    /// Its paths have changed since the map was last thought about.
    changed: bool,
    /// The map was there.
    seen: bool,
    /// How long the map queues I/O without a path, as it was last loaded.
    patience: Patience,
    queueing: Queueing,
}

/// What becomes of I/O when a map that queues has no path: the kernel would keep it for ever, and multipathd, who ends
/// that (structs_vec.c: `enter_recovery_mode`; main.c: `retry_count_tick`), is not there yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queueing {
    /// There is a path, or nothing is to end.
    Usual,
    Until(Moment),
    Ending(CommandId),
    /// I/O fails; the next table queues again.
    Ended,
}

/// Whether a unit is multipath.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    /// Another path may come.
    Perhaps,
    /// It was waited for in vain.
    Single,
    No,
}

/// How far the map of a unit is.
enum Map {
    None,
    Loading(CommandId),
    Ready,
    Making(CommandId, DmDevice),
    Changing(CommandId, DmDevice),
    /// As it was last loaded.
    Made(DmDevice),
    /// The kernel refused it.
    Failed(String),
}

/// The disks that have an id, as paths.
fn candidates(table: &Table) -> impl Iterator<Item = MapPath<'_>> {
    table.iter().filter_map(|device| {
        let scsi = device.facts.scsi.as_deref().filter(|scsi| !scsi.wwid.is_empty())?;
        (device.facts.size > 0).then_some(MapPath { device, scsi })
    })
}

/// The units that have a device-mapper device, whoever has made it.
fn mapped(table: &Table) -> BTreeSet<&str> {
    let uuids = table.iter().filter_map(|device| device.facts.dm.as_ref()?.uuid.strip_prefix("mpath-"));
    uuids.collect()
}

fn skips_partitions(config: &Config, path: MapPath<'_>) -> bool {
    config.setting(map::disk(path.device, path.scsi), |all| all.skip_partitions).unwrap_or(false)
}

/// Numbers of the multipath devices whose partitions are not to be mapped.
pub(crate) fn unpartitioned(image: &ImageFacts, table: &Table) -> Vec<(u32, u32)> {
    let Some(config) = image.multipath.as_deref() else { return Vec::new() };
    let maps = table.iter().filter_map(|map| {
        let wwid = map.facts.dm.as_ref()?.uuid.strip_prefix("mpath-")?;
        let path = candidates(table).find(|path| path.scsi.wwid == wwid)?;
        skips_partitions(config, path).then_some((map.facts.major, map.facts.minor))
    });
    maps.collect()
}

/// Disks that something has which is not multipath, a mount included; a partition counts for its disk.
fn in_use(view: View<'_>) -> BTreeSet<&DevName> {
    let table = view.table;
    let foreign = table
        .iter()
        .filter(|device| device.facts.dm.as_ref().is_none_or(|dm| !dm.uuid.starts_with("mpath-")));
    let used = foreign.flat_map(|device| &device.facts.slaves).chain(view.goal).chain(view.mounted);
    used.map(|name| table.get(name).and_then(|device| device.facts.parent.as_ref()).unwrap_or(name)).collect()
}

impl Unit {
    /// Ends the queueing of a map that has had no path for too long.
    fn end_queueing(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        let Map::Made(map) = &self.map else { return };
        let runs = |name: &DevName| {
            let device = view.table.get(name);
            device.and_then(|device| device.facts.scsi.as_deref()).is_some_and(|scsi| scsi.running)
        };
        if self.paths.iter().any(runs) {
            if let Queueing::Until(_) = self.queueing {
                self.queueing = Queueing::Usual;
            }
            return;
        }
        let flush = self.patience.flush && self.paths.is_empty();
        let name = &map.name;
        let mut say = |text| requests.ask(Action::Say(Loudness::Warning, text));
        if let (Queueing::Usual, Some(limit), false) = (self.queueing, self.patience.queues_for, flush) {
            self.queueing = Queueing::Until(view.now.after(limit));
            let seconds = limit.as_secs();
            say(format!(
                "{name} has no path left: what is read or written waits for one, {seconds} s at most"
            ));
        }
        let (over, setting) = match self.queueing {
            Queueing::Usual | Queueing::Until(_) if flush => (true, "flush_on_last_del"),
            Queueing::Until(until) => (view.now >= until, "no_path_retry"),
            _ => (false, ""),
        };
        if over {
            say(format!(
                "{name} has no path left: from now on what is read or written fails, as {setting} says. Look after cables, \
                 zoning and the storage array; a path that comes back is used again"
            ));
            let message = Action::MessageDm(name.clone(), "fail_if_no_path".to_owned());
            self.queueing = Queueing::Ending(requests.ask(message));
        }
    }
}

impl Multipath {
    /// Enters the paths of every unit.
    fn collect(&mut self, config: &Config, view: View<'_>) {
        let units = &mut self.units;
        self.disks.retain(|name, known| {
            let device = view.table.get(name);
            let path =
                device.and_then(|device| Some(MapPath { device, scsi: device.facts.scsi.as_deref()? }));
            let same = path.is_some_and(|path| known.is(path));
            if let Some(unit) = units.get_mut(&known.scsi.wwid).filter(|_| !same) {
                unit.paths.remove(name);
                unit.changed = true;
            }
            same
        });
        for path in candidates(view.table) {
            let MapPath { device, scsi } = path;
            if self.disks.contains_key(&device.name) {
                continue;
            }
            let blacklisted = config.is_blacklisted(map::disk(device, scsi));
            let known = Known { scsi: scsi.clone(), node: Known::node_of(&device.facts) };
            self.disks.insert(device.name.clone(), known);
            if !blacklisted {
                let unit = units.entry(scsi.wwid.clone()).or_insert_with(|| Unit {
                    paths: BTreeSet::new(),
                    verdict: Verdict::No,
                    first_seen: view.now,
                    map: Map::None,
                    skip_partitions: skips_partitions(config, path),
                    changed: true,
                    seen: false,
                    patience: Patience::default(),
                    queueing: Queueing::Usual,
                });
                unit.changed |= unit.paths.insert(device.name.clone());
            }
        }
        // A map stays, whatever becomes of its paths.
        units.retain(|_, unit| !unit.paths.is_empty() || !matches!(unit.map, Map::None));
    }

    /// Decides which units are multipath.
    fn judge(&mut self, config: &Config, view: View<'_>) {
        self.wake = None;
        let settled = view.calm || view.stuck;
        let (mapped, in_use) = (mapped(view.table), in_use(view));
        for (wwid, unit) in &mut self.units {
            let of_first = unit.paths.first().and_then(|name| view.table.get(name));
            let patience = |device: &Device| {
                let scsi = device.facts.scsi.as_deref()?;
                Some(Duration::from_secs(config.patience(map::disk(device, scsi)).into()))
            };
            unit.verdict = if !matches!(unit.map, Map::None) || mapped.contains(wwid.as_str()) {
                Verdict::Yes
            } else if unit.paths.iter().any(|name| in_use.contains(name)) {
                // A path that is in use cannot become part of a map any more.
                Verdict::No
            } else if config.known.contains(wwid) {
                Verdict::Yes
            } else {
                match config.find {
                    Find::All => Verdict::Yes,
                    Find::Strict => Verdict::No,
                    Find::Two | Find::Smart if unit.paths.len() > 1 => Verdict::Yes,
                    _ if unit.verdict == Verdict::Single => Verdict::Single,
                    // Two paths that are there are both seen in the first walk over /sys.
                    Find::Two if settled => Verdict::Single,
                    Find::Two => Verdict::Perhaps,
                    Find::Smart => {
                        let until = unit.first_seen.after(of_first.and_then(patience).unwrap_or_default());
                        if view.now >= until {
                            Verdict::Single
                        } else {
                            self.wake = Some(self.wake.map_or(until, |wake| wake.min(until)));
                            Verdict::Perhaps
                        }
                    }
                }
            };
        }
    }

    /// The map as it should be loaded now.
    fn wanted(config: &Config, table: &Table, unit: &Unit) -> Option<(DmDevice, Patience)> {
        let devices = unit.paths.iter().filter_map(|name| table.get(name));
        let paths: Vec<MapPath<'_>> = devices
            .filter_map(|device| Some(MapPath { device, scsi: device.facts.scsi.as_deref()? }))
            .collect();
        map::build(config, &paths)
    }

    /// Has the maps made and changed; with root found only those changed that are there.
    fn keep(&mut self, begin: bool, view: View<'_>, requests: &mut Requests<'_>) {
        let Some(config) = view.image.multipath.as_deref() else { return };
        let settled = view.calm || view.stuck;
        let mapped = mapped(view.table);
        for (wwid, unit) in &mut self.units {
            let there = mapped.contains(wwid.as_str());
            if unit.seen && !there && matches!(unit.map, Map::Made(_)) {
                // Somebody has removed it.
                unit.map = Map::None;
                unit.queueing = Queueing::Usual;
            }
            unit.seen = there;
            unit.end_queueing(view, requests);
            let due = match &unit.map {
                Map::None => begin && settled && !there,
                Map::Ready => begin,
                // A message on its way must not come after the table that makes it void.
                Map::Made(_) => unit.changed && !matches!(unit.queueing, Queueing::Ending(_)),
                Map::Failed(..) => begin && unit.changed,
                _ => false,
            };
            if unit.verdict != Verdict::Yes || !due {
                continue;
            }
            unit.changed = false;
            let Some((wanted, patience)) = Multipath::wanted(config, view.table, unit) else { continue };
            unit.patience = patience;
            match &unit.map {
                Map::None => {
                    let id = requests.ask(Action::LoadModules(map::modules(&wanted)));
                    unit.map = Map::Loading(id);
                }
                Map::Made(loaded) if *loaded != wanted || unit.queueing == Queueing::Ended => {
                    let id = requests.ask(Action::ReloadDm(wanted.clone()));
                    unit.map = Map::Changing(id, wanted);
                    unit.queueing = Queueing::Usual;
                }
                Map::Made(_) => {}
                _ => {
                    let id = requests.ask(Action::CreateDm(wanted.clone()));
                    unit.map = Map::Making(id, wanted);
                }
            }
        }
    }

    fn unit_of(&self, device: &Device) -> Option<(&String, &Unit)> {
        let scsi = device.facts.scsi.as_deref()?;
        self.units.get_key_value(&scsi.wwid).filter(|(_, unit)| unit.paths.contains(&device.name))
    }
}

impl Assembler for Multipath {
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        let Some(config) = view.image.multipath.as_deref() else { return Vec::new() };
        self.collect(config, view);
        self.judge(config, view);
        let mut changes = Vec::new();
        for unit in self.units.values() {
            let ours = matches!(unit.verdict, Verdict::Yes | Verdict::Perhaps);
            for device in unit.paths.iter().filter_map(|name| view.table.get(name)) {
                let Some(scsi) = device.facts.scsi.as_deref() else { continue };
                if ours && device.claimed.is_none() {
                    self.claimed.insert(device.name.clone());
                    let owner = format!("multipath device {}", config.name(map::disk(device, scsi)));
                    changes.push((device.name.clone(), Some(owner)));
                } else if !ours && self.claimed.remove(&device.name) {
                    changes.push((device.name.clone(), None));
                }
            }
        }
        changes
    }

    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        let Some(config) = view.image.multipath.as_deref() else { return };
        let delimiter =
            config.delimiter.as_deref().or(Some(DELIMITER).filter(|_| !is_spelled_by_kpartx(view)));
        let units = &self.units;
        let has_partitions = |dm: &DmFacts| {
            let wwid = dm.uuid.strip_prefix("mpath-");
            wwid.is_some_and(|wwid| !units.get(wwid).is_some_and(|unit| unit.skip_partitions))
        };
        self.partitions.advance(view, requests, has_partitions, delimiter);
        self.keep(true, view, requests);
    }

    /// While root is being mounted its paths may go and come.
    fn finish(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        self.keep(false, view, requests);
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if let Some(unit) = self.units.values_mut().find(|unit| unit.queueing == Queueing::Ending(id)) {
            unit.queueing = Queueing::Ended;
            return true;
        }
        let asked = |unit: &&mut Unit| match &unit.map {
            Map::Loading(asked) | Map::Making(asked, _) | Map::Changing(asked, _) => *asked == id,
            _ => false,
        };
        let Some(unit) = self.units.values_mut().find(asked) else {
            return self.partitions.answer(id, result);
        };
        unit.map = match (std::mem::replace(&mut unit.map, Map::None), result) {
            // A module that is missing may be built in; the kernel's refusal tells.
            (Map::Loading(_), _) => Map::Ready,
            (Map::Making(..), Err(failure)) => Map::Failed(failure.to_string()),
            // After a failure the old table is in force. The same one would fail again.
            (Map::Making(_, map) | Map::Changing(_, map), _) => Map::Made(map),
            (other, _) => other,
        };
        true
    }

    fn gone(&mut self, name: &DevName) {
        self.claimed.remove(name);
        // Another disk may take the name before the next look.
        if let Some(known) = self.disks.remove(name)
            && let Some(unit) = self.units.get_mut(&known.scsi.wwid)
        {
            unit.paths.remove(name);
            unit.changed = true;
        }
    }

    fn retry(&mut self) {
        self.partitions.retry();
        for unit in self.units.values_mut() {
            if matches!(unit.map, Map::Failed(..)) {
                unit.map = Map::None;
            }
        }
    }

    fn is_busy(&self) -> bool {
        let busy = |map: &Map| matches!(map, Map::Loading(_) | Map::Making(..) | Map::Changing(..));
        let ending = |unit: &Unit| matches!(unit.queueing, Queueing::Ending(_));
        self.partitions.is_busy() || self.units.values().any(|unit| busy(&unit.map) || ending(unit))
    }

    fn deadline(&self) -> Option<Moment> {
        let until = self.units.values().filter_map(|unit| match unit.queueing {
            Queueing::Until(until) => Some(until),
            _ => None,
        });
        until.chain(self.wake).min()
    }

    /// Queues may be told to last for days.
    fn waits(&self) -> Option<Moment> {
        self.wake
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        if let Some(wwid) = device.facts.dm.as_ref().and_then(|dm| dm.uuid.strip_prefix("mpath-")) {
            if let Some(node) = self.partitions.explain(device) {
                return Some(node);
            }
            let unit = self.units.get(wwid);
            let count = unit.map_or(0, |unit| unit.paths.len());
            let state = if count > 1 { State::Seen } else { State::Waiting };
            let table = device.content().is_some_and(|content| content.table.is_some());
            let skipped = match unit {
                Some(unit) if unit.skip_partitions && table => {
                    "; its partitions are not mapped, because multipath.conf says skip_kpartx"
                }
                _ => "",
            };
            return Some(Node::new(state, format!("{} of {wwid}{skipped}", paths(count))));
        }
        let (wwid, unit) = self.unit_of(device)?;
        let count = paths(unit.paths.len());
        let (state, text) = match (&unit.map, unit.verdict) {
            (Map::Failed(reason), _) => {
                (State::Failed, format!("path to {wwid} ({count} seen), whose map cannot be made: {reason}"))
            }
            (Map::Made(map), _) => (State::Seen, format!("path to {wwid}, part of {}", map.name)),
            (_, Verdict::Yes) => {
                (State::Waiting, format!("path to {wwid}, {count} seen; its map comes next"))
            }
            (_, Verdict::Perhaps) => {
                (State::Waiting, format!("kept for multipath in case another path to {wwid} comes"))
            }
            (_, Verdict::No) if unit.paths.len() > 1 && !in_use(view).contains(&device.name) => {
                (State::Seen, format!("one of {count} to {wwid}, which /etc/multipath/wwids does not name"))
            }
            _ => return None,
        };
        Some(Node::new(state, text))
    }

    fn remedies(&self, _view: View<'_>) -> Vec<String> {
        let mut remedies = Vec::new();
        for (wwid, unit) in &self.units {
            let names: Vec<&str> = unit.paths.iter().map(|name| name.0.as_str()).collect();
            let names = names.join(", ");
            match (&unit.map, unit.verdict) {
                (Map::Failed(..), _) => remedies.push(format!(
                    "see the kernel log for why {names} cannot become one multipath device; rd.multipath=0 uses a single path"
                )),
                (_, Verdict::No) if unit.paths.len() > 1 => remedies.push(format!(
                    "{names} are paths to one unit: add it with `multipath -a {wwid}` and rebuild the image, or boot with rd.multipath=0"
                )),
                _ => {}
            }
        }
        remedies
    }
}

fn paths(count: usize) -> String {
    if count == 1 { "1 path".to_owned() } else { format!("{count} paths") }
}
