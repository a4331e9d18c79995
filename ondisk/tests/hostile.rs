//! Real superblocks, cut short and damaged byte by byte: nothing panics, reads stay bounded and inside the device.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use ondisk::{Content, HEAD, Kind, ReadAt, ReadError, identify, luks};
use proptest::prelude::*;

/// A device that is zero except for a few runs of bytes, and that counts what is read.
#[derive(Clone, Default)]
struct Sparse {
    size: u64,
    /// Reads end here, whatever the size says.
    readable: u64,
    runs: Vec<(u64, Vec<u8>)>,
    partition: bool,
    reads: Cell<u64>,
    bytes: Cell<u64>,
}

impl Sparse {
    /// The format of the seeds: size, then offset, length and bytes of each run.
    fn parse(seed: &[u8]) -> Self {
        let (size, mut rest) = seed.split_at(8);
        let size = u64::from_le_bytes(size.try_into().unwrap());
        let mut runs = Vec::new();
        while let Some((header, tail)) = rest.split_at_checked(6) {
            let offset = u32::from_le_bytes(header[..4].try_into().unwrap());
            let length = usize::from(u16::from_le_bytes(header[4..].try_into().unwrap()));
            runs.push((u64::from(offset), tail[..length].to_vec()));
            rest = &tail[length..];
        }
        Self { size, readable: size, runs, ..Self::default() }
    }

    fn bounded(&self) {
        // Twice a LUKS2 header of 4 MiB with its JSON area, or 4 MiB of GPT entries twice, or a FAT directory.
        assert!(self.bytes.get() <= 20 << 20, "{} bytes read", self.bytes.get());
        assert!(self.reads.get() <= 1500, "{} reads", self.reads.get());
    }
}

impl ReadAt for Sparse {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        assert!(offset + buf.len() as u64 <= self.size, "read of {} at {offset} of {}", buf.len(), self.size);
        let count = usize::try_from(self.readable.saturating_sub(offset)).unwrap().min(buf.len());
        buf[..count].fill(0);
        for (at, bytes) in &self.runs {
            let from = offset.max(*at);
            let to = (offset + count as u64).min(at + bytes.len() as u64);
            if from < to {
                let length = usize::try_from(to - from).unwrap();
                let (into, out) =
                    (usize::try_from(from - offset).unwrap(), usize::try_from(from - at).unwrap());
                buf[into..into + length].copy_from_slice(&bytes[out..out + length]);
            }
        }
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + count as u64);
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn is_partition(&self) -> bool {
        self.partition
    }
}

fn seed(name: &str) -> Sparse {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/ondisk_identify").join(name);
    Sparse::parse(&fs::read(path).unwrap())
}

const SIGNATURES: [(&str, Kind); 36] = [
    ("asr-raid10", Kind::AdaptecMember),
    ("bcache", Kind::Bcache),
    ("bcachefs", Kind::Bcachefs),
    ("bitlocker", Kind::BitLocker),
    ("btrfs-crc32c", Kind::Btrfs),
    ("btrfs-sha256", Kind::Btrfs),
    ("btrfs-xxhash", Kind::Btrfs),
    ("erofs", Kind::Erofs),
    ("ext2", Kind::Ext2),
    ("ext4", Kind::Ext4),
    ("fat12", Kind::Vfat),
    ("fat16", Kind::Vfat),
    ("fat32", Kind::Vfat),
    ("hpt37x-raid01", Kind::Hpt37xMember),
    ("hpt45x-raid10", Kind::Hpt45xMember),
    ("integrity", Kind::DmIntegrity),
    ("iso9660", Kind::Iso9660),
    ("jmicron-raid01", Kind::JmicronMember),
    ("lsi-raid1", Kind::LsiMember),
    ("luks1", Kind::Luks1),
    ("luks2", Kind::Luks2),
    ("lvm2", Kind::Lvm2Pv),
    ("md-0.90", Kind::MdMember),
    ("md-1.0", Kind::MdMember),
    ("md-1.1", Kind::MdMember),
    ("md-1.2", Kind::MdMember),
    ("nvidia-raid10", Kind::NvidiaMember),
    ("pdc-two", Kind::PromiseMember),
    ("sil-raid10", Kind::SiliconMember),
    ("squashfs", Kind::Squashfs),
    ("swap", Kind::Swap),
    ("swsuspend", Kind::SwSuspend),
    ("via-raid01", Kind::ViaMember),
    ("verity", Kind::DmVerity),
    ("xfs", Kind::Xfs),
    ("zfs", Kind::ZfsMember),
];
const TABLES: [(&str, usize); 2] = [("gpt", 2), ("mbr", 6)];

fn seeds() -> impl Iterator<Item = (&'static str, Sparse)> {
    SIGNATURES
        .iter()
        .map(|(name, _)| *name)
        .chain(TABLES.iter().map(|(name, _)| *name))
        .map(|name| (name, seed(name)))
}

fn examine(device: &Sparse) -> Content {
    device.reads.set(0);
    device.bytes.set(0);
    let content = identify(device).unwrap();
    device.bounded();
    let (reads, bytes) = (device.reads.get(), device.bytes.get());
    if content.signatures.iter().any(|signature| matches!(signature.kind, Kind::Luks1 | Kind::Luks2)) {
        luks::read(device).unwrap();
    }
    device.reads.set(reads);
    device.bytes.set(bytes);
    content
}

