//! From the initramfs to the real root, step by step.
//!
//! 1. The real init is looked at inside the new root; without one nothing is moved.
//! 2. `/run` gets what the real root's udev must know of the devices that we made.
//! 3. Processes that a rescue shell left behind are ended, storage daemons (`@` first in their name) spared.
//! 4. Terminals and the kernel log get their settings back; descriptors are marked to close on execve(2), and standard
//!    input, output and error are opened anew on `/dev/console`, so that nothing pins the old root.
//! 5. `/dev`, `/sys`, `/run` and `/proc` move into the new root; a failure up to here, and in step 6, undoes the moves.
//! 6. The new root becomes `/`: pivot_root(2) where the kernel allows it, else a move and chroot(2).
//!    From here there is no way back.
//! 7. The initramfs's files are deleted, which frees their memory.
//! 8. execve(2) with the kernel's environment, an empty signal mask, umask 0022 and `/` as working directory.
//!
//! The controlling terminal needs no step: we never acquire one (every terminal is opened with `O_NOCTTY`, and a shell
//! runs in a session of its own). Sources: systemd's `INITRD_INTERFACE.md`, `ROOT_STORAGE_DAEMONS.md` and
//! `src/shared/switch-root.c`.

mod descriptors;
mod executable;
mod initramfs;
mod leftovers;
mod real_init;
mod switch;
mod timestamps;
mod udev_db;

use std::os::unix::process::CommandExt;
use std::process::Command;

use engine::Failure;
use rustix::fs::{Mode, OFlags};

use crate::clock::StartStamp;
use crate::console::Consoles;
use crate::mount_root::SYSROOT;
use crate::{kmsg, power, signals};

pub use real_init::RealInit;

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Request {
    /// `init=`; `None` is `/sbin/init`.
    pub init: Option<String>,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// When this program started; told to a systemd.
    pub start: StartStamp,
    /// Numbers of MD devices that hold an LVM physical volume.
    pub volumes_on_md: Vec<(u32, u32)>,
    /// Numbers of multipath devices whose partitions kpartx is not to map.
    pub unpartitioned: Vec<(u32, u32)>,
}

/// Looks for the init of the mounted root without changing anything: `init=`, then `/sbin/init`.
///
/// # Errors
///
/// [`Failure::NoInit`] with the reason for each candidate.
pub fn check(init: Option<&str>) -> Result<RealInit, Failure> {
    let root =
        rustix::fs::open(SYSROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Failure::Os { what: format!("open {SYSROOT}"), errno: errno.raw_os_error() })?;
    real_init::find(&root, init)
}

/// Hands the machine over; returns only on failure, with everything where it was.
///
/// Call it on the main thread with no job running. After the point of no return a failure can only be a kernel panic;
/// it says why in the kernel log first.
pub fn run(request: &Request, consoles: &mut Consoles) -> Failure {
    let found = match check(request.init.as_deref()) {
        Ok(found) => found,
        Err(failure) => return failure,
    };
    if let Some((path, reason)) = &found.refused {
        log::warn!("init={path} cannot be executed: {reason}; using {} instead", found.path);
    }
    if std::fs::symlink_metadata(format!("{SYSROOT}/etc/initrd-release")).is_ok() {
        log::warn!(
            "the root file system has /etc/initrd-release: systemd will take it for an initramfs; remove that file"
        );
    }
    udev_db::seed(&request.volumes_on_md, &request.unpartitioned);
    leftovers::end();
    let stamp = if found.is_systemd { timestamps::serialize(request.start) } else { None };
    consoles.suspend();
    kmsg::restore_settings();
    if let Err(failure) = descriptors::prepare(stamp.as_ref()) {
        log::warn!("{failure}");
    }
    let home = initramfs::home();
    let old = match switch::switch() {
        Ok(old) => old,
        Err(failure) => {
            kmsg::lift_rate_limit();
            consoles.resume();
            return failure;
        }
    };
    initramfs::free(old, home);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut init = Command::new(&found.path);
    if let Some(stamp) = &stamp {
        init.args(timestamps::arguments(stamp));
    }
    // std leaves the signal mask of an exec without fork as it is.
    if let Err(error) = signals::restore() {
        log::warn!("{error}");
    }
    // The environment is the one that the kernel gave us, since this program never changes its own.
    let error = init.args(&request.args).exec();
    log::error!("cannot execute {}: {error}; there is nothing to go back to", found.path);
    power::end(power::Ending::Panic)
}
