//! Mounting a block device's file system: through the mount API of Linux 5.2 (fsopen(2) and its kin), which tells why
//! it refuses, or through mount(2) where the kernel has no other.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use engine::Failure;
use engine::mount_options::{Atime, MountOptions};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_remount, move_mount,
};

/// Longest message that the kernel queues on a file-system context (fs/fs_context.c: `logfc` formats into a page).
const MESSAGE_MAX: usize = 4096;

/// A refused mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was attempted, e.g. `mount /dev/vda1 as ext4`.
    pub what: String,
    /// Linux errno.
    pub errno: Errno,
    /// What the file system said.
    pub said: Vec<String>,
}

impl Refusal {
    /// The kernel knows no file system of this name.
    #[must_use]
    pub fn is_unknown_type(&self) -> bool {
        self.errno == Errno::NODEV
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let Refusal { what, errno, said } = refusal;
        let advice = match errno {
            Errno::NODEV => "the kernel has no such file system: the image lacks its module",
            Errno::INVAL if said.is_empty() => {
                "wrong file-system type, an option it does not know, or a damaged superblock (see the kernel log)"
            }
            Errno::BUSY => "it is mounted already, or another device-mapper or md device holds it",
            Errno::UCLEAN => "the file system is damaged: check it with fsck",
            _ if said.is_empty() => return Failure::Os { what, errno: errno.raw_os_error() },
            _ => "",
        };
        let mut text = format!("cannot {what}: {}", std::io::Error::from(errno));
        if !said.is_empty() {
            text = format!("{text} ({})", said.join("; "));
        }
        if !advice.is_empty() {
            text = format!("{text}; {advice}");
        }
        Failure::Other(text)
    }
}

/// Mounts `source` and leaves the mount unattached.
///
/// # Errors
///
/// [`Refusal`] with `ENOSYS` when the kernel lacks the calls.
pub fn mount_detached(source: &str, fstype: &str, options: &MountOptions) -> Result<OwnedFd, Refusal> {
    let refuse =
        |errno: Errno, said: Vec<String>| Refusal { what: describe(source, fstype, options), errno, said };
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| refuse(errno, Vec::new()))?;
    configure(&context, source, options)
        .and_then(|()| fsconfig_create(&context))
        .and_then(|()| fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(options)))
        .map_err(|errno| refuse(errno, messages(&context)))
}

