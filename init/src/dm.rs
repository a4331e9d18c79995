//! Device-mapper devices: made in one go, or not at all.
//!
//! No udev cookies are used: they make the caller wait for a daemon that is not there. Nodes are devtmpfs's, links are
//! made when the kernel reports the device.

mod persistent;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use devicemapper::{DM, DevId, DmError, DmFlags, DmName, DmOptions, DmUuid};
use engine::assemble::lvm::activation::PoolKind;
use engine::{DmDevice, DmTarget, Failure, Outcome, ReadAhead};
use ondisk::lvm::pool::SUPERBLOCK;
use ondisk::lvm::vdo;
use zeroize::Zeroize;

use crate::external_md;

/// The kernel's `dm_target_spec.target_type` has room for 16 bytes with the final zero.
const LONGEST_KIND: usize = 15;

/// Makes a device, loads its table and resumes it, unless that is to come later.
///
/// # Errors
///
/// What the kernel said, with nothing left behind; the kernel log has the target's own words.
pub fn create(device: &DmDevice) -> Result<Outcome, Failure> {
    make(device, DmFlags::empty())
}

/// The same for a table with a key in it, of which the kernel keeps no copy in its buffers.
///
/// # Errors
///
/// As [`create`].
pub fn create_with_key(device: &DmDevice) -> Result<Outcome, Failure> {
    make(device, DmFlags::DM_SECURE_DATA)
}

fn make(device: &DmDevice, secrecy: DmFlags) -> Result<Outcome, Failure> {
    let DmDevice { name, uuid, targets, read_only, read_ahead, held, minor, volumes } = device;
    if let Some(target) = targets.iter().find(|target| target.kind.len() > LONGEST_KIND) {
        return Err(Failure::Other(format!("cannot make {name}: no target type is called {}", target.kind)));
    }
    external_md::open_for_writing(volumes);
    let dm = DM::new().map_err(|error| refuse("open device-mapper's control node", name, &error))?;
    let named = DmName::new(name).map_err(|error| refuse("use the name", name, &error))?;
    let owned = match uuid.as_str() {
        "" => None,
        uuid => Some(DmUuid::new(uuid).map_err(|error| refuse("use the UUID of", name, &error))?),
    };
    let flags = if *read_only { DmFlags::DM_READONLY } else { DmFlags::empty() };
    let options = DmOptions::default().set_flags(flags);
    let chosen = minor.and_then(|minor| match persistent::create(dm.file(), name, uuid, minor) {
        Ok(()) => Some(minor),
        Err(errno) => {
            log::warn!("{name} cannot have its persistent number {minor} ({errno}); it gets a free one");
            None
        }
    });
    let made = match chosen {
        Some(_) => dm.device_info(&DevId::Name(named)),
        None => dm.device_create(named, owned, options),
    };
    let number = made.map_err(|error| refuse("make the device-mapper device", name, &error))?.device();
    let id = DevId::Name(named);
    let mut table = lines(targets);
    let loaded = dm.table_load(&id, &table, options.set_flags(flags | secrecy));
    table.iter_mut().for_each(|(.., params)| params.zeroize());
    let live = loaded
        .map_err(|error| refuse("load the table of", name, &error))
        .and_then(|_| if *held { Ok(()) } else { start(&dm, named, *read_ahead) });
    if let Err(failure) = live {
        if let Err(error) = dm.device_remove(&id, DmOptions::default()) {
            log::warn!("cannot remove the unfinished device {name}: {error}");
        }
        return Err(failure);
    }
    log::info!("made /dev/mapper/{name} (dm-{})", number.minor);
    Ok(Outcome::Made { major: number.major, minor: number.minor })
}

/// Resumes a device that was made held.
///
/// # Errors
///
/// What the kernel said.
pub fn resume(name: &str, read_ahead: ReadAhead) -> Result<Outcome, Failure> {
    let dm = DM::new().map_err(|error| refuse("open device-mapper's control node", name, &error))?;
    let named = DmName::new(name).map_err(|error| refuse("use the name", name, &error))?;
    start(&dm, named, read_ahead)?;
    Ok(Outcome::Done)
}

/// Gives a device another table. I/O that is under way is kept and goes on with the new one, as multipathd does it:
/// waiting for it could take for ever where it is queued because no path works.
///
/// # Errors
///
/// What the kernel said; the old table is in force then, and the log says so.
pub fn reload(device: &DmDevice) -> Result<Outcome, Failure> {
    let DmDevice { name, targets, read_only, .. } = device;
    let dm = DM::new().map_err(|error| refuse("open device-mapper's control node", name, &error))?;
    let named = DmName::new(name).map_err(|error| refuse("use the name", name, &error))?;
    let flags = if *read_only { DmFlags::DM_READONLY } else { DmFlags::empty() };
    let id = DevId::Name(named);
    dm.table_load(&id, &lines(targets), DmOptions::default().set_flags(flags))
        .map_err(|error| refuse("load another table of", name, &error))?;
    let pause = DmFlags::DM_SUSPEND | DmFlags::DM_NOFLUSH | DmFlags::DM_SKIP_LOCKFS;
    dm.device_suspend(&id, DmOptions::default().set_flags(pause))
        .map_err(|error| refuse("suspend", name, &error))?;
    if let Err(failure) = start(&dm, named, ReadAhead::Kernel) {
        // The kernel has dropped the new table and left the device suspended: all I/O would wait for ever.
        let resumed = dm.device_suspend(&id, DmOptions::default());
        let state = if resumed.is_ok() { "its old table stays" } else { "it is suspended" };
        log::error!("{failure}; {state}: look at the paths with multipath -ll");
        return Err(failure);
    }
    Ok(Outcome::Done)
}

