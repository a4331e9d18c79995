//! A simulated kernel with the hands in front of it: carries commands out, late or not at all, and raises events.

use std::collections::{BTreeMap, BTreeSet};

use cmdline::Plan;
use cmdline::plan::RootSpec;
use engine::{
    CommandId, DevName, DeviceFacts, DmFacts, DriverFacts, Engine, Event, MountRequest, QuestionId, SecretId,
    SecretSource,
};

use super::oracle;
use super::rng::Rng;
use super::world::{Arrival, Place, Swap, World, partition_name};

mod hands;

/// The kernel's minor number of a disk or partition.
pub fn minor(disk: usize, number: u32) -> u32 {
    u32::try_from(disk).unwrap_or(0) * 16 + number
}

/// A block device that is there.
#[derive(Debug, Clone)]
struct Node {
    volume: usize,
    diskseq: u64,
    parent: Option<String>,
    number: u32,
    minor: u32,
    mapping: Option<(String, String)>,
    resumed: bool,
    slaves: Vec<String>,
}

/// What is going to happen.
#[derive(Debug, Clone)]
enum Item {
    Arrive(usize),
    Leave(usize),
    Swap(usize, usize),
    Uevent(String),
    Resume(String),
    Rescan,
    Work(CommandId, Work),
    Type,
    Operator,
    Event(Event),
}

#[derive(Debug, Clone)]
enum Work {
    Identify(String),
    Load,
    Open { device: String, name: String, secret: SecretSource },
    ReadKey { device: String, path: String },
    Mount(MountRequest),
    Switch,
}

/// How the same world unfolds this time.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Most milliseconds that an event or an answer may take.
    pub delay: u64,
    /// Of a hundred uevents so many come twice.
    pub twice: u64,
    /// Of a hundred uevents so many are lost, which is noticed a little later.
    pub lost: u64,
    /// Identical events all the time.
    pub storm: bool,
}

impl Timing {
    /// Invents one.
    pub fn invent(rng: &mut Rng) -> Timing {
        Timing {
            delay: *rng.pick(&[0, 3, 50, 500, 1500]),
            twice: *rng.pick(&[0, 10, 50]),
            lost: *rng.pick(&[0, 0, 10, 30]),
            storm: rng.percent(5),
        }
    }
}

/// The kernel and the hands.
pub struct Machine<'a> {
    world: &'a World,
    plan: &'a Plan,
    rng: Rng,
    timing: Timing,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Item>,
    sequence: u64,
    nodes: BTreeMap<String, Node>,
    next_uevent: BTreeMap<String, u64>,
    next_diskseq: u64,
    next_dm: u32,
    /// Volumes that are open, and those that are being opened.
    opened: BTreeSet<usize>,
    opening: BTreeMap<CommandId, usize>,
    swapped: BTreeSet<usize>,
    /// Volumes that were read: the kernel knows them as devices of a file system.
    scanned: BTreeSet<usize>,
    reads: BTreeMap<usize, u32>,
    secrets: BTreeMap<SecretId, u32>,
    next_secret: u64,
    answers_typed: usize,
    question: bool,
    /// The number of the newest question.
    asked: QuestionId,
    typing: bool,
    pending_drivers: usize,
    pub mounted: Option<(usize, String, Option<String>)>,
    pub switched: Option<u32>,
    pub drivers_asked: bool,
}

