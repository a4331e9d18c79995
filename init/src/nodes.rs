//! Below `/dev`: the links that udev would make, and the nodes themselves where the kernel makes none.

use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use engine::DevName;
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;

use crate::error::{Context, InitError, Result};
use crate::uevent::NodeEvent;

/// The links that this program made. Kept by the main thread; [`Links::apply`] does not block.
#[derive(Debug)]
pub struct Links {
    dev: PathBuf,
    owner: HashMap<String, DevName>,
}

impl Links {
    /// For the real `/dev`.
    #[must_use]
    pub fn new() -> Links {
        Links::below("/dev")
    }

    /// For another directory.
    pub fn below(dev: impl Into<PathBuf>) -> Links {
        Links { dev: dev.into(), owner: HashMap::new() }
    }

    /// Makes exactly these links (paths relative to `/dev`) point at the device. Links that pointed at it before and
    /// are not among them go, unless another device has taken them over.
    ///
    /// # Errors
    /// The first link that could not be made; the others are made all the same.
    pub fn apply(&mut self, device: &DevName, links: &[String]) -> Result<()> {
        let stale: Vec<String> = self
            .owner
            .iter()
            .filter(|(link, owner)| *owner == device && !links.contains(link))
            .map(|(link, _)| link.clone())
            .collect();
        for link in stale {
            self.owner.remove(&link);
            match std::fs::remove_file(self.dev.join(&link)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::debug!("cannot remove /dev/{link}: {error}");
                }
                _ => {}
            }
        }
        let mut outcome = Ok(());
        for link in links {
            if self.owner.get(link) == Some(device) {
                continue;
            }
            match self.make(device, link) {
                Ok(()) => {
                    self.owner.insert(link.clone(), device.clone());
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    fn make(&self, device: &DevName, link: &str) -> Result<()> {
        // Parts of a name come from disks. They are encoded where the links are decided; this is the second lock. A link by
        // the device's own name would take the place of its node.
        if !is_plain(link) || !is_plain(&device.0) || link == device.0 {
            return Err(InitError::unfit(
                format!("link {link:?} to {:?}", device.0),
                "not another path below /dev",
            ));
        }
        let path = self.dev.join(link);
        let target = relative(link, &device.0);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).on("make directory", directory)?;
        }
        if std::fs::read_link(&path).is_ok_and(|there| there == Path::new(&target)) {
            return Ok(());
        }
        // Renamed into place, so that there is no moment without it, and so that a node of libdevmapper's
        // (/dev/mapper/NAME) is replaced as well. udev uses a name of this form too.
        let temporary = path.with_file_name(format!(".#{}.rootward", device.0.replace('/', "!")));
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).on("remove", &temporary);
            }
            _ => {}
        }
        std::os::unix::fs::symlink(&target, &temporary).on("make link", &temporary)?;
        std::fs::rename(&temporary, &path).on("make link", &path)
    }
}

impl Default for Links {
    fn default() -> Links {
        Links::new()
    }
}

/// Whether the path consists of ordinary names alone.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        && !path.contains("//")
}

/// The link's contents: up from its directory as far as the two paths differ.
fn relative(link: &str, device: &str) -> String {
    let mut from: Vec<&str> = link.split('/').collect();
    from.pop();
    let to: Vec<&str> = device.split('/').collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count().min(to.len().saturating_sub(1));
    let up = std::iter::repeat_n("..", from.len().saturating_sub(shared));
    up.chain(to.iter().skip(shared).copied()).collect::<Vec<_>>().join("/")
}

/// Applies one node event, on a kernel without devtmpfs.
///
/// # Errors
/// If the node cannot be made.
pub fn apply_node(event: &NodeEvent) -> Result<()> {
    node_below(Path::new("/dev"), event)
}

fn node_below(dev: &Path, event: &NodeEvent) -> Result<()> {
    if !is_plain(&event.name) {
        return Err(InitError::unfit(format!("node {:?}", event.name), "not a path below /dev"));
    }
    let path = dev.join(&event.name);
    if !event.present {
        return match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error).on("remove node", path),
        };
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).on("make directory", directory)?;
    }
    let kind = if event.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    // devtmpfs' own default.
    let mode = Mode::from_raw_mode(event.mode.unwrap_or(0o600));
    let device = rustix::fs::makedev(event.major, event.minor);
    match rustix::fs::mknodat(CWD, &path, kind, mode, device) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let there = rustix::fs::lstat(&path).on("look at", &path)?;
            if there.st_rdev != device || FileType::from_raw_mode(there.st_mode) != kind {
                rustix::fs::unlink(&path).on("remove node", &path)?;
                rustix::fs::mknodat(CWD, &path, kind, mode, device).on("make node", &path)?;
            }
        }
        Err(error) => return Err(error).on("make node", path),
    }
    // The umask may have taken bits.
    rustix::fs::chmod(&path, mode).on("set the mode of", path)
}

