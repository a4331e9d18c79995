//! The real init gets `/dev/console` three times and no other descriptor of ours.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use engine::Failure;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Marks every descriptor above 2 but `kept` to be closed by execve(2), and opens the first three anew.
///
/// Nothing is closed yet, so the program goes on as before if the hand-off fails.
///
/// # Errors
///
/// Without `/proc/self/fd` or any console; the boot can go on regardless.
pub fn prepare(kept: Option<&OwnedFd>) -> Result<(), Failure> {
    let console = reopen_console();
    let names = fs::read_dir("/proc/self/fd").map_err(|error| os("list /proc/self/fd", &error))?;
    for entry in names.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if number > 2 && kept.is_none_or(|kept| kept.as_raw_fd() != number) {
            close_on_exec(number);
        }
    }
    console.map_err(|errno| os("open /dev/console for init", &std::io::Error::from(errno)))
}

/// The kernel opened ours from the initramfs's own `/dev`, which would pin the old root.
fn reopen_console() -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let console = rustix::fs::open("/dev/console", flags, Mode::empty())
        .or_else(|_| rustix::fs::open("/dev/null", flags, Mode::empty()))?;
    dup2_stdin(&console)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)
}

fn close_on_exec(number: i32) {
    // SAFETY: the borrow lives for the two calls below; a number that was closed since it was listed makes them fail
    // with EBADF and nothing else.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    if let Ok(flags) = fcntl_getfd(fd)
        && !flags.contains(FdFlags::CLOEXEC)
    {
        let _ = fcntl_setfd(fd, flags | FdFlags::CLOEXEC);
    }
}

fn os(what: &str, error: &std::io::Error) -> Failure {
    Failure::Os { what: what.to_owned(), errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()) }
}
