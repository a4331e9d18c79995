//! Mounting the root file system at `/sysroot`, and its `/usr` if that is separate, once.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use cmdline::plan::Access;
use engine::fstab;
use engine::mount_options::MountOptions;
use engine::{DevName, Failure, MountRequest, Mountpoint, Outcome};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::external_md;
use crate::fs_context::{self, Refusal};
use crate::multi_device;
use crate::new_root;

/// Where root is mounted until the hand-off (the name that systemd's initrd interface gives it).
pub const SYSROOT: &str = "/sysroot";

/// Where its `/usr` is mounted, if that is separate.
const USR: &str = "/sysroot/usr";

/// Most bytes of the root's fstab that are read.
const FSTAB_MAX: u64 = 256 << 10;

/// Whether what is at [`SYSROOT`] was put there by [`mount`].
static OURS: AtomicBool = AtomicBool::new(false);

/// Mounts root at [`SYSROOT`], or `/usr` below it; tells what the root's fstab says about `/usr`.
///
/// `ro` and `rw` on the command line decide. Without `rootflags=` the root's own `/etc/fstab` supplies the other options
/// (if the request allows it), and also decides about read-only when neither word is there: root is then mounted
/// read-only, the file read inside it, and the mount changed to what its entry for `/` says, or to read-write without
/// an entry. A symbolic link in the file's place is not followed. A device that the kernel holds read-only is mounted
/// read-only, whatever was asked.
///
/// What an earlier call mounted goes away first; what somebody mounted there by hand, from a rescue shell, is taken as
/// the root.
///
/// # Errors
///
/// What each type was refused for; nothing stays mounted.
pub fn mount(request: &MountRequest) -> Result<Outcome, Failure> {
    external_md::open_for_writing(&request.volumes);
    let protected = request.device_read_only && (request.volumes.is_empty() || !is_writable(&request.device));
    let request = &MountRequest { device_read_only: protected, ..request.clone() };
    let is_free = match request.mountpoint {
        Mountpoint::Root => is_root_free()?,
        Mountpoint::Usr => is_usr_free(&request.device)?,
    };
    if !is_free {
        return Ok(Outcome::Done);
    }
    let target = match request.mountpoint {
        Mountpoint::Root => SYSROOT,
        Mountpoint::Usr => USR,
    };
    let btrfs = request.fstypes.iter().any(|fstype| fstype == "btrfs");
    let device = if request.members.is_empty() || btrfs {
        if !request.members.is_empty() {
            multi_device::scan_btrfs(&request.members);
        }
        format!("/dev/{}", request.device)
    } else {
        multi_device::bcachefs_source(&request.members)
    };
    let mut flags = request.flags.clone().unwrap_or_default();
    if request.missing > 0 {
        flags.push_str(",degraded");
    }
    let mut options = MountOptions::parse(&flags);
    let ask_fstab = request.fstab && request.flags.is_none();
    match request.access {
        Some(Access::ReadOnly) => options.read_only = Some(true),
        Some(Access::ReadWrite) => options.read_only = Some(false),
        None => {}
    }
    let mut first = options.clone();
    if request.device_read_only {
        if first.read_only == Some(false) {
            log::warn!("{device} is write-protected: root is mounted read-only although rw was asked for");
        }
        first.read_only = Some(true);
    } else if first.read_only.is_none() && ask_fstab {
        first.read_only = Some(true);
    }
    let fstype = mount_first_that_takes(&device, target, &request.fstypes, &mut first)?;
    if request.mountpoint == Mountpoint::Root {
        OURS.store(true, Ordering::Relaxed);
    }
    if btrfs
        && request.missing > 0
        && let Err(failure) = multi_device::survives(&request.members, request.missing)
    {
        unmount(target)?;
        return Err(failure);
    }
    let table = (request.mountpoint == Mountpoint::Root).then(read_fstab).unwrap_or_default();
    let settled = if ask_fstab { apply_fstab(&table, request, options, first) } else { first };
    let access = if settled.read_only == Some(true) { "read-only" } else { "read-write" };
    log::info!("{} is {device}: {fstype}, {access}", request.mountpoint);
    Ok(fstab::usr_entry(&table).map_or(Outcome::Done, |entry| Outcome::Usr(Box::new(entry))))
}

