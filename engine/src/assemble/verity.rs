//! dm-verity and standalone dm-integrity: mappings that check what they read.
//!
//! Whoever gives a root hash wants nothing that was not checked against it, so the data device of a volume is kept from
//! everybody else, and stays so when the volume cannot be made: a root that is not verified is worse than none.

use std::collections::{BTreeMap, BTreeSet};

use cmdline::Plan;
use cmdline::integritytab::IntegrityVolume;
use cmdline::plan::RootSpec;
use cmdline::verity::VerityVolume;
use ondisk::{Member, verity};

use super::ata_raid::external::volumes_below;
use super::{Assembler, Requests, View};
use crate::command::{Action, Loudness, MarkedVolume};
use crate::diagnose::describe_spec;
use crate::event::{CommandId, DevName, Failure, Outcome};
use crate::explain::{Node, State as NodeState};
use crate::matching;
use crate::table::{Device, Knowledge, Table};

mod tables;
#[cfg(test)]
mod tests;

use tables::Made;

/// What kind of volume, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Volume {
    Verity(VerityVolume),
    Integrity(IntegrityVolume),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Devices are missing, or have not been looked at.
    Waiting,
    /// The superblock is being read, which is not at the start of its device.
    Reading(CommandId),
    /// Drivers are being loaded.
    Loading(CommandId),
    /// Drivers are there.
    Ready,
    Making(CommandId),
    Open,
    Failed(String),
}

#[derive(Debug, Clone)]
struct Work {
    volume: Volume,
    state: State,
    /// The superblock, where it had to be read from within the device.
    superblock: Option<verity::Superblock>,
    /// Its failure was said.
    said: bool,
}

/// Devices that are to be kept for somebody, or given back.
type Claims = BTreeMap<DevName, Option<String>>;

/// The assembler of both.
#[derive(Debug, Default)]
pub struct Verity {
    /// `None` until the plan was looked at.
    works: Option<Vec<Work>>,
    /// Partitions that are kept until their disk's table tells whether they are data.
    undecided: BTreeSet<DevName>,
}

impl Volume {
    fn name(&self) -> &str {
        match self {
            Volume::Verity(volume) => &volume.name,
            Volume::Integrity(volume) => &volume.name,
        }
    }

    /// What its parts belong to, in the words of an explanation.
    fn owner(&self) -> String {
        match self {
            Volume::Verity(volume) => format!("verity device {}", volume.name),
            Volume::Integrity(volume) => format!("integrity device {}", volume.name),
        }
    }

    /// The devices that it needs: what each is, and how it is named. The first holds the data.
    fn needs(&self) -> Vec<(&'static str, &RootSpec)> {
        match self {
            Volume::Verity(volume) => {
                let fec = volume.options.fec.as_ref().map(|fec| ("error correction", fec));
                [("data", &volume.data), ("hashes", &volume.hash)].into_iter().chain(fec).collect()
            }
            Volume::Integrity(volume) => match &volume.data {
                Some(data) => vec![("data", data), ("tags", &volume.device)],
                None => vec![("data and tags", &volume.device)],
            },
        }
    }

    /// Everything that was asked for is made, unless it says that only root may ask for it.
    fn is_wanted(&self, plan: &Plan) -> bool {
        match self {
            Volume::Verity(volume) => !volume.options.noauto || is_root(plan, &volume.name),
            Volume::Integrity(_) => true,
        }
    }

    /// The device that is named so, unless it belongs to something else. It need not be a file system.
    fn find<'a>(&self, table: &'a Table, spec: &RootSpec) -> Option<&'a Device> {
        let owner = self.owner();
        table.iter().filter(|device| !device.is_internal()).find(|device| {
            let own = device.facts.dm.as_ref().is_some_and(|dm| dm.name == self.name());
            let free = device.claimed.as_ref().is_none_or(|claimed| *claimed == owner);
            let named = matching::is_named_by(spec, device, table) || matching::carries(spec, device);
            named && free && !own
        })
    }

    /// All the devices, in the order of [`Self::needs`], once each is there.
    fn devices<'a>(&self, table: &'a Table) -> Option<Vec<&'a Device>> {
        self.needs().into_iter().map(|(_, spec)| self.find(table, spec)).collect()
    }

    /// Whether only the partition table of its disk, which was not read yet, tells that this device holds the data.
    fn may_be_data(&self, table: &Table, device: &Device) -> bool {
        let by_table = match (self, self.needs().first()) {
            (Volume::Verity(_), Some((_, RootSpec::PartUuid { .. } | RootSpec::PartLabel(_)))) => true,
            (Volume::Verity(_), Some((_, RootSpec::Path(path)))) => path.starts_with("/dev/disk/"),
            _ => false,
        };
        let unread = |disk: &Device| {
            let unknown = matches!(disk.knowledge, Knowledge::Unknown | Knowledge::Asked(_));
            unknown && disk.is_readable() && disk.claimed.is_none()
        };
        let disk = device.facts.parent.as_ref().filter(|_| by_table);
        disk.is_some_and(|disk| table.get(disk).is_none_or(unread))
    }

    /// Its mapping, if it is there.
    fn mapping<'a>(&self, table: &'a Table) -> Option<&'a Device> {
        table.iter().find(|device| device.facts.dm.as_ref().is_some_and(|dm| dm.name == self.name()))
    }
}

