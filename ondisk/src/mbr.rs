//! MBR partition table and the chain of extended boot records (kernel: block/partitions/msdos.c).

use crate::bytes::Bytes as _;
use crate::probe::Probe;
use crate::{Partition, PartitionTable, ReadError, vfat};

const TABLE: usize = 0x1be;
const ENTRY: usize = 16;
const PROTECTIVE: u8 = 0xee;
/// The kernel follows at most this many records without a data partition in them.
const MAX_EMPTY_RECORDS: u32 = 100;
/// The kernel has no more minors than this for one disk.
const MAX_NUMBER: u32 = 255;

/// One of the four slots of a boot record, in sectors.
#[derive(Clone, Copy)]
struct Slot {
    boot: u8,
    kind: u8,
    start: u64,
    count: u64,
}

impl Slot {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// The four slots of a boot record that ends in 55 AA.
fn slots(record: &[u8]) -> Option<[Slot; 4]> {
    if !record.has(510, &[0x55, 0xaa]) {
        return None;
    }
    let slot = |index: usize| {
        let at = TABLE + index * ENTRY;
        Some(Slot {
            boot: record.u8(at)?,
            kind: record.u8(at + 4)?,
            start: u64::from(record.le32(at + 8)?),
            count: u64::from(record.le32(at + 12)?),
        })
    };
    Some([slot(0)?, slot(1)?, slot(2)?, slot(3)?])
}

/// Whether the first sector announces a GPT.
pub(crate) fn is_protective(head: &[u8]) -> bool {
    slots(head).is_some_and(|slots| slots.iter().any(|slot| slot.kind == PROTECTIVE))
}

/// The table of a device without GPT.
pub(crate) fn table(probe: &Probe<'_>) -> Result<Option<PartitionTable>, ReadError> {
    let head = probe.head();
    let Some(slots) = slots(head) else { return Ok(None) };
    // The boot sector of a file system ends in 55 AA as well. Its bytes at the place of the table are code, which the
    // boot flags tell from a table; where they do not, the file system's own fields decide.
    if slots.iter().any(|slot| !matches!(slot.boot, 0 | 0x80) || slot.kind == PROTECTIVE)
        || head.has(3, b"NTFS    ")
        || head.has(3, b"EXFAT   ")
        || head.has(0, &[0xc9, 0xc2, 0xd4, 0xc1])
        || vfat::is_boot_sector(head)
    {
        return Ok(None);
    }
    let id = head.le32(440).unwrap_or(0);
    let uuid = if id == 0 { String::new() } else { format!("{id:08x}") };
    let mut found = Builder { disk: &uuid, sector: u64::from(probe.sector_size()), partitions: Vec::new() };
    for (number, slot) in (1..).zip(slots) {
        if slot.count != 0 {
            found.push(number, slot.start, slot);
        }
    }
    let mut next = 5;
    let mut doubt = None;
    for slot in slots {
        if slot.count != 0 && slot.is_extended() {
            // The kernel keeps the partitions that it found before a record that cannot be read, and so do we.
            if let Err(error) = logical(probe, slot, &mut next, &mut found) {
                doubt.get_or_insert_with(|| format!("{error}: logical partitions are missing"));
            }
        }
    }
    let partitions = found.partitions;
    Ok(Some(PartitionTable { gpt: false, uuid, partitions, doubt }))
}

struct Builder<'a> {
    disk: &'a str,
    sector: u64,
    partitions: Vec<Partition>,
}

impl Builder<'_> {
    fn push(&mut self, number: u32, start: u64, slot: Slot) {
        // Sector numbers are sums of a few 32-bit values, so neither product can overflow.
        let (Some(start), Some(length)) =
            (start.checked_mul(self.sector), slot.count.checked_mul(self.sector))
        else {
            return;
        };
        // blkid gives no PARTUUID on a disk without a signature.
        let uuid = if self.disk.is_empty() { String::new() } else { format!("{}-{number:02x}", self.disk) };
        self.partitions.push(Partition {
            number,
            start,
            length,
            uuid,
            name: None,
            kind: format!("0x{:x}", slot.kind),
            flags: u64::from(slot.boot),
        });
    }
}

/// Follows the chain of records in the extended partition `area`; numbers go on from `next`.
fn logical(probe: &Probe<'_>, area: Slot, next: &mut u32, found: &mut Builder<'_>) -> Result<(), ReadError> {
    let area_end = area.start.saturating_add(area.count);
    let (mut record, mut size) = (area.start, area.count);
    let mut empty = 0;
    while empty < MAX_EMPTY_RECORDS {
        empty += 1;
        let Some(bytes) =
            record.checked_mul(found.sector).map(|at| probe.bytes(at, 512)).transpose()?.flatten()
        else {
            return Ok(());
        };
        let Some(slots) = slots(&bytes) else { return Ok(()) };
        for (index, slot) in slots.into_iter().enumerate() {
            if slot.count == 0 || slot.is_extended() {
                continue;
            }
            let start = record.saturating_add(slot.start);
            let end = start.saturating_add(slot.count);
            // The last two slots are unused by the rules and often hold junk.
            if index >= 2
                && (slot.start.saturating_add(slot.count) > size || start < area.start || end > area_end)
            {
                continue;
            }
            if *next > MAX_NUMBER {
                return Ok(());
            }
            found.push(*next, start, slot);
            *next += 1;
            empty = 0;
        }
        // The link is relative to the extended partition, not to this record.
        let Some(link) = slots.into_iter().find(|slot| slot.count != 0 && slot.is_extended()) else {
            return Ok(());
        };
        record = area.start.saturating_add(link.start);
        size = link.count;
    }
    Ok(())
}
