//! Collects the verdict.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use tests_qemu::verdict::{BlockDevice, MEMORY_WANTED, Process, RunEntry, Verdict};

use crate::{port, procfs};

/// Files of /run larger than this are named, not quoted.
const QUOTED: u64 = 16 * 1024;
/// How far per-CPU lists may change while memory is looked at, in kB.
const LIST_NOISE: u64 = 256;

/// As PID 1 of the probe root: records, sends, powers off.
pub fn probe() -> Result<(), String> {
    let mut verdict = Verdict::default();
    let proc_present = Path::new("/proc/self").exists();
    // Without the hand-off's /proc nothing can be recorded, so that one is mounted before anything else.
    if !proc_present {
        api_mount("proc", "/proc", &mut verdict);
    }
    verdict.pid1 = procfs::pid1();
    verdict.mounts = procfs::mounts();
    if !Path::new("/sys/kernel").exists() {
        api_mount("sysfs", "/sys", &mut verdict);
    }
    if !Path::new("/dev/null").exists() {
        api_mount("devtmpfs", "/dev", &mut verdict);
    }
    collect(&mut verdict);
    let (mut port, loaded) = port::open()?;
    verdict.modules_by_checker = loaded;
    send(&mut port, &verdict)?;
    procfs::power_off();
}

fn api_mount(fstype: &str, point: &str, verdict: &mut Verdict) {
    match mount(fstype, point, fstype, MountFlags::empty(), None) {
        Ok(()) => verdict.mounted_by_checker.push(point.to_owned()),
        Err(error) => procfs::complain(&format!("rootward-guest: mounting {point}: {error}")),
    }
}

/// Sends the verdict as one line.
pub fn send(port: &mut fs::File, verdict: &Verdict) -> Result<(), String> {
    let mut line = serde_json::to_vec(verdict).map_err(|error| format!("verdict: {error}"))?;
    line.push(b'\n');
    port.write_all(&line).map_err(|error| format!("verdict port: {error}"))
}

/// Fills in everything that does not depend on the moment.
pub fn collect(verdict: &mut Verdict) {
    verdict.uptime =
        procfs::text("/proc/uptime").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(-1.0);
    verdict.kernel = procfs::text("/proc/sys/kernel/osrelease");
    verdict.cmdline = procfs::text("/proc/cmdline");
    verdict.marker = procfs::text("/etc/rootward-marker");
    verdict.kmsg = procfs::kernel_log();
    verdict.modules = procfs::text("/proc/modules")
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    verdict.uevent_seqnum = procfs::text("/sys/kernel/uevent_seqnum").parse().unwrap_or_default();
    verdict.block = procfs::names("/sys/class/block").into_iter().map(block).collect();
    for name in procfs::names("/sys/block") {
        let md = format!("/sys/block/{name}/md");
        if Path::new(&md).is_dir() {
            attributes(Path::new(&md), "md", verdict.arrays.entry(name).or_default());
        }
    }
    links(Path::new("/dev"), &mut verdict.links);
    run(Path::new("/run"), &mut verdict.run);
    processes(verdict);
    memory(verdict);
}

