//! A shell, if the image has one.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use engine::Failure;
use rustix::fs::OFlags;
use rustix::process::{Pid, ioctl_tiocsctty, setsid};

/// Looked for in this order.
const SHELLS: [(&str, &[&str]); 5] = [
    ("/bin/bash", &[]),
    ("/bin/sh", &[]),
    ("/bin/busybox", &["sh"]),
    ("/usr/bin/bash", &[]),
    ("/usr/bin/busybox", &["sh"]),
];

const ENVIRONMENT: [(&str, &str); 4] =
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/"), ("TERM", "linux"), ("PS1", "rootward:\\w# ")];

/// A shell that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shell {
    path: &'static str,
    arguments: &'static [&'static str],
}

impl Shell {
    /// The image's shell.
    #[must_use]
    pub fn find() -> Option<Shell> {
        let is_executable = |path: &str| {
            fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
        };
        let found = SHELLS.iter().find(|(path, _)| is_executable(path));
        found.map(|&(path, arguments)| Shell { path, arguments })
    }

    /// Starts it on this terminal, in a session of its own; the caller suspends the consoles before and reaps it.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be opened or the program not be executed.
    pub fn spawn(self, terminal: &str) -> Result<Pid, Failure> {
        let failed = |error: io::Error| Failure::Os {
            what: format!("start {} on {terminal}", self.path),
            errno: error.raw_os_error().unwrap_or(0),
        };
        let flags = i32::try_from((OFlags::NOCTTY | OFlags::CLOEXEC).bits()).unwrap_or(0);
        let tty = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(terminal)
            .map_err(failed)?;
        let mut command = Command::new(self.path);
        command
            .args(self.arguments)
            .arg("-i")
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::from(tty.try_clone().map_err(failed)?))
            .stdout(Stdio::from(tty.try_clone().map_err(failed)?))
            .stderr(Stdio::from(tty));
        let child = own_session(&mut command).spawn().map_err(failed)?;
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| failed(io::Error::other("pid")))
    }
}

/// Job control and control-C need a session whose controlling terminal is the child's standard input.
fn own_session(command: &mut Command) -> &mut Command {
    let in_child = || {
        setsid()?;
        // Without job control a shell is still a shell.
        let _ = ioctl_tiocsctty(rustix::stdio::stdin());
        Ok(())
    };
    // SAFETY: between fork and execve(2) the closure makes two plain system calls on the child's own descriptor 0; it
    // takes no lock and allocates nothing.
    unsafe { command.pre_exec(in_child) }
}
