//! The queue against hand-made trees and against random ones with any number of workers.

use std::collections::{BTreeMap, BTreeSet};

use cmdline::plan::ModulePlan;
use proptest::prelude::*;

use super::{Class, Job, LoadQueue, Reason, State, Status, Why, testing};

fn queue(deps: &[&str], aliases: &[(&str, &str)], conf: &str, plan: &ModulePlan) -> LoadQueue {
    // The size of a module is the number in its name.
    let size =
        |path: &str| path.bytes().filter(u8::is_ascii_digit).fold(0, |n, b| n * 10 + u64::from(b - b'0'));
    LoadQueue::new(testing::catalog(deps, aliases, conf, plan), plan, Box::new(size))
}

/// Runs one worker until nothing is left; modules in `bad` fail.
fn drain(queue: &mut LoadQueue, bad: &[(&str, i32)]) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(job) = queue.next() {
        let result = bad.iter().find(|(name, _)| *name == job.name).map_or(Ok(()), |(_, errno)| Err(*errno));
        queue.finished(&job.name, result);
        order.push(job.name);
    }
    assert!(queue.is_idle());
    order
}

fn device(name: &str) -> Why {
    Why::Device(format!("/devices/{name}"))
}

#[test]
fn dependencies_then_dependants_and_independent_ones_at_once() {
    let deps = ["fs/ext4: fs/jbd2 fs/mbcache", "fs/jbd2:", "fs/mbcache:"];
    let mut q = queue(&deps, &[], "", &ModulePlan::default());
    assert_eq!(q.request("ext4", Why::Explicit), Status::Pending);
    let first = q.next().unwrap();
    let second = q.next().unwrap();
    assert_eq!(q.next(), None);
    assert_eq!(q.running(), 2);
    assert_eq!(BTreeSet::from([&*first.name, &*second.name]), BTreeSet::from(["jbd2", "mbcache"]));
    q.finished(&first.name, Ok(()));
    assert_eq!(q.next(), None);
    q.finished(&second.name, Err(17));
    assert_eq!(q.next().unwrap().name, "ext4");
    assert_eq!(q.status("ext4"), Status::Pending);
    q.finished("ext4", Ok(()));
    assert_eq!(q.status("ext4"), Status::Ready);
    assert!(q.is_idle());
}

#[test]
fn explicit_first_then_the_cheapest_way_to_a_disk() {
    let deps = [
        "drivers/ata/ahci30: drivers/ata/libata200",
        "drivers/ata/libata200:",
        "drivers/block/vblk20:",
        "fs/ext900:",
        "sound/hda5:",
        "drivers/input/key7:",
        "drivers/block/hint999:",
    ];
    let aliases = [("d:1", "ahci30"), ("d:2", "vblk20"), ("d:3", "hda5"), ("d:4", "key7")];
    let plan = ModulePlan { pre: vec!["hint999".into()], ..ModulePlan::default() };
    let mut q = queue(&deps, &aliases, "", &plan);
    for n in 1..=4 {
        q.request(&format!("d:{n}"), device("x"));
    }
    q.request("ext900", Why::Explicit);
    assert_eq!(drain(&mut q, &[]), ["ext900", "hint999", "vblk20", "libata200", "ahci30"]);
    assert!(q.urgent_done());
    assert_eq!(q.status("d:3"), Status::Pending);
    q.allow(Class::Input);
    assert_eq!(drain(&mut q, &[]), ["key7"]);
    q.allow(Class::Rest);
    assert_eq!(drain(&mut q, &[]), ["hda5"]);
}

#[test]
fn failures_reach_dependants_but_not_through_softdeps() {
    let deps = ["c/top: c/base", "c/base:", "c/other:", "c/helper:", "c/after:", "c/lost: c/gone"];
    let conf = "softdep other pre: helper nowhere post: after";
    let mut q = queue(&deps, &[], conf, &ModulePlan::default());
    for name in ["top", "other", "lost", "nothing", "unix"] {
        q.request(name, Why::Explicit);
    }
    let order = drain(&mut q, &[("base", 19), ("helper", 2)]);
    assert_eq!(order.iter().filter(|name| *name == "top" || *name == "lost").count(), 0);
    assert_eq!(q.status("top"), Status::Failed(Reason::Refused("top".into(), 19)));
    assert_eq!(q.status("lost"), Status::Failed(Reason::Refused("lost".into(), 2)));
    assert_eq!(q.status("other"), Status::Ready);
    assert_eq!(q.status("unix"), Status::Ready);
    assert_eq!(q.state("after"), Some(State::Loaded));
    let missing: Vec<_> = q.missing().into_iter().map(|m| m.want).collect();
    assert_eq!(missing, ["lost", "nothing", "top"]);
}

