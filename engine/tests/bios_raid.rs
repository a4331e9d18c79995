//! BIOS RAID sets whose disks come late, in any order, or not at all: every order must lead to the same mapping or volume with
//! the same disks, or to the same stop, and never to half of a stripe.
//!
//! `ROOTWARD_SIM_SEEDS` says how many worlds are tried.

#[path = "sim/rng.rs"]
mod rng;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{Patience, RootSpec};
use engine::{
    Action, Command, ContainerRequest, DevName, DeviceFacts, DmDevice, DmFacts, Engine, Event, ImageFacts,
    MdFacts, Moment, Outcome, StopReason,
};
use ondisk::ata_raid::{Above, Disk, Format, Level, Parity, Part, State, imsm};
use ondisk::{Content, Kind, Member, Signature};
use rng::Rng;

/// Grace before a degraded start, in milliseconds.
const GRACE: u64 = 10_000;
/// Sectors of a disk.
const SECTORS: u64 = 1 << 20;
const NAMES: [&str; 4] = ["sda", "sdb", "sdc", "sdd"];
const MAJOR: [u32; 2] = [8, 253];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Stripe,
    Mirror,
    Parity,
    /// Two mirrors joined by stripes.
    Stacked,
    /// Intel's mirror.
    Intel,
}

impl Set {
    fn disks(self) -> usize {
        match self {
            Set::Stripe | Set::Mirror | Set::Intel => 2,
            Set::Parity => 3,
            Set::Stacked => 4,
        }
    }

    /// Whether these of its disks hold all its data.
    fn suffices(self, there: &BTreeSet<usize>) -> bool {
        match self {
            Set::Stripe => there.len() == 2,
            Set::Mirror | Set::Intel => !there.is_empty(),
            Set::Parity => there.len() >= 2,
            Set::Stacked => [[0, 1], [2, 3]].iter().all(|half| half.iter().any(|disk| there.contains(disk))),
        }
    }
}

#[derive(Debug, Clone)]
struct World {
    set: Set,
    /// When each disk shows up; `None` is never.
    arrivals: Vec<Option<u64>>,
    /// Intel's are left to md.
    md: bool,
}

impl World {
    fn invent(rng: &mut Rng) -> World {
        let set = *rng.pick(&[Set::Stripe, Set::Mirror, Set::Parity, Set::Stacked, Set::Intel, Set::Intel]);
        let arrival = |rng: &mut Rng| match rng.below(6) {
            0 => None,
            1 | 2 => Some(rng.between(1_000, GRACE - 3_000)),
            _ => Some(0),
        };
        World { set, arrivals: (0..set.disks()).map(|_| arrival(rng)).collect(), md: rng.percent(50) }
    }

    fn through_md(&self) -> bool {
        self.set == Set::Intel && self.md
    }

    fn there(&self) -> BTreeSet<usize> {
        (0..).zip(&self.arrivals).filter(|(_, arrival)| arrival.is_some()).map(|(disk, _)| disk).collect()
    }

    fn content(&self, disk: usize) -> Content {
        let (format, member) = match self.set {
            Set::Intel => (Format::Imsm, Disk::Imsm(anchor())),
            set => (Format::Nvidia, Disk::Parts(Format::Nvidia, vec![part(set, disk)])),
        };
        Content {
            signatures: vec![Signature::new(format.kind())],
            member: Some(Box::new(Member::AtaRaid(member))),
            ..Content::default()
        }
    }
}

fn part(set: Set, disk: usize) -> Part {
    let disk = u32::try_from(disk).unwrap();
    let (level, members) = match set {
        Set::Stripe => (Level::Raid0, 2),
        Set::Parity => (Level::Raid5(Parity::LeftSymmetric), 3),
        _ => (Level::Raid1, 2),
    };
    let above = || Above { set: "set".into(), level: Level::Raid0, stride: 128, order: disk / 2, members: 2 };
    let stacked = set == Set::Stacked;
    Part {
        set: if stacked { format!("set-{}", disk / 2) } else { "set".into() },
        above: stacked.then(above),
        level,
        stride: 128,
        members,
        order: if stacked { disk % 2 } else { disk },
        offset: 0,
        sectors: SECTORS - 2,
        state: State::Ok,
        total: None,
        generation: None,
    }
}

/// The container of two disks with a mirror.
fn anchor() -> imsm::Anchor {
    let entry = |serial: &&str| imsm::Entry {
        serial: (*serial).to_owned(),
        sectors: SECTORS,
        spare: false,
        configured: true,
        failed: false,
    };
    let map = imsm::Map {
        offset: 0,
        sectors: 102_400,
        stripes: 400,
        stride: 128,
        state: 0,
        level: 1,
        domains: 2,
        slots: vec![(0, false), (1, false)],
    };
    imsm::Anchor {
        family: 7,
        orig_family: 7,
        generation: 5,
        attributes: 3,
        disks: NAMES[..2].iter().map(entry).collect(),
        volumes: vec![imsm::Volume {
            name: "Root".into(),
            sectors: 102_400,
            dirty: false,
            migration: None,
            write_hole: 0,
            map,
            old_map: None,
        }],
    }
}

