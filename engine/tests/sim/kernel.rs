//! A simulated kernel that knows disks, device-mapper's tables and MD mirrors. What it is asked for takes its time, and
//! what must hold for every mapping in whatever world is checked here.

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    Action, ArrayRequest, Command, CommandId, DevName, DeviceFacts, DmDevice, DmFacts, Engine, Event,
    MdFacts, Moment, QuestionId, ScsiFacts, SecretId, StopReason,
};
use ondisk::Content;

use super::rng::Rng;
use super::tables::{self, Below, Number};

mod deeds;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Sectors of every disk.
pub const DISK: u64 = 1 << 36;

/// A disk, or a path to one.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub name: String,
    /// What its bytes are called: the paths to one unit share them.
    pub store: String,
    /// Partitions that the kernel makes on it: number, first sector, length.
    pub partitions: Vec<(u32, u64, u64)>,
    pub scsi: Option<ScsiFacts>,
    /// When it shows up, in milliseconds; `None` is never.
    pub arrival: Option<u64>,
    /// When it is lost again.
    pub lost: Option<u64>,
}

/// What is true in a world.
pub trait World {
    fn disks(&self) -> &[Disk];
    /// What is read at this place.
    fn content(&self, place: &str) -> Content;
    /// Whether reading succeeds there.
    fn is_readable(&self, _place: &str) -> bool {
        true
    }
    /// Whether the kernel does not take this mapping.
    fn refuses(&self, _name: &str) -> bool {
        false
    }
    /// Whether the pool whose metadata lie here may be used.
    fn is_sound(&self, _place: &str) -> bool {
        true
    }
    /// How long somebody needs to type a passphrase.
    fn typing(&self) -> u64 {
        1_000
    }
}

/// How the same world unfolds this time.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Most milliseconds that an event or an answer takes.
    pub delay: u64,
    /// Of a hundred events so many come twice.
    pub twice: u64,
}

impl Timing {
    pub fn invent(rng: &mut Rng) -> Timing {
        Timing { delay: *rng.pick(&[0, 2, 50, 900]), twice: *rng.pick(&[0, 20, 60]) }
    }
}

#[derive(Debug, Clone)]
enum Form {
    Disk { store: String, start: u64 },
    Mapping { device: DmDevice, live: bool },
    Array(ArrayRequest),
}

#[derive(Debug, Clone)]
struct Node {
    facts: DeviceFacts,
    form: Form,
}

#[derive(Debug, Clone)]
enum Item {
    Arrive(usize),
    Lose(usize),
    Report(String),
    Tell(Event),
    Do(CommandId, Action),
    Type,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Handed over to what lies at this place.
    Root(String),
    /// Stopped, with this explanation.
    Stopped(StopReason, Vec<String>),
}

pub struct Kernel<'a> {
    world: &'a dyn World,
    rng: Rng,
    timing: Timing,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Item>,
    sequence: u64,
    nodes: BTreeMap<String, Node>,
    /// Requests that change mappings or arrays and are not answered yet.
    working: BTreeMap<CommandId, Action>,
    question: bool,
    /// The number of the newest question.
    asked: QuestionId,
    /// Disks that were reported, and when the last one was.
    reported: BTreeSet<String>,
    pub last_arrival: u64,
    /// The mounted device, and where it lies.
    pub mounted: Option<(String, String)>,
    handed_over: bool,
    /// What was said, where that is wanted.
    pub log: Option<Vec<String>>,
}

/// A number that depends on the name alone, so that no order can be told from it.
fn minor(name: &str) -> u32 {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash >> 2
}

