//! The device that the ondisk targets look at, and what must hold for any content of it.
#![allow(dead_code, reason = "each target uses its part")]

use std::cell::Cell;

use ondisk::ata_raid::{self, Disk, Format};
use ondisk::{Content, Kind, Member, ReadAt, ReadError, luks, udev_encode};

/// No format makes us read more: two LUKS2 headers of 4 MiB, both digested and parsed.
const MAX_BYTES: u64 = 20 << 20;
/// No format makes us read more often: logical partitions, clusters of a FAT directory.
const MAX_READS: u64 = 1500;

/// Zeroes, except for a few runs of bytes.
pub struct Device {
    size: u64,
    sector_size: u32,
    runs: Vec<(u64, Vec<u8>)>,
    bytes: Cell<u64>,
    reads: Cell<u64>,
}

impl Device {
    pub fn new(size: u64, sector_size: u32, runs: Vec<(u64, Vec<u8>)>) -> Self {
        Self { size, sector_size, runs, bytes: Cell::new(0), reads: Cell::new(0) }
    }

    /// 16 MiB with `bytes` at `offset`.
    pub fn with(offset: u64, bytes: Vec<u8>) -> Self {
        Self::new(16 << 20, 512, vec![(offset, bytes)])
    }

    /// The seeds' form: size (u64), then for each run its offset (u32), length (u16) and bytes.
    pub fn sparse(input: &[u8]) -> Self {
        let Some((size, mut rest)) = input.split_at_checked(8) else { return Self::with(0, Vec::new()) };
        let mut runs = Vec::new();
        while let Some((header, tail)) = rest.split_at_checked(6) {
            let offset = u32::from_le_bytes(header[..4].try_into().unwrap());
            let length = usize::from(u16::from_le_bytes(header[4..].try_into().unwrap())).min(tail.len());
            runs.push((u64::from(offset), tail[..length].to_vec()));
            rest = &tail[length..];
        }
        Self::new(u64::from_le_bytes(size.try_into().unwrap()), 512, runs)
    }

    /// Overwrites bytes, to put a magic or a checksum right.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.runs.push((offset, bytes.to_vec()));
    }

    /// Identifies the content and checks everything that must hold.
    pub fn check(&self) -> Content {
        let content = ondisk::identify(self).expect("this device has no read errors");
        self.bounded();
        for signature in content.signatures.iter().chain(&content.rejected) {
            assert!(
                signature.uuid.as_ref().is_none_or(|uuid| (1..=120).contains(&uuid.len())),
                "{signature:?}"
            );
            let label = signature.label.as_deref().unwrap_or(b"x");
            assert!((1..=256).contains(&label.len()) && !label.contains(&0) && label.last() != Some(&b' '));
            assert_eq!(udev_encode::decode(&udev_encode::encode(label)), label);
            if matches!(signature.kind, Kind::Luks1 | Kind::Luks2) {
                let luks = luks::read(self).unwrap();
                assert!(luks.is_none_or(|luks| luks.keyslots.len() <= 32 && luks.tokens.len() <= 32));
            }
        }
        if let Some(table) = &content.table {
            assert!(table.partitions.len() <= 255);
            assert!(table.partitions.is_sorted_by_key(|partition| partition.number));
            for partition in &table.partitions {
                assert!((1..=255).contains(&partition.number) && partition.length > 0);
                assert!(partition.start.checked_add(partition.length).is_some());
                assert!(partition.uuid.is_empty() || table.gpt || partition.uuid.starts_with(&table.uuid));
            }
        }
        content
    }

    fn bounded(&self) {
        assert!(self.bytes.get() <= MAX_BYTES, "{} bytes read", self.bytes.get());
        assert!(self.reads.get() <= MAX_READS, "{} reads", self.reads.get());
    }
}

impl ReadAt for Device {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size);
        let end = end.expect("a read inside the device");
        buf.fill(0);
        for (at, bytes) in &self.runs {
            let from = offset.max(*at);
            let to = end.min(at.saturating_add(bytes.len() as u64));
            if from < to {
                let into = usize::try_from(from - offset).unwrap()..usize::try_from(to - offset).unwrap();
                let out = usize::try_from(from - at).unwrap()..usize::try_from(to - at).unwrap();
                buf[into].copy_from_slice(&bytes[out]);
            }
        }
        self.bytes.set(self.bytes.get() + buf.len() as u64);
        self.reads.set(self.reads.get() + 1);
        Ok(buf.len())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }
}