/// Makes the nodes of all devices that exist, on a kernel without devtmpfs; done once, after the uevent socket is open.
pub fn populate() {
    populate_from(Path::new("/sys/dev"), Path::new("/dev"));
}

fn populate_from(sys_dev: &Path, dev: &Path) {
    for (kind, block) in [("char", false), ("block", true)] {
        let Ok(entries) = std::fs::read_dir(sys_dev.join(kind)) else { continue };
        for entry in entries.flatten() {
            let Ok(uevent) = std::fs::read_to_string(entry.path().join("uevent")) else { continue };
            let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            let number = |key| value(key).and_then(|text| text.parse().ok());
            let (Some(name), Some(major), Some(minor)) = (value("DEVNAME"), number("MAJOR"), number("MINOR"))
            else {
                continue;
            };
            let mode = value("DEVMODE").and_then(|mode| u32::from_str_radix(mode, 8).ok());
            let event = NodeEvent { name: name.to_owned(), block, major, minor, mode, present: true };
            if let Err(error) = node_below(dev, &event) {
                log::warn!("{error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("rootward-nodes-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn targets_are_as_short_as_udevs() {
        for (link, device, target) in [
            ("disk/by-uuid/x", "vda1", "../../vda1"),
            ("mapper/root", "dm-0", "../dm-0"),
            ("root", "vda1", "vda1"),
            ("disk/by-id/x", "cciss/c0d0", "../../cciss/c0d0"),
            ("cciss/x", "cciss/c0d0", "c0d0"),
            ("md/0", "md", "../md"),
        ] {
            assert_eq!(relative(link, device), target, "{link} -> {device}");
        }
    }

    #[test]
    fn links_follow_the_device_and_change_hands() {
        let scratch = Scratch::new("links");
        let mut links = Links::below(&scratch.0);
        let (vda, dm) = (DevName::from("vda"), DevName::from("dm-0"));
        let read = |link: &str| std::fs::read_link(scratch.0.join(link)).ok();
        links.apply(&vda, &["disk/by-uuid/a".into(), "disk/by-label/l".into()]).unwrap();
        assert_eq!(read("disk/by-uuid/a"), Some("../../vda".into()));
        // The node that libdevmapper made gives way.
        std::fs::create_dir(scratch.0.join("mapper")).unwrap();
        std::fs::write(scratch.0.join("mapper/root"), "a node").unwrap();
        // Another device takes a link over before the first one drops it, in either order.
        links.apply(&dm, &["mapper/root".into(), "disk/by-uuid/a".into()]).unwrap();
        links.apply(&vda, &["disk/by-uuid/b".into()]).unwrap();
        assert_eq!(read("disk/by-uuid/a"), Some("../../dm-0".into()));
        assert_eq!(read("mapper/root"), Some("../dm-0".into()));
        assert_eq!(read("disk/by-uuid/b"), Some("../../vda".into()));
        assert_eq!(read("disk/by-label/l"), None);
        let left: Vec<_> = std::fs::read_dir(scratch.0.join("disk/by-uuid")).unwrap().collect();
        assert_eq!(left.len(), 2, "no temporary names are left: {left:?}");
        links.apply(&dm, &[]).unwrap();
        assert_eq!(read("mapper/root"), None);
        assert_eq!(links.owner.len(), 1);
    }

    #[test]
    fn hostile_names_stay_below_dev() {
        let scratch = Scratch::new("hostile");
        let mut links = Links::below(&scratch.0);
        for name in ["../x", "/x", "disk/../../x", "", "a//b", "./a"] {
            assert!(links.apply(&"vda".into(), &[name.to_owned()]).is_err(), "{name:?}");
        }
        assert!(links.apply(&"../vda".into(), &["x".into()]).is_err());
        assert!(links.apply(&"md127".into(), &["md127".into()]).is_err(), "its own node");
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0);
    }

    #[test]
    fn nodes_are_made_and_removed_where_that_is_allowed() {
        let scratch = Scratch::new("mknod");
        let mut event = NodeEvent {
            name: "input/x".into(),
            block: false,
            major: 1,
            minor: 3,
            mode: Some(0o666),
            present: true,
        };
        match node_below(&scratch.0, &event) {
            // Only root may, and not in every sandbox.
            Err(error) if error.errno() == Some(Errno::PERM.raw_os_error()) => return,
            outcome => outcome.unwrap(),
        }
        let node = scratch.0.join("input/x");
        let made = std::fs::metadata(&node).unwrap();
        assert!(made.file_type().is_char_device());
        assert_eq!((made.rdev(), made.mode() & 0o777), (rustix::fs::makedev(1, 3), 0o666));
        event.minor = 5;
        node_below(&scratch.0, &event).unwrap();
        assert_eq!(std::fs::metadata(&node).unwrap().rdev(), rustix::fs::makedev(1, 5));
        event.present = false;
        node_below(&scratch.0, &event).unwrap();
        assert!(!node.exists());
        node_below(&scratch.0, &event).unwrap();
    }
}