#[test]
fn one_implementation_of_an_algorithm_is_enough() {
    let deps =
        ["fs/ext4:", "crypto/crc32c_generic:", "arch/x86/crypto/crc32c-intel:", "drivers/crypto/engine:"];
    let aliases =
        [("crypto-crc32c", "engine"), ("crypto-crc32c", "crc32c_generic"), ("crypto-crc32c", "crc32c_intel")];
    let conf = "softdep ext4 pre: crypto-crc32c";
    let mut q = queue(&deps, &aliases, conf, &ModulePlan::default());
    q.request("ext4", Why::Explicit);
    assert_eq!(drain(&mut q, &[]), ["crc32c_intel", "ext4"]);
    let mut q = queue(&deps, &aliases, conf, &ModulePlan::default());
    q.request("ext4", Why::Explicit);
    q.request("crypto-crc32c", Why::Explicit);
    assert_eq!(drain(&mut q, &[("crc32c_intel", 19)]), ["crc32c_intel", "crc32c_generic", "ext4"]);
    assert_eq!(q.status("crypto-crc32c"), Status::Ready);
}

#[test]
fn the_widest_implementation_is_tried_first() {
    let deps = ["arch/x86/crypto/sse1:", "arch/x86/crypto/avx2:", "crypto/generic9:"];
    let aliases = [("crypto-x", "sse1"), ("crypto-x", "generic9"), ("crypto-x", "avx2")];
    let mut q = queue(&deps, &aliases, "", &ModulePlan::default());
    q.request("crypto-x", Why::Explicit);
    assert_eq!(drain(&mut q, &[("avx2", 19)]), ["avx2", "sse1"]);
}

#[test]
fn a_modalias_loads_all_its_drivers() {
    let deps = ["arch/x86/crypto/aesni:", "arch/x86/crypto/ghash:"];
    let mut q = queue(&deps, &[("cpu:*", "aesni"), ("cpu:*", "ghash")], "", &ModulePlan::default());
    q.allow(Class::Rest);
    q.request("cpu:x86", device("cpu"));
    assert_eq!(drain(&mut q, &[]).len(), 2);
}

#[test]
fn what_is_withheld_is_named() {
    let plan = ModulePlan { blacklist: vec!["nouveau".into()], ..ModulePlan::default() };
    let mut q = queue(&["drivers/nouveau:"], &[("pci:1", "nouveau")], "", &plan);
    q.request("pci:1", device("a"));
    q.request("pci:2", device("b"));
    assert_eq!(q.next(), None);
    let missing = q.missing();
    assert_eq!(missing[0].reason, Reason::Blacklisted(vec!["nouveau".into()]));
    assert_eq!(missing[0].device.as_deref(), Some("/devices/a"));
    assert_eq!(missing[1].reason, Reason::Absent);
}

#[test]
fn loops_end() {
    let deps = ["c/a: c/b", "c/b: c/a", "c/s:", "c/t: c/s"];
    let mut q = queue(&deps, &[], "softdep s pre: t", &ModulePlan::default());
    q.request("a", Why::Explicit);
    q.request("t", Why::Explicit);
    assert_eq!(drain(&mut q, &[]), ["s", "t"]);
    assert_eq!(q.status("a"), Status::Failed(Reason::Refused("a".into(), 40)));
}

#[test]
fn loaded_before_we_came() {
    let mut q = queue(&["c/a: c/b", "c/b:"], &[], "", &ModulePlan::default());
    q.already_loaded("b");
    q.request("a", Why::Explicit);
    assert_eq!(drain(&mut q, &[]), ["a"]);
}

