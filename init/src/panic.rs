//! A defect of this program: say where, then do what the command line wants done when a boot fails.
//!
//! The profile aborts on panic, and an aborted process 1 stops the machine with a kernel panic that hides the reason. So
//! the hook does not return. A fatal signal (a fault in the C libraries) is left to the kernel, which names it.

use std::os::unix::process::CommandExt;
use std::panic::PanicHookInfo;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cmdline::plan::{EmergencyAction, FailurePlan};
use rustix::system::RebootCommand;

use crate::{kmsg, signals};

/// Shells that images bring, with the arguments that make them interactive.
const SHELLS: [(&str, &[&str]); 3] =
    [("/bin/sh", &["-i"]), ("/bin/bash", &["-i"]), ("/bin/busybox", &["sh", "-i"])];

static WISH: Mutex<Wish> = Mutex::new(Wish { shell: false, end: End::Hang });
static PANICKED: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    shell: bool,
    end: End,
}

/// How it ends without a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Hang,
    RebootAfter(u64),
    Act(RebootAct),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RebootAct {
    Reboot,
    PowerOff,
    Halt,
}

impl Wish {
    /// A defect counts as a fatal error, in which `rd.shell` is off unless it is given.
    fn of(plan: &FailurePlan) -> Wish {
        let end = match (plan.emergency, plan.panic) {
            (Some(EmergencyAction::Reboot), _) => End::Act(RebootAct::Reboot),
            (Some(EmergencyAction::PowerOff), _) => End::Act(RebootAct::PowerOff),
            (Some(EmergencyAction::Halt), _) => End::Act(RebootAct::Halt),
            (None, None | Some(0)) => End::Hang,
            (None, Some(seconds)) => End::RebootAfter(u64::try_from(seconds).unwrap_or(0)),
        };
        Wish { shell: plan.shell == Some(true), end }
    }
}

/// Sets the hook; until [`configure`] is called a panic hangs.
pub fn install() {
    std::panic::set_hook(Box::new(hook));
}

/// Takes `rd.shell`, `rd.emergency` and `panic=` over.
pub fn configure(plan: &FailurePlan) {
    *WISH.lock().unwrap_or_else(PoisonError::into_inner) = Wish::of(plan);
}

fn hook(info: &PanicHookInfo<'_>) {
    if PANICKED.swap(true, Ordering::SeqCst) {
        // Another thread is at it, or this hook itself panicked.
        hang();
    }
    // One record, so that what a reader copies is complete.
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no message");
    match info.location() {
        Some(place) => kmsg::last_words(format_args!("internal error, please report it: {place}: {message}")),
        None => kmsg::last_words(format_args!("internal error, please report it: {message}")),
    }
    // A copy, so that the lock is free while the shell runs; a thread that died holding it leaves the default.
    let wish = WISH.try_lock().map_or(Wish { shell: false, end: End::Hang }, |wish| *wish);
    if wish.shell {
        shell();
        kmsg::last_words(format_args!(
            "rd.shell=1, but the image has no shell: build it with one, or take rd.shell away to have panic= obeyed"
        ));
        hang();
    }
    match wish.end {
        End::Hang => {
            kmsg::last_words(format_args!(
                "stopped for good; panic=SECONDS on the command line reboots instead"
            ));
        }
        End::RebootAfter(seconds) => {
            kmsg::last_words(format_args!("rebooting in {seconds} s (panic=)"));
            std::thread::sleep(Duration::from_secs(seconds));
            act(RebootAct::Reboot);
        }
        End::Act(action) => act(action),
    }
    hang();
}

fn act(action: RebootAct) {
    let (command, name) = match action {
        RebootAct::Reboot => (RebootCommand::Restart, "reboot"),
        RebootAct::PowerOff => (RebootCommand::PowerOff, "power off"),
        RebootAct::Halt => (RebootCommand::Halt, "halt"),
    };
    if let Err(error) = rustix::system::reboot(command) {
        kmsg::last_words(format_args!("cannot {name}: {error}"));
    }
}

/// Becomes the shell; returns when there is none.
fn shell() {
    // Without it the shell would never see Ctrl-C; there is nobody to tell if that fails.
    let _ = signals::restore();
    for (path, arguments) in SHELLS.into_iter().filter(|(path, _)| std::path::Path::new(path).exists()) {
        kmsg::last_words(format_args!("rd.shell=1: process 1 becomes {path}; leaving it panics the kernel"));
        // Replaces this process, or returns the reason why not.
        let _ = Command::new(path).args(arguments).exec();
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_decides_how_it_ends() {
        let plan =
            |shell, emergency, panic| FailurePlan { shell, emergency, panic, ..FailurePlan::default() };
        for (plan, shell, end) in [
            (plan(None, None, None), false, End::Hang),
            (plan(Some(false), None, Some(0)), false, End::Hang),
            (plan(Some(true), None, Some(5)), true, End::RebootAfter(5)),
            (plan(None, None, Some(-1)), false, End::RebootAfter(0)),
            (plan(None, Some(EmergencyAction::PowerOff), Some(5)), false, End::Act(RebootAct::PowerOff)),
        ] {
            assert_eq!(Wish::of(&plan), Wish { shell, end }, "{plan:?}");
        }
    }
}
