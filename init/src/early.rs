//! The first minute: API file systems, standard descriptors, the directories that the real system expects.
//!
//! Mount options are those that systemd gives its own API file systems, because it adopts ours as they are; `/run`
//! is what its INITRD_INTERFACE page asks for, so without `noexec`: the exitrd lives there.

use std::ffi::CStr;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::error::{Context, InitError, Result};
use crate::kmsg;

/// What the first steps found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Early {
    /// The kernel makes device nodes itself; without it `nodes` has to.
    pub devtmpfs: bool,
}

struct ApiMount {
    fstype: &'static str,
    target: &'static str,
    flags: MountFlags,
    data: Option<&'static CStr>,
}

const NOTHING_SPECIAL: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const PROC: ApiMount = ApiMount { fstype: "proc", target: "/proc", flags: NOTHING_SPECIAL, data: None };
const SYS: ApiMount = ApiMount { fstype: "sysfs", target: "/sys", flags: NOTHING_SPECIAL, data: None };
/// Not `noexec`: SGX enclaves are mapped executable from their node.
const DEV: ApiMount = ApiMount {
    fstype: "devtmpfs",
    target: "/dev",
    flags: MountFlags::NOSUID.union(MountFlags::STRICTATIME),
    data: Some(c"mode=0755"),
};
/// In place of [`DEV`] on a kernel without devtmpfs.
const DEV_TMPFS: ApiMount = ApiMount { fstype: "tmpfs", ..DEV };
/// Group 5 is `tty` everywhere; mode 0620 lets `write` and `wall` work in the real system.
const PTS: ApiMount = ApiMount {
    fstype: "devpts",
    target: "/dev/pts",
    flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
    data: Some(c"mode=0620,gid=5"),
};
const SHM: ApiMount = ApiMount {
    fstype: "tmpfs",
    target: "/dev/shm",
    flags: MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::STRICTATIME),
    data: Some(c"mode=1777"),
};
const RUN: ApiMount = ApiMount { target: "/run", data: Some(c"mode=0755"), ..SHM };

/// Nodes that programs expect before any uevent names them: path, major, minor, mode
/// (Documentation/admin-guide/devices.txt).
const NODES: [(&str, u32, u32, u32); 11] = [
    ("/dev/null", 1, 3, 0o666),
    ("/dev/zero", 1, 5, 0o666),
    ("/dev/full", 1, 7, 0o666),
    ("/dev/random", 1, 8, 0o666),
    ("/dev/urandom", 1, 9, 0o666),
    ("/dev/kmsg", 1, 11, 0o644),
    ("/dev/tty0", 4, 0, 0o620),
    ("/dev/tty1", 4, 1, 0o620),
    ("/dev/tty", 5, 0, 0o666),
    ("/dev/console", 5, 1, 0o600),
    ("/dev/ptmx", 5, 2, 0o666),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
];

const DIRECTORIES: [&str; 6] =
    ["/sysroot", "/run/initramfs", "/run/initramfs/log", "/run/lock", "/run/log", "/run/udev"];

/// Mounts the API file systems that are not mounted yet, makes what belongs into them, and starts the log as soon as
/// there is a `/dev`. Leaves the umask at 022.
///
/// # Errors
/// If `/proc`, `/sys`, `/dev` or `/run` cannot be mounted: nothing works without them.
pub fn mounts() -> Result<Early> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let root = device_of("/").on("look at", "/")?;
    // First of all, so that there is a log for the rest.
    let devtmpfs = mount_dev(root)?;
    let logging = kmsg::start();
    if !Path::new("/etc/initrd-release").exists() {
        log::warn!(
            "the image has no /etc/initrd-release: programs in it cannot tell that they run in an initramfs"
        );
    }
    mount_api(&PROC, root)?;
    mount_api(&SYS, root)?;
    mount_run(root)?;
    let dev = device_of("/dev").unwrap_or(root);
    for optional in [PTS, SHM] {
        if let Err(error) = mount_api(&optional, dev) {
            log::warn!("{error}; the boot goes on without it");
        }
    }
    for (target, link) in LINKS {
        match rustix::fs::symlink(target, link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => log::debug!("cannot make link {link}: {error}"),
        }
    }
    for directory in DIRECTORIES {
        make_directory(directory)?;
    }
    if let Err(error) = logging {
        // A kernel without printk: the lines are kept for the rescue prompt.
        log::warn!("{error}");
    }
    kmsg::lift_rate_limit();
    Ok(Early { devtmpfs })
}