/// Identifies a member of a BIOS RAID set: what is recognised is its kind, and its parts stay within their limits.
pub fn member(device: Device, kind: Kind) {
    let content = device.check();
    let found = content.only().expect("it is a member of something");
    if found.kind != kind {
        // The noise made the structure of a format that is looked for before.
        assert!(content.member.as_deref().and_then(Member::ata_raid).is_some() || found.doubt.is_some());
        return;
    }
    let disk = content.member.as_deref().and_then(Member::ata_raid);
    assert_eq!(disk.is_none(), content.only().unwrap().doubt.is_some());
    match disk {
        Some(Disk::Parts(format, parts)) => {
            assert_eq!(format.kind(), kind);
            assert!((1..=4).contains(&parts.len()));
        }
        Some(Disk::Imsm(anchor)) => {
            for index in 0..anchor.disks.len() {
                assert!(anchor.parts(index).len() <= anchor.volumes.len());
            }
            assert!(anchor.volumes.is_empty() || anchor.uuid(Some(0)).is_some());
            marked(device, Format::Imsm);
        }
        Some(Disk::Ddf(group)) => {
            assert!(group.disks.len() <= 8192 && group.sets.len() <= 8192);
            marked(device, Format::Ddf);
        }
        None => {}
    }
}

/// Sum of the little-endian words.
pub fn sum32(bytes: &[u8]) -> u32 {
    let word = |word: &[u8]| u32::from_le_bytes(word.try_into().unwrap());
    bytes.chunks_exact(4).fold(0, |sum, bytes| sum.wrapping_add(word(bytes)))
}

/// Sum of the little-endian half words.
pub fn sum16(bytes: &[u8]) -> u16 {
    let word = |word: &[u8]| u16::from_le_bytes(word.try_into().unwrap());
    bytes.chunks_exact(2).fold(0, |sum, bytes| sum.wrapping_add(word(bytes)))
}

/// Puts a DDF structure's CRC right.
pub fn seal(bytes: &mut [u8]) {
    put(bytes, 4, &[0xff; 4]);
    let crc = !crc32(!0, bytes);
    put(bytes, 4, &crc.to_be_bytes());
}

/// `data` cut or filled with zeroes to `length`.
pub fn sized(data: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = data[..data.len().min(length)].to_vec();
    bytes.resize(length, 0);
    bytes
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (polynomial & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

fn crc(table: &[u32; 256], start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| (crc >> 8) ^ table[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// CRC-32 register, not inverted at the end.
pub fn crc32(start: u32, bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table(0xedb8_8320);
    crc(&TABLE, start, bytes)
}

/// CRC-32C register, not inverted at the end.
pub fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table(0x82f6_3b78);
    crc(&TABLE, start, bytes)
}

/// Marking a set as written to stays within the disk's last 8 MiB, leaves a member, and has nothing to do a second time
/// (a disk that is on record as missing is none of the set's any more).
fn marked(mut device: Device, format: Format) {
    for (index, missing) in [(0, &[][..]), (0, &[0]), (1, &[1, 0xdead_beef])] {
        let Some(writes) = ata_raid::dirty(&device, format, index, missing).unwrap() else { continue };
        for (at, bytes) in writes {
            assert!(at >= device.size - (8 << 20) && at + bytes.len() as u64 <= device.size, "{at}");
            device.put(at, &bytes);
        }
        let again = ata_raid::dirty(&device, format, index, missing).unwrap();
        assert!(if missing.is_empty() {
            again == Some(Vec::new())
        } else {
            again.is_none_or(|all| all.is_empty())
        });
        let content = ondisk::identify(&device).unwrap();
        assert_eq!(content.only().map(|only| only.kind), Some(format.kind()));
        (device.bytes, device.reads) = (Cell::new(0), Cell::new(0));
    }
}
