//! A random machine: disks, what lies on them, who sits in front of it.

use cmdline::crypttab::CrypttabEntry;
use cmdline::plan::{KeyDevice, KeyTarget};
use ondisk::{Content, Kind, Partition, PartitionTable, Signature};

use super::rng::Rng;

/// Where a volume lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Disk(usize),
    Partition { disk: usize, number: u32 },
    Inside(usize),
}

/// How reading a volume goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Fine,
    /// Takes that many milliseconds.
    Slow(u64),
    /// Fails so many times; the device reports a change after each failure.
    FailsFirst(u32),
    Broken,
    /// Never answers.
    Hangs,
}

/// One run of bytes: a disk, a partition, or what a container hides.
#[derive(Debug, Clone)]
pub struct Volume {
    pub place: Place,
    pub content: Content,
    /// Copies of one volume share it.
    pub tag: u32,
    /// Secrets that open it, and what is inside.
    pub luks: Option<(Vec<u32>, usize)>,
    pub mountable: bool,
    pub has_init: bool,
    pub reads: Reads,
    /// The other device of a file system that lies on two.
    pub sibling: Option<usize>,
    /// A key file on it.
    pub key_file: Option<(String, u32)>,
    pub size: u64,
}

/// When a disk shows up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Start,
    /// While its driver is being loaded.
    Driver(u64),
    /// Long after.
    Late(u64),
    /// So long after the other drivers were asked for.
    OtherDrivers(u64),
}

/// When another disk takes the name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    At(u64),
    /// While the driver of its file system is being loaded.
    WhenWanted,
    /// While it is being mounted.
    WhenMounted,
}

/// A disk.
#[derive(Debug, Clone)]
pub struct Disk {
    pub name: String,
    pub volume: usize,
    pub partitions: Vec<(u32, usize)>,
    pub arrival: Arrival,
    /// Taken away at, and back at.
    pub absent: Option<(u64, u64)>,
    /// At this time another disk takes its name.
    pub swapped: Option<(Swap, usize)>,
    pub serial: String,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct World {
    pub volumes: Vec<Volume>,
    pub disks: Vec<Disk>,
    /// Disks that exist only as replacements.
    pub spares: usize,
    /// Key files of the image.
    pub image_keys: Vec<(String, u32)>,
    pub crypttab: Vec<CrypttabEntry>,
    /// What the user types, one after another, with the milliseconds that it takes.
    pub typed: Vec<(u64, u32)>,
    /// dm-crypt is missing from the image.
    pub crypt_missing: bool,
    /// A driver that never comes back.
    pub driver_hangs: bool,
}

const LABELS: &[&[u8]] =
    &[b"root", b"Root", b"data", b"a b", b"home/x", b"\xff\xfe\x1b[2J", "dél".as_bytes()];
const NAMES: &[&str] = &["root", "linux", "a b", "EFI system"];

impl World {
    /// Invents one.
    pub fn invent(rng: &mut Rng) -> World {
        let mut world = World {
            volumes: Vec::new(),
            disks: Vec::new(),
            spares: 0,
            image_keys: Vec::new(),
            crypttab: Vec::new(),
            typed: Vec::new(),
            crypt_missing: rng.percent(2),
            driver_hangs: rng.percent(2),
        };
        let count = *rng.pick(&[0, 1, 1, 2, 2, 3, 3, 4, 6]);
        for _ in 0..count {
            world.add_disk(rng);
        }
        if count > 0 && rng.percent(20) {
            world.clone_disk(rng);
        }
        if rng.percent(20) {
            world.add_sibling(rng);
        }
        if count > 0 && rng.percent(12) {
            world.add_swap(rng);
        }
        world.add_keys(rng);
        world.add_crypttab(rng);
        world.add_user(rng);
        world
    }

