//! Key files: in the initramfs, or on a device that is mounted for as long as the reading takes.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::Failure;
use engine::mount_options::MountOptions;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::fs_context::{self, Refusal};
use crate::new_root;
use crate::secret::{KEY_FILE_MAX, Secret};

/// What every mount for a key is given. Kernels before 5.14 refuse `nosymfollow` with `EINVAL`; links cannot lead out of
/// the mount anyway ([`new_root::open`]).
const OPTIONS: &str = "ro,nosuid,nodev,noexec";

/// A file on a device that has a file system.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Node of the device.
    pub device: &'a str,
    /// Its file system.
    pub fstype: &'a str,
    /// Path on it.
    pub path: &'a str,
    /// The user named the device.
    pub named: bool,
}

impl Place<'_> {
    /// Mounts with the first options that the kernel takes. A journal is replayed, which writes to the disk, only on a
    /// device that the user named.
    fn mount<T>(&self, mount: impl Fn(&MountOptions) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let words = MountOptions::without_replay(self.fstype);
        let plain = (self.named || words.is_empty()).then_some("");
        let mut outcome = Err(Refusal {
            what: format!("mount {} as {}", self.device, self.fstype),
            errno: Errno::INVAL,
            said: Vec::new(),
        });
        for word in words.iter().copied().chain(plain) {
            let mut options = MountOptions::parse(OPTIONS);
            options.extend(word);
            outcome = mount(&options);
            match &outcome {
                Err(refusal) if refusal.errno != Errno::NOSYS => {
                    log::debug!("cannot {}: {}", refusal.what, refusal.errno);
                }
                _ => break,
            }
        }
        outcome
    }
}

/// Reads a key file of the initramfs: all of it, or the named part, byte for byte.
///
/// # Errors
///
/// [`Failure::NoKeyFile`] when it does not exist, otherwise [`Failure::BadKey`].
pub fn read(path: &str, offset: u64, size: Option<u64>) -> Result<Secret, Failure> {
    let file = File::open(path).map_err(|error| missing_or(path, &error))?;
    read_open(file, path, offset, size)
}

/// Reads a key that lies on `device` itself, without a file system.
///
/// # Errors
///
/// What the operating system said of the device; [`Failure::BadKey`] if it gives no key.
pub fn read_from_raw(device: &str, offset: u64, size: Option<u64>) -> Result<Secret, Failure> {
    let file = File::open(device).map_err(|error| os(format!("open {device}"), &error))?;
    read_open(file, device, offset, size)
}

/// Mounts the device read-only where nobody else sees it, reads the key file on it, and unmounts.
///
/// # Errors
///
/// [`Failure::NoKeyFile`] when it is not there, [`Failure::BadKey`] when it cannot be used, or a mount's refusal.
pub fn read_from_device(place: Place<'_>, offset: u64, size: Option<u64>) -> Result<Secret, Failure> {
    with_file(place, |file| read_open(file, place.path, offset, size))
}

/// Mounts the device read-only where nobody else sees it, opens the file on it, and unmounts once `work` is done.
///
/// # Errors
///
/// [`Failure::NoKeyFile`] when it is not there, [`Failure::BadKey`] when it cannot be opened, a mount's refusal, or what
/// `work` said.
pub fn with_file<T>(place: Place<'_>, work: impl FnOnce(File) -> Result<T, Failure>) -> Result<T, Failure> {
    let Place { device, fstype, path, .. } = place;
    match place.mount(|options| fs_context::mount_detached(device, fstype, options)) {
        // An unattached mount goes away with its descriptor.
        Ok(mounted) => open_inside(mounted.as_fd(), path).and_then(work),
        Err(refusal) if refusal.errno == Errno::NOSYS => {
            with_mount_point(place, |root| open_inside(root.as_fd(), path).and_then(work))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn open_inside(root: impl AsFd, path: &str) -> Result<File, Failure> {
    new_root::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK)
        .map(File::from)
        .map_err(|errno| missing_or(path, &errno.into()))
}

/// For kernels without fsopen(2): a mount point of its own below `/run`.
fn with_mount_point<T>(
    place: Place<'_>,
    work: impl FnOnce(OwnedFd) -> Result<T, Failure>,
) -> Result<T, Failure> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let point = format!("/run/rootward/key-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mount = |options: &MountOptions| fs_context::mount_at(place.device, &point, place.fstype, options);
    fs::create_dir_all(&point).map_err(|error| os(format!("create {point}"), &error))?;
    let outcome = place.mount(mount).map_err(Failure::from).and_then(|()| {
        let root =
            rustix::fs::open(&point, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let outcome = root.map_err(|errno| os(format!("open {point}"), &errno.into())).and_then(work);
        if let Err(errno) = unmount(point.as_str(), UnmountFlags::DETACH) {
            log::warn!("cannot unmount {point}: {errno}");
        }
        outcome
    });
    let _ = fs::remove_dir(&point);
    outcome
}

/// Reads straight into a buffer that never moves. A file that is shorter than `size` is used as it is, as systemd does.
fn read_open(mut file: File, path: &str, offset: u64, size: Option<u64>) -> Result<Secret, Failure> {
    let failed = |error: io::Error| unusable("read", path, &error);
    let about = file.metadata().map_err(failed)?;
    let length = if about.file_type().is_block_device() {
        file.seek(SeekFrom::End(0)).map_err(failed)?
    } else if about.is_file() {
        about.len()
    } else {
        return Err(Failure::BadKey(format!(
            "key file {path} is not a regular file; name a file or a block device"
        )));
    };
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let there = length.saturating_sub(offset);
    let wanted = usize::try_from(size.map_or(there, |size| size.min(there))).unwrap_or(usize::MAX);
    let unfit = |length: usize| {
        Failure::BadKey(format!(
            "key file {path} gives {length} bytes; a key has 1 to {KEY_FILE_MAX} (see keyfile-offset= and keyfile-size=)"
        ))
    };
    if wanted == 0 || wanted > KEY_FILE_MAX {
        return Err(unfit(wanted));
    }
    let mut key = vec![0_u8; wanted];
    let mut filled = 0_usize;
    while let Some(rest) = key.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(length) => filled = filled.saturating_add(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                drop(Secret::from(key));
                return Err(failed(error));
            }
        }
    }
    key.truncate(filled);
    let key = Secret::from(key);
    if key.is_empty() { Err(unfit(0)) } else { Ok(key) }
}

fn missing_or(path: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::NoKeyFile(path.to_owned()),
        _ => unusable("open", path, error),
    }
}