/// The disks that the root was mounted on, or why it stopped and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Root(BTreeSet<usize>),
    Stopped(Option<StopReason>, Vec<String>),
}

struct Machine<'a> {
    world: &'a World,
    rng: Rng,
    delay: u64,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// What was made, and the disks below.
    made: BTreeMap<String, (DeviceFacts, BTreeSet<usize>)>,
    last_arrival: u64,
    mounted: Option<String>,
}

impl Machine<'_> {
    fn soon(&mut self, event: Event) {
        let time = self.now + self.rng.below(self.delay + 1);
        self.at(time, event);
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for Command { id, action } in commands {
            match action {
                Action::Coldplug => {
                    let arrivals = (0..).zip(&self.world.arrivals);
                    let mut now: Vec<usize> =
                        arrivals.filter(|(_, arrival)| **arrival == Some(0)).map(|(disk, _)| disk).collect();
                    for at in (1..now.len()).rev() {
                        now.swap(at, self.rng.index(at + 1));
                    }
                    now.into_iter().for_each(|number| self.at(self.now, disk(number)));
                    self.at(self.now, Event::Coldplugged);
                }
                Action::Identify(name) => {
                    let content = match NAMES.iter().position(|disk| *disk == name.0) {
                        Some(disk) => self.world.content(disk),
                        None => self.inside(&name.0),
                    };
                    self.soon(Event::Identified(id, content));
                }
                Action::CreateDm(device) => {
                    let minor = self.map(&device);
                    self.soon(Event::Done(id, Outcome::Made { major: MAJOR[1], minor }));
                }
                Action::StartContainer(request) => {
                    self.start(&request);
                    self.soon(Event::Done(id, Outcome::Done));
                }
                Action::LoadModules(_) | Action::RemovePartitions(_) => {
                    self.soon(Event::Done(id, Outcome::Done));
                }
                Action::Mount(request) => self.mounted = Some(request.device.0),
                _ => {}
            }
        }
    }

    /// The root is on what nothing is made of.
    fn inside(&self, name: &str) -> Content {
        let (facts, _) = &self.made[name];
        if facts.dm.as_ref().is_some_and(|dm| dm.uuid.starts_with("DMRAIDI-")) {
            return Content::default();
        }
        let mut signature = Signature::new(Kind::Ext4);
        signature.uuid = Some("root".into());
        Content { signatures: vec![signature], ..Content::default() }
    }

    /// What must hold for whatever is made of disks, in whatever world.
    fn check(&self, whole: bool, disks: &BTreeSet<usize>) {
        assert!(disks.is_subset(&self.world.there()));
        if whole {
            assert!(self.world.set.suffices(disks), "too few disks: {disks:?}");
        }
        if disks.len() < if whole { self.world.set.disks() } else { 2 } {
            assert!(self.now >= self.last_arrival + GRACE, "degraded without the grace: {disks:?}");
        }
    }

    /// A mapping, which the kernel shows with the number that it returns.
    fn map(&mut self, device: &DmDevice) -> u32 {
        let (mut disks, mut slaves) = (BTreeSet::new(), Vec::new());
        for word in device.targets.iter().flat_map(|target| target.params.split(' ')) {
            let Some((major, minor)) = word.split_once(':') else { continue };
            let minor: u32 = minor.parse().expect("a number");
            if major == MAJOR[0].to_string() {
                let number = usize::try_from(minor).expect("a disk");
                assert!(disks.insert(number), "a disk is twice in {device:?}");
                slaves.push(DevName(NAMES[number].into()));
            } else {
                let name = format!("dm-{minor}");
                disks.extend(self.made[&name].1.iter());
                slaves.push(DevName(name));
            }
        }
        self.check(device.uuid.starts_with("DMRAID-"), &disks);
        let minor = u32::try_from(self.made.len()).expect("few");
        let facts = DeviceFacts {
            major: MAJOR[1],
            minor,
            size: 1 << 28,
            dm: Some(DmFacts { name: device.name.clone(), uuid: device.uuid.clone() }),
            slaves,
            ..DeviceFacts::default()
        };
        let same = |(made, _): &(DeviceFacts, _)| made.dm == facts.dm;
        assert!(!self.made.values().any(same), "{} is made twice", device.name);
        self.show(format!("dm-{minor}"), facts, disks);
        minor
    }

    fn start(&mut self, request: &ContainerRequest) {
        for volume in &request.volumes {
            let number = |leg: &(DevName, u32, u64)| NAMES.iter().position(|name| *name == leg.0.0);
            let disks: BTreeSet<usize> = volume.legs.iter().map(|leg| number(leg).expect("a disk")).collect();
            assert_eq!(disks.len(), volume.legs.len(), "a disk is twice in {request:?}");
            self.check(true, &disks);
            let facts = DeviceFacts {
                major: 9,
                minor: 126,
                size: 50 << 20,
                md: Some(MdFacts { path: volume.path.clone(), uuid: volume.uuid.clone() }),
                slaves: volume.legs.iter().map(|(name, ..)| name.clone()).collect(),
                ..DeviceFacts::default()
            };
            self.show("md126".into(), facts, disks);
        }
    }

    fn show(&mut self, name: String, facts: DeviceFacts, disks: BTreeSet<usize>) {
        let before = self.made.insert(name.clone(), (facts.clone(), disks));
        assert!(before.is_none(), "{name} is made twice");
        self.soon(Event::Device(DevName(name), facts));
    }
}

