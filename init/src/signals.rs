//! Signals: all blocked and read from a descriptor, children reaped, everything put back for the real init.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{SigHandler, SigSet, Signal as Number, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};

use crate::error::{Context, Result};

/// Process ids whose exit somebody waits for.
static CLAIMED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

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

/// Reaps orphans that ended up with process 1; children of [`spawn`] are left to whoever waits for them.
///
/// waitid(2) with WNOWAIT shows one zombie at a time, always the same until it is reaped. So a claimed one ends the
/// round, and the next begins when its owner is done with it.
pub fn reap() {
    let claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    reap_except(&claimed);
}

fn reap_except(claimed: &[i32]) {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // Bounded, so that a fork bomb cannot hold the loop: what is left over waits for the next SIGCHLD.
    for _ in 0..1024 {
        let Some(pid) = waitid(Id::All, peek).ok().and_then(|status| status.pid()) else { return };
        if claimed.contains(&pid.as_raw()) {
            return;
        }
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => log::debug!("reaped: {status:?}"),
            Err(error) => {
                log::debug!("cannot reap process {pid}: {error}");
                return;
            }
        }
    }
}

/// A child that is reaped by whoever holds this.
#[derive(Debug)]
pub struct Claimed {
    child: Child,
    pid: i32,
}

/// Starts a program and keeps [`reap`] from taking its exit status. The standard library gives the child an empty
/// signal mask and the default SIGPIPE.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Claimed> {
    // Held over the start: the child may exit before its number is known here.
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    claimed.push(pid);
    Ok(Claimed { child, pid })
}

impl Claimed {
    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the exit; blocks.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.retain(|pid| *pid != self.pid);
        // Zombies may have queued up behind this one.
        reap_except(&claimed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the mask, the dispositions and the children belong to the process.
    #[test]
    fn claimed_children_keep_their_status_and_signals_are_put_back() {
        let signals = Signals::block_all().unwrap();
        // To this thread alone: the test runner's others have not blocked it.
        nix::sys::signal::raise(Number::SIGTERM).unwrap();
        assert_eq!(signals.next().unwrap(), Some(Signal::Reboot));
        assert_eq!(signals.next().unwrap(), None);
        let mut child = spawn(Command::new("/bin/sh").args(["-c", "exit 7"])).unwrap();
        let pid = nix::unistd::Pid::from_raw(child.pid);
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        reap();
        assert_eq!(child.wait().unwrap().code(), Some(7), "not reaped behind the owner's back");
        drop(child);
        let orphan = Command::new("/bin/true").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(orphan.id()).unwrap());
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        reap();
        assert_eq!(waitpid(pid, None), Err(nix::errno::Errno::ECHILD), "reaped");
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