fn is_root(plan: &Plan, name: &str) -> bool {
    matches!(&plan.root.spec, Some(RootSpec::Path(path)) if path.strip_prefix("/dev/mapper/") == Some(name))
}

impl Work {
    /// Why reading from the finished mapping fails, if it does.
    fn corruption(&self, table: &Table) -> Option<String> {
        let mapping = self.volume.mapping(table).filter(|_| self.state == State::Open)?;
        match &mapping.knowledge {
            Knowledge::Unreadable(failure) => {
                Some(format!("what it holds is not what was signed for: {failure}"))
            }
            _ => None,
        }
    }

    fn failure(&self, table: &Table) -> Option<String> {
        match &self.state {
            State::Failed(why) => Some(why.clone()),
            _ => self.corruption(table),
        }
    }

    /// Goes on as far as it can.
    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        if !matches!(self.state, State::Waiting | State::Ready) || !self.volume.is_wanted(view.plan) {
            return;
        }
        if self.volume.mapping(view.table).is_some() {
            self.state = State::Open;
            return;
        }
        let Some(devices) = self.volume.devices(view.table) else {
            self.state = State::Waiting;
            return;
        };
        let volumes = volumes_below(view.plan, view.table, devices.iter().copied());
        let made = match self.plan(&devices, volumes) {
            Plannable::NotYet => return,
            Plannable::Read(device, offset) => {
                self.state = State::Reading(requests.ask(Action::ReadVerity(device, offset)));
                return;
            }
            Plannable::Planned(made) => *made,
            Plannable::Impossible(why) => {
                self.state = State::Failed(why);
                return;
            }
        };
        self.state = if self.state == State::Ready {
            State::Making(requests.ask(match made.key {
                None => Action::CreateDm(made.device),
                Some(key) => Action::CreateKeyedDm(made.device, key),
            }))
        } else {
            State::Loading(requests.ask(Action::LoadModules(made.modules)))
        };
    }

    /// `volumes` are those of BIOS RAID below its devices.
    fn plan(&self, devices: &[&Device], volumes: Vec<MarkedVolume>) -> Plannable {
        let known = |device: &Device| matches!(device.knowledge, Knowledge::Known(_));
        match (&self.volume, devices) {
            (Volume::Verity(volume), [data, hash, rest @ ..]) => {
                let options = &volume.options;
                let superblock = if !options.superblock {
                    None
                } else if options.hash_offset > 0 {
                    match &self.superblock {
                        None => return Plannable::Read(hash.name.clone(), options.hash_offset),
                        some => some.as_ref(),
                    }
                } else if known(hash) {
                    match member(hash).and_then(Member::verity) {
                        None => {
                            return Plannable::Impossible(format!(
                                "{} has no usable verity superblock",
                                hash.name
                            ));
                        }
                        some => some,
                    }
                } else {
                    return Plannable::NotYet;
                };
                match tables::verity(volume, superblock, data, hash, rest.first().copied()) {
                    Ok(made) => Plannable::Planned(Box::new(made)),
                    Err(why) => Plannable::Impossible(why),
                }
            }
            (Volume::Integrity(volume), [first, rest @ ..]) => {
                let (device, data) = match rest.first() {
                    Some(tags) => (*tags, Some(*first)),
                    None => (*first, None),
                };
                match member(device).and_then(Member::integrity) {
                    Some(sb) => {
                        Plannable::Planned(Box::new(tables::integrity(volume, sb, device, data, volumes)))
                    }
                    None if known(device) => Plannable::Impossible(format!(
                        "{} has no usable dm-integrity superblock",
                        device.name
                    )),
                    None => Plannable::NotYet,
                }
            }
            _ => Plannable::NotYet,
        }
    }

    fn answer(&mut self, requests_tasklets: bool, result: &Result<Outcome, Failure>) {
        self.state = match (&self.state, result) {
            (State::Reading(_), Ok(Outcome::Member(member))) => match member.verity() {
                Some(superblock) => {
                    self.superblock = Some(superblock.clone());
                    State::Waiting
                }
                None => State::Failed("there is no verity superblock at hash-offset=".to_owned()),
            },
            // What is missing may be built in; making the device tells.
            (State::Loading(_), _) => State::Ready,
            (State::Making(_), Ok(_)) => State::Open,
            (State::Making(_), Err(_)) if requests_tasklets => {
                if let Volume::Verity(volume) = &mut self.volume {
                    // As libcryptsetup: a kernel before 6.0 does not know that option.
                    volume.options.tasklets = false;
                }
                State::Ready
            }
            (_, Err(failure)) => State::Failed(failure.to_string()),
            (_, Ok(_)) => State::Waiting,
        };
    }

    /// The number of the request that is under way.
    fn request(&self) -> Option<CommandId> {
        match self.state {
            State::Reading(id) | State::Loading(id) | State::Making(id) => Some(id),
            _ => None,
        }
    }
}