impl<'a> Machine<'a> {
    pub fn new(world: &'a World, plan: &'a Plan, timing: Timing, rng: Rng) -> Machine<'a> {
        let mut machine = Machine {
            world,
            plan,
            rng,
            timing,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: BTreeMap::new(),
            next_uevent: BTreeMap::new(),
            next_diskseq: 1,
            next_dm: 0,
            opened: BTreeSet::new(),
            opening: BTreeMap::new(),
            swapped: BTreeSet::new(),
            scanned: BTreeSet::new(),
            reads: BTreeMap::new(),
            secrets: BTreeMap::new(),
            next_secret: 1,
            answers_typed: 0,
            question: false,
            asked: QuestionId::default(),
            typing: false,
            pending_drivers: 0,
            mounted: None,
            switched: None,
            drivers_asked: false,
        };
        for (number, disk) in world.disks.iter().enumerate() {
            match disk.arrival {
                Arrival::Start => machine.appear(number, disk.volume),
                Arrival::Late(at) => machine.at(at, Item::Arrive(number)),
                Arrival::Driver(_) | Arrival::OtherDrivers(_) => {}
            }
            if let Some((from, back)) = disk.absent {
                machine.at(from, Item::Leave(number));
                machine.at(back, Item::Arrive(number));
            }
            if let Some((Swap::At(at), volume)) = disk.swapped {
                machine.at(at, Item::Swap(number, volume));
            }
        }
        machine
    }

    fn at(&mut self, time: u64, item: Item) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), item);
    }

    fn soon(&mut self, item: Item) {
        let delay = self.rng.below(self.timing.delay + 1);
        self.at(self.now + delay, item);
    }

    /// When the next thing happens.
    pub fn next_time(&self) -> Option<u64> {
        self.queue.keys().next().map(|(time, _)| *time)
    }

    /// Somebody is being asked for a passphrase.
    pub fn is_asking(&self) -> bool {
        self.question
    }

    /// Lets the next thing happen; gives the events that the engine is to be told.
    pub fn step(&mut self, engine: &Engine) -> Vec<Event> {
        let Some(((time, _), item)) = self.queue.pop_first() else { return Vec::new() };
        self.now = time;
        match item {
            Item::Event(event) => vec![event],
            Item::Arrive(disk) => {
                if !self.nodes.contains_key(&self.world.disks[disk].name) {
                    let late = !matches!(self.world.disks[disk].arrival, Arrival::OtherDrivers(_))
                        || self.drivers_asked;
                    if late {
                        self.appear(disk, self.world.disks[disk].volume);
                    }
                    if matches!(self.world.disks[disk].arrival, Arrival::Driver(_) | Arrival::OtherDrivers(_))
                    {
                        return self.driver_done();
                    }
                }
                Vec::new()
            }
            Item::Leave(disk) => {
                if !self.in_use(disk) {
                    for name in self.disappear(disk) {
                        self.notify(&name);
                    }
                }
                Vec::new()
            }
            Item::Swap(disk, volume) => self.swap(disk, volume),
            Item::Uevent(name) => vec![self.report(&name)],
            Item::Resume(name) => {
                if let Some(node) = self.nodes.get_mut(&name) {
                    node.resumed = true;
                    self.notify(&name);
                }
                Vec::new()
            }
            Item::Rescan => self.rescan(engine),
            Item::Work(id, work) => self.finish(id, work).into_iter().collect(),
            Item::Type => self.type_answer().into_iter().collect(),
            Item::Operator => vec![Event::Retry],
        }
    }

    fn driver_done(&mut self) -> Vec<Event> {
        self.pending_drivers = self.pending_drivers.saturating_sub(1);
        vec![self.drivers()]
    }

    fn drivers(&self) -> Event {
        let hanging = usize::from(self.world.driver_hangs);
        Event::Drivers(DriverFacts { pending: self.pending_drivers + hanging, ..DriverFacts::default() })
    }

    fn appear(&mut self, disk: usize, volume: usize) {
        let spec = &self.world.disks[disk];
        let diskseq = self.next_diskseq;
        self.next_diskseq += 1;
        let node = Node {
            volume,
            diskseq,
            parent: None,
            number: 0,
            minor: minor(disk, 0),
            mapping: None,
            resumed: true,
            slaves: Vec::new(),
        };
        let mut names = vec![spec.name.clone()];
        for (number, volume) in &spec.partitions {
            let name = partition_name(&spec.name, *number);
            let partition = Node {
                volume: *volume,
                parent: Some(spec.name.clone()),
                number: *number,
                minor: minor(disk, *number),
                ..node.clone()
            };
            self.nodes.insert(name.clone(), partition);
            names.push(name);
        }
        self.nodes.insert(spec.name.clone(), node);
        for name in names {
            self.notify(&name);
        }
    }

    fn disappear(&mut self, disk: usize) -> Vec<String> {
        let spec = &self.world.disks[disk];
        let mut names: Vec<String> =
            spec.partitions.iter().map(|(number, _)| partition_name(&spec.name, *number)).collect();
        names.push(spec.name.clone());
        names.retain(|name| self.nodes.remove(name).is_some());
        names
    }

    fn in_use(&self, disk: usize) -> bool {
        let on_it = |volume: usize| self.world.disk_of(volume) == disk;
        self.opened.iter().any(|volume| on_it(*volume))
            || self.mounted.as_ref().is_some_and(|(volume, ..)| on_it(*volume))
    }

    /// Swaps the disk behind the device that is to be root, if the world has that in store.
    fn maybe_swap(&mut self, when: Swap, name: Option<&DevName>) {
        let world = self.world;
        let found = world.disks.iter().enumerate().find_map(|(number, disk)| match disk.swapped {
            Some((planned, volume)) if planned == when && name.is_some_and(|name| name.0 == disk.name) => {
                Some((number, volume))
            }
            _ => None,
        });
        if let Some((disk, volume)) = found
            && self.swapped.insert(disk)
        {
            self.at(self.now, Item::Swap(disk, volume));
        }
    }

    /// Told at once: what happens inside the mount call itself no order of events can guard against.
    fn swap(&mut self, disk: usize, volume: usize) -> Vec<Event> {
        let open = self.opened.iter().any(|open| self.world.disk_of(*open) == disk);
        let used = open || self.mounted.as_ref().is_some_and(|(used, ..)| self.world.disk_of(*used) == disk);
        if used {
            return Vec::new();
        }
        let gone = self.disappear(disk);
        if gone.is_empty() {
            return Vec::new();
        }
        self.appear(disk, volume);
        // Sometimes the two events arrive as one.
        let mut events = Vec::new();
        if self.rng.percent(50) {
            events.extend(gone.iter().map(|name| Event::Gone(DevName(name.clone()))));
        }
        events.extend(gone.iter().map(|name| self.report(name)));
        events
    }

    fn notify(&mut self, name: &str) {
        if self.timing.lost > 0 && self.rng.percent(self.timing.lost) {
            self.soon(Item::Rescan);
            return;
        }
        let copies =
            if self.timing.storm { 30 } else { 1 + usize::from(self.rng.percent(self.timing.twice)) };
        for _ in 0..copies {
            // The kernel keeps the order of one device's events.
            let earliest = self.next_uevent.get(name).copied().unwrap_or(0).max(self.now);
            let time = earliest + self.rng.below(self.timing.delay + 1);
            self.next_uevent.insert(name.to_owned(), time);
            self.at(time, Item::Uevent(name.to_owned()));
        }
    }

    fn report(&self, name: &str) -> Event {
        match self.facts(name) {
            Some(facts) => Event::Device(DevName(name.to_owned()), facts),
            None => Event::Gone(DevName(name.to_owned())),
        }
    }

    fn facts(&self, name: &str) -> Option<DeviceFacts> {
        let node = self.nodes.get(name)?;
        let volume = &self.world.volumes[node.volume];
        let disk = self.world.disk_of(node.volume);
        let (ids, serial) = match volume.place {
            Place::Disk(_) => (
                vec![format!("sim-{}", self.world.disks[disk].serial)],
                Some(self.world.disks[disk].serial.clone()),
            ),
            _ => (Vec::new(), None),
        };
        let dm = node.mapping.as_ref().filter(|_| node.resumed);
        Some(DeviceFacts {
            major: if node.mapping.is_some() { 253 } else { 8 },
            minor: node.minor,
            parent: node.parent.clone().map(DevName),
            partn: node.parent.as_ref().map(|_| node.number),
            size: if node.mapping.is_some() && !node.resumed { 0 } else { volume.size },
            sector_size: 512,
            diskseq: node.diskseq,
            dm: dm.map(|(name, uuid)| DmFacts { name: name.clone(), uuid: uuid.clone() }),
            slaves: node.slaves.iter().cloned().map(DevName).collect(),
            serial,
            ids,
            ..DeviceFacts::default()
        })
    }

    fn rescan(&mut self, engine: &Engine) -> Vec<Event> {
        let known = engine.table().iter().map(|device| device.name.0.clone());
        let mut events: Vec<Event> = known
            .filter(|name| !self.nodes.contains_key(name))
            .map(|name| Event::Gone(DevName(name)))
            .collect();
        let mut names: Vec<String> = self.nodes.keys().cloned().collect();
        self.shuffle(&mut names);
        events.extend(names.iter().map(|name| self.report(name)));
        events
    }

    fn shuffle(&mut self, names: &mut [String]) {
        for at in (1..names.len()).rev() {
            names.swap(at, self.rng.index(at + 1));
        }
    }

    /// The volume behind a kernel name.
    pub fn volume(&self, name: &str) -> Option<usize> {
        self.nodes.get(name).map(|node| node.volume)
    }

    /// The dm name behind a kernel name.
    pub fn mapping(&self, name: &str) -> Option<String> {
        self.nodes.get(name)?.mapping.as_ref().map(|(name, _)| name.clone())
    }

    /// Whether a container is open or being opened.
    pub fn is_open(&self, volume: usize) -> bool {
        self.opened.contains(&volume) || self.opening.values().any(|other| *other == volume)
    }

    /// Whether a mapping is being made.
    pub fn is_opening(&self) -> bool {
        !self.opening.is_empty()
    }

    /// Containers that are there and locked.
    pub fn locked(&self) -> Vec<usize> {
        self.nodes
            .values()
            .map(|node| node.volume)
            .filter(|volume| self.world.volumes[*volume].luks.is_some() && !self.opened.contains(volume))
            .collect()
    }

    /// Whether opening this container is allowed when other ways exist.
    pub fn root_is_in_sight(&self, engine: &Engine) -> bool {
        let Some(spec) = &self.plan.root.spec else { return false };
        let by_table = matches!(spec, RootSpec::PartUuid { .. } | RootSpec::PartLabel(_));
        let by_disk = matches!(spec, RootSpec::Path(path) if path.starts_with("/dev/disk/"));
        let is_known = |device: &engine::table::Device| device.content().is_some();
        engine.table().iter().any(|device| {
            let Some(volume) = self.volume(&device.name.0) else { return false };
            let parent = device.facts.parent.as_ref().and_then(|parent| engine.table().get(parent));
            // Ids of a partition come from the table on its disk, or from the disk itself.
            if by_table && !parent.is_some_and(is_known) || by_disk && parent.is_none() {
                return false;
            }
            let truth = &self.world.volumes[volume];
            let known = device.content().is_some_and(|content| *content == truth.content);
            let mapping = self.mapping(&device.name.0);
            known
                && truth.mountable
                && truth.sibling.is_none()
                && truth.content.only().is_some_and(|one| one.kind.is_filesystem())
                && oracle::is_named(spec, self.world, volume, &device.name.0, mapping.as_deref())
        })
    }
}
