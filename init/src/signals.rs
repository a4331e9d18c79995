//! Signals: all blocked and read from a descriptor, children reaped, everything put back for the real init.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, Signal as Number, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::error::{Context, Result};

/// What a signal means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Children exited: call [`reap`].
    Children,
    /// SIGINT (Ctrl-Alt-Del, if somebody redirected it) or SIGTERM: reboot.
    Reboot,
}

/// The descriptor that signals are read from.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Signals {
    /// Blocks all signals for this thread and those that it starts; to be called before the first thread.
    ///
    /// # Errors
    /// If the kernel has no signalfd.
    pub fn block_all() -> Result<Signals> {
        SigSet::all().thread_set_mask().context(|| "block signals".to_owned())?;
        set_pipe(SigHandler::SigIgn)?;
        let wanted = [Number::SIGCHLD, Number::SIGINT, Number::SIGTERM].into_iter().collect::<SigSet>();
        let fd = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context(|| "open a signal descriptor".to_owned())?;
        Ok(Signals { fd })
    }

    /// The next signal, without blocking.
    ///
    /// # Errors
    /// If the descriptor is broken.
    pub fn next(&self) -> Result<Option<Signal>> {
        let read = self.fd.read_signal().context(|| "read the signal descriptor".to_owned())?;
        Ok(read.map(|info| match Number::try_from(i32::try_from(info.ssi_signo).unwrap_or(0)) {
            Ok(Number::SIGINT | Number::SIGTERM) => Signal::Reboot,
            _ => Signal::Children,
        }))
    }
}

/// Puts mask and dispositions back to what the kernel gave us, for whatever is executed next. Handlers are reset by
/// execve(2), ignored signals are not; SIGPIPE is the only one that this program ignores.
///
/// # Errors
/// If the kernel refuses.
pub fn restore() -> Result<()> {
    set_pipe(SigHandler::SigDfl)?;
    SigSet::empty().thread_set_mask().context(|| "unblock signals".to_owned())
}

/// A write to a closed pipe or socket is an error to handle, not a reason to die. Ignored besides blocked: a blocked
/// one would stay pending and hit the program that is executed next.
fn set_pipe(handler: SigHandler) -> Result<()> {
    // SAFETY: neither SIG_IGN nor SIG_DFL runs code of ours in signal context.
    let before = unsafe { signal(Number::SIGPIPE, handler) };
    before.map(drop).context(|| "set the disposition of SIGPIPE".to_owned())
}

/// Reaps every child that exited: our own, which the caller knows by their numbers, and orphans.
pub fn reap() {
    // Bounded, so that a fork bomb cannot hold the loop: what is left over waits for the next SIGCHLD.
    for _ in 0..1024 {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(status) => log::debug!("reaped: {status:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `reap` is left to the tests in a guest: other tests of this process have children of their own.
    #[test]
    fn signals_are_read_and_put_back() {
        let signals = Signals::block_all().unwrap();
        // To this thread alone: the test runner's others have not blocked it.
        nix::sys::signal::raise(Number::SIGTERM).unwrap();
        assert_eq!(signals.next().unwrap(), Some(Signal::Reboot));
        assert_eq!(signals.next().unwrap(), None);
        restore().unwrap();
        assert!(!SigSet::thread_get_mask().unwrap().contains(Number::SIGCHLD));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        assert_eq!(
            u64::from_str_radix(ignored, 16).unwrap() & (1 << 12),
            0,
            "SIGPIPE is back to its default"
        );
    }
}