    fn add_disk(&mut self, rng: &mut Rng) {
        let disk = self.disks.len();
        let letter = char::from(b'a' + u8::try_from(disk).unwrap_or(25).min(25));
        let name = match rng.below(3) {
            0 => format!("vd{letter}"),
            1 => format!("sd{letter}"),
            _ => format!("nvme{disk}n1"),
        };
        let volume = self.volumes.len();
        let arrival = match rng.below(10) {
            0..=4 => Arrival::Start,
            5..=6 => Arrival::Driver(rng.between(1, 900)),
            7..=8 => Arrival::Late(rng.between(100, 20_000)),
            _ => Arrival::OtherDrivers(rng.between(10, 2_000)),
        };
        let absent = rng.percent(15).then(|| {
            let from = rng.between(1, 8_000);
            (from, from + rng.between(1, 5_000))
        });
        self.disks.push(Disk {
            name,
            volume,
            partitions: Vec::new(),
            arrival,
            absent,
            swapped: None,
            serial: format!("SER{:06x}", rng.below(1 << 24)),
        });
        if rng.percent(55) {
            self.add_table(rng, disk);
        } else {
            self.add_volume(rng, Place::Disk(disk), 0);
        }
    }

    fn add_table(&mut self, rng: &mut Rng, disk: usize) {
        let gpt = rng.percent(70);
        let whole = self.volumes.len();
        self.volumes.push(Volume {
            place: Place::Disk(disk),
            content: Content::default(),
            tag: tag(rng),
            luks: None,
            mountable: false,
            has_init: false,
            reads: reads(rng),
            sibling: None,
            key_file: None,
            size: 64 << 30,
        });
        let mbr = format!("{:08x}", rng.next() & 0xffff_ffff);
        let mut partitions = Vec::new();
        let count = rng.between(1, 4);
        for number in 1..=u32::try_from(count).unwrap_or(1) {
            let volume = self.add_volume(rng, Place::Partition { disk, number }, 0);
            self.disks[disk].partitions.push((number, volume));
            partitions.push(Partition {
                number,
                start: u64::from(number) << 30,
                length: self.volumes[volume].size,
                uuid: if gpt { uuid(rng) } else { format!("{mbr}-{number:02x}") },
                name: (gpt && rng.percent(70)).then(|| (*rng.pick(NAMES)).to_owned()),
                kind: if gpt { "0fc63daf-8483-4772-8e79-3d69d8477de4".into() } else { "0x83".into() },
                flags: 0,
            });
        }
        // Sometimes the table names a partition that the kernel did not make.
        if rng.percent(5) {
            partitions.push(Partition {
                number: 9,
                start: 0,
                length: 1 << 20,
                uuid: uuid(rng),
                name: None,
                kind: String::new(),
                flags: 0,
            });
        }
        let table = PartitionTable { gpt, uuid: if gpt { uuid(rng) } else { mbr }, partitions, doubt: None };
        self.volumes[whole].content.table = Some(table);
    }

    fn add_volume(&mut self, rng: &mut Rng, place: Place, depth: u32) -> usize {
        let at = self.volumes.len();
        self.volumes.push(Volume {
            place,
            content: Content::default(),
            tag: tag(rng),
            luks: None,
            mountable: !rng.percent(6),
            has_init: !rng.percent(8),
            reads: if depth == 0 { reads(rng) } else { Reads::Fine },
            sibling: None,
            key_file: rng.percent(12).then(|| (format!("/key{}", rng.below(2)), secret(rng))),
            size: rng.between(1, 1 << 20) << 12,
        });
        let content = &mut self.volumes[at].content;
        match rng.below(100) {
            0..=51 => content.signatures.push(file_system(rng)),
            52..=79 if depth < 3 => {
                let kind = if rng.percent(80) { Kind::Luks2 } else { Kind::Luks1 };
                let mut signature = Signature::new(kind);
                signature.uuid = Some(uuid(rng));
                signature.cipher = rng.percent(50).then(|| "aes-xts-plain64".to_owned());
                content.signatures.push(signature);
                let mut secrets = vec![secret(rng)];
                if rng.percent(30) {
                    secrets.push(secret(rng));
                }
                let inner = self.add_volume(rng, Place::Inside(at), depth + 1);
                self.volumes[at].luks = Some((secrets, inner));
            }
            80..=84 => {
                let kind = *rng.pick(&[Kind::Swap, Kind::SwSuspend, Kind::Jbd, Kind::Lvm2Pv, Kind::MdMember]);
                let mut signature = Signature::new(kind);
                signature.uuid = Some(uuid(rng));
                content.signatures.push(signature);
            }
            85..=90 => {
                content.signatures.push(file_system(rng));
                let mut stale = Signature::new(Kind::Swap);
                stale.uuid = Some(uuid(rng));
                content.signatures.push(stale);
            }
            91..=93 => {
                let mut damaged = file_system(rng);
                damaged.doubt = Some("its checksum is wrong".into());
                content.rejected.push(damaged);
            }
            _ => {}
        }
        at
    }

