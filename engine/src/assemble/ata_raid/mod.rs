//! BIOS RAID: sets of disks whose metadata the firmware wrote, mapped by device-mapper as dmraid does.
//!
//! The member disks are claimed as soon as they are recognised, with the partitions that the kernel makes on them: the
//! start of a mirror's member, or of a stripe's first disk, looks like a disk of its own.

use std::collections::BTreeMap;

use cmdline::Plan;
use ondisk::ata_raid::{Disk, Format, Level, Part, imsm};

use super::dm_partitions::DmPartitions;
use super::{Assembler, Requests, View};
use crate::command::{Action, Loudness};
use crate::event::{CommandId, DevName, Failure, Outcome};
use crate::explain::{Node, State};
use crate::table::{Device, Table};
use crate::time::Moment;

pub mod containers;
mod ddf;
pub mod external;
mod naming;
pub mod sets;
pub mod tables;
#[cfg(test)]
mod tests;

use containers::Newest;
use sets::{Leg, Readiness, Set};

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// The assembler of BIOS RAID sets.
#[derive(Debug, Default)]
pub struct AtaRaid {
    /// By the set's name.
    work: BTreeMap<String, Work>,
    /// Modules, and the request that loads them; `None` once it was answered.
    modules: BTreeMap<&'static str, Option<CommandId>>,
    partitions: DmPartitions,
    deadline: Option<Moment>,
}

/// A set that is being mapped.
#[derive(Debug, Clone)]
struct Work {
    /// As it was when it was begun.
    set: Set,
    /// Numbers of the mappings that were made, the lower ones first.
    made: Vec<(u32, u32)>,
    /// Names of those.
    names: Vec<String>,
    state: Step,
    /// A disk of it has gone before it was made.
    void: bool,
    /// The kernel was told to forget the partitions of its disks.
    cleared: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Waits for modules.
    Begun,
    Making(CommandId, String),
    Made,
    Failed(Failure),
    /// A lower mapping is taken away again.
    Undoing(CommandId, Failure),
}

/// What a whole disk is a member of by its signature, whether or not the metadata can be understood. JMicron's two letters
/// alone are no signature: one disk of 65,536 has them by chance.
fn format(device: &Device) -> Option<Format> {
    let signatures = device.content().filter(|_| device.facts.partn.is_none())?.signatures.iter();
    let sure = signatures.filter(|one| one.kind != Format::Jmicron.kind() || one.doubt.is_none());
    sure.map(|signature| signature.kind).find_map(Format::of)
}

/// Whether this assembler is responsible for disks with this format.
fn is_ours(plan: &Plan, format: Format) -> bool {
    plan.dm.enabled && !external::is_ours(plan, format)
}

/// Why a member's metadata are of no use.
fn useless(device: &Device) -> String {
    let doubts = device.content().into_iter().flat_map(|content| &content.signatures);
    let doubt = doubts.filter_map(|signature| signature.doubt.as_deref()).next();
    doubt.map_or_else(
        || "by the newest metadata it stands by, or has failed or left its set".to_owned(),
        str::to_owned,
    )
}

/// The parts of a disk that this assembler is responsible for; `None` for those of md and for anything else.
fn parts(view: View<'_>, device: &Device) -> Option<Vec<(Format, Leg)>> {
    if !view.plan.dm.enabled || device.facts.partn.is_some() {
        return None;
    }
    let disk = device.content()?.member.as_deref()?.ata_raid()?;
    let parts = match disk {
        Disk::Parts(_, parts) => parts.clone(),
        Disk::Imsm(anchor) if !(view.plan.md.enabled && view.plan.md.imsm) => {
            imsm_parts(view.table, device, anchor)
        }
        Disk::Ddf(group) if !(view.plan.md.enabled && view.plan.md.ddf) => ddf::parts(view.table, group),
        _ => return None,
    };
    let leg = |part| {
        let number = format!("{}:{}", device.facts.major, device.facts.minor);
        Leg { device: device.name.clone(), number, disk: device.facts.size / SECTOR, part }
    };
    Some(parts.into_iter().map(|part| (disk.format(), leg(part))).collect())
}