/// Whether root is to be mounted by us.
fn is_root_free() -> Result<bool, Failure> {
    if is_mount(SYSROOT, "/") {
        if !OURS.load(Ordering::Relaxed) {
            log::warn!("something was mounted on {SYSROOT} by hand; it is taken as the root file system");
            return Ok(false);
        }
        unmount(SYSROOT)?;
    }
    fs::create_dir_all(SYSROOT).map_err(|error| os(format!("create {SYSROOT}"), &error))?;
    Ok(true)
}

/// Whether `/usr` is to be mounted by us.
fn is_usr_free(device: &DevName) -> Result<bool, Failure> {
    // A link may lead out of the root.
    if !fs::symlink_metadata(USR).is_ok_and(|about| about.is_dir()) {
        return Err(Failure::Other(format!("the root has no directory /usr to mount {device} on")));
    }
    let by_hand = is_mount(USR, SYSROOT);
    if by_hand {
        log::warn!("something was mounted on {USR} by hand; it is taken as /usr");
    }
    Ok(!by_hand)
}

fn is_writable(device: &DevName) -> bool {
    let read_only = format!("/sys/class/block/{}/ro", device.0.replace('/', "!"));
    fs::read_to_string(read_only).is_ok_and(|text| text.trim() == "0")
}

/// Lazily, since a rescue shell may stand in it.
fn unmount(target: &str) -> Result<(), Failure> {
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH)
        .map_err(|errno| Failure::Os { what: format!("unmount {target}"), errno: errno.raw_os_error() })
}

/// Whether a file system is mounted on `target`. Before Linux 5.8 a btrfs subvolume of the file system `above` passes for
/// one too (statx(2)).
fn is_mount(target: &str, above: &str) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    if let Ok(told) = statx(CWD, target, AtFlags::empty(), StatxFlags::empty())
        && told.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return told.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    }
    let (Ok(here), Ok(above)) = (rustix::fs::stat(target), rustix::fs::stat(above)) else { return false };
    here.st_dev != above.st_dev
}