    /// Another disk with the same ids: a copy made with dd, or one that only looks the same.
    fn clone_disk(&mut self, rng: &mut Rng) {
        let of = self.disks[rng.index(self.disks.len())].clone();
        let exact = rng.percent(60);
        let disk = self.disks.len();
        let mut copy = of.clone();
        copy.name = format!("sd{}", char::from(b'p' + u8::try_from(disk).unwrap_or(0).min(9)));
        copy.serial.push('b');
        copy.volume = self.copy_volume(rng, of.volume, Place::Disk(disk), exact);
        copy.partitions = of
            .partitions
            .iter()
            .map(|(number, volume)| {
                let place = Place::Partition { disk, number: *number };
                (*number, self.copy_volume(rng, *volume, place, exact))
            })
            .collect();
        copy.absent = None;
        copy.arrival = match rng.below(3) {
            0 => Arrival::Start,
            1 => Arrival::Driver(rng.between(1, 900)),
            _ => Arrival::Late(rng.between(100, 9_000)),
        };
        self.disks.push(copy);
    }

    fn copy_volume(&mut self, rng: &mut Rng, of: usize, place: Place, exact: bool) -> usize {
        let at = self.volumes.len();
        let mut copy = self.volumes[of].clone();
        copy.place = place;
        copy.sibling = None;
        if !exact {
            copy.tag = tag(rng);
            copy.has_init = !rng.percent(20);
            copy.mountable = !rng.percent(40);
        }
        self.volumes.push(copy);
        if let Some((secrets, inner)) = self.volumes[of].luks.clone() {
            let inner = self.copy_volume(rng, inner, Place::Inside(at), exact);
            self.volumes[at].luks = Some((secrets, inner));
        }
        at
    }

    /// A second device for a btrfs that lies on a disk of its own or in a container.
    fn add_sibling(&mut self, rng: &mut Rng) {
        let btrfs = |volume: &Volume| {
            volume.sibling.is_none() && volume.content.only().is_some_and(|one| one.kind == Kind::Btrfs)
        };
        let Some(of) = self.volumes.iter().position(btrfs) else { return };
        let disk = self.disks.len();
        self.add_disk(rng);
        if !self.disks[disk].partitions.is_empty() {
            return;
        }
        let at = self.disks[disk].volume;
        let (reads, size) = (self.volumes[at].reads, self.volumes[at].size);
        let mut second = self.volumes[of].clone();
        second.content.signatures[0].uuid_sub = Some(uuid(rng));
        second.sibling = Some(of);
        self.volumes[at] = Volume { place: Place::Disk(disk), reads, size, ..second };
        self.volumes[of].sibling = Some(at);
    }

    /// A disk whose name is taken by another while the boot goes on.
    fn add_swap(&mut self, rng: &mut Rng) {
        let disk = rng.index(self.disks.len());
        if !self.disks[disk].partitions.is_empty() {
            return;
        }
        let place = self.volumes[self.disks[disk].volume].place.clone();
        let volume = self.volumes.len();
        let mut other = self.volumes[self.disks[disk].volume].clone();
        other.place = place;
        other.tag = tag(rng);
        other.luks = None;
        other.sibling = None;
        let mut signature = file_system(rng);
        // The dangerous case is another file system of the same type.
        if let Some(one) = self.volumes[self.disks[disk].volume].content.only()
            && one.kind.is_filesystem()
            && rng.percent(70)
        {
            signature.kind = one.kind;
        }
        other.content = Content { signatures: vec![signature], ..Content::default() };
        self.volumes.push(other);
        self.disks[disk].absent = None;
        let when = match rng.below(4) {
            0 => Swap::At(rng.between(1, 3_000)),
            1 => Swap::WhenMounted,
            _ => Swap::WhenWanted,
        };
        self.disks[disk].swapped = Some((when, volume));
        self.spares += 1;
    }

