//! Intel and DDF volumes as arrays with external metadata, so that mdadm and mdmon of the real root adopt them.
//! docs/ATA-RAID.md says what marks a volume dirty and clean.

use std::collections::{BTreeMap, BTreeSet};

use cmdline::Plan;
use ondisk::ata_raid::Format;

use super::super::{Assembler, Hold, Requests, View};
use super::containers::{self, Container};
use super::naming;
use crate::assemble::md::naming::reserved;
use crate::command::{Action, ContainerRequest, Loudness, MarkedVolume};
use crate::event::{CommandId, DevName, Failure, Outcome};
use crate::explain::{Node, State};
use crate::table::{Device, Table};
use crate::time::Moment;

/// Who has claimed a disk.
const OWNER: &str = "BIOS RAID container";

/// The assembler of containers.
#[derive(Debug, Default)]
pub struct External {
    /// By UUID.
    work: BTreeMap<[u8; 16], Step>,
    /// Modules, and the request that loads them; `None` once it was answered.
    modules: BTreeMap<&'static str, Option<CommandId>>,
    /// Disks that have gone while they were being put together.
    gone: Vec<DevName>,
    /// Paths that were given to a container and its volumes.
    paths: BTreeMap<[u8; 16], Vec<String>>,
    deadline: Option<Moment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Decided; waits for modules.
    Begun(ContainerRequest),
    /// With these disks.
    Starting(CommandId, Vec<DevName>),
    Started,
    /// With these disks.
    Failed(Failure, Vec<DevName>),
}

/// What a container can do as it stands.
enum Readiness {
    /// All disks are there.
    Complete,
    /// Disks are missing, but a volume can be started.
    Degraded,
    /// No volume can.
    Incomplete,
}

/// Whether md is to have disks with this format.
pub(super) fn is_ours(plan: &Plan, format: Format) -> bool {
    plan.md.enabled
        && match format {
            Format::Imsm => plan.md.imsm,
            Format::Ddf => plan.md.ddf,
            _ => false,
        }
}

fn disks(view: View<'_>) -> Vec<&Device> {
    members(view.plan, view.table)
}

fn members<'a>(plan: &Plan, table: &'a Table) -> Vec<&'a Device> {
    let members = table.iter().filter(|device| {
        let disk = device.content().and_then(|content| content.member.as_deref()?.ata_raid());
        device.facts.partn.is_none() && disk.is_some_and(|disk| is_ours(plan, disk.format()))
    });
    members.collect()
}

/// The containers of all disks that md is to have, as mdadm.conf wants them.
fn containers(view: View<'_>) -> Vec<Container> {
    let mut containers = containers::containers(&disks(view));
    // What is named on the command line is wanted whatever mdadm.conf says, as of native arrays.
    let named = |container: &Container| view.plan.md.uuids.iter().any(|uuid| is_named(container, *uuid));
    for container in containers.iter_mut().filter(|container| !named(container)) {
        naming::heed(view.image, container);
    }
    containers
}

/// The volume of these containers that runs as this array. UUIDs of copies are the same, but a disk is in one container only.
fn running<'a>(containers: &'a [Container], array: &Device) -> Option<&'a containers::Volume> {
    let facts = &array.facts;
    let uuid = &facts.md.as_ref()?.uuid;
    let holds = |container: &&Container| facts.slaves.iter().any(|name| container.disks.contains(name));
    let container = containers.iter().find(holds)?;
    container.volumes.iter().find(|volume| volume.request.uuid == *uuid)
}

/// The UUID of a running volume, as mdadm prints it.
#[must_use]
pub fn uuid_of(table: &Table, array: &Device) -> Option<String> {
    let is_member = |device: &&Device| {
        let member = device.content().and_then(|content| content.member.as_deref());
        device.facts.partn.is_none() && member.is_some_and(|member| member.ata_raid().is_some())
    };
    if !array.facts.slaves.iter().filter_map(|name| table.get(name)).any(|device| is_member(&device)) {
        return None;
    }
    let disks: Vec<&Device> = table.iter().filter(is_member).collect();
    running(&containers::containers(&disks), array).map(|volume| volume.request.uuid.clone())
}

/// The volumes below devices that are going to be written to, and what of them is missing.
#[must_use]
pub fn volumes_below<'a>(
    plan: &Plan,
    table: &'a Table,
    devices: impl IntoIterator<Item = &'a Device>,
) -> Vec<MarkedVolume> {
    let containers = containers::containers(&members(plan, table));
    if containers.is_empty() {
        return Vec::new();
    }
    let mark = |device: &Device| {
        let volume = running(&containers, device)?;
        // What came too late for the start misses what is written now.
        let late = volume.references.iter().filter(|(name, _)| !device.facts.slaves.contains(name));
        let missing = volume.unrecorded.iter().chain(late.map(|(_, reference)| reference)).copied();
        // A stripe has no state that metadata would have to follow.
        let redundant = volume.request.level > 0;
        redundant.then(|| MarkedVolume { array: device.name.clone(), missing: missing.collect() })
    };
    let below: BTreeSet<&DevName> =
        devices.into_iter().flat_map(|device| table.stack(device)).map(|device| &device.name).collect();
    below.into_iter().filter_map(|name| mark(table.get(name)?)).collect()
}

