//! Random MD arrays whose members come in any order: every order must lead to the same array, or to the same stop.
//!
//! Not promised, and not compared: which of two copies of one member is used (the first one is), and whether a spare that
//! comes late was there at the start or was added to the running array.
//!
//! `ROOTWARD_SIM_SEEDS` says how many worlds are tried.

#[path = "sim/rng.rs"]
mod rng;

use std::collections::{BTreeMap, BTreeSet};

use cmdline::Plan;
use cmdline::plan::{Patience, RootSpec};
use engine::{
    Action, ArrayRequest, Command, CommandId, DevName, DeviceFacts, Engine, Event, Failure, ImageFacts,
    MdFacts, Moment, Outcome, StopReason,
};
use ondisk::md::{Role, Superblock, Version};
use ondisk::{Content, Kind, Member, Signature};
use rng::Rng;

/// Grace before a degraded start, in milliseconds.
const GRACE: u64 = 10_000;

/// One member: its disk, its superblock, when it shows up; `None` is never.
#[derive(Debug, Clone)]
struct Part {
    disk: String,
    superblock: Superblock,
    arrival: Option<u64>,
    loss: Option<Loss>,
}

/// A disk is pulled out while its array is being started for the first time.
#[derive(Debug, Clone)]
struct Loss {
    kernel: Kernel,
    /// Put back so much later.
    back: Option<u64>,
}

/// What the kernel makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// It does not take the member any more.
    Refuses,
    /// Its node has gone.
    FindsNothing,
    /// It has taken it, and cannot start the array.
    CannotStart,
    /// It has started the array, with the member as a faulty one.
    HasStarted,
}

#[derive(Debug, Clone)]
struct World {
    parts: Vec<Part>,
    root: [u8; 16],
}

fn superblock(rng: &mut Rng, uuid: [u8; 16], level: i32, disks: u32, slot: u16, clean: bool) -> Superblock {
    Superblock {
        version: Version::V1_2,
        minor: 2,
        big_endian: false,
        uuid,
        name: format!("box:a{}", uuid[0]),
        level,
        layout: if level == 10 { 0x102 } else { 2 },
        chunk: 65536,
        raid_disks: disks,
        size: 1 << 20,
        created: 0,
        updated: 0,
        events: 100,
        clean,
        slots: "A".repeat(disks as usize),
        number: slot.into(),
        role: Role::Active(slot),
        replacement: false,
        write_mostly: false,
        failfast: false,
        device_uuid: Some([rng.below(256) as u8; 16]),
        data_offset: 2048,
        data_size: 1 << 20,
        recovery_offset: None,
        bitmap_offset: None,
        nodes: 0,
        journal: false,
        ppl: rng.percent(10) && level == 5,
        bad_block_log: 0,
        reshape: None,
    }
}

impl World {
    fn invent(rng: &mut Rng) -> World {
        let mut world = World { parts: Vec::new(), root: [1; 16] };
        for array in 0..rng.between(1, 3) as u8 {
            world.add_array(rng, [array + 1; 16]);
        }
        world
    }

