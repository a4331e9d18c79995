//! Random disks behind several paths, which come in any order, late, and are lost again: a path is nobody's but
//! multipath's, and every order must lead to the same root, or to the same stop.
//!
//! Not promised, and not tried: with `find_multipaths on` or `smart` a second path that comes late may be too late.
//!
//! `ROOTWARD_SIM_SEEDS` says how many worlds are tried, `ROOTWARD_SIM_SEED` which one to replay.

#[path = "sim/kernel.rs"]
#[allow(dead_code, reason = "some of it is for worlds of other kinds")]
mod kernel;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/tables.rs"]
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cmdline::Plan;
use cmdline::multipath::Config;
use cmdline::plan::{Patience, RootSpec};
use engine::{Action, Command, DmDevice, Engine, ImageFacts, ScsiFacts};
use kernel::{Disk, End, Kernel, Timing, World};
use ondisk::lvm::{LogicalVolume, PhysicalVolume, PvEntry, Section, Segment, Value, VolumeGroup};
use ondisk::{Content, Kind, Member, Partition, PartitionTable, Signature};
use rng::Rng;

/// First sector and length of the one partition.
const START: u64 = 2048;
const LENGTH: u64 = 1 << 20;
/// `PARTUUID` of root's partition.
const PARTITION: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// Values of `find_multipaths`; most images have the first.
const FINDS: [&str; 5] = ["strict", "strict", "on", "smart", "greedy"];

/// How the content lies on a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Partition,
    /// On a volume whose PV is the partition.
    Volume,
    /// In a container on the partition.
    Container,
}

/// Something that is seen through its paths.
#[derive(Debug, Clone)]
struct Unit {
    wwid: String,
    /// Indices of its paths among the disks.
    paths: Vec<usize>,
    form: Form,
    known: bool,
    blacklisted: bool,
}

#[derive(Debug, Clone)]
struct Paths {
    disks: Vec<Disk>,
    units: Vec<Unit>,
    /// What multipath.conf says of `find_multipaths`.
    find: &'static str,
    /// And of `no_path_retry`.
    retry: &'static str,
    /// Which unit holds root.
    root: usize,
    contents: BTreeMap<String, Content>,
    config: Box<Config>,
}

/// What a broken engine might do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Takes no disk for a path.
    ClaimsNothing,
    /// Reads what it has claimed.
    ReadsPaths,
    /// Mounts the path below.
    MountsPath,
    /// Makes a map of paths to two units.
    MixesUnits,
    MakesTwice,
}

fn content(kind: Kind, uuid: &str) -> Content {
    let mut signature = Signature::new(kind);
    signature.uuid = Some(uuid.to_owned());
    Content { signatures: vec![signature], ..Content::default() }
}

fn identifier(text: &str) -> String {
    format!("{text:x>32}")
}

impl Paths {
    fn invent(rng: &mut Rng) -> Paths {
        let mut world = Paths {
            disks: Vec::new(),
            units: Vec::new(),
            find: FINDS[rng.index(FINDS.len())],
            retry: "fail",
            root: 0,
            contents: BTreeMap::new(),
            config: Box::default(),
        };
        for number in 0..rng.between(1, 3) as usize {
            world.add_unit(rng, number);
        }
        world.root = rng.index(world.units.len());
        if rng.percent(30) {
            let name = format!("vd{}", char::from(b'a' + rng.below(3) as u8));
            world.disks.push(Disk { store: name.clone(), name, arrival: Some(0), ..Disk::default() });
        }
        world.retry = *rng.pick(&["fail", "1", "queue"]);
        world.write();
        world.config = Box::new(world.read_config());
        world
    }