fn readiness(container: &Container) -> Readiness {
    let startable = |volume: &containers::Volume| volume.refused.is_none() && volume.standing().is_some();
    if !container.volumes.iter().any(startable) {
        Readiness::Incomplete
    } else if container
        .volumes
        .iter()
        .all(|volume| volume.refused.is_some() || volume.standing() == Some(true))
    {
        Readiness::Complete
    } else {
        Readiness::Degraded
    }
}

/// Whether `rd.md.uuid=` with this UUID means the container: its own or that of one of its volumes.
fn is_named(container: &Container, uuid: [u8; 16]) -> bool {
    let text = containers::colons(uuid);
    container.uuid == uuid || container.volumes.iter().any(|volume| volume.request.uuid == text)
}

/// Whether this UUID is that of a container that was seen, or of a volume in one.
pub fn is_seen(view: View<'_>, uuid: [u8; 16]) -> bool {
    containers(view).iter().any(|container| is_named(container, uuid))
}

fn is_wanted(view: View<'_>, container: &Container) -> bool {
    let uuids = &view.plan.md.uuids;
    if !uuids.is_empty() {
        return uuids.iter().any(|uuid| is_named(container, *uuid));
    }
    view.plan.auto.unwrap_or(view.calm)
}

fn request(view: View<'_>, container: &Container, given: impl Fn(&str) -> bool) -> ContainerRequest {
    // The last one first, by which mdadm's order of numbers and names comes (`container_content_imsm`, `_ddf`).
    let volumes = container
        .volumes
        .iter()
        .rev()
        .filter(|volume| volume.refused.is_none() && volume.standing().is_some())
        .map(|volume| volume.request.clone());
    let mut request = ContainerRequest {
        format: container.format,
        uuid: containers::colons(container.uuid),
        path: String::new(),
        number: None,
        reserved: reserved(&view.image.mdadm),
        disks: container.disks.clone(),
        volumes: volumes.collect(),
    };
    let arrays = || view.table.iter().filter_map(|device| device.facts.md.as_ref());
    naming::name(view.image, container, &mut request, |path| {
        given(path) || arrays().any(|array| array.path == path)
    });
    request
}

impl External {
    fn modules_ready(&mut self, request: &ContainerRequest, requests: &mut Requests<'_>) -> bool {
        let level = |level: u32| match level {
            0 => "raid0",
            1 => "raid1",
            10 => "raid10",
            _ => "raid456",
        };
        let wanted = request.volumes.iter().map(|volume| level(volume.level)).chain(["md-mod"]);
        let mut ready = true;
        for name in wanted {
            let asked = self
                .modules
                .entry(name)
                .or_insert_with(|| Some(requests.ask(Action::LoadModules(vec![name.to_owned()]))));
            ready &= asked.is_none();
        }
        ready
    }
}

