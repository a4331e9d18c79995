//! MD arrays: made, filled and started, or not at all; never forced.
//!
//! Two kinds of metadata share what is in [`mod@array`]: the kernel's own, whose arrays are described to it by ioctls, and
//! external ones, which are described through `/sys/block/mdN/md`.

pub mod array;
mod ioctl;
pub mod map;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::{ArrayMember, ArrayRequest, DevName, Failure, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use array::Array;

use crate::external_md;

pub use map::look_up;

/// Choosing a number, and changing the map, is for one thread at a time.
pub static TURN: Mutex<()> = Mutex::new(());

/// Makes an array of members that carry the kernel's metadata, and starts it.
///
/// # Errors
///
/// [`Failure::Member`] if the kernel refuses one that holds data or the journal, otherwise what it said; what was made
/// by then is taken back.
pub fn assemble(request: &ArrayRequest) -> Result<Outcome, Failure> {
    external_md::open_for_writing(&request.volumes);
    let array = {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let array = Array::create(request.number, &request.reserved)?;
        // A node's path is another array's if its number was taken.
        let named = request.path.clone().filter(|path| path.starts_with("/dev/md/"));
        let path = named.unwrap_or_else(|| format!("/dev/{}", array.name()));
        // Before it runs: whoever hears of it then looks its name up here.
        map::enter(array.name(), &request.metadata, &request.map_uuid, &path);
        array
    };
    match fill(&array, request) {
        Ok(()) => {
            let minor = array.minor();
            log::info!("started {} of {} members", array.name(), request.members.len());
            Ok(Outcome::Made { major: array::MAJOR, minor })
        }
        Err(failure) => {
            let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            map::remove(array.name());
            array.stop();
            Err(failure)
        }
    }
}

fn fill(array: &Array, request: &ArrayRequest) -> Result<(), Failure> {
    let (major, minor) = request
        .metadata
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| Failure::Other(format!("no metadata version is called {}", request.metadata)))?;
    array.set_metadata(major, minor)?;
    for member in &request.members {
        array::remove_partitions(&member.device);
        match array.add(member) {
            // The data is whole without a spare.
            Err(failure) if member.slot < 0 => {
                log::warn!(
                    "{failure}: it goes on without this spare; mdadm --manage /dev/{} --add /dev/{} tries again",
                    array.name(),
                    member.device
                );
            }
            Err(Failure::Os { what, errno }) => {
                return Err(Failure::Member { device: member.device.clone(), what, errno });
            }
            result => result?,
        }
    }
    if request.read_auto { array.write("array_state", "read-auto") } else { array.run() }
}

/// Adds a spare to a running array.
///
/// # Errors
///
/// What the kernel said.
pub fn add_spare(array: &DevName, spare: &ArrayMember) -> Result<Outcome, Failure> {
    array::remove_partitions(&spare.device);
    Array::open(&array.0)?.add(spare)?;
    log::info!("added {} to {array} as a spare", spare.device);
    Ok(Outcome::Done)
}

/// Takes an array apart that nothing uses; one that is in use stays.
///
/// # Errors
///
/// None.
pub fn stop(array: &DevName) -> Result<Outcome, Failure> {
    match Array::open(&array.0).and_then(|array| array.try_stop()) {
        Ok(()) => {
            let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            map::remove(&array.0);
            log::info!("stopped {array}, which nothing uses: the real root assembles it under its own name");
        }
        Err(failure) => log::debug!("{array} goes on: {failure}"),
    }
    Ok(Outcome::Done)
}

/// Waits until no array is being resynchronised, recovered or reshaped.
///
/// # Errors
///
/// None; an array that cannot be asked is not waited for.
pub fn wait_clean() -> Result<Outcome, Failure> {
    for name in array::all() {
        let path = format!("/sys/block/{name}/md/sync_action");
        loop {
            let Ok(file) = std::fs::File::open(&path) else { break };
            let state = std::io::read_to_string(&file).unwrap_or_default();
            if !matches!(state.trim(), "resync" | "recover" | "reshape") {
                break;
            }
            log::info!("waiting for the {} of {name}", state.trim());
            // sysfs wakes whoever polls an attribute that has been read. The limit is for a change that came between.
            let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
            if poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&limit)).is_err() {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
    Ok(Outcome::Done)
}
