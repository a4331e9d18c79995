//! Arrays with external metadata (Intel, DDF): the kernel is told of them through `/sys/block/mdN/md`, as mdadm does
//! (sysfs.c, Assemble.c: `assemble_container_content`).
//!
//! Without mdmon nobody answers the kernel's question before the first write (`write-pending`), so volumes with redundancy
//! are started read-only, and made writable when root is mounted or something above them writes by itself
//! ([`make_writable`], docs/ATA-RAID.md).

mod dirty;

use std::fs;
use std::sync::PoisonError;

use engine::{ContainerRequest, DevName, Failure, MarkedVolume, Outcome, VolumeRequest};

use crate::md::{TURN, array, map};
use crate::nodes::Links;

pub use dirty::make_writable;

/// Makes volumes writable before something on them is mounted or writes by itself; one that cannot be made writable is no
/// reason not to use what is on it.
pub fn open_for_writing(volumes: &[MarkedVolume]) {
    for volume in volumes {
        if let Err(failure) = make_writable(volume) {
            log::error!("{} stays read-only until mdmon of the real root runs: {failure}", volume.array);
        }
    }
}

/// Sectors of a KiB, in which md counts sizes.
const KIB: u64 = 2;

/// Makes the container and starts its volumes. A volume that cannot be started does not keep the others from it.
///
/// # Errors
///
/// What the kernel said, if nothing could be started; what was made by then is taken back.
pub fn start(request: &ContainerRequest) -> Result<Outcome, Failure> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let container = Array::create(request.number, &request.reserved)?;
    if let Err(failure) = fill(&container, request) {
        container.clear();
        return Err(failure);
    }
    map::enter(&container.0, request.format.mdadm_name(), &request.uuid, &container.listed(&request.path));
    // udev's rule reads it to find out which mdmon a volume needs, maybe before it makes it itself.
    if let Some(link) = request.path.strip_prefix("/dev/md/")
        && let Err(error) = Links::new().apply(&DevName(container.0.clone()), &[format!("md/{link}")])
    {
        log::warn!("{error}");
    }
    let (mut failed, mut started) = (None, false);
    for volume in &request.volumes {
        match start_volume(&container, volume, &request.reserved) {
            Ok(array) => {
                started = true;
                report(&array, volume);
            }
            Err(failure) => {
                log::error!("volume {} is not started: {failure}", volume.path);
                failed = Some(failure);
            }
        }
    }
    let Some(failure) = failed else { return Ok(Outcome::Done) };
    if !started {
        // It would hold its disks when the next start wants them.
        map::remove(&container.0);
        container.clear();
    }
    Err(failure)
}

/// An array by its kernel name.
struct Array(String);

impl Array {
    /// With this number if nobody has it.
    fn create(wanted: Option<u32>, reserved: &[u32]) -> Result<Array, Failure> {
        let name = format!("md{}", array::free_number(wanted, reserved)?);
        put("/sys/module/md_mod/parameters/new_array", &name)?;
        Ok(Array(name))
    }

    /// The path for mdadm's map: one that is no name below `/dev/md` is that of a node, which another array may have by now.
    fn listed(&self, path: &str) -> String {
        if path.starts_with("/dev/md/") { path.to_owned() } else { format!("/dev/{}", self.0) }
    }

    fn path(&self, attribute: &str) -> String {
        format!("/sys/block/{}/md/{attribute}", self.0)
    }

    fn set(&self, attribute: &str, value: &str) -> Result<(), Failure> {
        put(&self.path(attribute), value)
    }

    /// Adds a disk.
    fn add(&self, disk: &DevName) -> Result<(), Failure> {
        let numbers =
            fs::read_to_string(format!("/sys/class/block/{}/dev", sys(disk))).map_err(|_| Failure::Gone)?;
        self.set("new_dev", numbers.trim())
    }

    fn clear(&self) {
        if let Err(failure) = self.set("array_state", "clear") {
            log::warn!("{} stays: {failure}", self.0);
        }
    }
}

fn sys(device: &DevName) -> String {
    device.0.replace('/', "!")
}

fn put(path: &str, value: &str) -> Result<(), Failure> {
    fs::write(path, value).map_err(|error| Failure::Os {
        what: format!("write {value} to {path}"),
        errno: error.raw_os_error().unwrap_or(0),
    })
}

fn fill(container: &Array, request: &ContainerRequest) -> Result<(), Failure> {
    container.set("metadata_version", &format!("external:{}", request.format.mdadm_name()))?;
    request.disks.iter().try_for_each(|disk| {
        array::remove_partitions(disk);
        container.add(disk)
    })
}

fn start_volume(container: &Array, volume: &VolumeRequest, reserved: &[u32]) -> Result<Array, Failure> {
    let array = Array::create(volume.number, reserved)?;
    // Before it runs: whoever hears of it then looks its name up here.
    map::enter(
        &array.0,
        &format!("/{}/{}", container.0, volume.index),
        &volume.uuid,
        &array.listed(&volume.path),
    );
    describe(&array, container, volume).inspect_err(|_| {
        map::remove(&array.0);
        array.clear();
    })?;
    Ok(array)
}

fn describe(array: &Array, container: &Array, volume: &VolumeRequest) -> Result<(), Failure> {
    array.set("metadata_version", &format!("external:/{}/{}", container.0, volume.index))?;
    array.set("level", &format!("raid{}", volume.level))?;
    array.set("raid_disks", &volume.members.to_string())?;
    array.set("chunk_size", &volume.chunk.to_string())?;
    array.set("layout", &volume.layout.to_string())?;
    array.set("component_size", &(volume.component / KIB).to_string())?;
    if let Some(size) = volume.size {
        array.set("array_size", &(size / KIB).to_string())?;
    }
    if volume.level > 0 {
        array.set("resync_start", if volume.resync { "0" } else { "none" })?;
    }
    for (disk, slot, offset) in &volume.legs {
        array.add(disk)?;
        let of = |attribute: &str| format!("dev-{}/{attribute}", sys(disk));
        array.set(&of("offset"), &offset.to_string())?;
        array.set(&of("size"), &volume.component.div_ceil(KIB).to_string())?;
        // mdadm too lets this fail before the array runs.
        let _ = array.set(&of("state"), "insync");
        array.set(&of("slot"), &slot.to_string())?;
    }
    // A stripe has no state that metadata would have to follow.
    array.set("array_state", if volume.level == 0 { "active" } else { "readonly" })?;
    // So late the kernel says that a volume is idle (mdadm: `safe_mode_delay` of both formats); starting has reset it.
    array.set("safe_mode_delay", "4.000")
}

/// Says what became of a started volume.
fn report(array: &Array, volume: &VolumeRequest) {
    log::info!("started {} ({}) of {} members", array.0, volume.path, volume.legs.len());
}
