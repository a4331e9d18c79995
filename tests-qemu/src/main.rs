//! `rootward-qemu-test [--list] [--jobs N] [--init FILE] [--rootward FILE] [--results DIR]
//! [FILTER]...`: the scenarios without
//! xtask, on other binaries than those of `cargo xtask build` if need be.

use std::path::Path;
use std::process::ExitCode;

use tests_qemu::{Options, run};

fn main() -> ExitCode {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut options = Options::of_checkout(checkout);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => options.list = true,
            "--jobs" => {
                options.jobs = arguments.next().and_then(|word| word.parse().ok()).unwrap_or(options.jobs);
            }
            "--init" => options.init = arguments.next().map_or(options.init, Into::into),
            "--rootward" => options.rootward = arguments.next().map_or(options.rootward, Into::into),
            "--results" => options.results = arguments.next().map_or(options.results, Into::into),
            _ => options.filters.push(argument),
        }
    }
    match run(&options) {
        Ok(summary) if summary.failed() == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rootward-qemu-test: {error}");
            ExitCode::FAILURE
        }
    }
}
