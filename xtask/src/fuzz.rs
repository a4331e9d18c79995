//! `cargo xtask fuzz`: every fuzz target for a bounded time.
//!
//! The targets link libFuzzer, whose C++ part libfuzzer-sys compiles itself. Its instrumentation is had
//! from stable Rust by code generation flags; AddressSanitizer would need a nightly compiler and has little
//! to find in crates without unsafe code.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::{Failure, line, output, root, run, say};

/// Edge counters and traced comparisons, as libFuzzer reads them; the rest is what cargo-fuzz sets too.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Memory that a target may use, in MiB: the bound that every parser has to keep.
const MEMORY: &str = "-rss_limit_mb=512";
/// Longest input tried, in bytes: beyond the superblocks and headers of every format we read.
const INPUT: &str = "-max_len=65536";
/// Longest time for one input, in seconds.
const PATIENCE: &str = "-timeout=20";

/// How one target ended.
pub struct Outcome {
    /// Name of the target.
    pub target: String,
    /// Inputs tried, or why it stopped.
    pub result: Result<u64, String>,
}

/// Builds all targets and runs those whose name contains one of `filters` (all, if there is none),
/// `seconds` each, as many at once as there are processors.
pub fn fuzz(filters: &[String], seconds: u32) -> Result<Vec<Outcome>, Failure> {
    let manifest = root().join("fuzz/Cargo.toml");
    let directory = root().join("target/fuzz");
    let names = targets(&manifest)?;
    let wanted = |name: &String| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let names: Vec<String> = names.into_iter().filter(wanted).collect();
    if names.is_empty() {
        return Err(Failure("no fuzz target has such a name".into()));
    }
    let triple = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let triple = triple.trim();
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--bins", "--quiet", "--target", triple, "--manifest-path"])
        .arg(&manifest);
    cargo.arg("--target-dir").arg(&directory).env("RUSTFLAGS", RUSTFLAGS);
    run(&mut cargo)?;

    let programs = directory.join(triple).join("release");
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run_target(&programs.join(name), name, seconds);
                    match &result {
                        Ok(tried) => say(&format!("fuzz {name}: {tried} inputs in {seconds} s")),
                        Err(why) => say(&format!("fuzz {name}: FAILED: {why}")),
                    }
                    let outcome = Outcome { target: name.clone(), result };
                    outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    Ok(outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// The names of the fuzz targets; every file in fuzz_targets/ must be one.
fn targets(manifest: &Path) -> Result<Vec<String>, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(manifest);
    let metadata: Value = serde_json::from_str(&output(&mut cargo)?)?;
    let list = metadata["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        list.iter().filter_map(|target| Some(target["name"].as_str()?.to_owned())).collect();
    names.sort();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "rs") && !names.contains(&stem) {
            return Err(Failure(format!("{} has no [[bin]] entry in fuzz/Cargo.toml", path.display())));
        }
    }
    Ok(names)
}

/// Runs one target; what it learns goes to target/fuzz/corpus, what breaks it to target/fuzz/artifacts.
fn run_target(program: &Path, name: &str, seconds: u32) -> Result<u64, String> {
    let failed = |error: std::io::Error| error.to_string();
    let corpus = root().join("target/fuzz/corpus").join(name);
    let artifacts = root().join("target/fuzz/artifacts").join(name);
    fs::create_dir_all(&corpus).map_err(failed)?;
    fs::create_dir_all(&artifacts).map_err(failed)?;
    let mut command = Command::new(program);
    command.args([MEMORY, INPUT, PATIENCE, "-seed=1", "-print_final_stats=1"]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(&corpus);
    let seeds = root().join("fuzz/seeds").join(name);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let log = artifacts.join("log");
        fs::write(&log, text.as_bytes()).map_err(failed)?;
        let reason =
            text.lines().find(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
        let reason = reason.unwrap_or("no reason given").trim();
        return Err(format!("{reason} ({}); `{}`; see {}", output.status, line(&command), log.display()));
    }
    let count = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    count.and_then(|count| count.trim().parse().ok()).ok_or_else(|| "libFuzzer gave no statistics".into())
}
