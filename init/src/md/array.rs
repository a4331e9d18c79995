//! One `md` device.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use engine::{ArrayMember, DevName, Failure};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;

use super::ioctl::{self, ArrayInfo, DiskInfo};

/// Major number of arrays (`MD_MAJOR`).
pub const MAJOR: u32 = 9;

/// mdadm counts down from here when it needs a number that nobody chose.
const LAST_NUMBER: u32 = 127;

/// An open array.
#[derive(Debug)]
pub struct Array {
    number: u32,
    name: String,
    file: File,
}

/// Kernel names of all arrays, in order.
pub fn all() -> Vec<String> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("md") && Path::new(&format!("/sys/block/{name}/md")).exists())
        .collect();
    names.sort();
    names
}

/// This number if nobody has it, else the highest one up to 127 that nobody has and that is not kept for another array.
///
/// # Errors
///
/// If none is left.
pub fn free_number(wanted: Option<u32>, reserved: &[u32]) -> Result<u32, Failure> {
    let free = |number: &u32| !Path::new(&format!("/sys/block/md{number}")).exists();
    let others = || (0..=LAST_NUMBER).rev().filter(|number| !reserved.contains(number)).find(free);
    wanted
        .filter(free)
        .or_else(others)
        .ok_or_else(|| Failure::Other("all numbers of md devices are in use".to_owned()))
}

impl Array {
    /// Makes an empty array with this number, or with a free one.
    ///
    /// # Errors
    ///
    /// If there is no md driver, or no number is left.
    pub fn create(wanted: Option<u32>, reserved: &[u32]) -> Result<Array, Failure> {
        if !Path::new("/sys/module/md_mod").exists() {
            return Err(Failure::NoModule("md-mod".to_owned()));
        }
        let number = free_number(wanted, reserved)?;
        let name = format!("md{number}");
        // Kernels before 5.17 made an array when its node was opened; where that is compiled out, only this does.
        let _ = fs::write("/sys/module/md_mod/parameters/new_array", &name);
        Array::open(&name)
    }

    /// Opens an array for itself alone while it is being built.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn open(name: &str) -> Result<Array, Failure> {
        let number = name
            .strip_prefix("md")
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| Failure::Other(format!("{name} is not the name of an array")))?;
        let path = format!("/dev/{name}");
        if !Path::new(&path).exists() {
            let made = rustix::fs::mknodat(
                CWD,
                &path,
                FileType::BlockDevice,
                Mode::from_raw_mode(0o600),
                makedev(MAJOR, number),
            );
            match made {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(refused(format!("make {path}"), error)),
            }
        }
        let flags = i32::try_from(OFlags::CLOEXEC.bits()).unwrap_or(0);
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path).map_err(|error| {
                Failure::Os { what: format!("open {path}"), errno: error.raw_os_error().unwrap_or(0) }
            })?;
        Ok(Array { number, name: name.to_owned(), file })
    }

    /// Kernel name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Minor number.
    pub fn minor(&self) -> u32 {
        self.number
    }

    /// Says which version of the kernel's own metadata the members carry.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn set_metadata(&self, major: i32, minor: i32) -> Result<(), Failure> {
        let info = ArrayInfo { major_version: major, minor_version: minor, ..ArrayInfo::default() };
        ioctl::set_array_info(self.file.as_fd(), info)
            .map_err(|error| refused(format!("prepare {} for metadata {major}.{minor}", self.name), error))
    }

    /// Adds a member that carries metadata, to an array that is being built or as a spare to one that runs.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn add(&self, member: &ArrayMember) -> Result<(), Failure> {
        let numbers = fs::metadata(format!("/dev/{}", member.device)).map_err(|_| Failure::Gone)?;
        let device = std::os::unix::fs::MetadataExt::rdev(&numbers);
        let disk = DiskInfo {
            number: member.number,
            major: rustix::fs::major(device).cast_signed(),
            minor: rustix::fs::minor(device).cast_signed(),
            raid_disk: member.slot,
            state: member.state,
        };
        ioctl::add_new_disk(self.file.as_fd(), disk)
            .map_err(|error| refused(format!("add {} to {}", member.device, self.name), error))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// What the kernel said; its log says more.
    pub fn run(&self) -> Result<(), Failure> {
        ioctl::run_array(self.file.as_fd()).map_err(|error| refused(format!("start {}", self.name), error))
    }

    /// Writes an attribute of `/sys/block/mdN/md`.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn write(&self, attribute: &str, value: &str) -> Result<(), Failure> {
        let path = format!("/sys/block/{}/md/{attribute}", self.name);
        fs::write(&path, value).map_err(|error| Failure::Os {
            what: format!("write {value} to {path}"),
            errno: error.raw_os_error().unwrap_or(0),
        })
    }

    /// Takes it apart, if nothing uses it.
    ///
    /// # Errors
    ///
    /// What the kernel said, mostly that it is busy.
    pub fn try_stop(&self) -> Result<(), Failure> {
        ioctl::stop_array(self.file.as_fd()).map_err(|error| refused(format!("stop {}", self.name), error))
    }

    /// Takes it apart again.
    pub fn stop(&self) {
        if let Err(error) = ioctl::stop_array(self.file.as_fd()) {
            log::warn!("cannot stop {}, which could not be started: {error}", self.name);
        }
    }
}

fn refused(what: String, error: Errno) -> Failure {
    Failure::Os { what, errno: error.raw_os_error() }
}

/// Takes the partitions of a member away that the kernel has seen on it, as mdadm does: what they hold is the array's.
pub fn remove_partitions(device: &DevName) {
    let kernel_name = device.0.replace('/', "!");
    let entries = fs::read_dir(format!("/sys/block/{kernel_name}")).into_iter().flatten().flatten();
    let partitions: Vec<i32> = entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("partition")).ok()?.trim().parse().ok())
        .collect();
    if partitions.is_empty() {
        return;
    }
    let Ok(disk) = File::open(format!("/dev/{device}")) else { return };
    for number in partitions {
        if let Err(error) = ioctl::delete_partition(disk.as_fd(), number) {
            log::info!("partition {number} of {device} stays: {error}");
        }
    }
}