/// Sends a message to the target that maps the first sector.
///
/// # Errors
///
/// What the kernel said; the log says so.
pub fn message(name: &str, message: &str) -> Result<Outcome, Failure> {
    let sent = DM::new().and_then(|dm| dm.target_msg(&DevId::Name(DmName::new(name)?), Some(0), message));
    sent.map(|_| Outcome::Done).map_err(|error| {
        let failure = refuse(&format!("send {message} to"), name, &error);
        log::error!("{failure}");
        failure
    })
}

fn lines(targets: &[DmTarget]) -> Vec<(u64, u64, String, String)> {
    targets
        .iter()
        .map(|target| (target.start, target.length, target.kind.clone(), target.params.clone()))
        .collect()
}

/// Makes the loaded table the live one.
fn start(dm: &DM, name: &DmName, read_ahead: ReadAhead) -> Result<(), Failure> {
    let info = dm
        .device_suspend(&DevId::Name(name), DmOptions::default())
        .map_err(|error| refuse("start", &name.to_string(), &error))?;
    // Not before: with a new table the kernel computes its own again.
    set_read_ahead(info.device().minor, read_ahead);
    Ok(())
}

/// Lets the engine judge a pool's metadata.
///
/// # Errors
///
/// Its judgement, or that the block cannot be read.
pub fn check_pool((major, minor): (u32, u32), kind: PoolKind) -> Result<Outcome, Failure> {
    let path = format!("/dev/dm-{minor}");
    if kind == PoolKind::Vdo {
        // lvm2 too goes by its own metadata where these say nothing.
        return Ok(vdo_sectors(&path).map_or(Outcome::Done, Outcome::Length));
    }
    let mut block = vec![0; SUPERBLOCK];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut block));
    read.map_err(|error| Failure::Other(format!("cannot read {path} ({major}:{minor}): {error}")))?;
    kind.judge(&block).map(|()| Outcome::Done).map_err(Failure::Other)
}

/// Size of the VDO volume on this device, if it can be told.
fn vdo_sectors(path: &str) -> Option<u64> {
    let file = File::open(path).ok()?;
    let mut block = [0; vdo::BLOCK];
    file.read_exact_at(&mut block, 0).ok()?;
    let geometry = vdo::geometry(&block)?;
    file.read_exact_at(&mut block, geometry.super_block).ok()?;
    vdo::sectors(geometry, &block)
}

/// Removes the device of this name; one that is not there counts as removed.
///
/// # Errors
///
/// What the kernel said, e.g. that it is in use.
pub fn remove(name: &str) -> Result<Outcome, Failure> {
    let dm = DM::new().map_err(|error| refuse("open device-mapper's control node", name, &error))?;
    let named = DmName::new(name).map_err(|error| refuse("use the name", name, &error))?;
    let id = DevId::Name(named);
    if dm.device_info(&id).is_err() {
        return Ok(Outcome::Done);
    }
    dm.device_remove(&id, DmOptions::default())
        .map(|_| Outcome::Done)
        .map_err(|error| refuse("remove", name, &error))
}

/// The kernel counts in KiB here, lvm2 in sectors.
fn set_read_ahead(minor: u32, wanted: ReadAhead) {
    let path = format!("/sys/block/dm-{minor}/bdi/read_ahead_kb");
    let current = || fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let kibibytes = match wanted {
        ReadAhead::Kernel => return,
        ReadAhead::AtLeast(sectors) if current().is_some_and(|now| now.saturating_mul(2) >= sectors) => {
            return;
        }
        ReadAhead::AtLeast(sectors) | ReadAhead::Exactly(sectors) => sectors.div_ceil(2),
    };
    if let Err(error) = fs::write(&path, kibibytes.to_string()) {
        log::warn!("cannot set the read-ahead of dm-{minor}: {error}");
    }
}

/// The library's own text prints two ioctl headers; the cause is what an operator needs.
fn refuse(verb: &str, name: &str, error: &DmError) -> Failure {
    let cause = match error {
        DmError::Core(core) => std::error::Error::source(core).map(ToString::to_string),
        DmError::Dm(..) => None,
    };
    let cause = cause.unwrap_or_else(|| error.to_string());
    Failure::Other(format!("cannot {verb} {name}: {cause}; the kernel log may say more"))
}