/// Intel's parts of a disk by the newest metadata: what a disk says that was left out is out of date.
fn imsm_parts(table: &Table, device: &Device, own: &imsm::Anchor) -> Vec<Part> {
    let all: Vec<_> = table.iter().filter_map(containers::intel).collect();
    let Some(Newest { anchor, refused }) = containers::newest(&all, own.orig_family) else {
        return Vec::new();
    };
    let serial = device.facts.serial.as_deref().filter(|_| anchor.family == own.family);
    let index = serial.and_then(|serial| anchor.index(serial));
    let mut parts = index.map(|index| anchor.parts(index)).unwrap_or_default();
    if refused.is_some() {
        // As in a rebuild it is not known who is right.
        parts.iter_mut().for_each(|part| part.state = ondisk::ata_raid::State::Rebuilding);
    }
    parts
}

/// All sets that can be seen.
fn seen(view: View<'_>) -> Vec<Set> {
    let mut sets = sets::sets(view.table.iter().filter_map(|device| parts(view, device)).flatten());
    // Disks that stand by for any set are none themselves.
    sets.retain(|set| set.disks().any(|leg| leg.part.level != Level::Spare));
    sets
}

/// Whether a set is to be mapped now.
fn is_wanted(view: View<'_>, set: &Set) -> bool {
    let plan = &view.plan.dm;
    if !plan.sets.is_empty() {
        return plan.sets.iter().any(|prefix| set.name.starts_with(prefix));
    }
    match view.plan.auto {
        Some(auto) => auto,
        None => view.calm || is_named_by_root(view, &set.name),
    }
}

/// `root=/dev/mapper/SET...`.
fn is_named_by_root(view: View<'_>, name: &str) -> bool {
    match &view.plan.root.spec {
        Some(cmdline::plan::RootSpec::Path(path)) => {
            path.strip_prefix("/dev/mapper/").is_some_and(|path| path.starts_with(name))
        }
        _ => false,
    }
}

fn modules(level: Level) -> &'static [&'static str] {
    match level {
        Level::Raid1 => &["dm-mirror"],
        // dm-raid asks for the personality when the array starts, and then there is no modprobe to answer.
        Level::Raid4 | Level::Raid5(_) => &["dm-raid", "raid456"],
        _ => &[],
    }
}

impl AtaRaid {
    /// Loads what the set's mappings need; true once all answers are in.
    fn modules_ready(&mut self, set: &Set, requests: &mut Requests<'_>) -> bool {
        let upper = set.upper.map(|(level, ..)| modules(level)).unwrap_or_default();
        let lower = set.lower.iter().flat_map(|lower| modules(lower.level));
        let wanted = lower.chain(upper).chain(&["dm-mod"]);
        let mut ready = true;
        for name in wanted.copied() {
            let asked = self
                .modules
                .entry(name)
                .or_insert_with(|| Some(requests.ask(Action::LoadModules(vec![name.to_owned()]))));
            ready &= asked.is_none();
        }
        ready
    }

    /// Begins the sets that can be mapped.
    fn begin(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        let grace = view.plan.degraded.map(|grace| view.at_rest.after(grace));
        self.deadline = None;
        for set in seen(view) {
            if self.work.contains_key(&set.name) || !is_wanted(view, &set) {
                continue;
            }
            let (loudness, text) = match (set.readiness(), grace) {
                (Readiness::Complete, _) => {
                    (Loudness::Info, format!("BIOS RAID set {}: all disks seen", set.name))
                }
                // Disks that are still being looked for are not missing.
                (Readiness::Degraded(_), _) if !view.calm => continue,
                (Readiness::Degraded(missing), Some(grace)) if view.now >= grace => {
                    (Loudness::Warning, format!("BIOS RAID set {} is started DEGRADED: {missing}", set.name))
                }
                (Readiness::Degraded(_), Some(grace)) => {
                    self.deadline = Some(self.deadline.map_or(grace, |other| other.min(grace)));
                    continue;
                }
                _ => continue,
            };
            requests.ask(Action::Say(loudness, text));
            let work = Work {
                set,
                made: Vec::new(),
                names: Vec::new(),
                state: Step::Begun,
                void: false,
                cleared: false,
            };
            self.work.insert(work.set.name.clone(), work);
        }
    }

