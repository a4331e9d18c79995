//! MD arrays: which are wanted, when they are complete enough, when they start without a member.

use std::collections::{BTreeMap, BTreeSet};

use ondisk::md::{Role, Superblock};

use super::ata_raid::external;
use super::{Assembler, Hold, Requests, View};
use crate::command::{Action, ArrayMember, ArrayRequest, Loudness, disk_state};
use crate::event::{CommandId, DevName, Failure, Outcome};
use crate::explain::Node;
use crate::matching;
use crate::table::{Device, Table};
use crate::time::Moment;

pub mod judge;
pub(super) mod naming;
mod report;
mod reshape;
#[cfg(test)]
mod tests;

use judge::{Judgement, Readiness, Seen, judge};

type Uuid = [u8; 16];

/// How far an array has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// The module of its level is being loaded.
    Loading(CommandId),
    /// The module is there, or nothing more can be done about it.
    Ready,
    /// It is being started with these members.
    Starting(CommandId, BTreeSet<DevName>),
    /// It runs, or is about to show up.
    Started(BTreeSet<DevName>),
    /// It is being stopped, because it runs from members that are out of date.
    Stopping(CommandId),
    /// It could not be started with these members.
    Failed(BTreeSet<DevName>, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Array {
    stage: Stage,
    /// Its path, once it has been chosen.
    path: Option<String>,
    /// Why the module of its level could not be loaded.
    moduleless: Option<String>,
    /// A member has gone while it was being started.
    lost: bool,
}

/// The assembler of MD arrays.
#[derive(Debug, Default)]
pub struct Md {
    arrays: BTreeMap<Uuid, Array>,
    /// The wanted root was not among what is there: whatever could hide it is assembled from here on.
    peeling: bool,
    /// Members that the kernel did not take, and why.
    refused: BTreeMap<DevName, String>,
    /// Members that were named in the log as left out.
    named: BTreeSet<DevName>,
    /// Spares being added to running arrays, or added.
    spares: BTreeSet<DevName>,
    /// Requests whose answers change nothing but that nobody waits for them any more.
    adding: BTreeSet<CommandId>,
    /// When an incomplete array may start.
    due: Option<Moment>,
    /// Root's mount waits for arrays to be clean: those that are waited for, and those that were.
    cleaning: Option<(CommandId, BTreeSet<DevName>)>,
    clean: BTreeSet<DevName>,
    /// Arrays that run without their freshest member: its event count, and whether they were to be stopped for it.
    outrun: BTreeMap<Uuid, (u64, bool)>,
    /// Arrays that nothing uses were asked to be stopped.
    swept: bool,
}

/// A member's superblock.
fn superblock(device: &Device) -> Option<&Superblock> {
    device.content()?.member.as_ref()?.md()
}

/// The members of every array that nobody else has claimed and mdadm.conf lets in, by UUID.
fn members<'a>(view: View<'a>, refused: &'a BTreeMap<DevName, String>) -> BTreeMap<Uuid, Vec<Seen<'a>>> {
    let mut groups: BTreeMap<Uuid, Vec<Seen<'a>>> = BTreeMap::new();
    for device in view.table.iter() {
        let foreign_claim = device.claimed.as_deref().is_some_and(|owner| !owner.starts_with(CLAIM));
        let Some(superblock) = superblock(device).filter(|_| !foreign_claim && !device.is_internal()) else {
            continue;
        };
        if !naming::is_listed(&view.image.mdadm, device) {
            continue;
        }
        let doubt = device.signature().and_then(|signature| signature.doubt.as_deref());
        let refused = refused.get(&device.name).map(String::as_str);
        let seen = Seen { name: &device.name, superblock, doubt, refused };
        groups.entry(superblock.uuid).or_default().push(seen);
    }
    groups
}

/// The running array that is built on this member.
fn holder<'a>(table: &'a Table, member: &'a DevName) -> Option<&'a Device> {
    table.holders(member).find(|device| device.name.0.starts_with("md"))
}

/// The array that runs from members of which none belongs into it, now that the others were seen.
fn outrun<'a>(table: &'a Table, seen: &[Seen<'a>], judged: &Judgement<'a>) -> Option<&'a Device> {
    let mut used = judged.used.iter();
    if used.clone().any(|one| holder(table, one.name).is_some())
        || !used.any(|one| matches!(one.superblock.role, Role::Active(_)))
    {
        return None;
    }
    seen.iter().find_map(|one| holder(table, one.name))
}

