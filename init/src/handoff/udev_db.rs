//! What the real root's udev must know of the device-mapper devices that it finds.
//!
//! udev's rules for dm (`55-dm.rules` in Debian, `10-dm.rules` upstream) ignore the coldplug `add` of a dm device unless
//! its database record says that the device was set up by its owner; systemd then holds every unit that names the device
//! until its time-out. The rules import the flag from the record and find out everything else themselves.
//!
//! Parts of logical volumes also carry the flags that lvm2 sets when it makes them (`lib/activate/dev_manager.c`,
//! `_get_udev_flags`): without them udev would read an image of a mirror and link its file system's UUID to it.
//!
//! lvm2's `69-dm-lvm.rules` does not activate a physical volume on an MD array at the coldplug `add` unless the record says
//! that the array was activated before. It looks for `LVM_LOOP_PV_ACTIVATED` on loop devices too, but never imports that from
//! the record (2.03.16, 2.03.31), and udev itself takes nothing over from there (`src/libsystemd/sd-device/device-private.c`,
//! `device_read_db_internal` of a sealed device): a record for a loop device would change nothing.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use devicemapper::{DM, DevId, DmFlags};
use engine::DmFacts;

const RECORDS: &str = "/run/udev/data";

/// One property, in the format of udev's records (`src/libsystemd/sd-device/device-private.c`).
const DM_RECORD: &[u8] = b"E:DM_UDEV_PRIMARY_SOURCE_FLAG=1\n";

/// The same for a multipath device: `11-dm-mpath.rules` of multipath-tools keep one that was ready.
const MULTIPATH_RECORD: &[u8] = b"E:DM_UDEV_PRIMARY_SOURCE_FLAG=1\nE:MPATH_DEVICE_READY=1\n";

/// The same with multipath-tools' flag for `skip_kpartx`, which kpartx.rules take from here.
const UNPARTITIONED_RECORD: &[u8] =
    b"E:DM_SUBSYSTEM_UDEV_FLAG1=1\nE:DM_UDEV_PRIMARY_SOURCE_FLAG=1\nE:MPATH_DEVICE_READY=1\n";

/// The same for a part of a logical volume. Debian 13's rules keep one of the flags under another name.
const PART_RECORD: &[u8] = b"E:DM_COOKIE_DISABLE_OTHER_RULES_FLAG=1\n\
    E:DM_UDEV_DISABLE_DISK_RULES_FLAG=1\n\
    E:DM_UDEV_DISABLE_OTHER_RULES_FLAG=1\n\
    E:DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG=1\n\
    E:DM_UDEV_PRIMARY_SOURCE_FLAG=1\n";

/// The same for a physical volume on an array.
const MD_RECORD: &[u8] = b"E:LVM_MD_PV_ACTIVATED=1\n";

/// Writes a record for every live device-mapper device, and for these MD devices, which hold LVM physical volumes;
/// problems are logged, since the boot can go on without. `unpartitioned` are multipath devices that are to have no
/// partitions.
pub fn seed(volumes_on_md: &[(u32, u32)], unpartitioned: &[(u32, u32)]) {
    for (major, minor) in volumes_on_md {
        if let Err(error) = write_record(*major, *minor, MD_RECORD) {
            log::warn!(
                "cannot write udev's record of MD device {major}:{minor}: {error}; LVM may not take it up"
            );
        }
    }
    // Only dm-mod makes this node, so most machines are done here.
    if !Path::new("/dev/mapper/control").exists() {
        return;
    }
    let devices = match DM::new().and_then(|dm| dm.list_devices().map(|devices| (dm, devices))) {
        Ok((dm, devices)) => devices
            .into_iter()
            .filter_map(|(name, device, _)| {
                let live = DmFlags::DM_ACTIVE_PRESENT;
                let info = dm.device_info(&DevId::Name(&name)).ok()?;
                let uuid = info.uuid().map_or_else(String::new, ToString::to_string);
                let multipath = uuid.starts_with("mpath-");
                let facts = DmFacts { name: name.to_string(), uuid };
                let record = match facts.is_part_of_lv() {
                    true => PART_RECORD,
                    false if multipath && unpartitioned.contains(&(device.major, device.minor)) => {
                        UNPARTITIONED_RECORD
                    }
                    false if multipath => MULTIPATH_RECORD,
                    false => DM_RECORD,
                };
                (info.flags() & (live | DmFlags::DM_SUSPEND) == live).then_some((device, record))
            })
            .collect::<Vec<_>>(),
        Err(error) => {
            log::warn!("cannot list device-mapper devices for udev: {error}");
            return;
        }
    };
    for (device, record) in devices {
        if let Err(error) = write_record(device.major, device.minor, record) {
            log::warn!(
                "cannot write udev's record of dm device {device}: {error}; units of the real root may wait for it"
            );
        }
    }
}

fn write_record(major: u32, minor: u32, record: &[u8]) -> io::Result<()> {
    fs::create_dir_all(RECORDS)?;
    let path = format!("{RECORDS}/b{major}:{minor}");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(record)
}
