//! The checker inside the guest. One program, several parts to play:
//!
//! - PID 1 of the probe root: records what the hand-off left, sends the verdict, powers off;
//! - `--distribution`: the same from a systemd unit of a full distribution, once its boot is finished;
//! - `--builder`: PID 1 of the builder VM, runs the script on the input disk;
//! - PID 1 as `rdinit=/storm`: lets 2,000 uevents loose while `/init` works.
//!
//! `no_main`: the Rust runtime would ignore SIGPIPE, install a SIGSEGV handler and open /dev/null on closed
//! standard descriptors before `main`, and so falsify the state that is to be recorded.
#![no_main]

mod builder;
mod collect;
mod distribution;
mod modules;
mod port;
mod procfs;
mod storm;

use std::ffi::c_int;

/// Entry point, called by the C runtime.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const u8) -> c_int {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let program = arguments.first().map_or("", String::as_str);
    let outcome = if arguments.iter().any(|argument| argument == "--distribution") {
        distribution::report()
    } else if program.ends_with("/builder") {
        builder::run()
    } else if program.ends_with("/storm") {
        storm::run(&arguments)
    } else {
        collect::probe()
    };
    if let Err(error) = outcome {
        procfs::complain(&format!("rootward-guest: {error}"));
        if std::process::id() == 1 {
            procfs::power_off();
        }
        return 1;
    }
    0
}
