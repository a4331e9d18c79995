//! The wall between deciding and doing: `cmdline`, `ondisk`, `tokens` and `engine` make no system call, read no clock
//! and start no thread, and dependencies between the crates run one way (docs/ARCHITECTURE.md).
//!
//! Two things are checked: the dependency graph that cargo resolved, and the sources themselves, since the
//! standard library needs no dependency. Code under `#[cfg(test)]` is exempt.

#[path = "purity/graph.rs"]
mod graph;
#[path = "purity/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PURE: [&str; 4] = ["cmdline", "ondisk", "tokens", "engine"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn dependency_graph() {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--filter-platform", host.trim()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let graph = graph::Graph::from_metadata(&serde_json::from_slice(&metadata.stdout).unwrap());
    for name in PURE {
        assert!(graph.has(&format!("rootward-{name}")), "{name} has left the workspace");
    }
    let offences = graph.offences(&PURE.map(|name| format!("rootward-{name}")));
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn sources() {
    let mut offences = Vec::new();
    for name in PURE {
        let directory = root().join(name).join("src");
        let library = fs::read_to_string(directory.join("lib.rs")).unwrap();
        assert!(library.contains("#![forbid(unsafe_code)]"), "{name}/src/lib.rs does not forbid unsafe code");
        let mut files = BTreeSet::new();
        let mut exempt = BTreeSet::new();
        collect(&directory, &mut files);
        let texts: Vec<(PathBuf, tokens::Findings)> = files
            .into_iter()
            .map(|file| {
                let findings = tokens::scan(&fs::read_to_string(&file).unwrap()).unwrap();
                (file, findings)
            })
            .collect();
        for (file, findings) in &texts {
            let stem = file.file_stem().unwrap().to_str().unwrap();
            let parent = file.parent().unwrap();
            let inside =
                if ["lib", "main", "mod"].contains(&stem) { parent.to_owned() } else { parent.join(stem) };
            for module in &findings.test_modules {
                exempt.insert(inside.join(module));
            }
        }
        for (file, findings) in texts {
            if !exempt.iter().any(|module| file.with_extension("").starts_with(module)) {
                let name = file.strip_prefix(root()).unwrap().display().to_string();
                offences.extend(findings.offences.into_iter().map(|what| format!("{name}: {what}")));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

fn collect(directory: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
}
