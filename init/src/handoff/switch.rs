//! The new root becomes `/`.

use std::os::fd::{AsRawFd, OwnedFd};

use engine::Failure;
use rustix::fs::{Mode, OFlags, fstat, mkdirat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_move, unmount};
use rustix::process::{chdir, chroot, pivot_root};

use crate::mount_root::SYSROOT;
use crate::new_root;

/// Moved into the new root; `/proc` last, since the others are named through it.
const API_MOUNTS: [&str; 4] = ["/dev", "/sys", "/run", "/proc"];

/// What is left of the initramfs after the switch.
pub enum OldRoot {
    /// Hidden below the new root for ever; its files can be deleted.
    Hidden(OwnedFd),
    /// Unmounted; the kernel frees it.
    Detached,
}

/// Moves the API mounts and makes [`SYSROOT`] the root directory.
///
/// # Errors
///
/// What the kernel refused; the moves are undone.
pub fn switch() -> Result<OldRoot, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| os("open the initramfs", errno))?;
    let new =
        rustix::fs::open(SYSROOT, flags, Mode::empty()).map_err(|errno| os("open the new root", errno))?;
    let mut moved: Vec<&str> = Vec::new();
    for mount in API_MOUNTS {
        match move_into(&new, mount) {
            Ok(true) => moved.push(mount),
            Ok(false) => {}
            Err(errno) => {
                log::warn!("{mount} does not come along to the new root ({errno}); its init must mount it");
            }
        }
    }
    let outcome = chdir(SYSROOT).map_err(|errno| os("enter the new root", errno)).and_then(|()| enter(old));
    if outcome.is_err() {
        let _ = chdir("/");
        for mount in moved.into_iter().rev() {
            if let Err(errno) = mount_move(format!("{SYSROOT}{mount}"), mount) {
                log::error!("cannot move {mount} back: {errno}");
            }
        }
    }
    outcome
}

/// Whether there was something to move and it was moved.
fn move_into(new: &OwnedFd, mount: &str) -> Result<bool, Errno> {
    let above = rustix::fs::stat("/")?;
    match rustix::fs::stat(mount) {
        Ok(here) if here.st_dev != above.st_dev => {}
        _ => return Ok(false),
    }
    let open = || new_root::open(new, mount, OFlags::PATH | OFlags::DIRECTORY);
    let target = match open() {
        Err(Errno::NOENT) => {
            // On a read-only root this fails; the caller says so and goes on.
            mkdirat(new, mount.trim_start_matches('/'), Mode::from_raw_mode(0o755))?;
            open()?
        }
        other => other?,
    };
    if fstat(&target)?.st_dev != fstat(new)?.st_dev {
        log::info!("the new root has something mounted on {mount} already; ours stays behind");
        return Ok(false);
    }
    // Through the descriptor, so that a symbolic link on the root cannot lead the move elsewhere.
    mount_move(mount, format!("/proc/self/fd/{}", target.as_raw_fd()))?;
    Ok(true)
}

/// The working directory, which is the new root, becomes `/`.
fn enter(old: OwnedFd) -> Result<OldRoot, Failure> {
    // Allowed from an initramfs only since Linux 7.0, where the rootfs below it is an empty one.
    if pivot_root(".", ".").is_ok() {
        drop(old);
        if let Err(errno) = unmount(".", UnmountFlags::DETACH) {
            log::warn!("cannot let go of the initramfs: {errno}");
        }
        return chdir("/").map(|()| OldRoot::Detached).map_err(|errno| os("enter the new root", errno));
    }
    mount_move(".", "/").map_err(|errno| os("move the new root onto /", errno))?;
    chroot(".").map_err(|errno| os("chroot into the new root", errno))?;
    chdir("/").map_err(|errno| os("enter the new root", errno))?;
    Ok(OldRoot::Hidden(old))
}

fn os(what: &str, errno: Errno) -> Failure {
    Failure::Os { what: what.to_owned(), errno: errno.raw_os_error() }
}
