//! The kernel's uevents: a netlink socket, and from each datagram only what somebody here needs.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use engine::DevName;
use kobject_uevent::{ActionType, UEvent};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use crate::error::{Context, Result};

/// Multicast group of the kernel's own events; group 2 is udevd's.
const KERNEL_GROUP: u32 = 1;

/// Room for events that wait while this program is busy. The kernel doubles the figure for its own overhead, and the
/// sum holds about 40,000 events of a disk; systemd-udevd takes 128 MiB, which a machine of that size would feel.
const RECEIVE_BUFFER: usize = 16 << 20;

/// An event is at most 2 KiB of variables (`UEVENT_BUFFER_SIZE`) behind a header `ACTION@DEVPATH`.
const DATAGRAM_MAX: usize = 8 << 10;

/// Datagrams per call, so that a storm does not starve the rest of the loop.
const BATCH: usize = 512;

/// What became of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockChange {
    /// It was added, changed or renamed: its facts have to be read again.
    Present,
    /// It is gone.
    Gone,
}

/// A device node that the kernel announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// Path below `/dev`.
    pub name: String,
    /// Block device, as opposed to character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits, where the kernel says (`DEVMODE`).
    pub mode: Option<u32>,
    /// False when the node has to go.
    pub present: bool,
}

/// What one wakeup brought; events of one device that say the same are one entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Block devices by kernel name, in order of appearance. A device that went and came back has three entries at most.
    pub block: Vec<(DevName, BlockChange)>,
    /// New devices on some bus: path below `/sys` without leading slash, modalias.
    pub modalias: Vec<(String, String)>,
    /// Network interfaces that were added or removed: name, path below `/sys`, present.
    pub net: Vec<(String, String, bool)>,
    /// Firmware that the kernel asks user space for: path below `/sys` of the loading interface, name of the file.
    pub firmware: Vec<(String, String)>,
    /// Nodes, if the socket was opened with `nodes`.
    pub nodes: Vec<NodeEvent>,
    /// The kernel had to drop events: walk `/sys` again.
    pub overflow: bool,
    /// There may be more to read; call again.
    pub more: bool,
}

/// The socket.
pub struct UeventSocket {
    fd: OwnedFd,
    buffer: Box<[u8]>,
    nodes: bool,
}

impl fmt::Debug for UeventSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UeventSocket").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl AsFd for UeventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl UeventSocket {
    /// Subscribes to the kernel's events; done before the first walk over `/sys`, so that no device falls between.
    /// `nodes`: events of all devices with a node are wanted, because there is no devtmpfs.
    ///
    /// # Errors
    /// If the kernel has no uevent socket.
    pub fn open(nodes: bool) -> Result<UeventSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))
                .context(|| "open the uevent socket".to_owned())?;
        // Before bind: from then on events are queued.
        if let Err(error) = rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER) {
            log::debug!("cannot enlarge the uevent buffer: {error}");
        }
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, KERNEL_GROUP))
            .context(|| "subscribe to uevents".to_owned())?;
        Ok(UeventSocket { fd, buffer: vec![0; DATAGRAM_MAX].into_boxed_slice(), nodes })
    }

    /// Reads what is there, without blocking.
    ///
    /// # Errors
    /// If the socket is broken; overflow is not an error.
    pub fn drain(&mut self) -> Result<Batch> {
        let mut batch = Batch::default();
        for _ in 0..BATCH {
            match rustix::net::recvfrom(&self.fd, &mut *self.buffer, RecvFlags::TRUNC) {
                Ok((_, length, from)) => {
                    let kernel = from
                        .and_then(|from| SocketAddrNetlink::try_from(from).ok())
                        .is_some_and(|from| from.pid() == 0);
                    match self.buffer.get(..length) {
                        // Any process may send to the group; only the kernel's port is 0.
                        Some(datagram) if kernel => batch.take(datagram, self.nodes),
                        Some(_) => log::debug!("ignored a uevent that the kernel did not send"),
                        None => log::debug!("ignored a uevent of {length} bytes"),
                    }
                }
                Err(Errno::AGAIN) => return Ok(batch),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => batch.overflow = true,
                Err(error) => return Err(error).context(|| "read the uevent socket".to_owned()),
            }
        }
        batch.more = true;
        Ok(batch)
    }
}