impl<'a> Kernel<'a> {
    pub fn new(world: &'a dyn World, rng: Rng, timing: Timing) -> Kernel<'a> {
        let mut kernel = Kernel {
            world,
            rng,
            timing,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: BTreeMap::new(),
            working: BTreeMap::new(),
            question: false,
            asked: QuestionId::default(),
            reported: BTreeSet::new(),
            last_arrival: 0,
            mounted: None,
            handed_over: false,
            log: None,
        };
        for (number, disk) in world.disks().iter().enumerate() {
            match disk.arrival {
                Some(0) => {
                    kernel.appear(number);
                }
                Some(at) => {
                    let jitter = kernel.rng.below(500);
                    kernel.at(at + jitter, Item::Arrive(number));
                }
                None => {}
            }
            if let Some(at) = disk.lost {
                let jitter = kernel.rng.below(500);
                kernel.at(at + jitter, Item::Lose(number));
            }
        }
        kernel
    }

    fn note(&mut self, what: impl FnOnce(u64) -> String) {
        let now = self.now;
        if let Some(log) = &mut self.log {
            log.push(what(now));
        }
    }

    fn at(&mut self, time: u64, item: Item) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), item);
    }

    fn soon(&mut self, item: Item) {
        let time = self.now + self.rng.below(self.timing.delay + 1);
        self.at(time, item);
    }

    fn notify(&mut self, name: &str) {
        self.notify_from(name, self.now);
    }

    /// Reports a device not before `from`; gives the time of the first report.
    fn notify_from(&mut self, name: &str, from: u64) -> u64 {
        let times = 1 + usize::from(self.rng.percent(self.timing.twice));
        let times: Vec<u64> = (0..times).map(|_| from + self.rng.below(self.timing.delay + 1)).collect();
        times.iter().for_each(|time| self.at(*time, Item::Report(name.to_owned())));
        times.into_iter().min().unwrap_or(from)
    }

    /// Puts a disk there with its partitions; gives their names.
    fn appear(&mut self, number: usize) -> Vec<String> {
        let disk = &self.world.disks()[number];
        let base = number as u32 * 16;
        let node = |minor: u32, start: u64, length: u64| Node {
            facts: DeviceFacts {
                major: 8,
                minor,
                size: length * SECTOR,
                sector_size: 512,
                diskseq: number as u64 + 1,
                ..DeviceFacts::default()
            },
            form: Form::Disk { store: disk.store.clone(), start },
        };
        let mut whole = node(base, 0, DISK);
        whole.facts.scsi = disk.scsi.clone().map(Box::new);
        let mut names = vec![disk.name.clone()];
        self.nodes.insert(disk.name.clone(), whole);
        for (part, start, length) in &disk.partitions {
            let mut one = node(base + part, *start, *length);
            one.facts.parent = Some(DevName(disk.name.clone()));
            one.facts.partn = Some(*part);
            names.push(format!("{}{part}", disk.name));
            self.nodes.insert(format!("{}{part}", disk.name), one);
        }
        names
    }

    fn lose(&mut self, number: usize) {
        let disk = &self.world.disks()[number];
        let parts = disk.partitions.iter().map(|(part, ..)| format!("{}{part}", disk.name));
        // The kernel takes the partitions first.
        let mut from = self.now;
        for name in parts.chain([disk.name.clone()]) {
            if self.nodes.remove(&name).is_some() {
                from = self.notify_from(&name, from);
            }
        }
    }

    /// Kernel name of a device.
    pub fn name_of(&self, number: Number) -> Option<&String> {
        let is_it = |(_, node): &(&String, &Node)| (node.facts.major, node.facts.minor) == number;
        self.nodes.iter().find(is_it).map(|(name, _)| name)
    }

    fn facts(&self, name: &str) -> Option<DeviceFacts> {
        let node = self.nodes.get(name)?;
        let mut facts = node.facts.clone();
        match &node.form {
            Form::Disk { .. } => {}
            Form::Mapping { device, live } => {
                let length: u64 = device.targets.iter().map(|target| target.length).sum();
                facts.size = if *live { length * SECTOR } else { 0 };
                facts.dm = live.then(|| DmFacts { name: device.name.clone(), uuid: device.uuid.clone() });
                let below = tables::uses(device);
                facts.slaves =
                    below.iter().filter_map(|number| self.name_of(*number).cloned().map(DevName)).collect();
            }
            Form::Array(request) => {
                facts.size = DISK * SECTOR;
                facts.md =
                    Some(MdFacts { path: request.path.clone().unwrap_or_default(), ..MdFacts::default() });
                facts.slaves = request.members.iter().map(|member| member.device.clone()).collect();
            }
        }
        Some(facts)
    }

    /// Where a sector of a device lies in the end; `None` if it cannot be read.
    pub fn place(&self, name: &str, sector: u64) -> Option<String> {
        match &self.nodes.get(name)?.form {
            Form::Disk { store, start } => Some(format!("{store}+{}", start + sector)),
            Form::Array(request) => Some(format!("array {}+{sector}", request.map_uuid)),
            Form::Mapping { live: false, .. } => None,
            Form::Mapping { device, .. } => match tables::below(device, sector) {
                Below::On(copies) => {
                    copies.into_iter().find_map(|(number, sector)| self.place(self.name_of(number)?, sector))
                }
                Below::In(base, what) => Some(format!("{what} in {}", self.place(self.name_of(base)?, 0)?)),
                Below::Hole => None,
            },
        }
    }

    /// All device-mapper devices.
    pub fn mappings(&self) -> impl Iterator<Item = &DmDevice> {
        self.nodes.values().filter_map(|node| match &node.form {
            Form::Mapping { device, .. } => Some(device),
            _ => None,
        })
    }

    /// The device-mapper device of this name.
    pub fn mapping(&self, dm: &str) -> Option<&DmDevice> {
        self.mappings().find(|device| device.name == dm)
    }

    /// What is wrong with asking for this now, in any world.
    fn check(&self, action: &Action) -> Result<(), String> {
        if self.handed_over {
            return Err(format!("after the hand-over: {action:?}"));
        }
        match action {
            Action::CreateDm(device) => {
                let taken = |name: &str| self.mapping(name).is_some();
                let begun = |other: &Action| match other {
                    Action::CreateDm(other) => other.name == device.name,
                    Action::OpenCrypt { name, .. } => *name == device.name,
                    _ => false,
                };
                if taken(&device.name) || self.working.values().any(begun) {
                    return Err(format!("{} is made twice", device.name));
                }
                if device.targets.iter().map(|target| target.length).sum::<u64>() == 0 {
                    return Err(format!("{} has no size", device.name));
                }
                self.check_table(device)
            }
            Action::ReloadDm(device) => {
                if self.mapping(&device.name).is_none() {
                    return Err(format!("{} is not there to be given another table", device.name));
                }
                self.check_table(device)
            }
            Action::ResumeDm(name, _) | Action::RemoveDm(name) | Action::MessageDm(name, _)
                if self.mapping(name).is_none() =>
            {
                Err(format!("{name} is not there: {action:?}"))
            }
            Action::SwitchRoot { .. } => {
                let held = |node: &&Node| matches!(&node.form, Form::Mapping { live: false, .. });
                match (self.nodes.values().find(held), self.working.values().next()) {
                    _ if self.mounted.is_none() => Err("hand-over without a root".into()),
                    (Some(node), _) => Err(format!("hand-over with {:?} held", node.form)),
                    (_, Some(action)) => Err(format!("hand-over during {action:?}")),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_table(&self, device: &DmDevice) -> Result<(), String> {
        let gone = |number: &&Number| self.name_of(**number).is_none();
        let losable = self.world.disks().iter().any(|disk| disk.lost.is_some());
        match tables::uses(device).iter().find(gone) {
            Some(number) if !losable => {
                Err(format!("{} lies on {number:?}, which is not there", device.name))
            }
            _ => Ok(()),
        }
    }

    /// Begins what was asked for.
    fn begin(&mut self, command: Command) -> Result<(), String> {
        let Command { id, action } = command;
        self.check(&action)?;
        match &action {
            Action::Coldplug => {
                // A disk goes before its partitions.
                let mut keys: BTreeMap<&String, u64> = BTreeMap::new();
                for (name, node) in &self.nodes {
                    let whole = node.facts.parent.as_ref().and_then(|parent| keys.get(&parent.0));
                    let from = whole.copied().unwrap_or(0);
                    keys.insert(name, from + self.rng.below(1000));
                }
                let mut names: Vec<String> = self.nodes.keys().cloned().collect();
                names.sort_by_key(|name| keys.get(name));
                for name in names {
                    self.at(self.now, Item::Report(name));
                }
                self.at(self.now, Item::Tell(Event::Coldplugged));
            }
            Action::AskPassphrase { question, .. } => {
                self.question = true;
                self.asked = *question;
                self.at(self.now + self.world.typing(), Item::Type);
            }
            Action::StopAsking => self.question = false,
            Action::SwitchRoot { .. } => self.handed_over = true,
            Action::OpenCrypt { .. } => {
                let time = self.now + self.rng.between(20, 1_500);
                self.working.insert(id, action.clone());
                self.at(time, Item::Do(id, action));
            }
            Action::CreateDm(_)
            | Action::CreateKeyedDm(..)
            | Action::ReloadDm(_)
            | Action::MessageDm(..)
            | Action::ResumeDm(..)
            | Action::RemoveDm(_)
            | Action::CheckPool(..)
            | Action::AssembleArray(_) => {
                self.working.insert(id, action.clone());
                self.soon(Item::Do(id, action));
            }
            Action::Identify(_) | Action::LoadModules(_) | Action::ReadVerity(..) | Action::Mount(_) => {
                self.soon(Item::Do(id, action));
            }
            Action::LoadInputDrivers
            | Action::LoadOtherDrivers
            | Action::Link(..)
            | Action::Say(..)
            | Action::Explain(..)
            | Action::Rescue
            | Action::GiveUp(_) => {}
            other => return Err(format!("nobody in this world needs {other:?}")),
        }
        Ok(())
    }

    /// Lets the next thing happen; gives the event that the engine is to be told.
    fn step(&mut self) -> Option<Event> {
        let ((time, _), item) = self.queue.pop_first()?;
        self.now = time;
        match item {
            Item::Arrive(number) => {
                let mut from = self.now;
                for name in self.appear(number) {
                    from = self.notify_from(&name, from);
                }
                None
            }
            Item::Lose(number) => {
                self.lose(number);
                None
            }
            Item::Report(name) => {
                let is_disk = matches!(self.nodes.get(&name), Some(Node { form: Form::Disk { .. }, .. }));
                if is_disk && self.reported.insert(name.clone()) {
                    self.last_arrival = self.now;
                }
                // sysfs is read when the event is looked at.
                Some(match self.facts(&name) {
                    Some(facts) => Event::Device(DevName(name), facts),
                    None => Event::Gone(DevName(name)),
                })
            }
            Item::Tell(event) => Some(event),
            Item::Do(id, action) => self.finish(id, &action),
            Item::Type => std::mem::take(&mut self.question).then_some(Event::Typed(SecretId(1), self.asked)),
        }
    }
}

/// Sees every command before it is carried out, and may change it.
pub type Watch<'w> = dyn FnMut(&Kernel<'_>, &Engine, Command) -> Result<Vec<Command>, String> + 'w;

/// Boots.
pub fn boot(kernel: &mut Kernel<'_>, engine: &mut Engine, watch: &mut Watch<'_>) -> Result<End, String> {
    let mut commands = engine.start(Moment(0));
    loop {
        for command in commands {
            kernel.note(|now| format!("{now:>6} < {command:?}"));
            for command in watch(kernel, engine, command)? {
                kernel.begin(command)?;
            }
        }
        if let Some(reason) = engine.stopped() {
            let explanation = engine.explain(Moment(kernel.now)).to_string();
            return Ok(End::Stopped(reason.clone(), explanation.lines().map(str::to_owned).collect()));
        }
        let next = kernel.queue.keys().next().map(|(time, _)| *time);
        let wake = engine.deadline().map(|Moment(wake)| wake);
        let event = match (next, wake) {
            (Some(next), wake) if wake.is_none_or(|wake| next <= wake) => kernel.step(),
            (_, Some(wake)) => {
                kernel.now = wake;
                Some(Event::Tick)
            }
            _ => {
                let (_, place) = kernel.mounted.clone().ok_or("it neither ends nor stops")?;
                return if kernel.handed_over { Ok(End::Root(place)) } else { Err("no hand-over".into()) };
            }
        };
        if kernel.now > 10_000_000 || kernel.sequence > 50_000 {
            return Err("it does not come to an end".into());
        }
        commands = Vec::new();
        if let Some(event) = event {
            kernel.note(|now| format!("{now:>6} > {event:?}"));
            commands = engine.handle(Moment(kernel.now), event);
        }
    }
}