#[test]
fn real_ones_are_recognised() {
    for (name, kind) in SIGNATURES {
        let content = examine(&seed(name));
        assert_eq!(content.only().map(|signature| signature.kind), Some(kind), "{name}");
        assert_eq!(content.only().unwrap().doubt, None, "{name}");
    }
    for (name, partitions) in TABLES {
        let table = examine(&seed(name)).table.unwrap();
        assert_eq!((table.partitions.len(), table.doubt), (partitions, None), "{name}");
    }
}

/// The promise of [`identify`]: one large read, two small ones near the end, more only where a format demands it.
#[test]
fn a_device_costs_few_reads() {
    for (name, mut device) in seeds() {
        // Whole disks may be members of a BIOS RAID set: the last 32 KiB and the 14 places farther away.
        examine(&device);
        assert!(device.reads.get() <= 3 + 1 + 14 + 6, "{name}: {} reads of a disk", device.reads.get());
        // A ring of uberblocks is as long as that.
        let ring = if name == "zfs" { 132 << 10 } else { 0 };
        assert!(
            device.bytes.get() <= HEAD as u64 + (96 << 10) + ring,
            "{name}: {} bytes",
            device.bytes.get()
        );
        device.partition = true;
        examine(&device);
        // The root directory of FAT16 and FAT32 is far away, and so are the boot records of logical partitions
        // and BitLocker's metadata.
        let more = match name {
            "fat32" | "fat16" | "mbr" => 3,
            "bitlocker" => 1,
            "zfs" => 2,
            _ => 0,
        };
        assert!(device.reads.get() <= 3 + more, "{name}: {} reads", device.reads.get());
        assert!(
            device.bytes.get() <= HEAD as u64 + (2 + more) * 4096 + ring,
            "{name}: {} bytes",
            device.bytes.get()
        );
    }
    let gpt = seed("gpt");
    examine(&gpt);
    assert_eq!(gpt.reads.get(), 1);
}

#[test]
fn cut_short() {
    for (_, device) in seeds() {
        let edges = device.runs.iter().flat_map(|(at, bytes)| [*at, at + bytes.len() as u64]);
        let lengths =
            edges.flat_map(|edge| edge.saturating_sub(40)..edge + 40).chain((0..140 << 10).step_by(500));
        for length in lengths.filter(|length| *length < device.size) {
            // A smaller device, and one that is shorter than it says.
            examine(&Sparse { size: length, readable: length, ..device.clone() });
            examine(&Sparse { readable: length, ..device.clone() });
        }
    }
}

#[test]
fn one_byte_off() {
    for (_, mut device) in seeds() {
        for run in 0..device.runs.len() {
            for at in 0..device.runs[run].1.len() {
                for flip in [0x01, 0x80, 0xff] {
                    device.runs[run].1[at] ^= flip;
                    examine(&device);
                    device.runs[run].1[at] ^= flip;
                }
            }
        }
    }
}

/// Where a format has a checksum, no single damaged byte under it goes unnoticed.
#[test]
fn damage_under_a_checksum_is_noticed() {
    for (name, from, to) in [
        ("ext4", 1024, 2048),
        ("xfs", 0, 512),
        ("btrfs-crc32c", 65536, 65536 + 4096),
        ("btrfs-xxhash", 65536, 65536 + 4096),
        ("btrfs-sha256", 65536, 65536 + 4096),
        ("erofs", 1024, 4096),
        ("lvm2", 512, 1024),
        ("luks2", 0, 16384),
        ("gpt", 512, 512 + 92),
        ("md-1.2", 4096, 4096 + 256),
    ] {
        let mut device = seed(name);
        let intact = examine(&device);
        for run in 0..device.runs.len() {
            for at in 0..device.runs[run].1.len() {
                let offset = device.runs[run].0 + at as u64;
                if (from..to).contains(&offset) {
                    device.runs[run].1[at] ^= 0x10;
                    assert_ne!(examine(&device), intact, "{name}: byte {offset}");
                    device.runs[run].1[at] ^= 0x10;
                }
            }
        }
    }
}

/// A device that cannot be read at its end is what its start says, with a doubt; without a start it is an error.
#[test]
fn unreadable_end() {
    struct Broken(Sparse);
    impl ReadAt for Broken {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
            if offset > 1 << 20 { Err(ReadError { offset, errno: 5 }) } else { self.0.read_at(offset, buf) }
        }
        fn size(&self) -> u64 {
            self.0.size
        }
    }
    let content = identify(&Broken(seed("ext4"))).unwrap();
    assert!(content.only().unwrap().doubt.as_ref().unwrap().contains("errno 5"));
    let empty = Sparse { size: 8 << 20, readable: 8 << 20, ..Sparse::default() };
    assert_eq!(identify(&Broken(empty)).unwrap_err().errno, 5);
    assert_eq!(identify(&Broken(seed("md-1.2"))).unwrap().only().unwrap().kind, Kind::MdMember);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn several_bytes_off(
        which in 0..SIGNATURES.len() + TABLES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (_, mut device) = seeds().nth(which).unwrap();
        for (run, at, value) in changes {
            let run = run.index(device.runs.len());
            let bytes = &mut device.runs[run].1;
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        examine(&device);
    }
}