    /// Moves one set on.
    fn step(&mut self, name: &str, requests: &mut Requests<'_>) {
        let Some(work) = self.work.get(name).filter(|work| work.state == Step::Begun).cloned() else {
            return;
        };
        if !self.modules_ready(&work.set, requests) {
            return;
        }
        let Some(work) = self.work.get_mut(name) else { return };
        let lower: Vec<&sets::Lower> = work.set.lower.iter().filter(|lower| lower.is_usable()).collect();
        let device = match lower.get(work.made.len()) {
            Some(lower) => tables::lower(&work.set, lower),
            None if work.set.upper.is_some() => tables::upper(&work.set, &work.made),
            None => None,
        };
        work.state = match device {
            Some(device) => {
                let name = device.name.clone();
                Step::Making(requests.ask(Action::CreateDm(device)), name)
            }
            None => Step::Failed(Failure::Other(
                "its figures allow no mapping; look at it with dmraid -tay".into(),
            )),
        };
    }
}

impl Work {
    /// How many mappings there will be.
    fn total(&self) -> usize {
        let lower = self.set.lower.iter().filter(|lower| lower.is_usable()).count();
        lower.saturating_add(usize::from(self.set.upper.is_some()))
    }

    /// Takes the answer to the request under way.
    fn answer(&mut self, result: &Result<Outcome, Failure>) {
        self.state = match (self.state.clone(), result) {
            (Step::Making(_, name), Ok(Outcome::Made { major, minor })) => {
                self.made.push((*major, *minor));
                self.names.push(name);
                if self.made.len() >= self.total() { Step::Made } else { Step::Begun }
            }
            (Step::Making(..), Ok(_)) => Step::Failed(Failure::Other("it was not said what was made".into())),
            (Step::Making(..), Err(failure)) => Step::Failed(failure.clone()),
            (Step::Undoing(_, failure), _) => Step::Failed(failure),
            (state, _) => state,
        };
    }
}