    fn add_keys(&mut self, rng: &mut Rng) {
        for name in ["/key0", "/etc/keys/root"] {
            if rng.percent(30) {
                self.image_keys.push((name.to_owned(), secret(rng)));
            }
        }
        let of = |world: &World, fit: fn(&Volume) -> bool, rng: &mut Rng| {
            let fit: Vec<usize> = (0..world.volumes.len()).filter(|at| fit(&world.volumes[*at])).collect();
            (!fit.is_empty()).then(|| *rng.pick(&fit))
        };
        let locked = of(self, |volume| volume.luks.is_some(), rng);
        let holder =
            of(self, |volume| volume.content.only().is_some_and(|one| one.kind.is_filesystem()), rng);
        if let (Some(locked), Some(holder)) = (locked, holder)
            && rng.percent(40)
        {
            let secret = self.volumes[locked].luks.as_ref().map_or(0, |(secrets, _)| secrets[0]);
            self.volumes[holder].key_file = Some((format!("/key{}", rng.below(2)), secret));
        }
    }

    fn add_crypttab(&mut self, rng: &mut Rng) {
        let containers: Vec<String> = self.luks_uuids();
        for (number, uuid) in containers.iter().enumerate() {
            if !rng.percent(15) {
                continue;
            }
            let mut options = vec!["luks".to_owned()];
            options.extend(rng.percent(20).then(|| "noauto".to_owned()));
            options.extend(rng.percent(5).then(|| "swap".to_owned()));
            options.extend(rng.percent(30).then(|| format!("tries={}", rng.pick(&[0, 1, 3, 7]))));
            let key = if rng.percent(40) { "/etc/keys/root" } else { "none" };
            let line = format!("crypt{number} UUID={uuid} {key} {}", options.join(","));
            self.crypttab.extend(cmdline::crypttab::parse(&line).0);
        }
    }

    fn add_user(&mut self, rng: &mut Rng) {
        let mut right: Vec<u32> =
            self.volumes.iter().filter_map(|volume| volume.luks.as_ref()).map(|(keys, _)| keys[0]).collect();
        right.sort_unstable();
        right.dedup();
        let wrong = match rng.below(10) {
            0..=4 => 0,
            5..=7 => rng.between(1, 2),
            8 => rng.between(3, 9),
            _ => {
                right.clear();
                rng.below(9)
            }
        };
        // Nobody is there, or knows only some of them.
        if rng.percent(15) {
            right.truncate(rng.index(right.len() + 1));
        }
        self.typed = (0..wrong).map(|number| (rng.between(50, 5_000), 1_000 + number as u32)).collect();
        while !right.is_empty() {
            let at = rng.index(right.len());
            self.typed.push((rng.between(50, 30_000), right.swap_remove(at)));
        }
    }

    /// The world in one line per volume and disk, for a replay.
    pub fn describe(&self) -> String {
        let mut lines = Vec::new();
        for (at, volume) in self.volumes.iter().enumerate() {
            let signatures: Vec<String> = volume
                .content
                .signatures
                .iter()
                .map(|one| {
                    let label = one.label.as_deref().map(String::from_utf8_lossy);
                    format!("{} {} {label:?}", one.kind.name(), one.uuid.as_deref().unwrap_or("-"))
                })
                .collect();
            lines.push(format!(
                "volume {at}: {:?} [{}] tag {:08x} luks {:?} mountable {} init {} reads {:?} sibling {:?} key {:?}",
                volume.place,
                signatures.join(" + "),
                volume.tag,
                volume.luks,
                volume.mountable,
                volume.has_init,
                volume.reads,
                volume.sibling,
                volume.key_file
            ));
        }
        lines.extend(self.disks.iter().map(|disk| format!("{disk:?}")));
        lines.push(format!("image keys {:?}, typed {:?}", self.image_keys, self.typed));
        lines.push(format!("crypt missing {}, driver hangs {}", self.crypt_missing, self.driver_hangs));
        lines.extend(self.crypttab.iter().map(|row| format!("{row:?}")));
        lines.join("\n")
    }

