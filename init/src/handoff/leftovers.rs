//! Processes that a rescue shell left behind.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Ends every process but this one, kernel threads, and root's own with `@` as first byte of their command line: those
/// serve the root file system (systemd's `ROOT_STORAGE_DAEMONS.md`).
///
/// They are killed at once: nothing that a rescue shell starts has state worth a grace period. The real init, being the
/// same process, reaps them.
pub fn end() {
    // Without a single child there is nothing to look for: every user process here descends from us.
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if waitid(WaitId::All, any).err() == Some(Errno::CHILD) {
        return;
    }
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        let owner = entry.metadata().map_or(0, |about| about.uid());
        if pid > 1
            && is_ended(&command, owner)
            && let Some(process) = Pid::from_raw(pid)
            && kill_process(process, Signal::KILL).is_ok()
        {
            log::info!(
                "ended process {pid} ({})",
                String::from_utf8_lossy(&command).replace('\0', " ").trim_end()
            );
        }
    }
}

/// Kernel threads and zombies have no command line.
fn is_ended(command: &[u8], owner: u32) -> bool {
    match command.first() {
        None => false,
        Some(b'@') => owner != 0,
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_ended;

    #[test]
    fn who_stays() {
        for (command, owner, ended) in
            [(&b""[..], 0, false), (b"@mdmon\0", 0, false), (b"@mdmon\0", 1000, true), (b"sh\0", 0, true)]
        {
            assert_eq!(is_ended(command, owner), ended, "{command:?} {owner}");
        }
    }
}