fn mount_first_that_takes(
    device: &str,
    target: &str,
    types: &[String],
    options: &mut MountOptions,
) -> Result<String, Failure> {
    let mut refusals: Vec<Refusal> = Vec::new();
    for fstype in types {
        match mount_one(device, target, fstype, options) {
            Ok(()) => return Ok(fstype.clone()),
            Err(refusal)
                if matches!(refusal.errno, Errno::ROFS | Errno::ACCESS)
                    && options.read_only != Some(true) =>
            {
                // mount(8) does the same for media whose write protection shows only now.
                log::warn!(
                    "{device} cannot be mounted read-write ({}); mounting it read-only",
                    refusal.errno
                );
                options.read_only = Some(true);
                match mount_one(device, target, fstype, options) {
                    Ok(()) => return Ok(fstype.clone()),
                    Err(refusal) => refusals.push(refusal),
                }
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.iter().any(|refusal| matches!(refusal.errno, Errno::NXIO | Errno::NOENT | Errno::NOMEDIUM))
        && fs::metadata(device).is_err()
    {
        return Err(Failure::Gone);
    }
    // With several types the one that the kernel knows and that still failed says most.
    let telling = refusals.iter().position(|refusal| !refusal.is_unknown_type()).unwrap_or(0);
    match refusals.into_iter().nth(telling) {
        Some(refusal) => Err(refusal.into()),
        None => Err(Failure::Other(format!("no file-system type to mount {device} as; say rootfstype="))),
    }
}

fn mount_one(device: &str, target: &str, fstype: &str, options: &MountOptions) -> Result<(), Refusal> {
    match fs_context::mount_detached(device, fstype, options) {
        Ok(mounted) => fs_context::attach(mounted.as_fd(), target).map_err(|errno| Refusal {
            what: format!("attach {device} at {target}"),
            errno,
            said: Vec::new(),
        }),
        Err(refusal) if refusal.errno == Errno::NOSYS => {
            fs_context::mount_at(device, target, fstype, options)
        }
        Err(refusal) => Err(refusal),
    }
}

/// The fstab of the mounted root; empty if it has none that may be used.
fn read_fstab() -> String {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let text = rustix::fs::open(SYSROOT, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|root| new_root::read_text(root, "/etc/fstab", FSTAB_MAX, true));
    text.unwrap_or_else(|error| {
        log::debug!("the root's /etc/fstab is not used: {error}");
        String::new()
    })
}

/// Brings the mount from `now` to what the root's fstab leaves or adds to `asked`; gives the options in force.
fn apply_fstab(table: &str, request: &MountRequest, asked: MountOptions, now: MountOptions) -> MountOptions {
    let entry = fstab::root_entry(table);
    let wanted = wanted_options(entry.as_ref(), request, asked);
    if wanted == now {
        return wanted;
    }
    match fs_context::remount(SYSROOT, &wanted.clone().for_remount()) {
        Ok(()) => wanted,
        Err(errno) if wanted.data.is_empty() => {
            log::warn!("root stays as it was mounted: remount refused ({errno})");
            now
        }
        Err(errno) => {
            log::warn!(
                "the options of / in the root's fstab ({}) are refused on remount ({errno})",
                wanted.data_string()
            );
            let plain = MountOptions { data: now.data.clone(), ..wanted };
            match fs_context::remount(SYSROOT, &plain.clone().for_remount()) {
                Ok(()) => plain,
                Err(errno) => {
                    log::warn!("root stays as it was mounted: remount refused ({errno})");
                    now
                }
            }
        }
    }
}

/// fstab's options, then `ro`/`rw`: later words win, as in mount(8).
fn wanted_options(entry: Option<&fstab::Entry>, request: &MountRequest, asked: MountOptions) -> MountOptions {
    let mut wanted = match entry {
        Some(entry) => MountOptions::parse(&entry.options),
        None => asked,
    };
    match request.access {
        Some(Access::ReadOnly) => wanted.read_only = Some(true),
        Some(Access::ReadWrite) => wanted.read_only = Some(false),
        None => {}
    }
    if request.device_read_only {
        wanted.read_only = Some(true);
    } else if wanted.read_only.is_none() {
        wanted.read_only = Some(false);
    }
    wanted
}

fn os(what: String, error: &io::Error) -> Failure {
    Failure::Os { what, errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(flags: Option<&str>, access: Option<Access>, device_read_only: bool) -> MountRequest {
        MountRequest {
            mountpoint: Mountpoint::Root,
            device: DevName::from("vda1"),
            members: Vec::new(),
            missing: 0,
            fstypes: vec!["ext4".into()],
            flags: flags.map(str::to_owned),
            access,
            fstab: true,
            device_read_only,
            volumes: Vec::new(),
        }
    }

    fn wanted(options: Option<&str>, request: &MountRequest) -> (Option<bool>, String) {
        let entry = options.and_then(|options| fstab::parse_line(&format!("/dev/vda1 / ext4 {options} 0 1")));
        let asked = MountOptions::parse(request.flags.as_deref().unwrap_or_default());
        let wanted = wanted_options(entry.as_ref(), request, asked);
        (wanted.read_only, wanted.data_string())
    }

    #[test]
    fn who_decides() {
        let (ro, rw) = (Some(Access::ReadOnly), Some(Access::ReadWrite));
        let table = [
            (None, None, None, false, (Some(false), "")),
            (Some("defaults"), None, None, false, (Some(false), "")),
            (Some("ro,errors=remount-ro"), None, None, false, (Some(true), "errors=remount-ro")),
            (Some("ro,errors=remount-ro"), None, rw, false, (Some(false), "errors=remount-ro")),
            (Some("rw"), None, ro, false, (Some(true), "")),
            (None, Some("commit=5"), None, false, (Some(false), "commit=5")),
            (None, Some("ro,commit=5"), None, false, (Some(true), "commit=5")),
            (Some("rw"), None, rw, true, (Some(true), "")),
        ];
        for (entry, flags, access, protected, (read_only, data)) in table {
            let request = request(flags, access, protected);
            assert_eq!(wanted(entry, &request), (read_only, data.to_owned()), "{entry:?} {request:?}");
        }
    }
}