    /// UUIDs of all containers, copies once.
    pub fn luks_uuids(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .volumes
            .iter()
            .filter(|volume| volume.luks.is_some())
            .filter_map(|volume| volume.content.signatures[0].uuid.clone())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The disk on which a volume lies, through all layers.
    pub fn disk_of(&self, volume: usize) -> usize {
        match self.volumes[volume].place {
            Place::Disk(disk) | Place::Partition { disk, .. } => disk,
            Place::Inside(outer) => self.disk_of(outer),
        }
    }

    /// The entry of the disk's partition table for a partition.
    pub fn entry_of(&self, volume: usize) -> Option<&Partition> {
        let Place::Partition { disk, number } = self.volumes[volume].place else { return None };
        let whole = &self.volumes[self.disks[disk].volume];
        whole.content.table.as_ref()?.partitions.iter().find(|entry| entry.number == number)
    }

    /// The kernel's name of a volume that is no mapping.
    pub fn kernel_name(&self, volume: usize) -> Option<String> {
        match self.volumes[volume].place {
            Place::Disk(disk) => Some(self.disks[disk].name.clone()),
            Place::Partition { disk, number } => Some(partition_name(&self.disks[disk].name, number)),
            Place::Inside(_) => None,
        }
    }

    /// Key files that may open something, as `rd.luks.key=` would name them.
    pub fn invent_key(&self, rng: &mut Rng) -> (String, KeyDevice, KeyTarget) {
        let mut path = (*rng.pick(&["/key0", "/key1", "/etc/keys/root"])).to_owned();
        let mut holder = (!self.volumes.is_empty()).then(|| rng.index(self.volumes.len()));
        let holders: Vec<usize> =
            (0..self.volumes.len()).filter(|at| self.volumes[*at].key_file.is_some()).collect();
        if !holders.is_empty() && rng.percent(70) {
            holder = Some(*rng.pick(&holders));
            path = holder.and_then(|at| self.volumes[at].key_file.clone()).map_or(path, |(path, _)| path);
        }
        let signature = holder.and_then(|at| self.volumes[at].content.only());
        let device = match (rng.below(5), holder, signature) {
            (0, ..) | (_, None, _) => KeyDevice::Initramfs,
            (1, ..) => KeyDevice::Any,
            (2, Some(at), _) => match self.kernel_name(at) {
                Some(name) => KeyDevice::Path(format!("/dev/{name}")),
                None => KeyDevice::Any,
            },
            (3, _, Some(signature)) => match &signature.uuid {
                Some(uuid) => KeyDevice::Uuid(uuid.get(..8).unwrap_or(uuid).to_owned()),
                None => KeyDevice::Any,
            },
            _ => KeyDevice::Label("data".into()),
        };
        let uuids = self.luks_uuids();
        let target = match uuids.first() {
            Some(uuid) if rng.percent(40) => KeyTarget::Uuid(uuid.clone()),
            _ => KeyTarget::All,
        };
        (path, device, target)
    }
}

/// What the kernel calls a partition: `p` goes between when the disk's name ends in a digit.
pub fn partition_name(disk: &str, number: u32) -> String {
    let digit = disk.ends_with(|letter: char| letter.is_ascii_digit());
    format!("{disk}{}{number}", if digit { "p" } else { "" })
}

fn tag(rng: &mut Rng) -> u32 {
    (rng.next() & 0xffff_ffff) as u32
}

fn secret(rng: &mut Rng) -> u32 {
    (rng.below(6)) as u32
}

fn reads(rng: &mut Rng) -> Reads {
    match rng.below(100) {
        0..=79 => Reads::Fine,
        80..=88 => Reads::Slow(rng.between(100, 4_000)),
        89..=93 => Reads::FailsFirst(rng.between(1, 2) as u32),
        94..=97 => Reads::Broken,
        _ => Reads::Hangs,
    }
}

pub fn uuid(rng: &mut Rng) -> String {
    let (a, b) = (rng.next(), rng.next());
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

fn file_system(rng: &mut Rng) -> Signature {
    let kind = *rng.pick(&[
        Kind::Ext4,
        Kind::Ext4,
        Kind::Xfs,
        Kind::Btrfs,
        Kind::Vfat,
        Kind::Squashfs,
        Kind::Erofs,
        Kind::Iso9660,
        Kind::Ext2,
        Kind::Ext3,
    ]);
    let mut signature = Signature::new(kind);
    signature.uuid = match kind {
        Kind::Vfat => Some(format!("{:04X}-{:04X}", rng.below(1 << 16), rng.below(1 << 16))),
        Kind::Squashfs => None,
        Kind::Iso9660 => Some("2024-01-01-00-00-00-00".into()),
        _ => Some(uuid(rng)),
    };
    signature.uuid_sub = (kind == Kind::Btrfs).then(|| uuid(rng));
    signature.label = rng.percent(60).then(|| rng.pick(LABELS).to_vec());
    signature
}