/// Puts an unattached mount at `target`.
///
/// # Errors
///
/// What move_mount(2) says.
pub fn attach(mounted: impl AsFd, target: &str) -> Result<(), Errno> {
    move_mount(mounted, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Mounts `source` at `target` with mount(2).
///
/// # Errors
///
/// [`Refusal`]; the old call gives no message beyond its errno.
pub fn mount_at(source: &str, target: &str, fstype: &str, options: &MountOptions) -> Result<(), Refusal> {
    let refuse = |errno| Refusal { what: describe(source, fstype, options), errno, said: Vec::new() };
    let data = CString::new(options.data_string()).map_err(|_| refuse(Errno::INVAL))?;
    mount(source, target, fstype, flags(options), data.as_c_str()).map_err(refuse)
}

/// Changes the options of what is mounted at `target`.
///
/// # Errors
///
/// What mount(2) with `MS_REMOUNT` says.
pub fn remount(target: &str, options: &MountOptions) -> Result<(), Errno> {
    mount_remount(target, flags(options), options.data_string())
}

fn configure(context: &OwnedFd, source: &str, options: &MountOptions) -> Result<(), Errno> {
    fsconfig_set_string(context, "source", source)?;
    let superblock = [
        (options.read_only == Some(true), "ro"),
        (options.sync, "sync"),
        (options.dirsync, "dirsync"),
        (options.lazytime, "lazytime"),
    ];
    for (_, flag) in superblock.into_iter().filter(|(on, _)| *on) {
        fsconfig_set_flag(context, flag)?;
    }
    options.data.iter().try_for_each(|(key, value)| match value {
        Some(value) => fsconfig_set_string(context, key.as_str(), value.as_str()),
        None => fsconfig_set_flag(context, key.as_str()),
    })
}

fn attributes(options: &MountOptions) -> MountAttrFlags {
    let wanted = [
        // mount(2) with MS_RDONLY marks both superblock and mount; so do we, and a later remount clears both.
        (options.read_only == Some(true), MountAttrFlags::MOUNT_ATTR_RDONLY),
        (options.nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (options.nodev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (options.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (options.nodiratime, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        (options.nosymfollow, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
        (options.atime == Atime::Never, MountAttrFlags::MOUNT_ATTR_NOATIME),
        (options.atime == Atime::Always, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    ];
    wanted.into_iter().filter(|(on, _)| *on).fold(MountAttrFlags::empty(), |all, (_, flag)| all | flag)
}

fn flags(options: &MountOptions) -> MountFlags {
    let wanted = [
        (options.read_only == Some(true), MountFlags::RDONLY),
        (options.nosuid, MountFlags::NOSUID),
        (options.nodev, MountFlags::NODEV),
        (options.noexec, MountFlags::NOEXEC),
        (options.nodiratime, MountFlags::NODIRATIME),
        (options.nosymfollow, MountFlags::NOSYMFOLLOW),
        (options.sync, MountFlags::SYNCHRONOUS),
        (options.dirsync, MountFlags::DIRSYNC),
        (options.lazytime, MountFlags::LAZYTIME),
        (options.atime == Atime::Relative, MountFlags::RELATIME),
        (options.atime == Atime::Never, MountFlags::NOATIME),
        (options.atime == Atime::Always, MountFlags::STRICTATIME),
    ];
    wanted.into_iter().filter(|(on, _)| *on).fold(MountFlags::empty(), |all, (_, flag)| all | flag)
}

/// Drains the context's message queue: each read gives one message, `w `, `e ` or `i ` first (fsopen(2)).
fn messages(context: &OwnedFd) -> Vec<String> {
    let mut said = Vec::new();
    let mut buffer = [0_u8; MESSAGE_MAX];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let text = text.trim();
        said.push(
            text.split_once(' ')
                .filter(|(kind, _)| kind.len() == 1)
                .map_or(text, |(_, rest)| rest)
                .to_owned(),
        );
    }
    said
}

fn describe(source: &str, fstype: &str, options: &MountOptions) -> String {
    let access = if options.read_only == Some(true) { "ro" } else { "rw" };
    let data = options.data_string();
    let comma = if data.is_empty() { "" } else { "," };
    format!("mount {source} as {fstype} ({access}{comma}{data})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_apis_get_the_same_flags() {
        let options = MountOptions::parse("ro,noatime,nodev,nosuid,noexec,subvol=@");
        assert_eq!(
            flags(&options),
            MountFlags::RDONLY
                | MountFlags::NOATIME
                | MountFlags::NODEV
                | MountFlags::NOSUID
                | MountFlags::NOEXEC
        );
        // The low bits of both interfaces agree by design (include/uapi/linux/mount.h).
        assert_eq!(attributes(&options).bits() & 0xf, flags(&options).bits() & 0xf);
        assert_eq!(flags(&MountOptions::default()), MountFlags::RELATIME);
    }

    #[test]
    fn a_refusal_is_advice() {
        let refusal = |errno, said: &[&str]| {
            let said = said.iter().map(|&line| line.to_owned()).collect();
            Failure::from(Refusal {
                what: describe("/dev/vda1", "xfs", &MountOptions::default()),
                errno,
                said,
            })
            .to_string()
        };
        assert!(refusal(Errno::NODEV, &[]).ends_with("the image lacks its module"));
        assert!(
            refusal(Errno::INVAL, &["xfs: Unknown parameter 'foo'"])
                .contains("(xfs: Unknown parameter 'foo')")
        );
        assert_eq!(refusal(Errno::IO, &[]), "cannot mount /dev/vda1 as xfs (rw): errno 5");
    }
}
