//! Random roots under dm-verity whose devices come in any order: what is mounted was verified against the root hash of the
//! command line, and every order ends alike.
//!
//! `ROOTWARD_SIM_SEEDS` says how many worlds are tried, `ROOTWARD_SIM_SEED` which one to replay.

#[path = "sim/kernel.rs"]
#[allow(dead_code, reason = "some of it is for worlds of other kinds")]
mod kernel;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/tables.rs"]
mod tables;

use std::collections::BTreeMap;

use cmdline::Plan;
use engine::{Action, Command, Engine, ImageFacts};
use kernel::{Disk, End, Kernel, Timing, World};
use ondisk::{Content, Kind, Member, Partition, PartitionTable, Signature, verity};
use rng::Rng;

/// The root hash, and the partitions that it names.
const HASH: &str = "36e3f740ad502e2c25e2a23d9c7c17bf0fdad2300b7580842d4b7ec1fb0fa263";
const DATA_PART: &str = "36e3f740-ad50-2e2c-25e2-a23d9c7c17bf";
const HASH_PART: &str = "0fdad230-0b75-8084-2d4b-7ec1fb0fa263";
/// Sectors of a partition, and before the first one.
const LENGTH: u64 = 1 << 20;

/// Where data and hashes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Partitions of one disk, named by the halves of the root hash.
    Halves,
    /// The same on two disks.
    TwoDisks,
    /// Disks that the command line names.
    Named,
    /// The hashes come after the data.
    Together,
}

/// What the hashes are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Right,
    /// They have another root hash, and say so.
    Foreign,
    /// What is read is not what was hashed.
    Corrupt,
}

#[derive(Debug, Clone)]
struct Volume {
    disks: Vec<Disk>,
    form: Form,
    truth: Truth,
    root: &'static str,
    contents: BTreeMap<String, Content>,
    data: String,
}

/// What a broken engine might do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Forgets the root hash.
    Unverified,
    /// Verifies against the hash that it finds.
    WrongHash,
    MountsData,
}

fn content(kind: Kind, uuid: &str) -> Content {
    let mut signature = Signature::new(kind);
    signature.uuid = Some(uuid.to_owned());
    Content { signatures: vec![signature], ..Content::default() }
}

fn gpt(uuids: &[&str]) -> Content {
    let partitions = (1..).zip(uuids).map(|(number, uuid)| Partition {
        number,
        start: u64::from(number) * LENGTH * 512,
        length: LENGTH * 512,
        uuid: (*uuid).to_owned(),
        name: None,
        kind: String::new(),
        flags: 0,
    });
    let table =
        PartitionTable { gpt: true, uuid: String::new(), partitions: partitions.collect(), doubt: None };
    Content { table: Some(table), ..Content::default() }
}

impl Volume {
    fn invent(rng: &mut Rng) -> Volume {
        let form = *rng.pick(&[Form::Halves, Form::TwoDisks, Form::Named, Form::Together]);
        let mut world = Volume {
            disks: Vec::new(),
            form,
            truth: *rng.pick(&[Truth::Right, Truth::Right, Truth::Foreign, Truth::Corrupt]),
            root: ROOTS[rng.index(ROOTS.len())],
            contents: BTreeMap::new(),
            data: String::new(),
        };
        let (parts, count): (&[&[&str]], _) = match form {
            Form::Halves => (&[&[DATA_PART, HASH_PART]], 1),
            Form::TwoDisks => (&[&[DATA_PART], &[HASH_PART]], 2),
            Form::Named => (&[&[], &[]], 2),
            Form::Together => (&[&[]], 1),
        };
        let mut places = Vec::new();
        for (number, parts) in parts.iter().enumerate().take(count) {
            let name = format!("sd{}", char::from(b'a' + number as u8));
            let arrival = match rng.below(8) {
                0 => None,
                1 | 2 => Some(rng.between(20, 8_000)),
                _ => Some(0),
            };
            let partitions: Vec<_> =
                (1..).zip(*parts).map(|(part, _)| (part, u64::from(part) * LENGTH, LENGTH)).collect();
            if parts.is_empty() {
                places.push(format!("{name}+0"));
            } else {
                world.contents.insert(format!("{name}+0"), gpt(parts));
                places.extend(partitions.iter().map(|(_, start, _)| format!("{name}+{start}")));
            }
            world.disks.push(Disk { store: name.clone(), name, partitions, arrival, ..Disk::default() });
        }
        world.contents.insert(places[0].clone(), content(Kind::Ext4, "root"));
        let superblock = verity::Superblock {
            format: 1,
            uuid: Some("c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701".into()),
            algorithm: "sha256".into(),
            data_block: 4096,
            hash_block: 4096,
            data_blocks: 1000,
            salt: "aabb".into(),
            root: Some(if world.truth == Truth::Foreign { "00".repeat(32) } else { HASH.into() }),
        };
        let member = Some(Box::new(Member::Verity(superblock)));
        if let Some(hashes) = places.get(1) {
            let hashes_content = Content { member, ..content(Kind::DmVerity, "hashes") };
            world.contents.insert(hashes.clone(), hashes_content);
        } else if let Some(data) = world.contents.get_mut(&places[0]) {
            // Not at the beginning, but here nobody looks at offsets.
            data.member = member;
        }
        world.data = places.swap_remove(0);
        world
    }