/// Whether a volume can be made now.
enum Plannable {
    NotYet,
    Read(DevName, u64),
    Planned(Box<Made>),
    Impossible(String),
}

fn member(device: &Device) -> Option<&Member> {
    device.content()?.member.as_deref()
}

impl Verity {
    fn works(&mut self, view: View<'_>) -> &mut Vec<Work> {
        self.works.get_or_insert_with(|| {
            let mut volumes: Vec<Volume> =
                view.plan.verity.volumes().into_iter().map(Volume::Verity).collect();
            let listed = view.image.veritytab.iter().cloned().map(Volume::Verity);
            let all = listed.chain(view.image.integritytab.iter().cloned().map(Volume::Integrity));
            // The command line goes before the image's tables.
            for volume in all {
                if !volumes.iter().any(|known| known.name() == volume.name()) {
                    volumes.push(volume);
                }
            }
            volumes
                .into_iter()
                .map(|volume| Work { volume, state: State::Waiting, superblock: None, said: false })
                .collect()
        })
    }

    /// Keeps the partitions that may turn out to be data, and gives back those that have not.
    fn keep_undecided(&mut self, view: View<'_>, claims: &Claims) -> Claims {
        let works: Vec<&Work> = self.known().filter(|work| work.volume.is_wanted(view.plan)).collect();
        if works.is_empty() {
            return Claims::new();
        }
        let mut kept = Claims::new();
        for device in view.table.iter().filter(|device| !claims.contains_key(&device.name)) {
            let ours = self.undecided.contains(&device.name)
                && works.iter().any(|work| device.claimed.as_ref() == Some(&work.volume.owner()));
            let may_be = works.iter().find(|work| work.volume.may_be_data(view.table, device));
            let owner = may_be.filter(|_| ours || device.claimed.is_none()).map(|work| work.volume.owner());
            if ours || owner.is_some() {
                kept.insert(device.name.clone(), owner);
            }
        }
        let still = kept.iter().filter(|(_, owner)| owner.is_some());
        self.undecided = still.map(|(name, _)| name.clone()).collect();
        kept
    }

    fn known(&self) -> impl Iterator<Item = &Work> {
        self.works.iter().flatten()
    }
}

