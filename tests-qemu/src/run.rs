//! Runs scenarios, two at a time, and reports.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bed::{Bed, Disk};
use crate::dialogue::{End, hold};
use crate::image::UnderTest;
use crate::qemu::{Drive, Machine, Writes};
use crate::scenario::{Boot, Scenario, Seen};
use crate::verdict::Verdict;
use crate::written::Allowed;
use crate::{Error, scenarios, tpm};

/// What is to be run and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// Root of the checkout.
    pub checkout: PathBuf,
    /// The `rootward` command.
    pub rootward: PathBuf,
    /// The `/init` under test.
    pub init: PathBuf,
    /// Where logs and verdicts go, one directory per scenario. Two runs at once need two of them.
    pub results: PathBuf,
    /// Only scenarios whose name contains one of these; all if there is none.
    pub filters: Vec<String>,
    /// Only print the names.
    pub list: bool,
    /// Guests at a time.
    pub jobs: usize,
}

impl Options {
    /// The binaries that `cargo xtask build` leaves below `checkout`, all scenarios, two at a time.
    #[must_use]
    pub fn of_checkout(checkout: &Path) -> Self {
        let directory = checkout.join("target/rootward");
        Self {
            checkout: checkout.to_owned(),
            rootward: directory.join("rootward"),
            init: directory.join("init"),
            results: checkout.join("target/qemu-test"),
            filters: Vec::new(),
            list: false,
            jobs: 2,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// One result per scenario.
    pub results: Vec<Outcome>,
}

/// Result of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Scenario.
    pub name: String,
    /// Statements that do not hold, or what went wrong with the bed; none if it passed.
    pub failures: Vec<String>,
    /// Why boots were tried again: faults of the bed, not of what is tested.
    pub again: Vec<String>,
    /// Wall time in seconds, disks not included.
    pub seconds: f64,
    /// Directory with console logs and verdicts.
    pub directory: PathBuf,
}

impl Summary {
    /// How many passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.failures.is_empty()).count()
    }

    /// How many failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.results.len() - self.passed()
    }
}

/// Runs the scenarios that `options` selects and prints as it goes; the closing line is
/// `N passed, N failed`. An error means that the bed could not be prepared at all.
pub fn run(options: &Options) -> Result<Summary, Error> {
    let mut selected = scenarios::all();
    selected.retain(|scenario| {
        options.filters.is_empty() || options.filters.iter().any(|part| scenario.name.contains(part))
    });
    if options.list {
        for scenario in &selected {
            say(&scenario.name);
        }
        return Ok(Summary::default());
    }
    let results = &options.results;
    fs::create_dir_all(results).map_err(Error::io(results))?;
    let under_test = UnderTest { rootward: options.rootward.clone(), init: options.init.clone() };
    let bed = Bed::prepare(&options.checkout, under_test, results)?;
    say(&format!("{} scenarios under {:?}", selected.len(), bed.accel));
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(scenario) = selected.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(scenario, &bed, results);
                    report(&outcome);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    let mut summary = Summary { results: outcomes.into_inner().unwrap_or_default() };
    summary.results.sort_by(|one, other| one.name.cmp(&other.name));
    write_json(&results.join("results.json"), &summary)?;
    say(&format!("{} passed, {} failed", summary.passed(), summary.failed()));
    Ok(summary)
}

fn run_one(scenario: &Scenario, bed: &Bed, results: &Path) -> Outcome {
    let directory = results.join(&scenario.name);
    let mut outcome = Outcome {
        name: scenario.name.clone(),
        failures: Vec::new(),
        again: Vec::new(),
        seconds: 0.0,
        directory: directory.clone(),
    };
    let mut seen = Vec::new();
    for (number, boot) in scenario.boots.iter().enumerate() {
        let directory =
            if number == 0 { directory.clone() } else { directory.join(format!("boot{}", number + 1)) };
        let mut result = run_boot(boot, bed, &directory);
        for _ in 0..MORE_TRIES {
            let Some(why) = fault_of_the_bed(&result) else { break };
            say(&format!("again   {}: {why}", scenario.name));
            outcome.again.push(why);
            result = run_boot(boot, bed, &directory);
        }
        match result {
            Ok((one, failures, took)) => {
                outcome.seconds += took.as_secs_f64();
                outcome.failures.extend(failures);
                seen.push(one);
            }
            Err(error) => outcome.failures.push(format!("test bed: {error}")),
        }
    }
    if let (Some(comparison), true) = (&scenario.comparison, outcome.failures.is_empty())
        && let Err(instead) = comparison(&seen)
    {
        outcome.failures.push(instead);
    }
    if let Err(error) = write_json(&directory.join("result.json"), &outcome) {
        outcome.failures.push(error.to_string());
    }
    outcome
}

/// How often a boot is tried again that failed for a reason outside the programs under test.
const MORE_TRIES: usize = 2;

/// The kernel's line before it starts /init (init/main.c), and how it ends after a fault of its own.
const STARTS_INIT: &str = "as init process";
const KERNEL_FAULT: &str = "Kernel panic - not syncing: Fatal exception";

