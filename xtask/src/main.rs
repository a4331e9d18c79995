//! The one entry point for developers: `cargo xtask COMMAND`.

mod artifacts;
mod bench;
mod elf;
mod fuzz;
mod host;
mod native;
mod run;
mod size;
mod test;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run                    boot a Debian 13 in QEMU through our /init
  test                   run every test; the last line is `N passed, N failed`
  qemu-test [--list] [--jobs N] [NAME..]
                         run the scenarios whose name contains one of NAMEs
  build                  build target/rootward/{init,rootward}, check them, say what fills them
  bench                  measure boot time and size against the peers
  fuzz [--seconds N] [NAME..]
                         run the fuzz targets, N seconds each (default 20)
  native [--fresh]       build the static C libraries that init links
  packages               install (or name) every package that the other commands need
";

/// Why a task stopped, in words for the developer; empty if everything has been said.
#[derive(Debug)]
pub struct Failure(pub String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            if !message.is_empty() {
                say(&message);
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["native"] => native::native(false),
        ["native", "--fresh"] => native::native(true),
        ["run"] => run::run(),
        ["test"] => test::test(),
        ["qemu-test", rest @ ..] => qemu_test(rest),
        ["build" | "size"] => artifacts::build(true).map(drop),
        ["bench", rest @ ..] => bench::bench(rest),
        ["fuzz", rest @ ..] => {
            let (seconds, filters) = seconds(rest, 20)?;
            let outcomes = fuzz::fuzz(&filters, seconds)?;
            let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
            summary(outcomes.len() - failed, failed)
        }
        ["packages"] => {
            host::for_native()?;
            host::for_test_bed()?;
            host::for_rust()
        }
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Failure(format!("do not understand `{}`\n{USAGE}", words.join(" ")))),
    }
}

/// Runs the scenarios that the arguments select.
fn qemu_test(words: &[&str]) -> Result<(), Failure> {
    let mut options = tests_qemu::Options::of_checkout(&root());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--list" => options.list = true,
            "--jobs" => {
                let value = words.next().and_then(|value| value.parse().ok());
                options.jobs = value.ok_or_else(|| Failure("--jobs needs a whole number".into()))?;
            }
            word if word.starts_with('-') => {
                return Err(Failure(format!("do not understand `{word}`\n{USAGE}")));
            }
            word => options.filters.push(word.to_owned()),
        }
    }
    if !options.list {
        host::for_test_bed()?;
        artifacts::build(false)?;
    }
    let outcome = tests_qemu::run(&options)?;
    if outcome.failed() == 0 { Ok(()) } else { Err(Failure(String::new())) }
}

/// Takes `--seconds N` out of the arguments; the rest are names.
fn seconds(words: &[&str], default: u32) -> Result<(u32, Vec<String>), Failure> {
    let mut seconds = default;
    let mut names = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--seconds" {
            let value = words.next().and_then(|value| value.parse().ok());
            seconds = value.ok_or_else(|| Failure("--seconds needs a whole number".into()))?;
        } else if word.starts_with('-') {
            return Err(Failure(format!("do not understand `{word}`\n{USAGE}")));
        } else {
            names.push((*word).to_owned());
        }
    }
    Ok((seconds, names))
}

/// Prints the closing line of a test run and fails if anything did.
fn summary(passed: usize, failed: usize) -> Result<(), Failure> {
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(Failure(String::new())) }
}

/// The checkout that this program was built from.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Prints one line of progress.
pub fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// Runs a program, its output going where ours goes, and fails if it does.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure(format!("`{}` failed: {status}", line(command)))),
        Err(error) => Err(Failure(format!("`{}` cannot be started: {error}", line(command)))),
    }
}

/// Runs a program and returns its standard output as text.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(Failure(format!("`{}` failed: {}", line(command), output.status))),
        Err(error) => Err(Failure(format!("`{}` cannot be started: {error}", line(command)))),
    }
}

/// The command line for a human to repeat.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
