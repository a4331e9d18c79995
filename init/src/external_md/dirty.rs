//! What mdmon does before the first write to a volume, done once before what lies on it is mounted or opened for writing:
//! the metadata of all disks call the volume not cleanly stopped and what is missing of it missing, and the kernel is told
//! that it may write (mdadm: monitor.c, `read_and_act`).

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use engine::{DevName, Failure, MarkedVolume};
use ondisk::ata_raid::{self, Format};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Array, sys};
use crate::probe::Device;

/// A first write takes so many rounds of [`ROUND`] at most.
const ROUNDS: u32 = 100;
/// How long the kernel's state is looked at before the write is.
const ROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long the write itself may take once the kernel lets it through.
const WRITE: Duration = Duration::from_secs(10);

/// Makes a volume writable. Nothing happens to one that is already.
///
/// # Errors
///
/// What went wrong; the volume then stays read-only, and may already be called dirty: it is synchronised once more.
pub fn make_writable(volume: &MarkedVolume) -> Result<(), Failure> {
    // Volumes of one container share their metadata, and several things above one may want it at once.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let MarkedVolume { array: volume, missing } = volume;
    let array = Array(sys(volume));
    if array.get("array_state")? != "readonly" {
        return Ok(());
    }
    let metadata = array.get("metadata_version")?;
    let (container, index) = metadata
        .strip_prefix("external:/")
        .and_then(|place| place.split_once('/'))
        .and_then(|(container, index)| Some((Array(container.to_owned()), index.parse().ok()?)))
        .ok_or_else(|| Failure::Other(format!("{volume} is in no container: {metadata}")))?;
    let format = match container.get("metadata_version")?.as_str() {
        "external:imsm" => Format::Imsm,
        "external:ddf" => Format::Ddf,
        other => return Err(Failure::Other(format!("{} has unknown metadata: {other}", container.0))),
    };
    for disk in container.disks()? {
        mark(&disk, format, index, missing)?;
    }
    array.set("array_state", "clean")?;
    let begun = first_write(&array, volume);
    if begun.is_err() {
        let _ = array.set("array_state", "readonly");
    }
    begun
}

impl Array {
    fn get(&self, attribute: &str) -> Result<String, Failure> {
        let path = self.path(attribute);
        let text = fs::read_to_string(&path).map_err(|error| os(format!("read {path}"), &error))?;
        Ok(text.trim().to_owned())
    }

    fn disks(&self) -> Result<Vec<DevName>, Failure> {
        let path = format!("/sys/block/{}/slaves", self.0);
        let entries = fs::read_dir(&path).map_err(|error| os(format!("read {path}"), &error))?;
        let name = |entry: fs::DirEntry| DevName(entry.file_name().to_string_lossy().replace('!', "/"));
        Ok(entries.flatten().map(name).collect())
    }
}

fn mark(disk: &DevName, format: Format, index: u32, missing: &[u32]) -> Result<(), Failure> {
    let sector = fs::read_to_string(format!("/sys/block/{}/queue/logical_block_size", sys(disk)));
    let sector = sector.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(512);
    let path = format!("/dev/{disk}");
    let reader = Device::open_path(&path, 0, sector)?;
    let writes = ata_raid::dirty(&reader, format, index, missing)
        .map_err(|error| Failure::Os { what: format!("read {path}"), errno: error.errno })?
        .ok_or_else(|| Failure::Other(format!("the RAID metadata of {disk} do not allow it")))?;
    if writes.is_empty() {
        return Ok(());
    }
    let write = |(at, bytes): &(u64, Vec<u8>)| {
        let file = File::options().write(true).open(&path)?;
        file.write_all_at(bytes, *at)?;
        // The order is what makes a crash in between harmless.
        file.sync_data()
    };
    writes.iter().try_for_each(write).map_err(|error| os(format!("write RAID metadata to {path}"), &error))
}

/// The kernel becomes active with a write and not before; so the first sector is written as it is, while nobody else
/// uses the volume.
fn first_write(array: &Array, volume: &DevName) -> Result<(), Failure> {
    let path = format!("/dev/{volume}");
    let (done, finished) = mpsc::channel();
    // Not to be waited for without a limit: it hangs for as long as the kernel's question is not answered.
    std::thread::Builder::new()
        .spawn(move || {
            let _ = done.send(rewrite(&path).map_err(|error| os(format!("write {path}"), &error)));
        })
        .map_err(|error| os("start a thread".to_owned(), &error))?;
    let refused = || Failure::Other(format!("the kernel does not let {volume} be written to"));
    let state = array.path("array_state");
    let mut file = File::open(&state).map_err(|error| os(format!("open {state}"), &error))?;
    for _ in 0..ROUNDS {
        let mut text = String::new();
        file.rewind()
            .and_then(|()| file.read_to_string(&mut text))
            .map_err(|error| os(state.clone(), &error))?;
        if text.trim() == "write-pending" {
            array.set("array_state", "active")?;
            return finished.recv_timeout(WRITE).unwrap_or_else(|_| Err(refused()));
        }
        match finished.recv_timeout(Duration::from_millis(1)) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        // The answer to a state that has been read is a wake-up at its next change.
        let _ = poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&ROUND));
    }
    Err(refused())
}

fn rewrite(path: &str) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut sector = vec![0; 4096];
    file.read_exact_at(&mut sector, 0)?;
    file.write_all_at(&sector, 0)?;
    file.sync_data()
}

fn os(what: String, error: &std::io::Error) -> Failure {
    Failure::Os { what, errno: error.raw_os_error().unwrap_or(0) }
}