    fn add_unit(&mut self, rng: &mut Rng, number: usize) {
        let form = *rng.pick(&[Form::Whole, Form::Partition, Form::Partition, Form::Volume, Form::Container]);
        let mut unit = Unit {
            wwid: format!("3600140500000000000000000000000{number}"),
            paths: Vec::new(),
            form,
            known: rng.percent(70),
            blacklisted: rng.percent(10),
        };
        let count = *rng.pick(&[1, 2, 2, 3, 4]);
        // At least one path is there for good.
        let sure = rng.below(count);
        let may_lose = !unit.blacklisted && (unit.known || self.find == "greedy");
        for path in 0..count {
            let disk = self.disks.len();
            let name = format!("sd{}", char::from(b'a' + disk as u8));
            let arrival = match rng.below(8) {
                _ if path == sure => Some(0),
                0 if may_lose => Some(rng.between(20, 6_000)),
                1 => None,
                _ => Some(0),
            };
            let lost = (path != sure && may_lose && arrival == Some(0) && rng.percent(20))
                .then(|| rng.between(1, 4_000));
            let asymmetric = rng.percent(40);
            let scsi = ScsiFacts {
                wwid: unit.wwid.clone(),
                vendor: "QEMU".into(),
                product: "QEMU HARDDISK".into(),
                place: format!("devices/host{path}/{number}"),
                protocol: "scsi:unspec".into(),
                running: !rng.percent(10),
                alua: asymmetric,
                access: asymmetric.then(|| "active/optimized".to_owned()),
                ..ScsiFacts::default()
            };
            let partitions = if form == Form::Whole { Vec::new() } else { vec![(1, START, LENGTH)] };
            let store = format!("unit{number}");
            self.disks.push(Disk { name, store, partitions, scsi: Some(scsi), arrival, lost });
            unit.paths.push(disk);
        }
        self.units.push(unit);
    }

    fn write(&mut self) {
        for (number, unit) in self.units.iter().enumerate() {
            let uuid = if number == self.root { "root".to_owned() } else { format!("other{number}") };
            let root = content(Kind::Ext4, &uuid);
            if unit.form == Form::Whole {
                self.contents.insert(format!("unit{number}+0"), root);
                continue;
            }
            let partition = Partition {
                number: 1,
                start: START * 512,
                length: LENGTH * 512,
                uuid: if number == self.root { PARTITION.to_owned() } else { format!("part{number}") },
                name: None,
                kind: String::new(),
                flags: 0,
            };
            let table =
                PartitionTable { gpt: true, uuid: String::new(), partitions: vec![partition], doubt: None };
            let whole = Content { table: Some(table), ..Content::default() };
            self.contents.insert(format!("unit{number}+0"), whole);
            let inside = match unit.form {
                Form::Container => {
                    self.contents.insert(self.place_of(number), root);
                    content(Kind::Luks2, &format!("container{number}"))
                }
                Form::Volume => {
                    self.contents.insert(self.place_of(number), root);
                    volume_group(number)
                }
                _ => root,
            };
            self.contents.insert(format!("unit{number}+{START}"), inside);
        }
    }

    /// Where the file system of a unit lies.
    fn place_of(&self, unit: usize) -> String {
        match self.units[unit].form {
            Form::Whole => format!("unit{unit}+0"),
            Form::Partition => format!("unit{unit}+{START}"),
            Form::Volume => format!("unit{unit}+{}", START + 2048),
            Form::Container => format!("crypt+0 in unit{unit}+{START}"),
        }
    }

    fn read_config(&self) -> Config {
        let mut text =
            format!("defaults {{\n find_multipaths {}\n no_path_retry {}\n}}\n", self.find, self.retry);
        for unit in self.units.iter().filter(|unit| unit.blacklisted) {
            text.push_str(&format!("blacklist {{\n wwid {}\n}}\n", unit.wwid));
        }
        let mut config = Config::read([text.as_str()]).0;
        config.known = self.units.iter().filter(|unit| unit.known).map(|unit| unit.wwid.clone()).collect();
        config
    }

    fn there(&self, unit: &Unit) -> usize {
        unit.paths.iter().filter(|path| self.disks[**path].arrival == Some(0)).count()
    }

    /// Whether the unit's paths are multipath's alone.
    fn is_multipath(&self, unit: &Unit) -> bool {
        let found = match self.find {
            "greedy" => true,
            "on" | "smart" => self.there(unit) > 1,
            _ => false,
        };
        !unit.blacklisted && (unit.known || found)
    }

    /// The unit that a disk, or its partition, is a path to.
    fn unit_of(&self, name: &str) -> Option<&Unit> {
        let whole = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let disk = self.disks.iter().position(|disk| disk.name == whole)?;
        self.units.iter().find(|unit| unit.paths.contains(&disk))
    }
}