/// Puts descriptors 0 to 2 on `/dev/console`, or on `/dev/null` when there is no console (`console=null`, no driver).
///
/// A boot without any terminal is a valid boot, so this never fails.
pub fn standard_descriptors() {
    // The kernel opens /dev/console for its init; nothing is to be done when that worked.
    let console = rustix::fs::makedev(5, 1);
    let stdio = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    if stdio
        .iter()
        .all(|fd| rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_rdev == console && is_char(&stat)))
    {
        return;
    }
    // NOCTTY: the console becomes nobody's controlling terminal by accident.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open("/dev/console", flags, Mode::empty()).or_else(|error| {
        log::info!("no usable /dev/console: {error}");
        rustix::fs::open("/dev/null", flags, Mode::empty())
    });
    let Ok(fd) = opened else { return };
    // `fd` may itself be one of the three (the kernel gave us none): dup2 onto itself would keep CLOEXEC.
    let results =
        [rustix::stdio::dup2_stdin(&fd), rustix::stdio::dup2_stdout(&fd), rustix::stdio::dup2_stderr(&fd)];
    if let Some(error) = results.into_iter().find_map(Result::err) {
        log::debug!("cannot set the standard descriptors: {error}");
    }
    if std::os::fd::AsRawFd::as_raw_fd(&fd) <= 2 {
        let _ = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty());
        // It is a standard descriptor now and stays open.
        std::mem::forget(fd);
    }
}

fn is_char(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
}

fn device_of(path: &str) -> Result<u64, Errno> {
    rustix::fs::stat(path).map(|stat| stat.st_dev)
}

fn make_directory(path: &str) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).on("make directory", path),
    }
}

/// Mounts unless something is mounted there already, i.e. the target lies on another device than its parent.
fn mount_api(api: &ApiMount, parent: u64) -> Result<()> {
    make_directory(api.target)?;
    if device_of(api.target).on("look at", api.target)? != parent {
        return Ok(());
    }
    rustix::mount::mount(api.fstype, api.target, api.fstype, api.flags, api.data)
        .context(|| format!("mount {} on {}", api.fstype, api.target))
}

