//! GUID partition table (UEFI specification, chapter 5; limits as in the kernel's block/partitions/efi.c).

use crate::bytes::Bytes as _;
use crate::crc::crc32;
use crate::probe::Probe;
use crate::{Partition, PartitionTable, ReadError, mbr, text};

const SIGNATURE: &[u8] = b"EFI PART";
/// Length of the header's defined fields, which is also its least size.
const HEADER: u32 = 92;
/// The only entry size in use; the kernel refuses any other.
const ENTRY: u32 = 128;
/// The kernel looks at no more entries than it has minors for one disk (`DISK_MAX_PARTS`, less the disk itself).
const MAX_ENTRIES: u32 = 255;
/// The kernel reads the array into one allocation, which cannot be larger than this.
const MAX_ARRAY: u64 = 4 << 20;

/// The table of a device that has a protective MBR.
pub(crate) fn table(probe: &Probe<'_>) -> Result<Option<PartitionTable>, ReadError> {
    if !mbr::is_protective(probe.head()) {
        return Ok(None);
    }
    let sector = u64::from(probe.sector_size());
    let Some(last) = (probe.size() / sector).checked_sub(1) else {
        return Ok(None);
    };
    if let Some(header) = header(probe, 1, last)?
        && let Some(table) = entries(probe, &header, None)?
    {
        return Ok(Some(table));
    }
    if let Some(header) = header(probe, last, last)? {
        let doubt = "the primary GPT is damaged, its backup at the end of the disk is used; repair it with sgdisk -e or gdisk";
        if let Some(table) = entries(probe, &header, Some(doubt))? {
            return Ok(Some(table));
        }
    }
    Ok(Some(PartitionTable {
        gpt: true,
        uuid: String::new(),
        partitions: Vec::new(),
        doubt: Some(
            "protective MBR, but neither the primary nor the backup GPT is valid; repair it with gdisk"
                .into(),
        ),
    }))
}

/// Whether the primary header says that its backup is the very last sector of this device. Then the table belongs to
/// this device and not to an array that begins on it.
pub(crate) fn owns_device(probe: &Probe<'_>) -> bool {
    let sector = u64::from(probe.sector_size());
    let Some(last) = (probe.size() / sector).checked_sub(1) else { return false };
    matches!(header(probe, 1, last), Ok(Some(header)) if header.alternate == last)
}

struct Header {
    alternate: u64,
    first_usable: u64,
    last_usable: u64,
    disk: [u8; 16],
    array: u64,
    count: u32,
    array_crc: u32,
}

/// The header at sector `lba`, if all that can be checked of it is right.
fn header(probe: &Probe<'_>, lba: u64, last: u64) -> Result<Option<Header>, ReadError> {
    let sector = probe.sector_size();
    let Some(offset) = lba.checked_mul(u64::from(sector)) else { return Ok(None) };
    let Some(bytes) = probe.bytes(offset, sector as usize)? else { return Ok(None) };
    Ok(parse_header(&bytes, lba, last))
}

fn parse_header(bytes: &[u8], lba: u64, last: u64) -> Option<Header> {
    if !bytes.has(0, SIGNATURE) {
        return None;
    }
    let size = bytes.le32(12).filter(|size| *size >= HEADER)?;
    let covered = bytes.get(..usize::try_from(size).ok()?)?;
    let mut crc = crc32(!0, covered.get(..16)?);
    crc = crc32(crc, &[0; 4]);
    crc = crc32(crc, covered.get(20..)?);
    if !crc != bytes.le32(16)? || bytes.le64(24)? != lba {
        return None;
    }
    let (first_usable, last_usable) = (bytes.le64(40)?, bytes.le64(48)?);
    if last_usable < first_usable || last_usable > last || (first_usable < lba && lba < last_usable) {
        return None;
    }
    if bytes.le32(84)? != ENTRY {
        return None;
    }
    Some(Header {
        alternate: bytes.le64(32)?,
        first_usable,
        last_usable,
        disk: bytes.array(56)?,
        array: bytes.le64(72)?,
        count: bytes.le32(80)?,
        array_crc: bytes.le32(88)?,
    })
}

/// The table behind a valid header, if the array of entries has the right checksum.
fn entries(
    probe: &Probe<'_>,
    header: &Header,
    doubt: Option<&str>,
) -> Result<Option<PartitionTable>, ReadError> {
    let length = u64::from(header.count) * u64::from(ENTRY);
    if length == 0 || length > MAX_ARRAY {
        return Ok(None);
    }
    let Some(offset) = header.array.checked_mul(u64::from(probe.sector_size())) else { return Ok(None) };

    let mut crc = !0;
    let mut number = 0_u32;
    let mut partitions = Vec::new();
    let sector = u64::from(probe.sector_size());
    // Pieces are multiples of an entry's size, so no entry is split.
    let whole = probe.stream(offset, length, |piece| {
        crc = crc32(crc, piece);
        for entry in piece.chunks(ENTRY as usize) {
            number = number.saturating_add(1);
            if number <= MAX_ENTRIES {
                partitions.extend(partition(entry, number, header, sector));
            }
        }
    })?;
    if !whole || !crc != header.array_crc {
        return Ok(None);
    }
    Ok(Some(PartitionTable {
        gpt: true,
        uuid: text::guid(&header.disk).unwrap_or_default(),
        partitions,
        doubt: doubt.map(Into::into),
    }))
}

fn partition(entry: &[u8], number: u32, header: &Header, sector: u64) -> Option<Partition> {
    // An all-zero type GUID marks an entry as unused.
    let kind = text::guid(&entry.array(0)?)?;
    let (first, last) = (entry.le64(32)?, entry.le64(40)?);
    if first < header.first_usable || last > header.last_usable || last < first {
        return None;
    }
    let name = text::utf16(entry.slice(56, 72)?.chunks(2).filter_map(|unit| unit.le16(0)));
    Some(Partition {
        number,
        start: first.checked_mul(sector)?,
        length: last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?,
        uuid: text::guid(&entry.array(16)?).unwrap_or_else(|| "00000000-0000-0000-0000-000000000000".into()),
        name: text::ascii(&name),
        kind,
        flags: entry.le64(48)?,
    })
}
