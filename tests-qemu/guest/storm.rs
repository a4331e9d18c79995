//! A storm of uevents while `/init` works.
//!
//! Nothing outside a guest can make the kernel send thousands of uevents in a moment: hot-plugging that many
//! devices through QMP takes minutes, and a module such as zram would make devices that the storm should not
//! depend on. The kernel sends a synthetic uevent for each write to a `uevent` attribute
//! (Documentation/ABI/testing/sysfs-uevent). So this program is the kernel's `rdinit=`: it forks a process
//! that writes, and becomes `/init`, which finds itself with a stranger's child, as any PID 1 must bear.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};

use crate::procfs;

/// Events sent before the root's disk is asked for.
const EVENTS: usize = 2000;

/// Events sent, the disk's own among them, once the disk is there; `/init` may hand over before the last one.
const AFTERWARDS: usize = 1000;

/// As PID 1: starts the writer and becomes `/init`. As the writer (`--write`): writes.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if arguments.iter().any(|argument| argument == "--write") {
        return write();
    }
    Command::new("/storm").arg("--write").spawn().map_err(|error| format!("/storm --write: {error}"))?;
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let error = Command::new("/init")
        .args(arguments.get(1..).unwrap_or_default())
        .env_clear()
        .envs(environment)
        .exec();
    Err(format!("/init: {error}"))
}

fn write() -> Result<(), String> {
    // A place of its own: /sys is for /init to mount.
    for (fstype, point) in [("sysfs", "/storm-sys"), ("devtmpfs", "/storm-dev"), ("proc", "/storm-proc")] {
        fs::create_dir_all(point).map_err(|error| format!("{point}: {error}"))?;
        mount(fstype, point, fstype, MountFlags::empty(), None)
            .map_err(|error| format!("{point}: {error}"))?;
    }
    let mut kmsg = fs::OpenOptions::new()
        .write(true)
        .open("/storm-dev/kmsg")
        .map_err(|error| format!("/storm-dev/kmsg: {error}"))?;
    let mut say = |text: &str| kmsg.write_all(format!("<6>rootward-storm: {text}\n").as_bytes());
    let mut attributes = Vec::new();
    for class in ["tty", "mem", "vc"] {
        for name in procfs::names(format!("/storm-sys/class/{class}")) {
            attributes.push(format!("/storm-sys/class/{class}/{name}/uevent"));
        }
    }
    let _ = say(&format!("begins with {} devices", attributes.len()));
    // Events before anyone listens would test nothing.
    until("nobody listens to uevents", || listened().then_some(()))?;
    send(&attributes, EVENTS)?;
    let _ = say(&format!("{EVENTS} uevents sent"));
    // The runner answers by plugging in the root's disk, and the storm goes on meanwhile.
    let disk = until("no disk was plugged in", || {
        let disk = procfs::names("/storm-sys/class/block").into_iter().next();
        if disk.is_none() {
            let _ = send(&attributes, 10);
        }
        Some(format!("/storm-sys/class/block/{}/uevent", disk?))
    })?;
    let _ = say("the disk is there");
    attributes.insert(0, disk);
    // What `/init` hands over takes this place away: the end of the storm may find nobody to tell.
    let _ = send(&attributes, AFTERWARDS);
    Ok(())
}

/// Lets the kernel send `count` events for these devices in turn.
fn send(attributes: &[String], count: usize) -> Result<(), String> {
    for (number, attribute) in attributes.iter().cycle().take(count).enumerate() {
        let action = if number % 2 == 0 { "add" } else { "change" };
        fs::write(attribute, action).map_err(|error| format!("{attribute}: {error}"))?;
    }
    Ok(())
}

/// Whether a socket is bound to the kernel's uevent group: columns of /proc/net/netlink are the socket,
/// the protocol (15: include/uapi/linux/netlink.h), the port and the groups in hexadecimal.
fn listened() -> bool {
    procfs::text("/storm-proc/self/net/netlink").lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let protocol = fields.next();
        let groups = fields.nth(1).and_then(|groups| u32::from_str_radix(groups, 16).ok());
        protocol == Some("15") && groups.is_some_and(|groups| groups & 1 != 0)
    })
}

/// Waits for something that sends no event to a bystander.
fn until<T>(failure: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if start.elapsed() > Duration::from_secs(60) {
            return Err(failure.to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