/// What a datagram is about, judged on the raw bytes: most events of a boot are nobody's business here, and the full
/// parse makes a map of strings for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Block,
    Modalias,
    Net,
    Firmware,
    /// Nothing but a node.
    Node,
    Nothing,
}

fn topic(datagram: &[u8], nodes: bool) -> Topic {
    let added = datagram.starts_with(b"add@");
    if !added && ![&b"change@"[..], b"remove@", b"move@"].iter().any(|action| datagram.starts_with(action)) {
        // bind, unbind, online, offline: follow an `add` that said it all.
        return Topic::Nothing;
    }
    let mut found = Topic::Nothing;
    for field in datagram.split(|&byte| byte == 0) {
        match field {
            b"SUBSYSTEM=block" => return Topic::Block,
            b"SUBSYSTEM=net" => return Topic::Net,
            b"SUBSYSTEM=firmware" if added => return Topic::Firmware,
            _ if added && field.starts_with(b"MODALIAS=") => found = Topic::Modalias,
            _ if nodes && found == Topic::Nothing && field.starts_with(b"DEVNAME=") => found = Topic::Node,
            _ => {}
        }
    }
    found
}

impl Batch {
    fn take(&mut self, datagram: &[u8], nodes: bool) {
        let topic = topic(datagram, nodes);
        if topic == Topic::Nothing {
            return;
        }
        let mut event = match UEvent::from_netlink_packet(datagram) {
            Ok(event) => event,
            Err(error) => {
                log::debug!("ignored a uevent: {error}");
                return;
            }
        };
        let gone = event.action == ActionType::Remove;
        let devpath = event.devpath.to_string_lossy().trim_start_matches('/').to_owned();
        if nodes {
            self.nodes.extend(node(&event));
        }
        match topic {
            Topic::Block => self.block(event, &devpath, gone),
            Topic::Modalias => {
                if let Some(modalias) = event.env.remove("MODALIAS") {
                    self.modalias.push((devpath, modalias));
                }
            }
            Topic::Net => {
                if let Some(name) = event.env.remove("INTERFACE") {
                    self.net.push((name, devpath, !gone));
                }
            }
            Topic::Firmware => {
                if let Some(name) = event.env.remove("FIRMWARE") {
                    self.firmware.push((devpath, name));
                }
            }
            Topic::Node | Topic::Nothing => {}
        }
    }

    fn block(&mut self, event: UEvent, devpath: &str, gone: bool) {
        let name = DevName(
            event.env.get("DEVNAME").cloned().unwrap_or_else(|| last_component(devpath).replace('!', "/")),
        );
        if event.action == ActionType::Move
            && let Some(old) = event.env.get("DEVPATH_OLD")
        {
            self.block_change(DevName(last_component(old).replace('!', "/")), BlockChange::Gone);
        }
        self.block_change(name, if gone { BlockChange::Gone } else { BlockChange::Present });
    }

