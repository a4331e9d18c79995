//! Random machines boot under random orders and delays of events; every promise of the engine is checked.
//!
//! `ROOTWARD_SIM_SEEDS` says how many seeds, `ROOTWARD_SIM_SEED` which one to replay. What is *not* promised to be the
//! same under every order of events, and therefore not compared:
//! - which of several devices with different content that `root=` names alike becomes root (the first one does);
//! - which of several copies of a container is opened (the first one is);
//! - what depends on a limit of time: `rd.timeout`, short `rd.retry`, `rd.luks.timeout`, a disk that comes after
//!   everything else has failed;
//! - which container the passphrases were wrong for, when the limit of tries is near.
//!
//! In all these cases the end must still be one that the truth allows.

mod sim;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cmdline::Plan;
use sim::oracle::{self, Expected};
use sim::rng::Rng;
use sim::run::{self, End, Fault};
use sim::wish;
use sim::world::World;

const SEEDS: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn make(seed: u64) -> (World, Plan, Expected) {
    let world = World::invent(&mut Rng::new(seed, 1));
    let plan = wish::invent(&mut Rng::new(seed, 2), &world);
    let expected = oracle::judge(&world, &plan);
    (world, plan, expected)
}

fn check(seed: u64, fault: Fault) -> Result<End, String> {
    let (world, plan, expected) = make(seed);
    let one = |schedule| -> Result<End, String> {
        let boot = run::boot(&world, &plan, seed, schedule, fault, false).map_err(|(what, _)| what)?;
        run::verdict(&expected, &plan, &boot.end)?;
        Ok(boot.end)
    };
    let (first, second) = (one(0)?, one(1)?);
    if expected.strict && first != second {
        return Err(format!("the same facts in another order: {first:?}, then {second:?}"));
    }
    Ok(first)
}

#[test]
fn seeds() {
    let seeds = number("ROOTWARD_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let [reached, stopped, waiting, strict, due] = [const { AtomicU64::new(0) }; 5];
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let expected = make(seed).2;
                    strict.fetch_add(u64::from(expected.strict), Ordering::Relaxed);
                    due.fetch_add(u64::from(expected.must_reach), Ordering::Relaxed);
                    match check(seed, Fault::None) {
                        Ok(End::Root(_)) => reached.fetch_add(1, Ordering::Relaxed),
                        Ok(End::Stopped(_)) => stopped.fetch_add(1, Ordering::Relaxed),
                        Ok(_) => waiting.fetch_add(1, Ordering::Relaxed),
                        Err(what) => {
                            failures.lock().expect("the list").push((seed, what));
                            0
                        }
                    };
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("the list");
    failures.sort();
    println!(
        "{seeds} seeds, {} worlds reached root, {} stopped, {} asked or waited for ever; {} had to \
         reach it, {} had to end alike in both orders",
        reached.into_inner(),
        stopped.into_inner(),
        waiting.into_inner(),
        due.into_inner(),
        strict.into_inner()
    );
    for (seed, what) in failures.iter().take(10) {
        println!(
            "seed {seed}: {what}\n  ROOTWARD_SIM_SEED={seed} cargo test -p rootward-engine --test simulation -- --nocapture replay"
        );
    }
    assert!(failures.is_empty(), "{} of {seeds} seeds failed", failures.len());
}

#[test]
fn replay() {
    let Some(seed) = number("ROOTWARD_SIM_SEED") else { return };
    let (world, plan, expected) = make(seed);
    println!("{}\n{plan:?}\n{expected:?}", world.describe());
    for schedule in 0..2 {
        match run::boot(&world, &plan, seed, schedule, Fault::None, true) {
            Ok(boot) => {
                println!("--- order {schedule}\n{}\n=> {:?}", boot.log.join("\n"), boot.end);
                println!("{:?}", run::verdict(&expected, &plan, &boot.end));
            }
            Err((what, log)) => println!("--- order {schedule}\n{}\n=> {what}", log.join("\n")),
        }
    }
}

/// A checker that cannot fail proves nothing: each fault must be noticed within a few hundred worlds.
#[test]
fn faults_are_noticed() {
    for fault in [
        Fault::OpensTwice,
        Fault::MountsAnother,
        Fault::TalksAfterTheEnd,
        Fault::AlwaysRescues,
        Fault::NoRemedies,
        Fault::StrangeDevice,
        Fault::LosesTyped,
        Fault::OpensEverything,
    ] {
        let noticed = (0..600).find(|seed| check(*seed, fault).is_err());
        assert!(noticed.is_some(), "{fault:?} was not noticed");
    }
}
