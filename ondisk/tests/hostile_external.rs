//! Intel's and DDF's metadata as mdadm wrote them, cut short and damaged byte by byte, also with checksums put right again:
//! nothing panics, reads and writes stay on the disk, and damage is noticed.

mod sparse;

use ondisk::ata_raid::{self, Disk, Format};
use ondisk::{Member, ReadAt as _, identify};
use sparse::Sparse;

/// What a disk says, and what would be written to it: nothing beyond its end.
fn examine(disk: &Sparse, format: Format) -> Option<Disk> {
    let content = identify(disk).unwrap();
    // The second disk, by its index and by its reference.
    let other = if format == Format::Imsm { 1 } else { SECOND };
    for (at, bytes) in ata_raid::dirty(disk, format, 0, &[other]).unwrap().unwrap_or_default() {
        assert!(at.checked_add(bytes.len() as u64).is_some_and(|end| end <= disk.size), "{at}");
    }
    content.member.as_deref().and_then(Member::ata_raid).cloned()
}

/// Whether a damaged disk says nothing else than before: nothing, the same, or less of DDF's configurations and its host,
/// each of which has a CRC of its own.
fn is_noticed(seen: Option<Disk>, whole: &Disk) -> bool {
    match (seen, whole) {
        (Some(Disk::Ddf(mut seen)), Disk::Ddf(whole)) => {
            let known = seen.parts.iter().all(|part| whole.parts.contains(part));
            seen.parts.clone_from(&whole.parts);
            seen.host = seen.host.or(whole.host.clone());
            known && seen == *whole
        }
        (seen, whole) => seen.is_none_or(|seen| seen == *whole),
    }
}

fn read(disk: &Sparse, at: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    assert_eq!(disk.read_at(at, &mut bytes).unwrap(), length);
    bytes
}

/// The places of all bytes that are not filling.
fn places(disk: &Sparse) -> Vec<u64> {
    let filling = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xff);
    let runs = disk.runs.iter().filter(|(_, bytes)| !filling(bytes));
    runs.flat_map(|(at, bytes)| *at..*at + bytes.len() as u64).collect()
}

/// The reference of the other disk of `ddf-a.bin`.
const SECOND: u32 = 0x5021_1cea;

const DISKS: [(&str, Format); 2] = [("imsm-a.bin", Format::Imsm), ("ddf-a.bin", Format::Ddf)];

/// What is left of the metadata when everything from a place on is gone, and on a disk that ends there.
#[test]
fn cut_short() {
    for (name, format) in DISKS {
        let disk = Sparse::fixture(name);
        let whole = examine(&disk, format).unwrap();
        for place in places(&disk) {
            let mut cut = disk.clone();
            cut.runs.retain(|(at, _)| *at < place);
            for (at, bytes) in &mut cut.runs {
                bytes.truncate(usize::try_from(place - *at).unwrap());
            }
            // The anchor is at the end.
            assert_eq!(examine(&cut, format), None, "{name} {place}");
            assert_eq!(examine(&Sparse { size: place, ..cut }, format), None, "{name} {place}");
            // And without what is before it: of DDF's two copies one is enough.
            let mut rest = disk.clone();
            let mut before = disk.runs.clone();
            before.retain(|(at, _)| *at < place);
            for (at, bytes) in before {
                let length = bytes.len().min(usize::try_from(place - at).unwrap());
                rest.runs.push((at, vec![0; length]));
            }
            assert!(is_noticed(examine(&rest, format), &whole), "{name} {place}");
        }
    }
}

#[test]
fn one_byte_off_is_noticed() {
    for (name, format) in DISKS {
        let disk = Sparse::fixture(name);
        let whole = examine(&disk, format).unwrap();
        for place in places(&disk) {
            let byte = read(&disk, place, 1)[0];
            for flip in [0x01, 0xff] {
                let mut damaged = disk.clone();
                damaged.runs.push((place, vec![byte ^ flip]));
                assert!(is_noticed(examine(&damaged, format), &whole), "{name} {place} {flip:02x}");
            }
        }
    }
}