fn mount_dev(root: u64) -> Result<bool> {
    match mount_api(&DEV, root) {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Some(Errno::NODEV.raw_os_error()) => {
            mount_api(&DEV_TMPFS, root)?;
            for (path, major, minor, mode) in NODES {
                make_node(path, major, minor, mode)?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn make_node(path: &str, major: u32, minor: u32, mode: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(mode);
    let device = rustix::fs::makedev(major, minor);
    match rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, device) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error).on("make node", path),
    }
    // The umask took the group's and the others' write bit.
    rustix::fs::chmod(path, mode).on("set the mode of", path)
}

/// Mounts `/run` and takes along what the image has there (command-line files, an exitrd).
fn mount_run(root: u64) -> Result<()> {
    make_directory(RUN.target)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let before = rustix::fs::open(RUN.target, flags, Mode::empty()).on("open", RUN.target)?;
    mount_api(&RUN, root)?;
    let after = rustix::fs::open(RUN.target, flags, Mode::empty()).on("open", RUN.target)?;
    let same = |a: &Stat, b: &Stat| a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    let was = rustix::fs::fstat(&before).on("look at", RUN.target)?;
    if same(&was, &rustix::fs::fstat(&after).on("look at", RUN.target)?) {
        return Ok(());
    }
    if let Err(error) = tree::copy(&before, &after) {
        log::warn!("{error}; what the image has below /run is not all there");
    }
    Ok(())
}

/// Copying a small tree of the image from below a mount point.
mod tree {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::{AtFlags, CStr, Context, Dir, Errno, FileType, InitError, Mode, OFlags, Result};

    /// Deeper trees are not what an image keeps below `/run`; a limit keeps the stack bounded.
    const MAX_DEPTH: usize = 16;

    pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
        copy_level(from, to, 0)
    }

    fn copy_level(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<()> {
        let entries = Dir::read_from(from).on("list", "/run")?;
        for entry in entries {
            let entry = entry.on("list", "/run")?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                copy_entry(from, to, name, depth)
                    .context(|| format!("copy {} of the image's /run", name.to_string_lossy()))?;
            }
        }
        Ok(())
    }

    fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<(), std::io::Error> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let open = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth < MAX_DEPTH => {
                match rustix::fs::mkdirat(to, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let directory = open | OFlags::RDONLY | OFlags::DIRECTORY;
                let below = rustix::fs::openat(from, name, directory, Mode::empty())?;
                let target = rustix::fs::openat(to, name, directory, Mode::empty())?;
                copy_level(&below, &target, depth + 1).map_err(errno_of)?;
            }
            FileType::RegularFile => {
                let mut source =
                    File::from(rustix::fs::openat(from, name, open | OFlags::RDONLY, Mode::empty())?);
                let created = open | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
                let mut target = File::from(rustix::fs::openat(to, name, created, mode)?);
                std::io::copy(&mut source, &mut target)?;
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&link, to, name)?;
            }
            // Sockets, pipes and nodes mean nothing without the program that made them.
            _ => {}
        }
        Ok(())
    }

    fn errno_of(error: InitError) -> std::io::Error {
        error
            .errno()
            .map_or_else(|| std::io::Error::other(error.to_string()), std::io::Error::from_raw_os_error)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::fs::PermissionsExt;

        #[test]
        fn files_links_and_directories_are_taken_along() {
            let base = std::env::temp_dir().join(format!("rootward-tree-{}", std::process::id()));
            let (from, to) = (base.join("from"), base.join("to"));
            std::fs::create_dir_all(from.join("initramfs/cmdline.d")).unwrap();
            std::fs::create_dir_all(&to).unwrap();
            std::fs::write(from.join("initramfs/cmdline.d/a.conf"), "rd.retry=1").unwrap();
            std::fs::write(from.join("initramfs/shutdown"), "x").unwrap();
            std::fs::set_permissions(from.join("initramfs/shutdown"), PermissionsExt::from_mode(0o755))
                .unwrap();
            std::os::unix::fs::symlink("initramfs/shutdown", from.join("link")).unwrap();
            let open =
                |path| rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            copy(&open(&from), &open(&to)).unwrap();
            assert_eq!(std::fs::read_to_string(to.join("initramfs/cmdline.d/a.conf")).unwrap(), "rd.retry=1");
            assert_eq!(std::fs::read_link(to.join("link")).unwrap().to_str(), Some("initramfs/shutdown"));
            let mode = std::fs::metadata(to.join("initramfs/shutdown")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755);
            std::fs::remove_dir_all(&base).unwrap();
        }
    }
}

/// Whether this is process 1, so that nobody unpacks an image and runs its `/init` on a live system by accident.
///
/// # Errors
/// [`InitError::Unfit`] with the reason why this program must not go on.
pub fn check_place() -> Result<()> {
    if rustix::process::getpid() == rustix::process::Pid::INIT {
        return Ok(());
    }
    Err(InitError::unfit("rootward", "this is the /init of an initramfs and has to run as process 1"))
}