    fn plan(&self) -> Plan {
        let mut words = format!("roothash={HASH} rd.retry=60 {}", self.root);
        match self.form {
            Form::Halves | Form::TwoDisks => {}
            Form::Named => words.push_str(" systemd.verity_root_data=UUID=root systemd.verity_root_hash=UUID=hashes"),
            Form::Together => words.push_str(
                " systemd.verity_root_data=UUID=root systemd.verity_root_hash=UUID=root systemd.verity_root_options=hash-offset=4096000",
            ),
        }
        let sources = cmdline::Sources { kernel: words, ..cmdline::Sources::default() };
        let (plan, remarks) = cmdline::parse(&sources);
        assert!(remarks.is_empty(), "{remarks:?}");
        plan
    }

    /// Where the verified root is.
    fn verified(&self) -> String {
        format!("verity 1 4096 4096 1000 {} sha256 {HASH} aabb+0 in {}", self.first_hash_block(), self.data)
    }

    fn first_hash_block(&self) -> u32 {
        if self.form == Form::Together { 1001 } else { 1 }
    }
}

/// How root is named besides the root hash.
const ROOTS: [&str; 5] = ["", "root=gpt-auto", "root=/dev/mapper/root", "root=UUID=root", "root=/dev/sda"];

impl World for Volume {
    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn content(&self, place: &str) -> Content {
        let verified = place == self.verified();
        self.contents.get(if verified { self.data.as_str() } else { place }).cloned().unwrap_or_default()
    }

    fn is_readable(&self, place: &str) -> bool {
        !place.starts_with("verity") || place == self.verified() && self.truth == Truth::Right
    }
}

fn check(world: &Volume, kernel: &Kernel<'_>, action: &Action) -> Result<(), String> {
    match action {
        Action::Mount(request) => match kernel.place(&request.device.0, 0) {
            Some(place) if place == world.verified() => Ok(()),
            place => Err(format!("{place:?} is mounted, which is not verified")),
        },
        Action::CreateDm(device) if !device.read_only => Err(format!("{} is writable", device.name)),
        _ => Ok(()),
    }
}

fn play(world: &Volume, plan: &Plan, seed: u64, fault: Fault, talk: bool) -> Result<End, String> {
    let mut rng = Rng::new(seed, 7);
    let timing = Timing::invent(&mut rng);
    let mut kernel = Kernel::new(world, rng, timing);
    kernel.log = talk.then(Vec::new);
    let mut given = plan.clone();
    if fault == Fault::Unverified {
        given.verity.enabled = false;
    }
    let mut engine = Engine::new(given, ImageFacts { kernel: (6, 12), ..ImageFacts::default() });
    let mut watch = |kernel: &Kernel<'_>, _: &Engine, mut command: Command| {
        match (fault, &mut command.action) {
            (Fault::WrongHash, Action::CreateDm(device)) => {
                device.targets[0].params = device.targets[0].params.replace(HASH, &"00".repeat(32));
            }
            (Fault::MountsData, Action::Mount(request)) => request.device.0 = "sda".into(),
            _ => {}
        }
        check(world, kernel, &command.action)?;
        Ok(vec![command])
    };
    let end = kernel::boot(&mut kernel, &mut engine, &mut watch);
    if let Some(log) = &kernel.log {
        println!("--- order {}\n{}", seed & 0xff, log.join("\n"));
    }
    end.and_then(|end| verdict(world, &end).map(|()| end))
}

fn verdict(world: &Volume, end: &End) -> Result<(), String> {
    let there = world.disks.iter().all(|disk| disk.arrival.is_some());
    // Who names the data device gets an explanation, not the data.
    let due = there && world.truth == Truth::Right && world.root != "root=/dev/sda";
    match end {
        End::Root(_) if !due => Err("a root that cannot be had".into()),
        End::Stopped(reason, text) if due => Err(format!("{reason:?} although root can be had: {text:#?}")),
        _ => Ok(()),
    }
}

fn all_orders(seed: u64, fault: Fault) -> Result<End, String> {
    let world = Volume::invent(&mut Rng::new(seed, 1));
    let plan = world.plan();
    let kind = |end: &End| match end {
        End::Root(place) => place.clone(),
        End::Stopped(reason, _) => format!("{reason:?}"),
    };
    let first = play(&world, &plan, seed << 8, fault, false)?;
    for schedule in 1..5 {
        let other = play(&world, &plan, seed << 8 | schedule, fault, false)
            .map_err(|what| format!("order {schedule}: {what}"))?;
        if kind(&other) != kind(&first) {
            return Err(format!("order {schedule}: {other:?} instead of {first:?}"));
        }
    }
    Ok(first)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_order_ends_alike() {
    let seeds = number("ROOTWARD_SIM_SEEDS").unwrap_or(300);
    let failures: Vec<(u64, String)> =
        (0..seeds).filter_map(|seed| Some((seed, all_orders(seed, Fault::None).err()?))).collect();
    for (seed, what) in failures.iter().take(10) {
        println!(
            "seed {seed}: {what}\n  ROOTWARD_SIM_SEED={seed} cargo test -p rootward-engine --test verity_worlds -- --nocapture replay"
        );
    }
    assert!(failures.is_empty(), "{} of {seeds} worlds failed", failures.len());
}

#[test]
fn replay() {
    let Some(seed) = number("ROOTWARD_SIM_SEED") else { return };
    let world = Volume::invent(&mut Rng::new(seed, 1));
    println!("{world:#?}");
    for schedule in 0..5 {
        let end = play(&world, &world.plan(), seed << 8 | schedule, Fault::None, true);
        println!("=> {end:?}");
    }
}

/// A checker that cannot fail proves nothing: each fault must be noticed within a few hundred worlds.
#[test]
fn faults_are_noticed() {
    for fault in [Fault::Unverified, Fault::WrongHash, Fault::MountsData] {
        let noticed = (0..300).find(|seed| all_orders(*seed, fault).is_err());
        assert!(noticed.is_some(), "{fault:?} was not noticed");
    }
}
