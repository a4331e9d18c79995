//! What the guest checker saw inside the booted root, as it travels over the virtio-serial port.
//!
//! The guest only collects; whether what it saw is right is decided by each scenario on the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Word of the command line with which free memory is looked at until it has settled, a second long.
pub const MEMORY_WANTED: &str = "bed.memory";

/// Name of the virtio-serial port that carries the verdict.
pub const PORT: &str = "rootward.verdict";

/// Everything collected in the real root.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// `uname -r`.
    pub kernel: String,
    /// /proc/cmdline.
    pub cmdline: String,
    /// PID 1 as the hand-off left it.
    pub pid1: Pid1,
    /// /proc/self/mountinfo, before the checker mounted anything.
    pub mounts: Vec<Mount>,
    /// API file systems that the checker had to mount itself because the hand-off had not left them.
    pub mounted_by_checker: Vec<String>,
    /// Block devices of /sys/class/block.
    pub block: Vec<BlockDevice>,
    /// Arrays: kernel name, then path below `/sys/block/NAME` and value, line ends as blanks.
    pub arrays: BTreeMap<String, BTreeMap<String, String>>,
    /// Symbolic links below /dev (path to target), without /dev/char, /dev/block and /dev/fd.
    pub links: BTreeMap<String, String>,
    /// Everything below /run.
    pub run: Vec<RunEntry>,
    /// Loaded modules, from /proc/modules.
    pub modules: Vec<String>,
    /// Modules that the checker loaded itself, to reach the port.
    pub modules_by_checker: Vec<String>,
    /// /proc/meminfo in kB, after the page cache was dropped.
    pub meminfo: BTreeMap<String, u64>,
    /// Free memory in kB that MemFree leaves out: pages on per-CPU lists.
    pub free_on_cpu_lists: u64,
    /// Kernel log.
    pub kmsg: Vec<LogLine>,
    /// Seconds since boot when the checker started.
    pub uptime: f64,
    /// Highest uevent sequence number, from /sys/kernel/uevent_seqnum.
    pub uevent_seqnum: u64,
    /// User-space processes besides PID 1 and the checker.
    pub processes: Vec<Process>,
    /// References from any process to files outside the real root ("PID what target").
    pub outside_root: Vec<String>,
    /// Content of /etc/rootward-marker, which tells one test root from another.
    pub marker: String,
    /// What systemd and the storage tools of a full distribution say; absent in the probe root.
    pub distribution: Option<Distribution>,
}

/// State of PID 1.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pid1 {
    /// Arguments, `argv[0]` included.
    pub argv: Vec<String>,
    /// Environment, `NAME=value`.
    pub environ: Vec<String>,
    /// Open descriptors and what they refer to.
    pub fds: BTreeMap<u32, String>,
    /// /proc/1/status.
    pub status: BTreeMap<String, String>,
    /// Current directory.
    pub cwd: String,
    /// Executable.
    pub exe: String,
    /// Session id.
    pub session: i64,
    /// Process group.
    pub pgrp: i64,
    /// Device number of the controlling terminal, 0 for none.
    pub tty_nr: i64,
    /// Soft and hard limits by name, as /proc/1/limits prints them.
    pub limits: BTreeMap<String, (String, String)>,
    /// /proc/1/oom_score_adj.
    pub oom_score_adj: i64,
}

/// One line of mountinfo (Documentation/filesystems/proc.rst, section 3.5).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Mount id.
    pub id: u32,
    /// Parent's mount id.
    pub parent: u32,
    /// `major:minor`.
    pub device: String,
    /// Path inside the file system that is mounted.
    pub root: String,
    /// Mount point.
    pub point: String,
    /// Per-mount options.
    pub options: String,
    /// Propagation fields.
    pub propagation: String,
    /// File system type.
    pub fstype: String,
    /// Source.
    pub source: String,
    /// Per-superblock options.
    pub super_options: String,
}

/// A block device.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockDevice {
    /// Kernel name.
    pub name: String,
    /// `major:minor`.
    pub dev: String,
    /// Size in 512-byte sectors.
    pub sectors: u64,
    /// Kernel names of the devices below (sysfs `slaves`).
    pub below: Vec<String>,
    /// dm name, if it is a device-mapper device.
    pub dm_name: String,
    /// dm UUID, if it is a device-mapper device.
    pub dm_uuid: String,
}

/// A file below /run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEntry {
    /// Absolute path.
    pub path: String,
    /// `file`, `dir`, `link`, `socket`, `fifo` or `other`.
    pub kind: String,
    /// Permission bits in octal.
    pub mode: String,
    /// Text of files below /run/udev/data and of small text files elsewhere.
    pub content: Option<String>,
}

/// A record of the kernel log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLine {
    /// Syslog priority and facility as printed by /dev/kmsg.
    pub priority: u32,
    /// Microseconds since boot.
    pub usec: u64,
    /// Text.
    pub text: String,
}

/// A process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Command name.
    pub comm: String,
    /// Arguments.
    pub argv: Vec<String>,
    /// Executable.
    pub exe: String,
}

/// What a full distribution says about itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Distribution {
    /// Output of each command run, by its command line.
    pub commands: BTreeMap<String, Output>,
}

/// What a command printed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// Exit status; -1 when the program could not be run.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Verdict {
    /// The mount that is visible at `point`: the last one stacked there.
    #[must_use]
    pub fn mount(&self, point: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.point == point)
    }

    /// The block device with this kernel name.
    #[must_use]
    pub fn block(&self, name: &str) -> Option<&BlockDevice> {
        self.block.iter().find(|device| device.name == name)
    }

    /// The block device with this `major:minor`.
    #[must_use]
    pub fn block_by_number(&self, number: &str) -> Option<&BlockDevice> {
        self.block.iter().find(|device| device.dev == number)
    }

    /// Lines of the kernel log that `/init` wrote, without their prefix.
    pub fn own_log(&self) -> impl Iterator<Item = &str> {
        self.kmsg.iter().filter_map(|line| line.text.strip_prefix("rootward: "))
    }

    /// Output of a command of a full distribution; an empty one if it was not run.
    #[must_use]
    pub fn command(&self, line: &str) -> Output {
        self.distribution
            .as_ref()
            .and_then(|distribution| distribution.commands.get(line).cloned())
            .unwrap_or(Output { status: -1, stderr: "not run".to_owned(), ..Output::default() })
    }
}
