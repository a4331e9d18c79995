//! `cargo xtask test`: everything that can be checked, to the end, with one closing line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use tests_qemu::Options;

use crate::{Failure, artifacts, fuzz, host, line, native, root, run, say, summary};

/// Time for each fuzz target, in seconds.
const FUZZ_SECONDS: u32 = 6;

/// Seeds for the simulator of `engine`, whose own test takes the number from the environment.
const SEEDS: (&str, &str) = ("ROOTWARD_SIM_SEEDS", "100000");

/// What has been counted so far.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    /// What failed, for the end.
    failures: Vec<String>,
}

impl Tally {
    /// Runs one step that passes or fails as a whole.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(), Failure>) {
        say(name);
        let start = Instant::now();
        match work() {
            Ok(()) => {
                self.passed += 1;
                say(&format!("{name}: ok ({:.0} s)", start.elapsed().as_secs_f64()));
            }
            Err(Failure(why)) => self.fail(&format!("{name}: {why}")),
        }
    }

    fn fail(&mut self, what: &str) {
        say(&format!("FAILED {what}"));
        self.failed += 1;
        self.failures.push(what.to_owned());
    }

    /// Runs `cargo test` and counts its tests one by one.
    fn tests(&mut self, name: &str, cargo: &mut Command) {
        say(name);
        let start = Instant::now();
        match count_tests(cargo) {
            Ok(counted) if counted.passed + counted.failed == 0 => self.fail(&format!("{name}: no test ran")),
            Ok(counted) if counted.failed > 0 || counted.succeeded => {
                let Counted { passed, failed, .. } = counted;
                let took = start.elapsed().as_secs_f64();
                say(&format!("{name}: {passed} passed, {failed} failed ({took:.0} s)"));
                self.passed += counted.passed;
                self.failed += counted.failed;
                self.failures.extend(counted.failures.into_iter().map(|test| format!("{name}: {test}")));
            }
            Ok(_) => self.fail(&format!("{name}: `{}` failed", line(cargo))),
            Err(Failure(why)) => self.fail(&format!("{name}: {why}")),
        }
    }
}

/// Runs all tests; the closing line is `N passed, N failed`.
pub fn test() -> Result<(), Failure> {
    host::for_native()?;
    host::for_test_bed()?;
    host::for_rust()?;
    native::native(false)?;
    let cargo = |words: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(root()).args(words);
        command
    };
    let mut tally = Tally::default();
    tally.step("formatting", || {
        run(&mut cargo(&["fmt", "--all", "--check"]))?;
        run(&mut cargo(&["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
    });
    tally.step("clippy", || {
        run(&mut cargo(&[
            "clippy",
            "--quiet",
            "--keep-going",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    tally.step("documentation", || {
        run(cargo(&["doc", "--quiet", "--keep-going", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"))
    });
    tally.tests(
        "unit, property and purity tests",
        // A tool that is an oracle and absent is a failure here, not a skipped test.
        cargo(&["test", "--quiet", "--workspace", "--no-fail-fast"]).env("ROOTWARD_REQUIRE_TOOLS", "1"),
    );
    tally.tests(
        &format!("simulator, {} seeds", SEEDS.1),
        cargo(&[
            "test",
            "--quiet",
            "--package",
            "rootward-engine",
            "--test",
            "simulation",
            "--",
            "--nocapture",
        ])
        .env(SEEDS.0, SEEDS.1),
    );
    say(&format!("fuzz targets, {FUZZ_SECONDS} s each"));
    let start = Instant::now();
    match fuzz::fuzz(&[], FUZZ_SECONDS) {
        Ok(outcomes) => {
            for outcome in outcomes {
                match outcome.result {
                    Ok(_) => tally.passed += 1,
                    Err(why) => tally.fail(&format!("fuzz target {}: {why}", outcome.target)),
                }
            }
        }
        Err(Failure(why)) => tally.fail(&format!("fuzz targets: {why}")),
    }
    say(&format!("fuzz targets: done ({:.0} s)", start.elapsed().as_secs_f64()));
    tally.step("release programs", || artifacts::build(true).map(drop));
    say("scenarios in QEMU");
    match tests_qemu::run(&Options::of_checkout(&root())) {
        Ok(scenarios) => {
            tally.passed += scenarios.passed();
            tally.failed += scenarios.failed();
            let failed = scenarios.results.iter().filter(|outcome| !outcome.failures.is_empty());
            tally.failures.extend(failed.map(|outcome| format!("scenario {}", outcome.name)));
        }
        Err(error) => tally.fail(&format!("scenarios in QEMU: {error}")),
    }
    for failure in &tally.failures {
        say(&format!("failed: {failure}"));
    }
    summary(tally.passed, tally.failed)
}

/// What `cargo test` said.
#[derive(Default)]
struct Counted {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
    succeeded: bool,
}

impl Counted {
    /// Takes in one line of libtest's output.
    fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let number = |unit: &str| {
                let before = result.split(unit).next().unwrap_or_default();
                before.rsplit([' ', ';']).find_map(|word| word.parse::<usize>().ok()).unwrap_or(0)
            };
            self.passed += number(" passed");
            self.failed += number(" failed");
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

/// Runs `cargo test`, passing its output on.
fn count_tests(cargo: &mut Command) -> Result<Counted, Failure> {
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut counted = Counted::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            counted.line(&line);
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    counted.succeeded = child.wait()?.success();
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_libtest_are_added_up() {
        let mut counted = Counted::default();
        for line in [
            "running 3 tests",
            "---- a::b stdout ----",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.02s",
            "test result: ok. 11 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            counted.line(line);
        }
        assert_eq!((counted.passed, counted.failed), (13, 1));
        assert_eq!(counted.failures, ["a::b"]);
    }
}
