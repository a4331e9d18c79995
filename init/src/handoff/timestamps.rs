//! Telling systemd when the initramfs began, so that systemd-analyze(1) shows its share of the boot.
//!
//! systemd records an initrd phase by itself only if it ran there. It takes over a predecessor's state from a file
//! descriptor (`--deserialize`), one `KEY=VALUE` a line, unknown lines ignored; the key for the initrd is
//! `initrd-timestamp`, its value the realtime and monotonic clocks in microseconds (`src/core/manager-serialize.c`,
//! `src/core/main.c`; read in 252 and 257). `--switched-root` makes it do its full set-up all the same.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::io::write;

use crate::clock::StartStamp;

/// The state to pass on, in a descriptor that survives execve(2); `None` if it cannot be made, which only costs the
/// figure.
pub fn serialize(start: StartStamp) -> Option<OwnedFd> {
    // Since 6.3 the kernel complains in its log about a memfd that does not say it holds no program; before, it refuses
    // the word.
    let state = memfd_create("initrd-timestamp", MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| memfd_create("initrd-timestamp", MemfdFlags::empty()));
    let made = state.and_then(|state| {
        write(&state, text(start).as_bytes())?;
        seek(&state, SeekFrom::Start(0))?;
        Ok(state)
    });
    made.inspect_err(|errno| log::info!("systemd will not know when the initramfs began: {errno}")).ok()
}

/// The arguments that make systemd read it; they come before those of the command line.
pub fn arguments(state: &OwnedFd) -> [String; 4] {
    ["--switched-root".into(), "--system".into(), "--deserialize".into(), state.as_raw_fd().to_string()]
}

fn text(start: StartStamp) -> String {
    format!("initrd-timestamp={} {}\n", start.realtime, start.monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_state_reads_from_its_start() {
        let state =
            serialize(StartStamp { realtime: 1_700_000_000_000_001, monotonic: 2_500_000 }).expect("memfd");
        let flags = rustix::io::fcntl_getfd(&state).expect("flags");
        assert!(!flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(arguments(&state)[3], state.as_raw_fd().to_string());
        let mut read = String::new();
        std::fs::File::from(state).read_to_string(&mut read).expect("read");
        assert_eq!(read, "initrd-timestamp=1700000000000001 2500000\n");
    }
}