    fn add_array(&mut self, rng: &mut Rng, uuid: [u8; 16]) {
        let level = *rng.pick(&[0, 1, 1, 4, 5, 5, 6, 10]);
        let disks = match level {
            1 => rng.between(1, 3),
            6 | 10 => rng.between(4, 5),
            _ => rng.between(3, 4),
        } as u32;
        let clean = rng.percent(80);
        let mut parts: Vec<Superblock> =
            (0..disks).map(|slot| superblock(rng, uuid, level, disks, slot as u16, clean)).collect();
        // Something has happened to it.
        let at = rng.index(parts.len());
        let mut late = true;
        match rng.below(8) {
            0 => parts[at].events -= rng.between(1, 4),
            1 => {
                // One was lost, and comes back from the drawer.
                parts[at].events -= rng.between(1, 30);
                let slot = at;
                for (other, one) in parts.iter_mut().enumerate() {
                    if other != slot {
                        one.slots.replace_range(slot..=slot, ".");
                    }
                }
                late = false;
            }
            2 if level == 1 && disks > 1 => {
                for (other, one) in parts.iter_mut().enumerate() {
                    one.slots =
                        (0..disks as usize).map(|slot| if slot == other { 'A' } else { '.' }).collect();
                    one.events += rng.below(3);
                }
                late = false;
            }
            3 => {
                let mut spare = superblock(rng, uuid, level, disks, 0, clean);
                (spare.role, spare.number) = (Role::Spare, disks);
                parts.push(spare);
            }
            4 => {
                let copy = parts[at].clone();
                parts.push(copy);
                late = false;
            }
            _ => {}
        }
        for superblock in parts {
            let disk = format!("sd{}", char::from(b'a' + self.parts.len() as u8));
            let arrival = match rng.below(10) {
                0 => None,
                1 if late => Some(rng.between(1_000, GRACE - 3_000)),
                _ => Some(0),
            };
            // Which of two copies is used, and whether a spare is there at the start, differs from order to order.
            let may_go = late && matches!(superblock.role, Role::Active(_));
            let loss = (may_go && rng.percent(8)).then(|| Loss {
                kernel: *rng.pick(&[
                    Kernel::Refuses,
                    Kernel::FindsNothing,
                    Kernel::CannotStart,
                    Kernel::HasStarted,
                ]),
                back: rng.percent(50).then(|| rng.between(2_000, GRACE - 3_000)),
            });
            self.parts.push(Part { disk, superblock, arrival, loss });
        }
    }

    fn content(&self, disk: &str) -> Content {
        let part = self.parts.iter().find(|part| part.disk == disk).expect("a disk");
        let mut signature = Signature::new(Kind::MdMember);
        signature.uuid = Some(part.superblock.array_uuid());
        let member = Some(Box::new(Member::Md(part.superblock.clone())));
        Content { signatures: vec![signature], member, ..Content::default() }
    }
}

/// What became of it: the slots that the root array runs with, and which superblocks, or why it stopped and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Root(BTreeSet<(Role, u64)>),
    Stopped(Option<StopReason>, Vec<String>),
}

struct Machine<'a> {
    world: &'a World,
    rng: Rng,
    delay: u64,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    arrays: Vec<(String, ArrayRequest)>,
    used: BTreeSet<String>,
    /// Disks that were pulled out once.
    lost: BTreeSet<String>,
    mounted: Option<BTreeSet<(Role, u64)>>,
    last_arrival: u64,
}

