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

use rustix::mount::{MountFlags, mount};

use crate::procfs;

/// Events to send.
const EVENTS: usize = 2000;

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
    for (fstype, point) in [("sysfs", "/storm-sys"), ("devtmpfs", "/storm-dev")] {
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
    for class in ["tty", "mem", "block", "vc"] {
        for name in procfs::names(format!("/storm-sys/class/{class}")) {
            attributes.push(format!("/storm-sys/class/{class}/{name}/uevent"));
        }
    }
    let _ = say(&format!("begins with {} devices", attributes.len()));
    let mut sent = 0;
    // Disks that appear meanwhile join in: their events are the ones that matter.
    'storm: loop {
        let mut disks: Vec<String> = Vec::new();
        for name in procfs::names("/storm-sys/class/block") {
            disks.push(format!("/storm-sys/class/block/{name}/uevent"));
        }
        let mut progress = false;
        for attribute in attributes.iter().chain(&disks) {
            let action = if sent % 2 == 0 { "add" } else { "change" };
            if fs::write(attribute, action).is_ok() {
                progress = true;
                sent += 1;
            }
            if sent == EVENTS {
                break 'storm;
            }
        }
        if !progress {
            let _ = say("no device takes events");
            return Err("no device takes events".to_owned());
        }
    }
    let _ = say(&format!("{sent} uevents sent"));
    Ok(())
}