fn disk(number: usize) -> Event {
    let minor = u32::try_from(number).unwrap();
    let facts = DeviceFacts {
        major: MAJOR[0],
        minor,
        size: SECTORS * 512,
        sector_size: 512,
        diskseq: u64::from(minor) + 1,
        serial: Some(NAMES[number].into()),
        ..DeviceFacts::default()
    };
    Event::Device(NAMES[number].into(), facts)
}

fn play(world: &World, plan: &Plan, seed: u64) -> End {
    let mut rng = Rng::new(seed, 7);
    let delay = *rng.pick(&[0, 2, 50, 900]);
    let mut machine = Machine {
        world,
        rng,
        delay,
        now: 0,
        queue: BTreeMap::new(),
        sequence: 0,
        made: BTreeMap::new(),
        last_arrival: 0,
        mounted: None,
    };
    for (number, arrival) in (0..).zip(&world.arrivals) {
        if let Some(arrival) = arrival.filter(|arrival| *arrival > 0) {
            let jitter = machine.rng.below(500);
            machine.at(arrival + jitter, disk(number));
        }
    }
    let mut engine = Engine::new(plan.clone(), ImageFacts::default());
    let commands = engine.start(Moment(0));
    machine.carry_out(commands);
    loop {
        let next = machine.queue.keys().next().map(|(time, _)| *time);
        let wake = engine.deadline().map(|Moment(wake)| wake);
        let event = match (next, wake) {
            (None, None) => break,
            (Some(next), wake) if wake.is_none_or(|wake| next <= wake) => {
                let ((time, _), event) = machine.queue.pop_first().expect("an event");
                machine.now = time;
                event
            }
            (_, wake) => {
                machine.now = wake.expect("a deadline");
                Event::Tick
            }
        };
        if matches!(&event, Event::Device(name, _) if name.0.starts_with("sd")) {
            machine.last_arrival = machine.now;
        }
        let commands = engine.handle(Moment(machine.now), event);
        machine.carry_out(commands);
        if let Some(name) = &machine.mounted {
            return End::Root(machine.made[name].1.clone());
        }
        if engine.stopped().is_some() {
            break;
        }
        assert!(machine.now < 10_000_000, "it neither ends nor stops");
    }
    // What tells of seconds differs from order to order.
    let explanation = engine.explain(Moment(machine.now)).to_string();
    let lines = explanation.lines().filter(|line| !line.contains(" s")).map(str::to_owned);
    End::Stopped(engine.stopped().cloned(), lines.collect())
}

#[test]
fn every_order_ends_alike() {
    let seeds =
        std::env::var("ROOTWARD_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300_u64);
    let mut ends: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for seed in 0..seeds {
        let mut rng = Rng::new(seed, 1);
        let world = World::invent(&mut rng);
        let mut plan = Plan::default();
        plan.root.spec = Some(RootSpec::Uuid("root".into()));
        plan.auto = *rng.pick(&[None, Some(true)]);
        plan.md.imsm = world.md;
        plan.patience = Patience::Quiet(Duration::from_secs(60));
        plan.degraded = rng.percent(75).then_some(Duration::from_millis(GRACE));
        let there = world.there();
        let whole = there.len() == world.set.disks();
        let starts = whole || (world.set.suffices(&there) && plan.degraded.is_some());
        let first = play(&world, &plan, seed << 8);
        for schedule in 0..5 {
            let end = play(&world, &plan, seed << 8 | schedule);
            let about = format!("seed {seed}, schedule {schedule}: {world:?} {:?}", plan.degraded);
            match &end {
                End::Root(disks) => assert!(starts && *disks == there, "{about}: {disks:?}"),
                End::Stopped(reason, text) => {
                    assert!(!starts && reason.is_some() && text.len() > 1, "{about}: {text:#?}");
                }
            }
            assert_eq!(end, first, "{about}");
        }
        let how = if !starts {
            "stops"
        } else if whole {
            "whole"
        } else {
            "degraded"
        };
        let through = if world.through_md() { " through md" } else { "" };
        *ends.entry((format!("{:?}{through}", world.set), how)).or_default() += 1;
    }
    // A stripe alone is never degraded.
    assert!(seeds < 300 || ends.len() == 6 * 3 - 1, "the worlds are too much alike: {ends:#?}");
}
