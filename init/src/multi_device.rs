//! File systems on several devices: the kernel learns of all of them before the mount, and what is mounted without some
//! of them has no part that would need those.

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;

use engine::{DevName, Failure};

/// `struct btrfs_ioctl_vol_args` (include/uapi/linux/btrfs.h).
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

nix::ioctl_write_ptr!(btrfs_scan, 0x94, 4, VolArgs);

/// Tells btrfs about its devices. One that it does not take is logged: the mount says what is missing.
pub fn scan_btrfs(devices: &[DevName]) {
    let control = match File::options().read(true).write(true).open("/dev/btrfs-control") {
        Ok(control) => control,
        Err(error) => {
            log::warn!("cannot open /dev/btrfs-control: {error}");
            return;
        }
    };
    for device in devices {
        let path = format!("/dev/{device}");
        let mut args = VolArgs { fd: 0, name: [0; 4088] };
        // The last byte stays zero.
        let Some(room) = args.name.get_mut(..path.len().min(4087)) else { continue };
        room.copy_from_slice(path.as_bytes().get(..room.len()).unwrap_or_default());
        // SAFETY: BTRFS_IOC_SCAN_DEV reads the structure, whose layout is the kernel's and which outlives the call.
        if let Err(errno) = unsafe { btrfs_scan(control.as_raw_fd(), &raw const args) } {
            log::warn!("btrfs does not take {path}: {errno}");
        }
    }
}

/// Several devices as bcachefs wants them named.
#[must_use]
pub fn bcachefs_source(devices: &[DevName]) -> String {
    devices.iter().map(|device| format!("/dev/{device}")).collect::<Vec<_>>().join(":")
}

/// Whether every part of the mounted btrfs on one of `devices` survives without `missing` devices.
///
/// A read-only mount is not refused by the kernel (`btrfs_check_rw_degradable` is for writing), but part of its data may
/// be gone.
///
/// # Errors
///
/// Which part does not.
pub fn survives(devices: &[DevName], missing: u64) -> Result<(), Failure> {
    let of_ours = |device: &DevName, path: &str| {
        let name = device.0.replace('/', "!");
        fs::exists(format!("{path}/devices/{name}")).unwrap_or(false)
    };
    for entry in fs::read_dir("/sys/fs/btrfs").into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(path) = path.to_str().filter(|path| devices.iter().any(|device| of_ours(device, path)))
        else {
            continue;
        };
        for part in ["data", "metadata", "system", "mixed"] {
            for profile in fs::read_dir(format!("{path}/allocation/{part}")).into_iter().flatten().flatten() {
                let name = profile.file_name();
                let bears = name.to_str().and_then(tolerance);
                if let Some(bears) = bears.filter(|bears| *bears < missing) {
                    let profile = name.to_string_lossy();
                    return Err(Failure::Other(format!(
                        "{missing} of its devices are missing, and its {part} is kept as {profile}, which bears the loss of {bears}"
                    )));
                }
            }
        }
        return Ok(());
    }
    Err(Failure::Other("the kernel does not say how its data is kept (/sys/fs/btrfs)".to_owned()))
}

/// How many devices a profile may lose (`btrfs_raid_array` in fs/btrfs/volumes.c); `None` for other directories.
fn tolerance(profile: &str) -> Option<u64> {
    match profile {
        "single" | "dup" | "raid0" => Some(0),
        "raid1" | "raid10" | "raid5" => Some(1),
        "raid1c3" | "raid6" => Some(2),
        "raid1c4" => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles() {
        for (profile, expected) in
            [("single", Some(0)), ("dup", Some(0)), ("raid1", Some(1)), ("raid1c4", Some(3)), ("flags", None)]
        {
            assert_eq!(tolerance(profile), expected, "{profile}");
        }
    }

    #[test]
    fn nothing_is_known_of_what_is_not_mounted() {
        assert!(survives(&["no-such-device".into()], 1).is_err());
        assert_eq!(bcachefs_source(&["sda".into(), "sdb".into()]), "/dev/sda:/dev/sdb");
    }

    #[test]
    fn the_structure_is_a_page() {
        assert_eq!(size_of::<VolArgs>(), 4096);
    }
}