    /// The order of going and coming is kept; repetitions are not.
    fn block_change(&mut self, name: DevName, change: BlockChange) {
        let last = self.block.iter().rev().find(|(known, _)| *known == name);
        if last.is_none_or(|(_, known)| *known != change) {
            self.block.push((name, change));
        }
    }
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn node(event: &UEvent) -> Option<NodeEvent> {
    let number = |key: &str| event.env.get(key).and_then(|value| value.parse().ok());
    Some(NodeEvent {
        name: event.env.get("DEVNAME")?.clone(),
        block: event.subsystem == "block",
        major: number("MAJOR")?,
        minor: number("MINOR")?,
        mode: event.env.get("DEVMODE").and_then(|mode| u32::from_str_radix(mode, 8).ok()),
        present: event.action != ActionType::Remove,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(action: &str, devpath: &str, fields: &[&str]) -> Vec<u8> {
        let mut text = format!("{action}@{devpath}\0ACTION={action}\0DEVPATH={devpath}\0");
        for field in fields {
            text.push_str(field);
            text.push('\0');
        }
        text.push_str("SEQNUM=7\0");
        text.into_bytes()
    }

    fn block(action: &str, name: &str) -> Vec<u8> {
        let devname = format!("DEVNAME={}", name.replace('!', "/"));
        let path = format!("/devices/virtual/block/{name}");
        datagram(action, &path, &["SUBSYSTEM=block", "MAJOR=253", "MINOR=0", &devname, "DEVTYPE=disk"])
    }

    fn batch(datagrams: &[Vec<u8>], nodes: bool) -> Batch {
        let mut batch = Batch::default();
        datagrams.iter().for_each(|datagram| batch.take(datagram, nodes));
        batch
    }

    #[test]
    fn a_storm_of_changes_is_one_entry_per_device() {
        let mut storm: Vec<Vec<u8>> = (0..2000).map(|_| block("change", "vda")).collect();
        storm.push(block("add", "vdb"));
        let seen = batch(&storm, false);
        assert_eq!(seen.block, [("vda".into(), BlockChange::Present), ("vdb".into(), BlockChange::Present)]);
    }

    #[test]
    fn going_and_coming_back_keeps_its_order() {
        let events = ["add", "remove", "remove", "add", "change"].map(|action| block(action, "sda"));
        let changes: Vec<_> = batch(&events, false).block.into_iter().map(|(_, change)| change).collect();
        assert_eq!(changes, [BlockChange::Present, BlockChange::Gone, BlockChange::Present]);
    }

    #[test]
    fn names_with_exclamation_marks_are_paths() {
        assert_eq!(batch(&[block("add", "cciss!c0d0")], false).block[0].0, "cciss/c0d0".into());
        let mut renamed = datagram(
            "move",
            "/devices/virtual/block/b!1",
            &["SUBSYSTEM=block", "DEVPATH_OLD=/devices/virtual/block/a"],
        );
        assert_eq!(
            batch(&[renamed.clone()], false).block,
            [("a".into(), BlockChange::Gone), ("b/1".into(), BlockChange::Present)]
        );
        renamed.truncate(20);
        assert_eq!(batch(&[renamed], false), Batch::default());
    }

    #[test]
    fn only_what_somebody_needs_is_parsed() {
        let pci = ["SUBSYSTEM=pci", "MODALIAS=pci:v00001AF4d00001001"];
        let path = "/devices/pci0000:00/0000:00:04.0";
        let seen = batch(
            &[datagram("add", path, &pci), datagram("bind", path, &pci), datagram("remove", path, &pci)],
            false,
        );
        assert_eq!(seen.modalias, [(path[1..].to_owned(), "pci:v00001AF4d00001001".to_owned())]);
        let tty = datagram(
            "add",
            "/devices/virtual/tty/tty9",
            &["SUBSYSTEM=tty", "MAJOR=4", "MINOR=9", "DEVNAME=tty9"],
        );
        assert_eq!(topic(&tty, false), Topic::Nothing);
        assert_eq!(batch(std::slice::from_ref(&tty), false), Batch::default());
        assert_eq!(
            batch(&[tty], true).nodes,
            [NodeEvent { name: "tty9".into(), block: false, major: 4, minor: 9, mode: None, present: true }]
        );
        let net = datagram("add", "/devices/x/net/eth0", &["SUBSYSTEM=net", "INTERFACE=eth0", "IFINDEX=2"]);
        assert_eq!(batch(&[net], false).net, [("eth0".into(), "devices/x/net/eth0".into(), true)]);
        let firmware =
            datagram("add", "/devices/x/firmware/a.bin", &["SUBSYSTEM=firmware", "FIRMWARE=a.bin"]);
        assert_eq!(batch(&[firmware], false).firmware, [("devices/x/firmware/a.bin".into(), "a.bin".into())]);
    }

    #[test]
    fn hostile_bytes_are_skipped() {
        let mut broken = block("add", "vda");
        broken.extend(b"X=\xff\xfe\0");
        let no_number = b"add@/x\0SUBSYSTEM=block\0DEVNAME=x\0".to_vec();
        assert_eq!(batch(&[broken, no_number, Vec::new(), vec![0; 64]], true), Batch::default());
    }
}
