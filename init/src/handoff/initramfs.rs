//! Giving the initramfs's memory back.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, fstat, fstatfs, openat, unlinkat};
use rustix::io::Errno;

use super::switch::OldRoot;

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` (linux/magic.h): what an initramfs can be.
const VOLATILE: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Directories nested deeper than this are left; no image has them.
const DEPTH_MAX: usize = 64;

/// The file system that this program was started from; asked before the switch, while `/proc` is surely there.
pub fn home() -> Option<u64> {
    rustix::fs::stat("/proc/self/exe").ok().map(|own| own.st_dev)
}

/// Deletes what an initramfs left behind; does nothing unless it surely is one.
pub fn free(old: OldRoot, home: Option<u64>) {
    let OldRoot::Hidden(root) = old else { return };
    if !is_our_initramfs(&root, home) {
        log::warn!("the old root is not our initramfs; its files stay");
        return;
    }
    if let Err(errno) = fstat(&root).and_then(|about| clear(&root, about.st_dev, 0)) {
        log::info!("some files of the initramfs stay in memory: {errno}");
    }
}

/// In memory, not the new root, and the file system that this program was started from.
fn is_our_initramfs(root: &OwnedFd, home: Option<u64>) -> bool {
    let Ok(about) = fstatfs(root) else { return false };
    let (Ok(old), Ok(new)) = (fstat(root), rustix::fs::stat("/")) else { return false };
    rustix::process::getpid().is_init()
        && u64::try_from(about.f_type).is_ok_and(|kind| VOLATILE.contains(&(kind & 0xffff_ffff)))
        && old.st_dev != new.st_dev
        && home == Some(old.st_dev)
}

/// Deletes everything in a directory that is on the same file system; mount points stay.
fn clear(directory: impl AsFd, device: u64, depth: usize) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    let mut outcome = Ok(());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let removed = if entry.file_type() == FileType::Directory {
            remove_directory(directory.as_fd(), name, device, depth)
        } else {
            unlinkat(directory.as_fd(), name, AtFlags::empty())
        };
        outcome = removed.and(outcome);
    }
    outcome
}

fn remove_directory(parent: impl AsFd, name: &CStr, device: u64, depth: usize) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = openat(&parent, name, flags, Mode::empty())?;
    if fstat(&inside)?.st_dev != device || depth >= DEPTH_MAX {
        return Ok(());
    }
    clear(&inside, device, depth.saturating_add(1))?;
    match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        // A mount point, such as the one that the new root was mounted on.
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn everything_inside_goes_and_nothing_outside() {
        let top = std::env::temp_dir().join(format!("rootward-free-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("old/a/b/c")).expect("directories");
        fs::create_dir_all(top.join("kept")).expect("directories");
        fs::write(top.join("kept/file"), "x").expect("file");
        for number in 0..300 {
            fs::write(top.join(format!("old/a/file-with-a-rather-long-name-{number}")), "x").expect("file");
        }
        fs::write(top.join("old/a/b/c/deep"), "x").expect("file");
        symlink("../kept", top.join("old/link")).expect("link");
        let old = rustix::fs::open(top.join("old"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .expect("open");
        let device = fstat(&old).expect("stat").st_dev;
        clear(&old, device.wrapping_add(1), 0).expect("foreign directories are skipped");
        assert!(top.join("old/a/b/c/deep").exists());
        let old = rustix::fs::open(top.join("old"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .expect("open");
        clear(&old, device, 0).expect("clear");
        assert_eq!(fs::read_dir(top.join("old")).expect("list").count(), 0);
        assert!(top.join("kept/file").exists());
        assert!(!is_our_initramfs(&old, Some(device)), "this test is not PID 1 of an initramfs");
        fs::remove_dir_all(top).expect("clean");
    }
}
