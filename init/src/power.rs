//! The ways out that are not a root file system.

use cmdline::plan::EmergencyAction;
use engine::{Failure, GiveUp};
use rustix::system::{RebootCommand, reboot};

/// How the machine is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Restart.
    Reboot,
    /// Switch off.
    PowerOff,
    /// Stop, power on.
    Halt,
    /// PID 1 exits, so that the kernel panics and `panic=` decides.
    Panic,
}

impl From<GiveUp> for Ending {
    fn from(end: GiveUp) -> Ending {
        match end {
            GiveUp::Act(EmergencyAction::Reboot) => Ending::Reboot,
            GiveUp::Act(EmergencyAction::PowerOff) => Ending::PowerOff,
            GiveUp::Act(EmergencyAction::Halt) => Ending::Halt,
            GiveUp::Panic => Ending::Panic,
        }
    }
}

/// Ends the machine's run; returns only if the kernel refuses.
///
/// Dirty data is written first: a root file system may already be mounted read-write, and reboot(2) does not sync.
pub fn end(how: Ending) -> Failure {
    rustix::fs::sync();
    let (what, command) = match how {
        Ending::Reboot => ("reboot", RebootCommand::Restart),
        Ending::PowerOff => ("power off", RebootCommand::PowerOff),
        Ending::Halt => ("halt", RebootCommand::Halt),
        // The kernel prints "Attempted to kill init! exitcode=0x00000100" and obeys panic=.
        Ending::Panic => std::process::exit(1),
    };
    match reboot(command) {
        Ok(()) => Failure::Other(format!("{what}: the kernel returned")),
        Err(errno) => Failure::Os { what: what.to_owned(), errno: errno.raw_os_error() },
    }
}