impl<'a> Machine<'a> {
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
                    let mut now: Vec<&Part> =
                        self.world.parts.iter().filter(|part| part.arrival == Some(0)).collect();
                    for at in (1..now.len()).rev() {
                        now.swap(at, self.rng.index(at + 1));
                    }
                    let events: Vec<Event> = now.iter().map(|part| disk(part)).collect();
                    events.into_iter().for_each(|event| self.at(self.now, event));
                    self.at(self.now, Event::Coldplugged);
                }
                Action::Identify(name) => {
                    let content = match self.arrays.iter().find(|(array, _)| *array == name.0) {
                        Some((_, request)) => self.inside(request),
                        None => self.world.content(&name.0),
                    };
                    self.soon(Event::Identified(id, content));
                }
                Action::LoadModules(_) => self.soon(Event::Done(id, Outcome::Done)),
                Action::AssembleArray(request) => self.assemble(id, request),
                Action::Mount(request) => {
                    let (_, array) =
                        self.arrays.iter().find(|(name, _)| *name == request.device.0).expect("an array");
                    let member = |name: &str| {
                        let part = self.world.parts.iter().find(|part| part.disk == name).expect("a disk");
                        (part.superblock.role, part.superblock.events)
                    };
                    let members = array.members.iter().map(|one| member(&one.device.0));
                    self.mounted =
                        Some(members.filter(|(role, _)| matches!(role, Role::Active(_))).collect());
                    self.soon(Event::Done(id, Outcome::Done));
                }
                Action::AddSpare(array, spare) => {
                    self.soon(Event::Done(id, Outcome::Done));
                    if let Some((_, request)) = self.arrays.iter_mut().find(|(name, _)| *name == array.0) {
                        request.members.push(spare);
                    }
                    let facts = self.facts(&array.0);
                    self.soon(Event::Device(array, facts));
                }
                _ => {}
            }
        }
    }

    fn inside(&self, request: &ArrayRequest) -> Content {
        let first = &request.members[0].device.0;
        let part = self.world.parts.iter().find(|part| part.disk == *first).expect("a disk");
        let mut signature = Signature::new(Kind::Ext4);
        let root = part.superblock.uuid == self.world.root;
        signature.uuid =
            Some(if root { "root".into() } else { format!("other-{}", part.superblock.uuid[0]) });
        Content { signatures: vec![signature], ..Content::default() }
    }

    /// What must hold for every array that is started, in whatever world.
    fn assemble(&mut self, id: CommandId, request: ArrayRequest) {
        let part = |name: &str| self.world.parts.iter().find(|part| part.disk == name).expect("a disk");
        let members: Vec<&Part> = request.members.iter().map(|member| part(&member.device.0)).collect();
        let active: Vec<&Superblock> = members
            .iter()
            .map(|part| &part.superblock)
            .filter(|superblock| matches!(superblock.role, Role::Active(_)))
            .collect();
        let newest = active.iter().map(|one| one.events).max().expect("members with data");
        for one in &active {
            assert!(one.events + 1 >= newest, "a stale member was used: {request:?}");
            assert_eq!(one.uuid, active[0].uuid, "members of two arrays");
        }
        let slots: Vec<Role> = active.iter().map(|one| one.role).collect();
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "two members in one slot");
        let best = active.iter().find(|one| one.events == newest).expect("the newest");
        let Role::Active(best_slot) = best.role else { unreachable!() };
        for one in &active {
            let own = one.role == best.role;
            let Role::Active(slot) = one.role else { unreachable!() };
            assert!(
                one.events == newest || best.slots.as_bytes()[usize::from(slot)] == b'A',
                "a member was used that the freshest one says has failed"
            );
            assert!(
                own || one.slots.as_bytes()[usize::from(best_slot)] == b'A',
                "both halves of a split brain"
            );
        }
        let missing = best.raid_disks as usize - active.len();
        let covered = match best.level {
            0 => 0,
            1 => best.raid_disks as usize - 1,
            6 => 2,
            10 => 2,
            _ => 1,
        };
        assert!(missing <= covered, "{missing} members are missing: {request:?}");
        let known = best.slots.bytes().filter(|slot| *slot == b'.').count();
        if missing > known {
            assert!(self.now >= self.last_arrival + GRACE, "degraded without the grace: {request:?}");
            assert!(request.read_auto);
            let parity = matches!(best.level, 5 | 6);
            assert!(!parity || best.clean || best.ppl, "dirty and degraded");
        }
        let mut request = request;
        if let Some((part, loss)) = self.first_loss(&request) {
            let device = DevName(part.disk.clone());
            self.lost.insert(part.disk.clone());
            self.soon(Event::Gone(device.clone()));
            if let Some(back) = loss.back {
                self.at(self.now + back, disk(part));
            }
            let survives = best.level != 10 && missing < covered;
            let what = format!("add {device} to md127");
            let failure = match loss.kernel {
                Kernel::HasStarted if survives => None,
                Kernel::Refuses => Some(Failure::Member { device: device.clone(), what, errno: 6 }),
                Kernel::FindsNothing => Some(Failure::Gone),
                Kernel::CannotStart | Kernel::HasStarted => {
                    Some(Failure::Os { what: "start md127".into(), errno: 5 })
                }
            };
            if let Some(failure) = failure {
                self.soon(Event::Failed(id, failure));
                return;
            }
            request.members.retain(|member| member.device != device);
        }
        for member in &request.members {
            assert!(self.used.insert(member.device.0.clone()), "{} is in two arrays", member.device);
        }
        // Numbers go by the order of starting; here they must not tell one order from another.
        let minor = 127 - u32::from(best.uuid[0]);
        let name = format!("md{minor}");
        self.arrays.push((name.clone(), request));
        let facts = self.facts(&name);
        self.soon(Event::Done(id, Outcome::Made { major: 9, minor }));
        self.soon(Event::Device(DevName(name), facts));
    }

    /// The disk that is pulled out while these are put together.
    fn first_loss(&self, request: &ArrayRequest) -> Option<(&'a Part, &'a Loss)> {
        let part = |name: &str| self.world.parts.iter().find(|part| part.disk == name);
        request
            .members
            .iter()
            .filter_map(|member| part(&member.device.0))
            .filter(|part| !self.lost.contains(&part.disk))
            .find_map(|part| Some((part, part.loss.as_ref()?)))
    }

    fn facts(&self, name: &str) -> DeviceFacts {
        let (_, request) = self.arrays.iter().find(|(array, _)| array == name).expect("an array");
        DeviceFacts {
            major: 9,
            minor: name.trim_start_matches("md").parse().expect("a number"),
            size: 1 << 30,
            md: Some(MdFacts { path: request.path.clone().unwrap_or_default(), ..MdFacts::default() }),
            slaves: request.members.iter().map(|member| member.device.clone()).collect(),
            ..DeviceFacts::default()
        }
    }
}