fn unusable(verb: &str, path: &str, error: &io::Error) -> Failure {
    Failure::BadKey(format!("cannot {verb} key file {path}: {error}; check what lies there"))
}

fn os(what: String, error: &io::Error) -> Failure {
    Failure::Os { what, errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_with_fsmount_takes_the_options() {
        let expected = MountOptions {
            read_only: Some(true),
            nosuid: true,
            nodev: true,
            noexec: true,
            ..MountOptions::default()
        };
        assert_eq!(MountOptions::parse(OPTIONS), expected);
    }

    #[test]
    fn a_journal_is_replayed_only_where_the_device_was_named() {
        let tried = |fstype, named, accepted: &str| {
            let tried = std::cell::RefCell::new(Vec::new());
            let place = Place { device: "/dev/x", fstype, path: "/k", named };
            let outcome = place.mount(|options| {
                tried.borrow_mut().push(options.data_string());
                let refusal = Refusal { what: String::new(), errno: Errno::INVAL, said: Vec::new() };
                (options.data_string() == accepted && options.read_only == Some(true))
                    .then_some(())
                    .ok_or(refusal)
            });
            (outcome.is_ok(), tried.into_inner().join(" "))
        };
        assert_eq!(tried("ext4", false, "noload"), (true, "noload".to_owned()));
        assert_eq!(tried("ext4", false, ""), (false, "noload".to_owned()));
        assert_eq!(tried("ext4", true, ""), (true, "noload ".to_owned()));
        assert_eq!(tried("vfat", false, ""), (true, String::new()));
        let both = "rescue=nologreplay nologreplay".to_owned();
        assert_eq!(tried("btrfs", false, "nologreplay"), (true, both));
    }

    #[test]
    fn the_whole_file_or_a_part_byte_for_byte() {
        let path = std::env::temp_dir().join(format!("rootward-key-{}", std::process::id()));
        let path = path.to_str().expect("text");
        fs::write(path, b"\x00secret\n").expect("write");
        let get = |offset, size| read(path, offset, size).map(|key| key.bytes().to_vec());
        assert_eq!(get(0, None), Ok(b"\x00secret\n".to_vec()));
        assert_eq!(get(1, Some(6)), Ok(b"secret".to_vec()));
        assert_eq!(get(1, None), Ok(b"secret\n".to_vec()));
        assert_eq!(get(4, Some(9)), Ok(b"ret\n".to_vec()), "shorter than asked");
        assert_eq!(get(0, Some(u64::MAX)), Ok(b"\x00secret\n".to_vec()));
        let bad = |got: Result<Vec<u8>, Failure>| {
            assert!(matches!(&got, Err(Failure::BadKey(text)) if text.contains(path)), "{got:?}");
        };
        bad(get(8, None));
        bad(get(9, Some(1)));
        File::options().write(true).open(path).and_then(|file| file.set_len(9 << 20)).expect("enlarge");
        bad(get(0, None));
        assert_eq!(get(0, Some(7)), Ok(b"\x00secret".to_vec()));
        fs::write(path, b"").expect("empty");
        bad(get(0, None));
        fs::remove_file(path).expect("clean");
        assert_eq!(get(0, None), Err(Failure::NoKeyFile(path.to_owned())));
        fs::create_dir(path).expect("a directory");
        bad(get(0, None));
        fs::remove_dir(path).expect("clean");
    }
}