/// Why a failed boot says nothing about the programs under test, if so.
fn fault_of_the_bed(result: &Result<(Seen, Vec<String>, Duration), Error>) -> Option<String> {
    match result {
        Ok((Seen { end: End::LostTimer, .. }, _, _)) => {
            Some("the emulator lost a timer of the guest".to_owned())
        }
        // QEMU's own crash: what a guest does cannot end it with an error.
        Ok((Seen { end: End::Crash(status), .. }, _, _)) => Some(format!("QEMU failed: {status}")),
        // The emulator's CPUs run concurrently and may see half of an instruction that the kernel is patching.
        Ok((seen, _, _)) if seen.console.contains(KERNEL_FAULT) && !seen.console.contains(STARTS_INIT) => {
            Some("the guest's kernel failed before it started /init".to_owned())
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Puts what the disk's script noted as `NAME=value` in the place of `${NAME}`.
fn filled_in(cmdline: &str, dump: &str) -> String {
    let noted = dump.lines().filter_map(|line| line.split_once('='));
    noted.fold(cmdline.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

fn run_boot(boot: &Boot, bed: &Bed, directory: &Path) -> Result<(Seen, Vec<String>, Duration), Error> {
    crate::cache::remove(directory)?;
    fs::create_dir_all(directory).map_err(Error::io(directory))?;
    let kernel = bed.kernel(boot.kernel)?;
    let (mut drives, mut dump) = (Vec::new(), String::new());
    for disk in &boot.disks {
        let image = bed.disk(&disk.disk)?;
        if dump.is_empty() {
            dump = bed.dump(&disk.disk)?;
        }
        drives.push(Drive {
            image,
            bus: disk.bus,
            serial: disk.serial,
            plugged: disk.plugged,
            writes: if boot.writes == Allowed::Any { Writes::Discarded } else { Writes::Overlay },
        });
    }
    let before: Vec<(&Disk, PathBuf)> = boot
        .disks
        .iter()
        .zip(&drives)
        .map(|(attached, drive): (_, &Drive)| (&attached.disk, drive.image.clone()))
        .collect();
    let tpm = match &boot.tpm {
        Some(recipe) => {
            let state = directory.join("tpm");
            tpm::copy(&bed.tpm(recipe)?, &state)?;
            Some(state)
        }
        None => None,
    };
    let machine = Machine {
        kernel: if boot.packed_kernel || tpm.is_some() {
            kernel.vmlinuz.clone()
        } else {
            kernel.vmlinux.clone()
        },
        initrd: boot.image.make(kernel, &bed.under_test, &bed.guest, &bed.cache)?,
        cmdline: filled_in(&boot.cmdline, &dump),
        memory: boot.memory,
        cpus: boot.cpus,
        drives,
        tpm,
        usb_key: boot.usb_key,
    };
    let start = Instant::now();
    let guest = machine.start(bed.accel, directory)?;
    let conversation = hold(guest, &boot.steps, boot.patience * bed.accel.patience())?;
    let text = fs::read_to_string(directory.join("verdict.json")).unwrap_or_default();
    let verdict: Option<Verdict> = match text.trim() {
        "" => None,
        text => Some(
            serde_json::from_str(text).map_err(|error| Error::Bed(format!("verdict is not one: {error}")))?,
        ),
    };
    let mut console = conversation.console;
    if let Ok(second) = fs::read(directory.join("console2.log")) {
        console += "\n--- second console ---\n";
        console += &String::from_utf8_lossy(&second);
    }
    let seen = Seen { console, verdict, end: conversation.end, dump };
    let mut failures = boot.judge(&seen, conversation.stuck.as_deref());
    failures.extend(boot.writes.judge(&before, &seen.dump, directory)?);
    Ok((seen, failures, start.elapsed()))
}

fn report(outcome: &Outcome) {
    let Outcome { name, failures, seconds, directory, again: _ } = outcome;
    if failures.is_empty() {
        say(&format!("ok      {name} ({seconds:.1} s)"));
        return;
    }
    let mut text = format!("FAILED  {name} ({seconds:.1} s)");
    for failure in failures {
        text += &format!("\n        {failure}");
    }
    // Where the logs do not outlive the run, this is all there will be to look at.
    for (log, lines) in [("qemu.log", 5), ("console.log", 25)] {
        let path = directory.join(log);
        text += &format!("\n        {}:", path.display());
        let content = fs::read(&path).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let content: Vec<_> = content.lines().collect();
        for line in content.iter().skip(content.len().saturating_sub(lines)) {
            text += &format!("\n        | {line}");
        }
    }
    say(&text);
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Error::Bed(error.to_string()))?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    fs::write(path, text).map_err(Error::io(path))
}

/// One line at a time, whole, from either worker.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_the_bed_are_tried_again() {
        let seen = |end: End, console: &str| {
            let seen = Seen { console: console.to_owned(), verdict: None, end, dump: String::new() };
            Ok((seen, vec!["the root was not reached".to_owned()], Duration::ZERO))
        };
        assert!(fault_of_the_bed(&seen(End::LostTimer, "")).is_some());
        assert!(fault_of_the_bed(&seen(End::Deadline, "rootward: cannot reach root")).is_none());
        let early = format!("Oops\n{KERNEL_FAULT} in interrupt\n");
        assert!(fault_of_the_bed(&seen(End::Panic, &early)).is_some());
        let later = format!("Run /init {STARTS_INIT}\n{early}");
        assert!(fault_of_the_bed(&seen(End::Panic, &later)).is_none());
        assert!(fault_of_the_bed(&seen(End::Crash("signal: 11 (SIGSEGV)".to_owned()), "")).is_some());
        assert!(fault_of_the_bed(&Err(Error::Bed("builder VM".to_owned()))).is_some());
    }
}