/// The sum of the words is right again.
#[test]
fn one_byte_off_under_a_right_sum() {
    let disk = Sparse::fixture("imsm-a.bin");
    let start = disk.size - 1024;
    let metadata = read(&disk, start, 512);
    let mut understood = 0;
    for at in (0..512).filter(|at| !(0x20..0x24).contains(at)) {
        for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
            let mut bytes = metadata.clone();
            bytes[at] ^= flip;
            let length = u32::from_le_bytes(bytes[0x24..0x28].try_into().unwrap()) as usize;
            bytes[0x20..0x24].fill(0);
            let words = bytes[..length.min(512)].chunks_exact(4);
            let sum = words
                .fold(0, |sum: u32, word| sum.wrapping_add(u32::from_le_bytes(word.try_into().unwrap())));
            bytes[0x20..0x24].copy_from_slice(&sum.to_le_bytes());
            let mut damaged = disk.clone();
            damaged.runs.push((start, bytes));
            understood += usize::from(examine(&damaged, Format::Imsm).is_some());
        }
    }
    assert!(understood > 1500, "{understood} are a valid structure all the same");
}

/// mdadm's CRC: see `ondisk::ata_raid::ddf`.
fn reseal(bytes: &mut [u8]) {
    bytes[4..8].fill(0xff);
    let crc = bytes.iter().fold(0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    bytes[4..8].copy_from_slice(&crc.to_be_bytes());
}

/// The sections of DDF with their own CRCs, changed in both copies; what the headers say also in the anchor.
#[test]
fn one_byte_off_under_a_right_crc() {
    let disk = Sparse::fixture("ddf-a.bin");
    let anchor_at = disk.size - 512;
    let anchor = read(&disk, anchor_at, 512);
    let bases = [96, 104].map(|at| u64::from_be_bytes(anchor[at..at + 8].try_into().unwrap()) * 512);
    let place = |at: usize| u64::from(u32::from_be_bytes(anchor[at..at + 4].try_into().unwrap())) * 512;
    let length = |at: usize| u32::from_be_bytes(anchor[at..at + 4].try_into().unwrap()) as usize * 512;
    let record = usize::from(u16::from_be_bytes(anchor[134..136].try_into().unwrap())) * 512;
    let whole = examine(&disk, Format::Ddf);
    let (mut understood, mut tried) = (0, 0);
    // Physical disks, virtual disks, the first configuration.
    for (offset, length) in [(place(200), length(204)), (place(208), length(212)), (place(216), record)] {
        let section = read(&disk, bases[0] + offset, length);
        let used = section.iter().rposition(|byte| *byte != 0 && *byte != 0xff).unwrap() + 8;
        for at in (0..used.min(length)).filter(|at| !(4..8).contains(at) && section[*at] != 0xff) {
            for flip in [0x01, 0xff] {
                let mut bytes = section.clone();
                bytes[at] ^= flip;
                reseal(&mut bytes);
                let mut damaged = disk.clone();
                bases.iter().for_each(|base| damaged.runs.push((base + offset, bytes.clone())));
                let seen = examine(&damaged, Format::Ddf);
                tried += 1;
                understood += usize::from(seen.is_some());
            }
        }
    }
    assert!(understood * 2 > tried, "{understood} of {tried} are a valid structure all the same");
    // What is where: anchor and headers agree, and what they say is wrong.
    for at in (8..512).filter(|at| *at != 112) {
        for flip in [0x01, 0xff] {
            let mut damaged = disk.clone();
            for header_at in bases.into_iter().chain([anchor_at]) {
                let mut bytes = read(&disk, header_at, 512);
                bytes[at] ^= flip;
                reseal(&mut bytes);
                damaged.runs.push((header_at, bytes));
            }
            examine(&damaged, Format::Ddf);
        }
    }
    // The helper seals as mdadm does.
    let mut damaged = disk.clone();
    let mut bytes = anchor.clone();
    reseal(&mut bytes);
    assert_eq!(bytes, anchor);
    damaged.runs.push((anchor_at, bytes));
    assert_eq!(examine(&damaged, Format::Ddf), whole);
}