/// All arrays that run.
fn running(table: &Table) -> BTreeSet<DevName> {
    table.iter().filter(|device| device.facts.md.is_some()).map(|device| device.name.clone()).collect()
}

/// How claims of this assembler begin.
const CLAIM: &str = "MD array ";

/// Why an array is not to be assembled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unwanted {
    Off,
    NotNamed,
    AutoOff,
    Ignored,
    Ambiguous,
    NotAutomatic,
    /// Nothing speaks against it, and nothing has asked for it yet.
    NotYet,
}

impl Md {
    /// Whether the array is wanted now.
    fn wanted(&self, view: View<'_>, superblock: &Superblock) -> Result<(), Unwanted> {
        let plan = &view.plan.md;
        if !plan.enabled {
            return Err(Unwanted::Off);
        }
        if !plan.uuids.is_empty() {
            return if plan.uuids.contains(&superblock.uuid) { Ok(()) } else { Err(Unwanted::NotNamed) };
        }
        if view.plan.auto == Some(false) {
            return Err(Unwanted::AutoOff);
        }
        match naming::line(&view.image.mdadm, superblock, view.table) {
            Err(()) => return Err(Unwanted::Ambiguous),
            Ok(Some(line)) if line.ignore => return Err(Unwanted::Ignored),
            Ok(Some(_)) => {}
            Ok(None) if naming::is_automatic(view.image, superblock) => {}
            Ok(None) => return Err(Unwanted::NotAutomatic),
        }
        if view.plan.auto == Some(true) || self.peeling { Ok(()) } else { Err(Unwanted::NotYet) }
    }

    /// Whether an array in this state may start now; notes when it may if it may later.
    fn is_time(&mut self, view: View<'_>, readiness: &Readiness) -> bool {
        let rest = view.calm || view.stuck;
        match readiness {
            Readiness::Complete => true,
            Readiness::AsItWas => rest,
            Readiness::Degraded => {
                let Some(at) = self.grace_ends(view) else { return false };
                if rest && view.now >= at {
                    return true;
                }
                if at > view.now {
                    self.due = Some(self.due.map_or(at, |due| due.min(at)));
                }
                false
            }
            Readiness::TooFew(_) | Readiness::Refused(_) => false,
        }
    }

    fn grace_ends(&self, view: View<'_>) -> Option<Moment> {
        view.plan.degraded.map(|grace| view.at_rest.after(grace))
    }

