//! The kernel's log, read for the rescue prompt.

use std::collections::VecDeque;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The last lines, this program's included; every open of `/dev/kmsg` reads from the oldest record on.
#[must_use]
pub fn tail(lines: usize) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let kernel = match rustix::fs::open("/dev/kmsg", flags, Mode::empty()) {
        Ok(kernel) => kernel,
        Err(errno) => return format!("/dev/kmsg cannot be read: {errno}"),
    };
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut buffer = vec![0_u8; 8192];
    loop {
        match rustix::io::read(&kernel, &mut buffer) {
            Ok(length @ 1..) => {
                let record = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                kept.extend(record_line(&record));
                while kept.len() > lines {
                    kept.pop_front();
                }
            }
            // Records were overwritten while we read: go on with the oldest that is left.
            Err(Errno::PIPE | Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    kept.into_iter().collect::<Vec<_>>().join("\n")
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS...;TEXT` (Documentation/ABI/testing/dev-kmsg).
fn record_line(record: &str) -> Option<String> {
    let (head, text) = record.lines().next()?.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    Some(format!("[{:>5}.{:06}] {text}", micros / 1_000_000, micros % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::record_line;

    #[test]
    fn kernel_records() {
        let record = "6,339,5140900,-;NET: Registered protocol family\n SUBSYSTEM=net\n";
        assert_eq!(record_line(record).as_deref(), Some("[    5.140900] NET: Registered protocol family"));
        assert_eq!(record_line("garbage"), None);
        assert_eq!(record_line("6,1;x"), None);
    }
}