/// A PV with one volume.
fn volume_group(number: usize) -> Content {
    let place = vec![Value::Text("pv0".into()), Value::Number(0)];
    let config = vec![("stripe_count".into(), Value::Number(1)), ("stripes".into(), Value::List(place))];
    let status = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let segment =
        Segment { extent_count: 1, kind: "striped".into(), config: Section(config), ..Segment::default() };
    let lv = LogicalVolume {
        name: "lv".into(),
        id: identifier("lv"),
        status: status(&["READ", "WRITE", "VISIBLE"]),
        segments: vec![segment],
        ..LogicalVolume::default()
    };
    let id = identifier(&format!("pv{number}"));
    let entry =
        PvEntry { name: "pv0".into(), id: id.clone(), pe_start: 2048, pe_count: 9, ..PvEntry::default() };
    let vg = VolumeGroup {
        name: format!("vg{number}"),
        id: identifier(&format!("group{number}")),
        seqno: 1,
        status: status(&["READ", "WRITE"]),
        extent_size: 8192,
        pvs: vec![entry],
        lvs: vec![lv],
        ..VolumeGroup::default()
    };
    let label = PhysicalVolume {
        id: id.clone(),
        device_size: LENGTH * 512,
        data_areas: Vec::new(),
        metadata_areas: Vec::new(),
        vg: Some(vg),
        doubts: Vec::new(),
    };
    Content { member: Some(Box::new(Member::Lvm(label))), ..content(Kind::Lvm2Pv, &id) }
}

impl World for Paths {
    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn content(&self, place: &str) -> Content {
        self.contents.get(place).cloned().unwrap_or_default()
    }
}

fn plan(rng: &mut Rng, world: &Paths) -> Plan {
    let mut plan = Plan::default();
    let unit = &world.units[world.root];
    plan.root.spec = Some(match unit.form {
        Form::Partition if rng.percent(40) => RootSpec::PartUuid { uuid: PARTITION.into(), offset: 0 },
        Form::Volume if rng.percent(40) => RootSpec::Path(format!("/dev/vg{}/lv", world.root)),
        _ => RootSpec::Uuid("root".into()),
    });
    plan.auto = *rng.pick(&[None, None, Some(true)]);
    plan.patience = Patience::Quiet(Duration::from_secs(60));
    plan
}

/// What must hold for every use of a device.
fn check(world: &Paths, kernel: &Kernel<'_>, action: &Action) -> Result<(), String> {
    let free = |name: &str| match world.unit_of(name) {
        Some(unit) if world.is_multipath(unit) => Err(format!("{name} is a path, and is used: {action:?}")),
        _ => Ok(()),
    };
    match action {
        Action::Identify(name) | Action::OpenCrypt { device: name, .. } => free(&name.0),
        Action::Mount(request) => free(&request.device.0),
        Action::CreateDm(device) | Action::ReloadDm(device) if device.uuid.starts_with("mpath-") => {
            check_map(world, kernel, device)
        }
        Action::CreateDm(device) => {
            let below = tables::uses(device);
            below.into_iter().filter_map(|number| kernel.name_of(number)).try_for_each(|name| free(name))
        }
        _ => Ok(()),
    }
}

/// A map holds paths to one unit, each once, and all that were there from the beginning.
fn check_map(world: &Paths, kernel: &Kernel<'_>, map: &DmDevice) -> Result<(), String> {
    let wwid = map.uuid.trim_start_matches("mpath-");
    let unit = world.units.iter().find(|unit| unit.wwid == wwid).ok_or("a map of nothing")?;
    if !world.is_multipath(unit) {
        return Err(format!("{wwid} is not multipath's"));
    }
    let mut used = BTreeSet::new();
    for name in tables::uses(map).into_iter().filter_map(|number| kernel.name_of(number)) {
        used.insert(name.clone());
        if world.unit_of(name).is_none_or(|other| other.wwid != wwid) || name.ends_with('1') {
            return Err(format!("{name} is no path to {wwid}"));
        }
    }
    for disk in unit.paths.iter().map(|path| &world.disks[*path]) {
        if disk.arrival == Some(0) && disk.lost.is_none() && !used.contains(&disk.name) {
            return Err(format!("{} is left out: {map:?}", disk.name));
        }
    }
    Ok(())
}