    fn consider(&mut self, view: View<'_>, uuid: Uuid, seen: &[Seen<'_>], requests: &mut Requests<'_>) {
        let Some(judged) = judge(seen) else { return };
        if self.wanted(view, judged.best).is_err() {
            return;
        }
        if let Some(running) = judged.used.iter().find_map(|one| holder(view.table, one.name)) {
            self.tend(view, uuid, running, &judged, requests);
            return;
        }
        if let Some(running) = outrun(view.table, seen, &judged) {
            self.warn_of_outrun(uuid, running, seen, &judged, requests);
            self.stop_outrun(view, uuid, running, seen, &judged, requests);
            return;
        }
        let now: BTreeSet<DevName> = judged.used.iter().map(|one| one.name.clone()).collect();
        match self.arrays.get(&uuid).map(|array| &array.stage) {
            Some(Stage::Loading(_) | Stage::Starting(..) | Stage::Started(_) | Stage::Stopping(_)) => return,
            Some(Stage::Failed(tried, _)) if *tried == now => return,
            _ => {}
        }
        if matches!(judged.readiness, Readiness::Refused(_)) {
            return;
        }
        if self.arrays.get(&uuid).is_none_or(|array| array.stage != Stage::Ready) {
            // The kernel would ask modprobe, which is not there; the names are those that it would ask for. Asked for
            // before it is time to start, so that the answer does not count as a change then.
            let module = format!("md-level-{}", judged.best.level);
            let stage = Stage::Loading(requests.ask(Action::LoadModules(vec![module])));
            self.arrays.insert(uuid, Array { stage, path: None, moduleless: None, lost: false });
            return;
        }
        if !self.is_time(view, &judged.readiness) {
            return;
        }
        self.start(view, uuid, &judged, now, requests);
    }

    fn start(
        &mut self,
        view: View<'_>,
        uuid: Uuid,
        judged: &Judgement<'_>,
        members: BTreeSet<DevName>,
        requests: &mut Requests<'_>,
    ) {
        let best = judged.best;
        let line = naming::line(&view.image.mdadm, best, view.table);
        let line = line.ok().flatten().filter(|line| !line.ignore);
        let taken = |path: &str| {
            let ours = self
                .arrays
                .iter()
                .any(|(other, array)| *other != uuid && array.path.as_deref() == Some(path));
            let running = |device: &Device| device.facts.md.as_ref().is_some_and(|md| md.path == path);
            ours || view.table.iter().any(running)
        };
        let name = naming::name(view.image, line, best, taken);
        self.say_what_is_left_out(judged, requests);
        if judged.readiness != Readiness::Complete {
            requests.ask(Action::Say(Loudness::Warning, report::degraded_start(judged)));
        }
        let request = ArrayRequest {
            metadata: best.version.name().to_owned(),
            map_uuid: best.map_uuid(),
            path: name.path.clone(),
            number: name.number,
            reserved: naming::reserved(&view.image.mdadm),
            members: judged.used.iter().map(member).collect(),
            volumes: external::volumes_below(
                view.plan,
                view.table,
                judged.used.iter().filter_map(|one| view.table.get(one.name)),
            ),
            // As mdadm --run leaves it, which starts what --incremental has found too incomplete.
            read_auto: name.foreign || judged.readiness == Readiness::Degraded,
        };
        let id = requests.ask(Action::AssembleArray(request));
        if let Some(array) = self.arrays.get_mut(&uuid) {
            array.stage = Stage::Starting(id, members);
            array.path = name.path;
            array.lost = false;
        }
    }

    fn say_what_is_left_out(&mut self, judged: &Judgement<'_>, requests: &mut Requests<'_>) {
        for (name, why) in &judged.left_out {
            if self.named.insert((*name).clone()) {
                let text = format!("{name} is left out of {}: {why}", report::title(judged.best));
                requests.ask(Action::Say(Loudness::Warning, text));
            }
        }
    }

    /// Says once that an array runs without members that are fresher.
    fn warn_of_outrun(
        &mut self,
        uuid: Uuid,
        running: &Device,
        seen: &[Seen<'_>],
        judged: &Judgement<'_>,
        requests: &mut Requests<'_>,
    ) {
        let events = judged.best.events;
        let known = self.outrun.get(&uuid).is_some_and(|(known, _)| *known >= events);
        if running.facts.md.is_none() || known {
            return;
        }
        self.outrun.insert(uuid, (events, false));
        let text = format!("{} {}", report::title(judged.best), report::runs_outrun(running, seen, judged));
        requests.ask(Action::Say(Loudness::Warning, text));
    }

    /// Stops an array that runs without members that are fresher, if nothing uses it and they can be started.
    fn stop_outrun(
        &mut self,
        view: View<'_>,
        uuid: Uuid,
        running: &Device,
        seen: &[Seen<'_>],
        judged: &Judgement<'_>,
        requests: &mut Requests<'_>,
    ) {
        let can_start = match judged.readiness {
            Readiness::Complete | Readiness::AsItWas => true,
            Readiness::Degraded => view.plan.degraded.is_some(),
            Readiness::TooFew(_) | Readiness::Refused(_) => false,
        };
        // The kernel refuses to stop what is open or mounted; what is built on it here would only be in the way.
        let is_used = view.table.iter().any(|device| {
            let on_it = device.name == running.name || device.facts.parent.as_ref() == Some(&running.name);
            on_it && view.table.holders(&device.name).next().is_some()
        });
        if !can_start || is_used || !report::is_fresher(running, seen, judged) {
            return;
        }
        // What somebody else has started is theirs to stop.
        let Some(array) = self.arrays.get_mut(&uuid).filter(|array| matches!(array.stage, Stage::Started(_)))
        else {
            return;
        };
        if let Some((_, asked @ false)) = self.outrun.get_mut(&uuid) {
            *asked = true;
            array.stage = Stage::Stopping(requests.ask(Action::StopArray(running.name.clone())));
        }
    }

    /// Looks after an array that runs: spares that came late are added, other late members are named.
    fn tend(
        &mut self,
        view: View<'_>,
        uuid: Uuid,
        running: &Device,
        judged: &Judgement<'_>,
        requests: &mut Requests<'_>,
    ) {
        if running.facts.md.is_none() {
            return;
        }
        let started = match self.arrays.get(&uuid).map(|array| &array.stage) {
            Some(Stage::Starting(_, members) | Stage::Started(members)) => members.clone(),
            _ => running.facts.slaves.iter().cloned().collect(),
        };
        if let Some(array) = self.arrays.get_mut(&uuid) {
            array.stage = Stage::Started(started.clone());
        }
        self.say_what_is_left_out(judged, requests);
        for one in &judged.used {
            let inside = running.facts.slaves.contains(one.name) || self.spares.contains(one.name);
            let ours = started.contains(one.name);
            if inside || ours || view.table.holders(one.name).next().is_some() {
                continue;
            }
            if one.superblock.role == Role::Spare {
                self.spares.insert(one.name.clone());
                let id = requests.ask(Action::AddSpare(running.name.clone(), member(one)));
                self.adding.insert(id);
            } else if self.named.insert(one.name.clone()) {
                let text = format!(
                    "{} came too late for {}, which has started as {}; mdadm --manage /dev/{} --re-add /dev/{} puts it back",
                    one.name,
                    report::title(judged.best),
                    running.name,
                    running.name,
                    one.name
                );
                requests.ask(Action::Say(Loudness::Warning, text));
            }
        }
    }
}

/// A member as the kernel takes it.
fn member(one: &Seen<'_>) -> ArrayMember {
    let superblock = one.superblock;
    let (slot, mut state) = match superblock.role {
        Role::Active(slot) if superblock.replacement => (i32::from(slot), disk_state::REPLACEMENT),
        Role::Active(slot) => (i32::from(slot), disk_state::IN_SYNC),
        Role::Journal => (0xfffd, disk_state::JOURNAL),
        Role::Spare | Role::Faulty => (-1, 0),
    };
    if superblock.write_mostly {
        state |= disk_state::WRITE_MOSTLY;
    }
    if superblock.failfast {
        state |= disk_state::FAILFAST;
    }
    ArrayMember { device: one.name.clone(), number: superblock.number.cast_signed(), slot, state }
}

impl Assembler for Md {
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        if !view.plan.md.enabled {
            return Vec::new();
        }
        // Where metadata lies at the end, the kernel may see the array's partitions on a member that is a whole disk.
        let whole =
            view.table.iter().filter(|device| device.facts.parent.is_none() && device.claimed.is_none());
        whole
            .filter_map(|device| {
                let superblock = superblock(device)?;
                Some((device.name.clone(), Some(format!("{CLAIM}{}", superblock.array_uuid()))))
            })
            .collect()
    }

    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        self.due = None;
        self.peeling |= view.calm;
        let refused = self.refused.clone();
        for (uuid, seen) in members(view, &refused) {
            self.consider(view, uuid, &seen, requests);
        }
        if view.plan.md.wait_clean && self.cleaning.is_none() {
            let arrays = running(view.table);
            if !arrays.is_subset(&self.clean) {
                self.cleaning = Some((requests.ask(Action::WaitClean), arrays));
            }
        }
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if self.adding.remove(&id) {
            return true;
        }
        if let Some((_, arrays)) = self.cleaning.take_if(|(asked, _)| *asked == id) {
            self.clean = arrays;
            return true;
        }
        let stopping = |array: &Array| matches!(array.stage, Stage::Stopping(asked) if asked == id);
        if let Some(uuid) = self.arrays.iter().find(|(_, array)| stopping(array)).map(|(uuid, _)| *uuid) {
            // If it goes on all the same it is found again by what is built on its members.
            self.arrays.remove(&uuid);
            return true;
        }
        for array in self.arrays.values_mut() {
            match (&array.stage, result) {
                (Stage::Loading(asked), _) if *asked == id => {
                    // Without its module the level may still be built in: starting tells.
                    array.stage = Stage::Ready;
                    array.moduleless = result.as_ref().err().map(ToString::to_string);
                    return true;
                }
                (Stage::Starting(asked, members), Ok(_)) if *asked == id => {
                    array.stage = Stage::Started(members.clone());
                    return true;
                }
                (Stage::Starting(asked, members), Err(Failure::Member { device, what, errno }))
                    if *asked == id && members.contains(device) =>
                {
                    // What is left may still be enough: it is judged again, like a degraded array.
                    let why = format!(
                        "the kernel refused it (cannot {what}: errno {errno}); look at dmesg and at mdadm --examine \
                         /dev/{device}"
                    );
                    self.refused.insert(device.clone(), why);
                    self.named.remove(device);
                    array.stage = Stage::Ready;
                    array.path = None;
                    return true;
                }
                // Whatever the kernel said of it: what is left is judged again, and the member when it comes back.
                (Stage::Starting(asked, _), Err(_)) if *asked == id && array.lost => {
                    array.stage = Stage::Ready;
                    array.path = None;
                    return true;
                }
                (Stage::Starting(asked, members), Err(failure)) if *asked == id => {
                    let mut why = failure.to_string();
                    if let Some(module) = &array.moduleless {
                        why = format!("{why}; {module}");
                    }
                    array.stage = Stage::Failed(members.clone(), why);
                    array.path = None;
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn gone(&mut self, name: &DevName) {
        self.named.remove(name);
        self.refused.remove(name);
        self.spares.remove(name);
        if name.0.starts_with("md") {
            // An array that runs is noticed again by what is built on its members: starting one gives it a new `diskseq`,
            // by which it looks replaced.
            let started = self.arrays.values_mut().filter(|array| matches!(array.stage, Stage::Started(_)));
            started.for_each(|array| array.stage = Stage::Ready);
        }
        for array in self.arrays.values_mut() {
            if let Stage::Starting(_, members) = &mut array.stage {
                array.lost |= members.remove(name);
            }
        }
        // What ran on it may be stopped, and is put together again from what is left.
        self.arrays.retain(|_, array| match &array.stage {
            Stage::Started(members) | Stage::Failed(members, _) => !members.contains(name),
            _ => true,
        });
    }

    fn retry(&mut self) {
        self.swept = false;
        self.outrun.clear();
        self.refused.clear();
        self.arrays.retain(|_, array| !matches!(array.stage, Stage::Failed(..)));
    }

    fn is_busy(&self) -> bool {
        let busy = |array: &Array| {
            matches!(array.stage, Stage::Loading(_) | Stage::Starting(..) | Stage::Stopping(_))
        };
        !self.adding.is_empty() || self.arrays.values().any(busy)
    }

    fn hold(&self, view: View<'_>) -> Hold {
        // A root must not be mounted from the array that is being stopped.
        if self.arrays.values().any(|array| matches!(array.stage, Stage::Stopping(_))) {
            return Hold::Working;
        }
        if view.plan.md.wait_clean && !running(view.table).is_subset(&self.clean) {
            return Hold::Working;
        }
        let named = view.plan.md.uuids.iter().filter(|_| view.plan.md.enabled);
        let runs = |uuid: &[u8; 16]| {
            let of_array = members(view, &self.refused).remove(uuid).unwrap_or_default();
            of_array.iter().any(|one| holder(view.table, one.name).is_some())
        };
        let state = |uuid: &[u8; 16]| match self.arrays.get(uuid).map(|array| &array.stage) {
            Some(Stage::Started(_) | Stage::Failed(..)) => Hold::No,
            Some(Stage::Loading(_) | Stage::Starting(..) | Stage::Stopping(_)) => Hold::Working,
            // Somebody else has started it, or it was heard of anew since.
            _ if runs(uuid) => Hold::No,
            // BIOS RAID's own assembler answers for what it has seen.
            _ if external::is_seen(view, *uuid) => Hold::No,
            _ => Hold::Missing,
        };
        named.map(state).max().unwrap_or(Hold::No)
    }

    fn wind_up(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        // The root may have been mounted from it by now, which makes it the more urgent.
        let refused = self.refused.clone();
        for (uuid, seen) in members(view, &refused) {
            let Some(judged) = judge(&seen) else { continue };
            if let Some(running) = outrun(view.table, &seen, &judged) {
                self.warn_of_outrun(uuid, running, &seen, &judged, requests);
            }
        }
        if !view.plan.md.enabled || view.plan.md.conf || std::mem::replace(&mut self.swept, true) {
            return;
        }
        // They run under names that the root's mdadm.conf did not give. What the root lies on is busy, and stays.
        for name in running(view.table) {
            if view.table.holders(&name).next().is_none() {
                self.adding.insert(requests.ask(Action::StopArray(name)));
            }
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.due
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        self.explain_member(view, device)
    }

    fn missing(&self, view: View<'_>) -> Vec<Node> {
        self.unfinished(view)
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        self.remedies_for(view)
    }
}

/// The names of devices, for a message.
fn list<'a>(names: impl Iterator<Item = &'a DevName>) -> String {
    matching::join_names(names)
}