impl Assembler for AtaRaid {
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        let disks = view.table.iter().filter(|device| device.facts.partn.is_none());
        disks
            .filter_map(|device| {
                let set = parts(view, device).and_then(|parts| {
                    let (_, leg) = parts.first()?;
                    Some(leg.part.above.as_ref().map_or(&leg.part.set, |above| &above.set).clone())
                });
                // What cannot be understood may be half of a mirror all the same.
                let owner = format(device)
                    .filter(|format| is_ours(view.plan, *format))
                    .map(|format| format!("BIOS RAID set {}", set.unwrap_or_else(|| format.name().into())));
                let ours = device.claimed.as_ref().is_some_and(|owner| owner.starts_with("BIOS RAID set"));
                match (owner, ours) {
                    // What somebody else has claimed stays theirs: a path of a multipath device is no member itself.
                    (Some(owner), false) if device.claimed.is_none() => {
                        Some((device.name.clone(), Some(owner)))
                    }
                    (None, true) => Some((device.name.clone(), None)),
                    _ => None,
                }
            })
            .collect()
    }

    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        // What was begun with a disk that is gone is judged again, once nothing of it is left.
        for work in self.work.values_mut().filter(|work| work.void && work.state == Step::Begun) {
            work.state = Step::Failed(Failure::Gone);
        }
        self.work
            .retain(|_, work| !(work.void && work.names.is_empty() && matches!(work.state, Step::Failed(_))));
        self.begin(view, requests);
        let names: Vec<String> = self.work.keys().cloned().collect();
        names.iter().for_each(|name| self.step(name, requests));
        // A lower mapping that nothing stands on is taken away, the last one first.
        for work in self.work.values_mut() {
            if let Step::Failed(failure) = work.state.clone()
                && let Some(name) = work.names.pop()
            {
                work.made.pop();
                work.state = Step::Undoing(requests.ask(Action::RemoveDm(name)), failure);
            }
        }
        // The real root must not take the first half of a mirror for what is on the whole, links by UUID included.
        for work in self.work.values_mut().filter(|work| work.state == Step::Made && !work.cleared) {
            work.cleared = true;
            for leg in work.set.disks() {
                if view.table.iter().any(|device| device.facts.parent.as_ref() == Some(&leg.device)) {
                    requests.ask(Action::RemovePartitions(leg.device.clone()));
                }
            }
        }
        self.partitions.advance(view, requests, |dm| dm.uuid.starts_with("DMRAID-"), None);
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if let Some(asked) = self.modules.values_mut().find(|asked| **asked == Some(id)) {
            // It may be built in; if not, the mapping says so.
            *asked = None;
            return true;
        }
        let under_way = |work: &&mut Work| match &work.state {
            Step::Making(asked, _) | Step::Undoing(asked, _) => *asked == id,
            _ => false,
        };
        match self.work.values_mut().find(under_way) {
            Some(work) => work.answer(result),
            None => return self.partitions.answer(id, result),
        }
        true
    }

    fn gone(&mut self, name: &DevName) {
        for work in self.work.values_mut().filter(|work| work.state != Step::Made) {
            work.void |= work.set.disks().any(|leg| leg.device == *name);
        }
    }

    fn retry(&mut self) {
        self.work.retain(|_, work| !matches!(work.state, Step::Failed(_)));
        self.partitions.retry();
    }

    fn is_busy(&self) -> bool {
        let busy = |work: &Work| matches!(work.state, Step::Making(..) | Step::Begun | Step::Undoing(..));
        self.work.values().any(busy) || self.partitions.is_busy()
    }

    fn has_failed(&self, view: View<'_>) -> bool {
        let failed = |work: &Work| matches!(work.state, Step::Failed(_));
        self.work.values().any(failed)
            && seen(view).iter().all(|set| self.work.get(&set.name).is_none_or(failed))
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        if let Some(node) = self.partitions.explain(device) {
            return Some(node);
        }
        let ours = format(device).filter(|format| is_ours(view.plan, *format))?;
        let parts = parts(view, device).unwrap_or_default();
        let Some((format, leg)) = parts.first() else {
            let text = format!("{} RAID member of no use: {}", ours.name(), useless(device));
            return Some(Node::new(State::Failed, text));
        };
        let sets = seen(view);
        let set = sets.iter().find(|set| set.disks().any(|other| other.part.set == leg.part.set))?;
        let text = |what: &str| format!("{} RAID set {}: {what}", format.name(), set.name);
        if let Some(work) = self.work.get(&set.name) {
            return Some(match &work.state {
                Step::Failed(failure) | Step::Undoing(_, failure) => {
                    Node::new(State::Failed, text(&format!("not mapped: {failure}")))
                }
                Step::Made => Node::new(State::Found, text("mapped")),
                Step::Begun | Step::Making(..) => Node::new(State::Waiting, text("being mapped")),
            });
        }
        Some(match set.readiness() {
            Readiness::Refused(why) => Node::new(State::Failed, text(&format!("cannot be mapped: {why}"))),
            Readiness::Incomplete(missing) => Node::new(State::Missing, text(&missing)),
            Readiness::Degraded(missing) => {
                let text = match self.deadline.map(|at| at.0.saturating_sub(view.now.0)) {
                    _ if view.plan.degraded.is_none() => {
                        text(&format!("{missing}; rootward.degraded=never forbids to start it so"))
                    }
                    Some(rest) => text(&format!(
                        "{missing}, waiting {} s more before a degraded start",
                        rest.div_ceil(1000)
                    )),
                    None => text(&missing),
                };
                Node::new(State::Waiting, text)
            }
            Readiness::Complete => Node::new(State::Seen, text("complete, not asked for")),
        })
    }

    fn missing(&self, view: View<'_>) -> Vec<Node> {
        let sets = seen(view);
        let unseen =
            view.plan.dm.sets.iter().filter(|prefix| !sets.iter().any(|set| set.name.starts_with(*prefix)));
        unseen
            .map(|prefix| {
                Node::new(State::Missing, format!("BIOS RAID set {prefix} (rd.dm.uuid=): no disk of it seen"))
            })
            .collect()
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        let mut remedies = Vec::new();
        for set in seen(view) {
            let name = &set.name;
            match set.readiness() {
                _ if matches!(self.work.get(name).map(|work| &work.state), Some(Step::Made)) => {}
                Readiness::Incomplete(_) => remedies.push(format!(
                    "attach the missing disks of BIOS RAID set {name}; if its metadata are left over from an earlier use, \
                     boot with rd.dm=0 and remove them (dmraid -rE, wipefs)"
                )),
                Readiness::Refused(why) => remedies.push(format!("BIOS RAID set {name}: {why}")),
                Readiness::Complete if !is_wanted(view, &set) => {
                    remedies.push(format!("rd.dm.uuid={name} maps the BIOS RAID set {name}"));
                }
                _ => {}
            }
        }
        remedies
    }
}