impl Assembler for External {
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        // What cannot be understood may be half of a mirror all the same.
        let is_member =
            |device: &Device| super::format(device).is_some_and(|format| is_ours(view.plan, format));
        let devices = view.table.iter().filter(|device| device.facts.partn.is_none());
        let claim = |device: &Device| match (device.claimed.as_deref(), is_member(device)) {
            (None, true) => Some((device.name.clone(), Some(OWNER.to_owned()))),
            (Some(OWNER), false) => Some((device.name.clone(), None)),
            _ => None,
        };
        devices.filter_map(claim).collect()
    }

    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        let grace = view.plan.degraded.map(|grace| view.at_rest.after(grace));
        self.deadline = None;
        for container in containers(view) {
            if self.work.contains_key(&container.uuid) || !is_wanted(view, &container) {
                continue;
            }
            match (readiness(&container), grace) {
                (Readiness::Complete, _) => {}
                // Disks that are still being looked for are not missing.
                (Readiness::Degraded, _) if !view.calm => continue,
                (Readiness::Degraded, Some(grace)) if view.now >= grace => {
                    let count: Vec<String> = container
                        .volumes
                        .iter()
                        .map(|volume| format!("{}: {}", volume.name, volume.count()))
                        .collect();
                    let text = format!("BIOS RAID volumes are started DEGRADED: {}", count.join("; "));
                    requests.ask(Action::Say(Loudness::Warning, text));
                }
                (Readiness::Degraded, Some(grace)) => {
                    self.deadline = Some(self.deadline.map_or(grace, |other| other.min(grace)));
                    continue;
                }
                _ => continue,
            }
            let given = |path: &str| {
                let others = self.paths.iter().filter(|(uuid, _)| **uuid != container.uuid);
                others.flat_map(|(_, paths)| paths).any(|other| other == path)
            };
            let request = request(view, &container, given);
            let paths = request.volumes.iter().map(|volume| &volume.path).chain([&request.path]);
            self.paths.insert(container.uuid, paths.cloned().collect());
            self.work.insert(container.uuid, Step::Begun(request));
        }
        for (uuid, step) in self.work.clone() {
            if let Step::Begun(request) = step
                && self.modules_ready(&request, requests)
            {
                let disks = request.disks.clone();
                let id = requests.ask(Action::StartContainer(request));
                self.work.insert(uuid, Step::Starting(id, disks));
            }
        }
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if let Some(asked) = self.modules.values_mut().find(|asked| **asked == Some(id)) {
            *asked = None;
            return true;
        }
        let under_way = |(uuid, step): (&[u8; 16], &Step)| match step {
            Step::Starting(asked, disks) if *asked == id => Some((*uuid, disks.clone())),
            _ => None,
        };
        let Some((uuid, disks)) = self.work.iter().find_map(under_way) else { return false };
        match result {
            Ok(_) => _ = self.work.insert(uuid, Step::Started),
            // It is judged again without the disk that has gone.
            Err(_) if disks.iter().any(|disk| self.gone.contains(disk)) => _ = self.work.remove(&uuid),
            Err(failure) => _ = self.work.insert(uuid, Step::Failed(failure.clone(), disks)),
        }
        if !self.work.values().any(|step| matches!(step, Step::Starting(..))) {
            self.gone.clear();
        }
        true
    }

    fn gone(&mut self, name: &DevName) {
        if self.work.values().any(|step| matches!(step, Step::Starting(_, disks) if disks.contains(name))) {
            self.gone.push(name.clone());
        }
        self.work.retain(|_, step| match step {
            Step::Begun(request) => !request.disks.contains(name),
            Step::Failed(_, disks) => !disks.contains(name),
            Step::Starting(..) | Step::Started => true,
        });
    }

    fn retry(&mut self) {
        self.work.retain(|_, step| !matches!(step, Step::Failed(..)));
    }

    fn is_busy(&self) -> bool {
        self.work.values().any(|step| matches!(step, Step::Starting(..) | Step::Begun(_)))
    }

    fn hold(&self, view: View<'_>) -> Hold {
        if view.plan.md.uuids.is_empty() {
            return Hold::No;
        }
        let all = containers(view);
        let named = all.iter().filter(|container| is_wanted(view, container));
        let state = |container: &Container| match self.work.get(&container.uuid) {
            Some(Step::Started | Step::Failed(..)) => Hold::No,
            Some(Step::Begun(_) | Step::Starting(..)) => Hold::Working,
            None => Hold::Missing,
        };
        named.map(state).max().unwrap_or(Hold::No)
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        super::format(device).filter(|format| is_ours(view.plan, *format))?;
        if !disks(view).iter().any(|disk| disk.name == device.name) {
            let text = format!("RAID container: its member is of no use: {}", super::useless(device));
            return Some(Node::new(State::Failed, text));
        }
        let all = containers(view);
        let Some(container) = all.iter().find(|container| container.disks.contains(&device.name)) else {
            let text =
                format!("{} has failed or left its RAID container, by the newest metadata", device.name);
            return Some(Node::new(State::Failed, text));
        };
        let kind = if container.format == Format::Imsm { "Intel" } else { "DDF" };
        let (seen, expected) = (container.disks.len(), container.expected);
        let (state, text) = match self.work.get(&container.uuid) {
            Some(Step::Failed(failure, _)) => (State::Failed, format!("not started: {failure}")),
            Some(Step::Started) => (State::Found, "started".to_owned()),
            Some(Step::Starting(..) | Step::Begun(_)) => (State::Waiting, "being started".to_owned()),
            None => (State::Waiting, format!("{seen} of {expected} disks seen")),
        };
        let mut node = Node::new(state, format!("{kind} RAID container: {text}"));
        for volume in &container.volumes {
            let (state, text) = match (&volume.refused, volume.standing()) {
                (Some(why), _) => (State::Failed, format!("cannot be started: {why}")),
                (None, Some(true)) => (State::Seen, volume.count()),
                (None, Some(false)) if view.plan.degraded.is_none() => (
                    State::Waiting,
                    format!("{}; rootward.degraded=never forbids to start it so", volume.count()),
                ),
                (None, Some(false)) => match self.deadline.map(|at| at.0.saturating_sub(view.now.0)) {
                    Some(rest) => (
                        State::Waiting,
                        format!(
                            "{}, waiting {} s more before a degraded start",
                            volume.count(),
                            rest.div_ceil(1000)
                        ),
                    ),
                    None => (State::Waiting, volume.count()),
                },
                (None, None) => (State::Missing, volume.count()),
            };
            node.children.push(Node::new(state, format!("volume {}: {text}", volume.name)));
        }
        Some(node)
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        let mut remedies = Vec::new();
        for container in containers(view) {
            if matches!(self.work.get(&container.uuid), Some(Step::Started)) {
                continue;
            }
            for volume in &container.volumes {
                match (&volume.refused, volume.standing()) {
                    (Some(why), _) => remedies.push(format!("RAID volume {}: {why}", volume.name)),
                    (None, None) => remedies.push(format!(
                        "attach the missing disks of RAID volume {}; if the metadata are left over, boot with nodmraid \
                         and remove them (mdadm --zero-superblock)",
                        volume.name
                    )),
                    _ => {}
                }
            }
        }
        remedies
    }
}