impl Assembler for Verity {
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        let works = self.works(view).iter().filter(|work| work.volume.is_wanted(view.plan));
        // Two volumes may share a device: the first one's claim stays.
        let mut claims = Claims::new();
        for work in works {
            if let Some((_, spec)) = work.volume.needs().first()
                && let Some(data) = work.volume.find(view.table, spec)
                // Claimed devices are not read, and the superblock of a standalone volume has to be.
                && (matches!(work.volume, Volume::Verity(_)) || data.content().is_some())
            {
                claims.entry(data.name.clone()).or_insert_with(|| Some(work.volume.owner()));
            }
        }
        let kept = self.keep_undecided(view, &claims);
        claims.extend(kept);
        claims.into_iter().collect()
    }

    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        for work in self.works(view) {
            work.advance(view, requests);
            // What has failed may have failed by an answer.
            let said = std::mem::replace(&mut work.said, matches!(work.state, State::Failed(_)));
            if let (false, State::Failed(why)) = (said, &work.state) {
                let text = format!("{} cannot be made: {why}", work.volume.owner());
                requests.ask(Action::Say(Loudness::Error, text));
            }
        }
    }

    fn answer(&mut self, view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        let Some(work) = self.works(view).iter_mut().find(|work| work.request() == Some(id)) else {
            return false;
        };
        let tasklets = matches!(&work.volume, Volume::Verity(volume) if volume.options.tasklets);
        work.answer(tasklets, result);
        true
    }

    fn gone(&mut self, _name: &DevName) {
        // Whatever was concluded from a device that is not there any more is to be found out anew.
        for work in self.works.iter_mut().flatten() {
            if !matches!(work.state, State::Reading(_) | State::Loading(_) | State::Making(_)) {
                work.state = State::Waiting;
                work.superblock = None;
            }
        }
    }

    fn retry(&mut self) {
        for work in self.works.iter_mut().flatten() {
            if matches!(work.state, State::Failed(_)) {
                work.state = State::Waiting;
                work.superblock = None;
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.known().any(|work| work.request().is_some())
    }

    fn has_failed(&self, view: View<'_>) -> bool {
        let root = self.known().find(|work| is_root(view.plan, work.volume.name()));
        match root {
            Some(work) => work.failure(view.table).is_some(),
            None => {
                self.known().any(|work| work.failure(view.table).is_some())
                    && self
                        .known()
                        .all(|work| work.state == State::Open || work.failure(view.table).is_some())
            }
        }
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        let work = self.known().find(|work| {
            work.volume.mapping(view.table).is_some_and(|mapping| mapping.name == device.name)
        })?;
        let why = work.corruption(view.table)?;
        Some(Node::new(NodeState::Failed, format!("{}: {why}", work.volume.owner())))
    }

    fn missing(&self, view: View<'_>) -> Vec<Node> {
        let wanted = self.known().filter(|work| work.volume.is_wanted(view.plan));
        wanted
            .filter_map(|work| {
                let owner = work.volume.owner();
                match &work.state {
                    State::Failed(why) => Some(Node::new(NodeState::Failed, format!("{owner}: {why}"))),
                    State::Waiting => {
                        let needs = work.volume.needs().into_iter();
                        let absent: Vec<String> = needs
                            .filter(|(_, spec)| work.volume.find(view.table, spec).is_none())
                            .map(|(what, spec)| format!("{} ({what})", describe_spec(spec)))
                            .collect();
                        (!absent.is_empty()).then(|| {
                            Node::new(NodeState::Missing, format!("{owner} misses {}", absent.join(", ")))
                        })
                    }
                    State::Open => None,
                    _ => Some(Node::new(NodeState::Waiting, format!("{owner} is being made"))),
                }
            })
            .collect()
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        let mut remedies = Vec::new();
        for work in self.known().filter(|work| work.volume.is_wanted(view.plan)) {
            let name = work.volume.name();
            let verity = matches!(work.volume, Volume::Verity(_));
            let signed = matches!(&work.volume, Volume::Verity(volume) if volume.options.signature.is_some());
            match (&work.state, work.corruption(view.table)) {
                (State::Failed(_), _) if signed => remedies.push(format!(
                    "check root hash and signature of {name}: the signature has to be a detached PKCS#7 one (DER) of that very hash as text, by a key that the kernel trusts"
                )),
                (State::Failed(_), _) if verity => remedies.push(format!(
                    "compare the root hash on the command line with the one that was printed when {name} was made (veritysetup format), and check that both devices are of the same version"
                )),
                (State::Failed(_), _) => {
                    remedies.push(format!("integritysetup dump shows how the device of {name} was formatted"));
                }
                (_, Some(_)) if verity => remedies.push(format!(
                    "write the image of {name} anew; the kernel log names the corrupted blocks, and systemd.verity_{name}_options=ignore-corruption reads them all the same"
                )),
                (_, Some(_)) => remedies.push(format!(
                    "check algorithm and key of {name} in integritytab; mode=recovery reads it without checking"
                )),
                (State::Waiting, _)
                    if verity
                        && is_root(view.plan, name)
                        && view.plan.root.spec.is_some()
                        && work.volume.devices(view.table).is_none() =>
                {
                    remedies.push(format!(
                        "name the devices of {name} with systemd.verity_{name}_data= and systemd.verity_{name}_hash=, unless they are the partitions that the root hash names"
                    ));
                }
                _ => {}
            }
            let data = work.volume.needs().first().and_then(|(_, spec)| work.volume.find(view.table, spec));
            let named = |data: &Device| {
                view.plan.root.spec.as_ref().is_some_and(|root| {
                    matches!(root, RootSpec::Path(_) | RootSpec::PartUuid { .. } | RootSpec::PartLabel(_))
                        && matching::is_named_by(root, data, view.table)
                })
            };
            if data.is_some_and(named) {
                remedies.push(format!(
                    "root=/dev/mapper/{name}: root= names its data device, which is not mounted without being verified"
                ));
            }
        }
        remedies
    }
}
