//! An almost empty `/init`: loads the modules listed in `/modules`, mounts the device of `bare.root=`, executes
//! the init of `bare.init=`. It waits for nothing but its one device and parses nothing else.

use std::ffi::CStr;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_move};

/// Flag of finit_module(2) for compressed modules (include/uapi/linux/module.h, since Linux 5.17).
const COMPRESSED: i32 = 4;

fn main() {
    if let Err(error) = run() {
        if let Ok(mut kmsg) = fs::OpenOptions::new().write(true).open("/dev/kmsg") {
            let _ = kmsg.write_all(format!("<3>bare-init: {error}\n").as_bytes());
        }
        let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    }
}

fn run() -> Result<(), String> {
    for (fstype, point) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")] {
        fs::create_dir_all(point).map_err(|error| format!("{point}: {error}"))?;
        let data: Option<&CStr> = (fstype == "tmpfs").then_some(c"mode=0755");
        let flags =
            if fstype == "tmpfs" { MountFlags::NODEV | MountFlags::NOSUID } else { MountFlags::empty() };
        mount(fstype, point, fstype, flags, data).map_err(|error| format!("{point}: {error}"))?;
    }
    let cmdline = fs::read_to_string("/proc/cmdline").map_err(|error| format!("/proc/cmdline: {error}"))?;
    let parameter = |name: &str| {
        cmdline
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let device = parameter("bare.root").unwrap_or_else(|| "/dev/vda".to_owned());
    let fstype = parameter("bare.fstype").unwrap_or_else(|| "ext4".to_owned());
    let init = parameter("bare.init").unwrap_or_else(|| "/sbin/init".to_owned());
    let list = fs::read_to_string("/modules").unwrap_or_default();
    for path in list.lines() {
        let file = fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
        let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED };
        match rustix::system::finit_module(&file, c"", flags) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(format!("loading {path}: {error}")),
        }
    }
    let start = Instant::now();
    // The node of a disk is there a moment before it can be opened.
    while fs::File::open(&device).is_err() {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("{device} did not appear"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::create_dir_all("/root").map_err(|error| format!("/root: {error}"))?;
    let flags = if parameter("bare.rw").is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
    mount(&*device, "/root", &*fstype, flags, None).map_err(|error| format!("mounting {device}: {error}"))?;
    for point in ["proc", "sys", "dev", "run"] {
        let old = format!("/{point}");
        let new = format!("/root/{point}");
        mount_move(&*old, &*new).map_err(|error| format!("moving {old}: {error}"))?;
    }
    // The archive's files are memory until they are unlinked; the mounts were moved away already.
    for name in ["/modules", "/lib", "/init"] {
        let _ = fs::remove_dir_all(name).or_else(|_| fs::remove_file(name));
    }
    std::env::set_current_dir("/root").map_err(|error| format!("/root: {error}"))?;
    mount_move(".", "/").map_err(|error| format!("moving the root: {error}"))?;
    rustix::process::chroot(".").map_err(|error| format!("chroot: {error}"))?;
    std::env::set_current_dir("/").map_err(|error| format!("/: {error}"))?;
    Err(format!("{init}: {}", Command::new(&init).env_clear().exec()))
}
