//! PID 1 of the builder VM: runs the script of the input disk against the target disks.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, mount};

use crate::{port, procfs};

/// Drivers that a script may rely on; the builder runs no udev.
const MODULES: &[&str] =
    &["virtio_blk", "dm_mod", "dm_crypt", "md_mod", "ext4", "xfs", "btrfs", "vfat", "loop", "overlay"];

/// Mounts what a script needs, runs it, reports `ok` or its status over the verdict port, powers off.
pub fn run() -> Result<(), String> {
    for (fstype, point) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp")]
    {
        // What the bare init has moved here is there already.
        if let Err(error) = mount(fstype, point, fstype, MountFlags::empty(), None)
            && error != rustix::io::Errno::BUSY
        {
            return Err(format!("mounting {point}: {error}"));
        }
    }
    let (mut port, _) = port::open()?;
    for module in MODULES {
        crate::modules::load(module)?;
    }
    // The inputs are a tar archive on the first target disk after the builder's own root.
    let status = Command::new("/bin/sh")
        .arg("-ec")
        .arg(
            "mkdir /tmp/in && tar -C /tmp/in -xf /dev/vdb && cd /tmp/in && exec bash -euxo pipefail ./script",
        )
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        // Without udev libdevmapper must make its nodes itself and wait for nobody.
        .env("DM_DISABLE_UDEV", "1")
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("builder script: {error}"))?;
    let result = match (status.code(), status.signal()) {
        (Some(0), _) => "ok".to_owned(),
        (Some(code), _) => format!("script failed with status {code}"),
        (None, signal) => format!("script killed by signal {}", signal.unwrap_or_default()),
    };
    rustix::fs::sync();
    port.write_all(format!("{result}\n").as_bytes()).map_err(|error| format!("verdict port: {error}"))?;
    procfs::power_off();
}