/// What is free once everything that can be freed is: much is given back later, by RCU and by workers, so the best of
/// a second counts. Clean page cache is not memory lost.
fn memory(verdict: &mut Verdict) {
    rustix::fs::sync();
    let mut best = 0;
    let samples = if verdict.cmdline.contains(MEMORY_WANTED) { 20 } else { 1 };
    for _ in 0..samples {
        let _ = fs::write("/proc/sys/vm/drop_caches", "3");
        let before = procfs::free_on_cpu_lists();
        let meminfo = procfs::meminfo();
        let waiting = procfs::free_on_cpu_lists();
        let free = meminfo.get("MemFree").copied().unwrap_or_default().saturating_add(waiting);
        // Lists that are emptied in between would be counted twice or not at all.
        let still = before.abs_diff(waiting) <= LIST_NOISE;
        if still && free > best || verdict.meminfo.is_empty() {
            best = free;
            (verdict.meminfo, verdict.free_on_cpu_lists) = (meminfo, waiting);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn block(name: String) -> BlockDevice {
    let directory = format!("/sys/class/block/{name}");
    BlockDevice {
        dev: procfs::text(format!("{directory}/dev")),
        sectors: procfs::text(format!("{directory}/size")).parse().unwrap_or_default(),
        below: procfs::names(format!("{directory}/slaves")),
        dm_name: procfs::text(format!("{directory}/dm/name")),
        dm_uuid: procfs::text(format!("{directory}/dm/uuid")),
        name,
    }
}

/// Attributes of an array; those that answer only in other states are left out.
fn attributes(directory: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for name in procfs::names(directory) {
        let path = directory.join(&name);
        let key = format!("{prefix}/{name}");
        let Ok(data) = path.symlink_metadata() else { continue };
        if data.is_dir() {
            attributes(&path, &key, found);
        } else if data.is_file()
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.insert(key, text.replace('\n', " ").trim_end().to_owned());
        }
    }
}

fn links(directory: &Path, found: &mut BTreeMap<String, String>) {
    for name in procfs::names(directory) {
        let path = directory.join(&name);
        let Ok(data) = path.symlink_metadata() else { continue };
        if data.is_symlink() {
            found.insert(path.to_string_lossy().into_owned(), procfs::link(&path));
        } else if data.is_dir() && !["char", "block", "fd"].contains(&name.as_str()) {
            links(&path, found);
        }
    }
}

fn run(directory: &Path, found: &mut Vec<RunEntry>) {
    for name in procfs::names(directory) {
        let path = directory.join(&name);
        let Ok(data) = path.symlink_metadata() else { continue };
        let file_type = data.file_type();
        let kind = match () {
            () if file_type.is_file() => "file",
            () if file_type.is_dir() => "dir",
            () if file_type.is_symlink() => "link",
            () if file_type.is_socket() => "socket",
            () if file_type.is_fifo() => "fifo",
            () => "other",
        };
        let content = match kind {
            "file" if data.len() <= QUOTED => {
                fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            }
            "link" => Some(procfs::link(&path)),
            _ => None,
        };
        found.push(RunEntry {
            path: path.to_string_lossy().into_owned(),
            kind: kind.to_owned(),
            mode: format!("{:04o}", data.mode() & 0o7777),
            content,
        });
        // A file system mounted below /run (credentials, user sessions) is not the hand-off's doing.
        if file_type.is_dir() && directory.symlink_metadata().is_ok_and(|parent| parent.dev() == data.dev()) {
            run(&path, found);
        }
    }
}

fn processes(verdict: &mut Verdict) {
    let own = std::process::id();
    for pid in procfs::names("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok()) {
        let argv = procfs::nul_separated(format!("/proc/{pid}/cmdline"));
        let exe = procfs::link(format!("/proc/{pid}/exe"));
        if exe.is_empty() {
            continue; // A kernel thread.
        }
        for what in ["exe", "cwd", "root"] {
            let target = procfs::link(format!("/proc/{pid}/{what}"));
            note_outside(verdict, pid, what, &target);
        }
        for fd in procfs::names(format!("/proc/{pid}/fd")) {
            let target = procfs::link(format!("/proc/{pid}/fd/{fd}"));
            note_outside(verdict, pid, &format!("fd {fd}"), &target);
        }
        for line in procfs::text(format!("/proc/{pid}/maps")).lines() {
            if let Some(at) = line.find('/') {
                note_outside(verdict, pid, "map", line.get(at..).unwrap_or_default());
            }
        }
        if pid != 1 && pid != own {
            let comm = procfs::text(format!("/proc/{pid}/comm"));
            verdict.processes.push(Process { pid, comm, argv, exe });
        }
    }
}

/// The kernel marks what a process holds but cannot be reached from its root as "(deleted)" once it was
/// unlinked, or "(unreachable)" where the path leads outside.
fn note_outside(verdict: &mut Verdict, pid: u32, what: &str, target: &str) {
    let file = target.starts_with('/') || target.starts_with("(unreachable)");
    let memory = ["/memfd:", "/dev/zero", "/SYSV", "/dev/shm/"].iter().any(|known| target.starts_with(known));
    if file && !memory && (target.starts_with("(unreachable)") || target.ends_with("(deleted)")) {
        verdict.outside_root.push(format!("{pid} {what} {target}"));
    }
}
