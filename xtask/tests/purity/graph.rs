//! The dependency graph and what may not be in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Crates outside the workspace that a pure crate may name in its manifest. To add one: it must not do
/// input or output, read a clock or use threads, and it must be worth its weight.
const DIRECT: [&str; 11] =
    ["aes", "flate2", "hmac", "log", "p256", "pbkdf2", "serde", "serde_json", "sha1", "sha2", "zeroize"];

/// Crates whose business is the operating system; a pure crate may not reach them by any way.
const SYSTEM: [&str; 24] = [
    "async-std",
    "crossbeam-channel",
    "devicemapper",
    "getrandom",
    "inotify",
    "kobject-uevent",
    "libc",
    "libcryptsetup-rs",
    "libcryptsetup-rs-sys",
    "linux-raw-sys",
    "memmap2",
    "mio",
    "neli",
    "netlink-sys",
    "nix",
    "num_cpus",
    "polling",
    "rayon",
    "rustix",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
];

/// What each crate of the workspace may depend on inside the workspace.
const DIRECTION: [(&str, &[&str]); 9] = [
    ("rootward-cmdline", &[]),
    ("rootward-ondisk", &[]),
    ("rootward-tokens", &[]),
    ("rootward-engine", &["rootward-cmdline", "rootward-ondisk"]),
    ("rootward-init", &["rootward-cmdline", "rootward-ondisk", "rootward-tokens", "rootward-engine"]),
    ("rootward-pack", &["rootward-cmdline", "rootward-ondisk", "rootward-engine"]),
    ("rootward-security-key", &[]),
    (
        "rootward-tests-qemu",
        &["rootward-cmdline", "rootward-ondisk", "rootward-engine", "rootward-pack", "rootward-security-key"],
    ),
    (
        "xtask",
        &["rootward-cmdline", "rootward-ondisk", "rootward-engine", "rootward-pack", "rootward-tests-qemu"],
    ),
];

/// Normal dependencies (not those of tests and build scripts) by package name.
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    workspace: BTreeSet<String>,
}

impl Graph {
    /// Reads the output of `cargo metadata`.
    pub fn from_metadata(metadata: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name = |id: &Value| names[&text(id)].clone();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let to = edges.entry(name(&node["id"])).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    to.insert(name(&dependency["pkg"]));
                }
            }
        }
        let workspace = list(&metadata["workspace_members"]).iter().map(name).collect();
        Self { edges, workspace }
    }

    pub fn has(&self, package: &str) -> bool {
        self.workspace.contains(package)
    }

    /// Everything that breaks the rules, in words.
    pub fn offences(&self, pure: &[String]) -> Vec<String> {
        let mut offences = Vec::new();
        for package in &self.workspace {
            let Some((_, allowed)) = DIRECTION.iter().find(|(name, _)| name == package) else {
                offences.push(format!("{package} is not in this test's list of directions"));
                continue;
            };
            for dependency in self.edges[package].iter().filter(|name| self.workspace.contains(*name)) {
                if !allowed.contains(&dependency.as_str()) {
                    offences.push(format!("{package} depends on {dependency}, against the direction"));
                }
            }
        }
        for package in pure {
            for dependency in self.edges[package].iter().filter(|name| !self.workspace.contains(*name)) {
                if !DIRECT.contains(&dependency.as_str()) {
                    offences
                        .push(format!("{package} depends on {dependency}, which has not been judged pure"));
                }
            }
            for path in self.paths(package) {
                if path.last().is_some_and(|last| SYSTEM.contains(&last.as_str())) {
                    offences.push(format!("a pure crate reaches the system: {}", path.join(" -> ")));
                }
            }
        }
        offences
    }

    /// A shortest path to each package that `from` depends on.
    fn paths(&self, from: &str) -> Vec<Vec<String>> {
        let mut paths = vec![vec![from.to_owned()]];
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            for dependency in self.edges.get(&path[path.len() - 1]).into_iter().flatten() {
                if seen.insert(dependency.clone()) {
                    paths.push(path.iter().cloned().chain([dependency.clone()]).collect());
                }
            }
            next += 1;
        }
        paths
    }
}

/// A graph in which `engine` has the given normal and development dependencies.
fn example(normal: &[&str], development: &[&str]) -> Graph {
    let names = [
        "rootward-cmdline",
        "rootward-ondisk",
        "rootward-engine",
        "rootward-init",
        "sha2",
        "helper",
        "rustix",
    ];
    let packages: Vec<Value> =
        names.iter().map(|name| serde_json::json!({"id": name, "name": name})).collect();
    let edge = |name: &&str, kind: Value| serde_json::json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
    let deps: Vec<Value> = normal
        .iter()
        .map(|name| edge(name, Value::Null))
        .chain(development.iter().map(|name| edge(name, "dev".into())))
        .collect();
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| match *name {
            "rootward-engine" => serde_json::json!({"id": name, "deps": deps}),
            "sha2" | "rootward-init" => {
                serde_json::json!({"id": name, "deps": [edge(&"helper", Value::Null)]})
            }
            "helper" => serde_json::json!({"id": name, "deps": [edge(&"rustix", Value::Null)]}),
            _ => serde_json::json!({"id": name, "deps": []}),
        })
        .collect();
    Graph::from_metadata(&serde_json::json!({
        "packages": packages, "workspace_members": &names[..4], "resolve": {"nodes": nodes},
    }))
}

#[test]
fn a_clean_graph_passes() {
    let graph = example(&["rootward-cmdline", "rootward-ondisk"], &["helper", "rustix"]);
    assert_eq!(graph.offences(&["rootward-engine".into()]), Vec::<String>::new());
}

#[test]
fn every_kind_of_breach_is_found() {
    for (dependency, words) in [
        ("rustix", "rootward-engine -> rustix"),
        ("sha2", "rootward-engine -> sha2 -> helper -> rustix"),
        ("helper", "has not been judged pure"),
        ("rootward-init", "against the direction"),
    ] {
        let offences = example(&[dependency], &[]).offences(&["rootward-engine".into()]);
        assert!(offences.iter().any(|offence| offence.contains(words)), "{dependency}: {offences:?}");
    }
}