/// A random tree: module n may need modules below n; softdeps may point anywhere, loops included.
#[derive(Debug, Clone)]
struct Tree {
    hard: Vec<BTreeSet<usize>>,
    soft: Vec<(usize, usize, bool)>,
    fails: BTreeSet<usize>,
    requests: Vec<(usize, bool)>,
    workers: usize,
    /// Which running job finishes next, and whether a request comes in between.
    choices: Vec<usize>,
}

fn tree() -> impl Strategy<Value = Tree> {
    (2usize..14).prop_flat_map(|count| {
        (
            prop::collection::vec(prop::collection::btree_set(0..count, 0..3), count),
            prop::collection::vec((0..count, 0..count, any::<bool>()), 0..6),
            prop::collection::btree_set(0..count, 0..3),
            prop::collection::vec((0..count, any::<bool>()), 1..8),
            1usize..5,
            prop::collection::vec(0usize..8, 64),
        )
            .prop_map(|(mut hard, soft, fails, requests, workers, choices)| {
                // depmod lists everything that is needed, directly or not.
                for n in 0..hard.len() {
                    let direct: Vec<usize> = hard[n].iter().copied().filter(|dep| *dep < n).collect();
                    let below = direct.iter().flat_map(|dep| hard[*dep].clone());
                    hard[n] = below.chain(direct.iter().copied()).collect();
                }
                Tree { hard, soft, fails, requests, workers, choices }
            })
    })
}

const DIRS: [&str; 4] = ["fs", "drivers/input", "sound", "drivers/block"];

fn run(tree: &Tree) -> Result<(), TestCaseError> {
    let file = |n: usize| format!("{}/m{n}", DIRS[n % 4]);
    let lines: Vec<String> = tree
        .hard
        .iter()
        .enumerate()
        .map(|(n, deps)| {
            let deps: String = deps.iter().rev().map(|dep| format!(" {}", file(*dep))).collect();
            format!("{}:{deps}", file(n))
        })
        .collect();
    let conf: String = tree
        .soft
        .iter()
        .map(|(a, b, pre)| format!("softdep m{a} {}: m{b}\n", if *pre { "pre" } else { "post" }))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut q = queue(&lines, &[], &conf, &ModulePlan::default());
    let mut requests = tree.requests.iter();
    let mut choices = tree.choices.iter().cycle();
    let mut choose = move || choices.next().copied().unwrap_or(0);
    let mut running: Vec<Job> = Vec::new();
    let mut outcome: BTreeMap<usize, bool> = BTreeMap::new();
    let mut gates = [Class::Input, Class::Rest].into_iter();
    for _ in 0..10_000 {
        while running.len() < tree.workers {
            let Some(job) = q.next() else { break };
            let n: usize = job.name[1..].parse().unwrap();
            prop_assert!(
                !outcome.contains_key(&n) && running.iter().all(|j| j.name != job.name),
                "twice: {}",
                job.name
            );
            for dep in &tree.hard[n] {
                prop_assert_eq!(outcome.get(dep), Some(&true), "m{} before its m{}", n, dep);
            }
            running.push(job);
        }
        prop_assert_eq!(q.running(), running.len());
        if choose() < 3
            && let Some((n, explicit)) = requests.next()
        {
            q.request(&format!("m{n}"), if *explicit { Why::Explicit } else { device("x") });
        } else if !running.is_empty() {
            let at = choose() % running.len();
            let job = running.swap_remove(at);
            let n: usize = job.name[1..].parse().unwrap();
            let good = !tree.fails.contains(&n);
            outcome.insert(n, good);
            q.finished(&job.name, if good { Ok(()) } else { Err(19) });
        } else if let Some((n, explicit)) = requests.next() {
            q.request(&format!("m{n}"), if *explicit { Why::Explicit } else { device("x") });
        } else if let Some(gate) = gates.next() {
            q.allow(gate);
        } else {
            break;
        }
    }
    prop_assert!(running.is_empty() && q.is_idle() && q.next().is_none());
    // Whatever could be loaded is loaded; only a module with a failed dependency was left out.
    for (n, _) in &tree.requests {
        let doomed = tree.fails.contains(n) || tree.hard[*n].iter().any(|dep| tree.fails.contains(dep));
        let ready = q.status(&format!("m{n}")) == Status::Ready;
        prop_assert_eq!(ready, !doomed, "m{}: {:?}", n, q);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_tree_any_workers_any_order(tree in tree()) {
        run(&tree)?;
    }
}