fn play(world: &Paths, plan: &Plan, seed: u64, fault: Fault, talk: bool) -> Result<End, String> {
    let mut rng = Rng::new(seed, 7);
    let timing = Timing::invent(&mut rng);
    let mut kernel = Kernel::new(world, rng, timing);
    kernel.log = talk.then(Vec::new);
    let config = (fault != Fault::ClaimsNothing).then(|| world.config.clone());
    let image = ImageFacts { kernel: (6, 12), multipath: config, ..ImageFacts::default() };
    let mut engine = Engine::new(plan.clone(), image);
    let mut watch = |kernel: &Kernel<'_>, _: &Engine, command: Command| {
        let commands = bend(world, fault, command);
        commands.iter().try_for_each(|command| check(world, kernel, &command.action))?;
        Ok(commands)
    };
    let end = kernel::boot(&mut kernel, &mut engine, &mut watch);
    if let Some(log) = &kernel.log {
        println!("--- order {}\n{}", seed & 0xff, log.join("\n"));
    }
    end.and_then(|end| verdict(world, &kernel, &end).map(|()| end))
}

fn bend(world: &Paths, fault: Fault, mut command: Command) -> Vec<Command> {
    let copy = command.clone();
    match (fault, &mut command.action) {
        (Fault::ReadsPaths, Action::Identify(name)) => name.0.clone_from(&world.disks[0].name),
        (Fault::MountsPath, Action::Mount(request)) => {
            request.device.0.clone_from(&world.disks[world.units[world.root].paths[0]].name);
        }
        (Fault::MixesUnits, Action::CreateDm(device)) if device.uuid.starts_with("mpath-") => {
            device.targets[0].params.push_str(" 8:0 1 8:16 1 8:32 1 8:48 1");
        }
        (Fault::MakesTwice, Action::CreateDm(_)) => return vec![copy, command],
        _ => {}
    }
    vec![command]
}

/// Every world has a way to its root: one path at least is there for good. Only LVM does not take one of several paths.
fn verdict(world: &Paths, kernel: &Kernel<'_>, end: &End) -> Result<(), String> {
    let right = world.place_of(world.root);
    let unit = &world.units[world.root];
    let ambiguous = unit.form == Form::Volume && world.there(unit) > 1 && !world.is_multipath(unit);
    match end {
        End::Root(_) if ambiguous => Err("a volume on one of several paths".into()),
        End::Stopped(..) if ambiguous => Ok(()),
        End::Stopped(reason, text) => Err(format!("{reason:?} although root can be had: {text:#?}")),
        End::Root(place) if *place != right => Err(format!("a wrong root: {place} instead of {right}")),
        End::Root(_) => {
            let mapped = kernel.mappings().any(|device| device.uuid == format!("mpath-{}", unit.wwid));
            if mapped == world.is_multipath(unit) { Ok(()) } else { Err(format!("mapped: {mapped}")) }
        }
    }
}

fn make(seed: u64) -> (Paths, Plan) {
    let mut rng = Rng::new(seed, 1);
    let world = Paths::invent(&mut rng);
    let plan = plan(&mut rng, &world);
    (world, plan)
}

fn all_orders(seed: u64, fault: Fault) -> Result<(), String> {
    let (world, plan) = make(seed);
    for schedule in 0..5 {
        let end = play(&world, &plan, seed << 8 | schedule, fault, false);
        end.map_err(|what| format!("order {schedule}: {what}"))?;
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_order_ends_alike() {
    let seeds = number("ROOTWARD_SIM_SEEDS").unwrap_or(200);
    let failures: Vec<(u64, String)> =
        (0..seeds).filter_map(|seed| Some((seed, all_orders(seed, Fault::None).err()?))).collect();
    for (seed, what) in failures.iter().take(10) {
        println!(
            "seed {seed}: {what}\n  ROOTWARD_SIM_SEED={seed} cargo test -p rootward-engine --test paths -- --nocapture replay"
        );
    }
    assert!(failures.is_empty(), "{} of {seeds} worlds failed", failures.len());
}

#[test]
fn replay() {
    let Some(seed) = number("ROOTWARD_SIM_SEED") else { return };
    let (world, plan) = make(seed);
    println!("{world:#?}\n{plan:?}");
    for schedule in 0..5 {
        let end = play(&world, &plan, seed << 8 | schedule, Fault::None, true);
        println!("=> {end:?}");
    }
}

/// A checker that cannot fail proves nothing: each fault must be noticed within a few hundred worlds.
#[test]
fn faults_are_noticed() {
    for fault in
        [Fault::ClaimsNothing, Fault::ReadsPaths, Fault::MountsPath, Fault::MixesUnits, Fault::MakesTwice]
    {
        let noticed = (0..300).find(|seed| all_orders(*seed, fault).is_err());
        assert!(noticed.is_some(), "{fault:?} was not noticed");
    }
}
