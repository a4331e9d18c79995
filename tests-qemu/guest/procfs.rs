//! Readers of /proc and /sys, and the few calls that end a guest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::system::RebootCommand;
use tests_qemu::verdict::{LogLine, Mount, Pid1};

/// Text of a file, lossy, without the trailing newline; empty if it cannot be read.
pub fn text(path: impl AsRef<Path>) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
}

/// Target of a symbolic link; empty if it cannot be read.
pub fn link(path: impl AsRef<Path>) -> String {
    fs::read_link(path).map(|target| target.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Names in a directory, sorted; none if it cannot be read.
pub fn names(path: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Fields separated by NUL, as in /proc/PID/cmdline and environ.
pub fn nul_separated(path: impl AsRef<Path>) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes
        .strip_suffix(b"\0")
        .unwrap_or(&bytes)
        .split(|byte| *byte == 0)
        .filter(|_| !bytes.is_empty())
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect()
}

/// State of PID 1 from /proc/1.
pub fn pid1() -> Pid1 {
    let mut pid1 = Pid1 {
        argv: nul_separated("/proc/1/cmdline"),
        environ: nul_separated("/proc/1/environ"),
        cwd: link("/proc/1/cwd"),
        exe: link("/proc/1/exe"),
        oom_score_adj: text("/proc/1/oom_score_adj").parse().unwrap_or_default(),
        ..Pid1::default()
    };
    for name in names("/proc/1/fd") {
        let target = link(format!("/proc/1/fd/{name}"));
        // The descriptor through which this very directory is being listed is gone by now.
        if let (Ok(number), false) = (name.parse(), target.is_empty()) {
            pid1.fds.insert(number, target);
        }
    }
    for line in text("/proc/1/status").lines() {
        if let Some((key, value)) = line.split_once(':') {
            pid1.status.insert(key.to_owned(), value.trim().to_owned());
        }
    }
    // The command name may hold spaces and parentheses: fields are counted after the last ')'.
    let stat = text("/proc/1/stat");
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let field = |index: usize| fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(-1);
    (pid1.pgrp, pid1.session, pid1.tty_nr) = (field(2), field(3), field(4));
    for line in text("/proc/1/limits").lines().skip(1) {
        // Columns are at fixed places: name 0..26, soft 26..47, hard 47..68 (fs/proc/base.c).
        let column = |from: usize, to: usize| line.get(from..to.min(line.len())).unwrap_or("").trim();
        pid1.limits.insert(column(0, 26).to_owned(), (column(26, 47).to_owned(), column(47, 68).to_owned()));
    }
    pid1
}

/// All mounts of the caller's namespace that are visible from its root.
pub fn mounts() -> Vec<Mount> {
    text("/proc/self/mountinfo").lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let [id, parent, device, root, point, options, propagation @ ..] = left.as_slice() else { return None };
    let [fstype, source, super_options] = right.as_slice() else { return None };
    Some(Mount {
        id: id.parse().ok()?,
        parent: parent.parse().ok()?,
        device: (*device).to_owned(),
        root: (*root).to_owned(),
        point: (*point).to_owned(),
        options: (*options).to_owned(),
        propagation: propagation.join(" "),
        fstype: (*fstype).to_owned(),
        source: (*source).to_owned(),
        super_options: (*super_options).to_owned(),
    })
}

/// /proc/meminfo in kB.
pub fn meminfo() -> BTreeMap<String, u64> {
    text("/proc/meminfo")
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            Some((key.to_owned(), value.split_whitespace().next()?.parse().ok()?))
        })
        .collect()
}

/// Free pages in kB that wait on per-CPU lists (mm/page_alloc.c, `pcp`). MemFree does not count them, and
/// kernels since 6.7 let the lists grow by megabytes where many pages are freed at once.
pub fn free_on_cpu_lists() -> u64 {
    let zones = text("/proc/zoneinfo");
    let counts = zones.lines().filter_map(|line| line.trim().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum::<u64>() * 4
}

/// The kernel log from its oldest record on.
pub fn kernel_log() -> Vec<LogLine> {
    let mut log = Vec::new();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let Ok(mut file) = fs::OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg") else {
        return log;
    };
    let mut record = [0_u8; 8192];
    loop {
        match file.read(&mut record) {
            Ok(0) => return log,
            Ok(length) => {
                let record = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
                log.extend(log_line(&record));
            }
            // The ring buffer has wrapped: the next read goes on with the oldest record left.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
            Err(_) => return log,
        }
    }
}

fn log_line(record: &str) -> Option<LogLine> {
    let (head, text) = record.split_once(';')?;
    let mut fields = head.split(',');
    let priority = fields.next()?.parse().ok()?;
    let usec = fields.nth(1)?.parse().ok()?;
    let text = text.lines().next().unwrap_or_default().to_owned();
    Some(LogLine { priority, usec, text })
}

/// Writes one line to the kernel log, where the console shows it.
pub fn complain(message: &str) {
    if let Ok(mut kmsg) = fs::OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = kmsg.write_all(format!("<3>{message}\n").as_bytes());
    }
}

/// Writes what is dirty and switches the machine off. Disks of a scenario are snapshots, so nothing more
/// careful is needed.
pub fn power_off() -> ! {
    rustix::fs::sync();
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}