fn disk(part: &Part) -> Event {
    let number = u32::from(part.disk.as_bytes()[2]);
    let facts = DeviceFacts {
        major: 8,
        minor: number,
        size: 1 << 30,
        diskseq: number.into(),
        ..DeviceFacts::default()
    };
    Event::Device(DevName(part.disk.clone()), facts)
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
        arrays: Vec::new(),
        used: BTreeSet::new(),
        lost: BTreeSet::new(),
        mounted: None,
        last_arrival: 0,
    };
    let image = ImageFacts { hostname: "box".into(), ..ImageFacts::default() };
    let mut engine = Engine::new(plan.clone(), image);
    for part in &world.parts {
        if let Some(arrival) = part.arrival.filter(|arrival| *arrival > 0) {
            let jitter = machine.rng.below(500);
            machine.at(arrival + jitter, disk(part));
        }
    }
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
                // sysfs is read when the event is looked at.
                match event {
                    Event::Device(name, _) if name.0.starts_with("md") => {
                        let facts = machine.facts(&name.0);
                        Event::Device(name, facts)
                    }
                    other => other,
                }
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
        if let Some(members) = machine.mounted.take() {
            return End::Root(members);
        }
        if engine.stopped().is_some() {
            break;
        }
        assert!(machine.now < 10_000_000, "it neither ends nor stops");
    }
    let explanation = engine.explain(Moment(machine.now));
    // Device nodes come in the order of their names, and what was left out is part of them.
    End::Stopped(engine.stopped().cloned(), explanation.to_string().lines().map(str::to_owned).collect())
}

#[test]
fn every_order_ends_alike() {
    let seeds =
        std::env::var("ROOTWARD_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300_u64);
    let (mut roots, mut stops) = (0, 0);
    for seed in 0..seeds {
        let mut rng = Rng::new(seed, 1);
        let world = World::invent(&mut rng);
        let mut plan = Plan::default();
        plan.root.spec = Some(RootSpec::Uuid("root".into()));
        plan.auto = *rng.pick(&[None, Some(true)]);
        plan.patience = Patience::Quiet(std::time::Duration::from_secs(60));
        plan.degraded = rng.percent(85).then_some(std::time::Duration::from_millis(GRACE));
        let first = play(&world, &plan, seed << 8);
        match &first {
            End::Root(_) => roots += 1,
            End::Stopped(reason, text) => {
                assert!(reason.is_some(), "seed {seed}: neither root nor stop");
                assert!(text.len() > 2, "seed {seed}: no explanation");
                stops += 1;
            }
        }
        for schedule in 1..5 {
            let other = play(&world, &plan, seed << 8 | schedule);
            assert_eq!(strip(&other), strip(&first), "seed {seed}, schedule {schedule}: {world:#?} {plan:?}");
        }
    }
    assert!(
        seeds < 100 || (roots > 20 && stops > 20),
        "{roots} roots, {stops} stops: the worlds are too much alike"
    );
}

/// Spares that come late are added afterwards; remarks that tell of seconds are left out.
fn strip(end: &End) -> End {
    match end {
        End::Root(members) => End::Root(members.clone()),
        End::Stopped(reason, text) => {
            End::Stopped(reason.clone(), text.iter().filter(|line| !line.contains(" s")).cloned().collect())
        }
    }
}
