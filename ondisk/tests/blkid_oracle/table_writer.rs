//! partx's opinion of partition tables, and a writer for what the tools cannot make everywhere: 4096-byte sectors.

use std::path::Path;

use ondisk::PartitionTable;

use crate::bench::{Disk, command, unescape};

/// One partition as text: number, first byte, length, UUID, name, type, flags.
pub type Row = (u32, u64, u64, String, String, String, u64);

fn rows(table: &PartitionTable) -> Vec<Row> {
    table
        .partitions
        .iter()
        .map(|p| {
            (
                p.number,
                p.start,
                p.length,
                p.uuid.clone(),
                p.name.clone().unwrap_or_default(),
                p.kind.clone(),
                p.flags,
            )
        })
        .collect()
}

/// `partx --pairs`, which reads an image through libblkid without the kernel.
fn partx(path: &Path, sector_size: u32) -> Vec<Row> {
    let output = command("partx")
        .args(["--pairs", "--output", "NR,START,SECTORS,UUID,NAME,TYPE,FLAGS", "--sector-size"])
        .arg(sector_size.to_string())
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(row).collect()
}

fn row(line: &str) -> Row {
    let value = |name: &str| {
        let from = line.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
        let to = line[from..].find('"').unwrap() + from;
        String::from_utf8(unescape(&line.as_bytes()[from..to])).unwrap()
    };
    let number = |name: &str| value(name).parse::<u64>().unwrap();
    (
        u32::try_from(number("NR")).unwrap(),
        // partx counts in 512 bytes, whatever the sector size.
        number(" START").checked_mul(512).unwrap(),
        number("SECTORS") * 512,
        value("UUID"),
        value("NAME"),
        value("TYPE"),
        u64::from_str_radix(value("FLAGS").trim_start_matches("0x"), 16).unwrap_or(0),
    )
}

/// Both opinions must be the same; returns our table.
pub fn agree(path: &Path, sector_size: u32) -> PartitionTable {
    let content = ondisk::identify(&Disk::open(path, sector_size)).unwrap();
    let table = content.table.expect("a partition table");
    assert_eq!(rows(&table), partx(path, sector_size));
    table
}

/// CRC-32 bit by bit, to be no copy of the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A GPT disk of `sectors` sectors with partitions `(first, last, name)`: both copies and the protective MBR.
pub fn gpt(sector: usize, sectors: u64, partitions: &[(u64, u64, &str)]) -> Vec<u8> {
    let mut disk = vec![0; sector * usize::try_from(sectors).unwrap()];
    let mut array = vec![0; 128 * 128];
    for (index, (first, last, name)) in partitions.iter().enumerate() {
        let at = index * 128;
        let number = u8::try_from(index + 1).unwrap();
        put(
            &mut array,
            at,
            &[0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4],
        );
        put(&mut array, at + 16, &[number; 16]);
        put(&mut array, at + 32, &first.to_le_bytes());
        put(&mut array, at + 40, &last.to_le_bytes());
        for (unit, at) in name.encode_utf16().zip((at + 56..).step_by(2)) {
            put(&mut array, at, &unit.to_le_bytes());
        }
    }
    let array_sectors = (array.len() / sector) as u64;
    let header = |own: u64, other: u64, array_at: u64| {
        let mut header = vec![0; 92];
        put(&mut header, 0, b"EFI PART\0\0\x01\0\x5c\0\0\0");
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 40, &(2 + array_sectors).to_le_bytes());
        put(&mut header, 48, &(sectors - 2 - array_sectors).to_le_bytes());
        put(&mut header, 56, b"0123456789abcdef");
        put(&mut header, 72, &array_at.to_le_bytes());
        put(&mut header, 80, &128_u32.to_le_bytes());
        put(&mut header, 84, &128_u32.to_le_bytes());
        put(&mut header, 88, &crc32(&array).to_le_bytes());
        let crc = crc32(&header);
        put(&mut header, 16, &crc.to_le_bytes());
        header
    };
    let last = sectors - 1;
    let at = |lba: u64| usize::try_from(lba).unwrap() * sector;
    put(&mut disk, 0, &mbr(&[(0xee, 1, u32::try_from(last).unwrap())]));
    put(&mut disk, at(1), &header(1, last, 2));
    put(&mut disk, at(2), &array);
    put(&mut disk, at(last - array_sectors), &array);
    put(&mut disk, at(last), &header(last, 1, last - array_sectors));
    disk
}

/// A boot record with slots `(type, start, count)`.
pub fn mbr(slots: &[(u8, u32, u32)]) -> [u8; 512] {
    let mut record = [0; 512];
    put(&mut record, 440, &0xdead_beef_u32.to_le_bytes());
    for ((kind, start, count), at) in slots.iter().zip((446..).step_by(16)) {
        record[at + 4] = *kind;
        put(&mut record, at + 8, &start.to_le_bytes());
        put(&mut record, at + 12, &count.to_le_bytes());
    }
    put(&mut record, 510, &[0x55, 0xaa]);
    record
}
