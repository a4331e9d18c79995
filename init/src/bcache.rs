//! bcache devices are given to the kernel through sysfs (Documentation/admin-guide/bcache.rst).

use std::fs;
use std::io;

use engine::{DevName, Failure, MarkedVolume, Outcome};
use rustix::io::Errno;

use crate::external_md;

/// Registers a part of bcache; one that the kernel has already counts as registered.
///
/// # Errors
///
/// What the operating system said; the kernel log says why.
pub fn register(device: &DevName, volumes: &[MarkedVolume]) -> Result<Outcome, Failure> {
    external_md::open_for_writing(volumes);
    let node = format!("/dev/{device}");
    let holders = format!("/sys/class/block/{device}/bcache");
    match fs::write("/sys/fs/bcache/register", &node) {
        Err(_) if fs::exists(&holders).unwrap_or(false) => Ok(Outcome::Done),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::NoModule("bcache".to_owned())),
        result => finish(result, format!("register {node} with bcache (see the kernel log)")),
    }
}

/// Starts a registered backing device without its cache.
///
/// # Errors
///
/// What the operating system said.
pub fn start_alone(device: &DevName) -> Result<Outcome, Failure> {
    let path = format!("/sys/class/block/{device}/bcache/running");
    finish(fs::write(path, "1"), format!("start {device} without its cache"))
}

fn finish(result: io::Result<()>, what: String) -> Result<Outcome, Failure> {
    result.map(|()| Outcome::Done).map_err(|error| Failure::Os {
        what,
        errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
    })
}
