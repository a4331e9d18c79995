//! BIOS ("fake") RAID: the metadata that firmware leaves on the disks of a set, mostly at their end.
//!
//! What counts as a member, and in which order the formats are tried, is libblkid's decision
//! (libblkid/src/superblocks/*_raid.c); what the metadata mean, and the names of the sets, are dmraid's
//! (lib/format/ataraid) and for Intel's and DDF mdadm's (super-intel.c, super-ddf.c).

mod adaptec;
pub mod ddf;
mod highpoint;
pub mod imsm;
mod jmicron;
mod lsi;
mod model;
mod nvidia;
mod promise;
mod sha1;
mod silicon;
mod via;

use std::borrow::Cow;

pub use model::{Above, Disk, Format, Level, Parity, Part, State};

use crate::bytes::Bytes as _;
use crate::probe::Probe;
use crate::{ReadAt, ReadError, Signature};

/// Bytes of a sector in all these formats but Intel's.
const SECTOR: u64 = 512;
/// The last sectors are read at once: nearly all formats are there.
const TAIL: u64 = 64;
/// Smaller devices are no members (libblkid's figure).
const MIN_SIZE: u64 = 0x10000;

/// What was found on a disk.
pub(crate) struct Found {
    /// As blkid prints it.
    pub(crate) signature: Signature,
    /// What it says; `None` where that cannot be understood (the signature then has a doubt).
    pub(crate) disk: Option<Disk>,
}

/// Places in bytes and what is to be written there, in this order.
pub type Writes = Vec<(u64, Vec<u8>)>;

/// What has to be written to a disk so that its metadata call a set not cleanly stopped, and these disks of it missing: by
/// their index in Intel's metadata, by their reference in DDF ([`imsm::dirty`], [`ddf::dirty`]).
///
/// # Errors
/// The device's read error.
pub fn dirty(
    dev: &dyn ReadAt,
    format: Format,
    index: u32,
    missing: &[u32],
) -> Result<Option<Writes>, ReadError> {
    match (format, usize::try_from(index)) {
        (Format::Imsm, Ok(index)) => imsm::dirty(dev, index, missing),
        (Format::Ddf, _) => ddf::dirty(dev, index, missing),
        _ => Ok(None),
    }
}

/// The first format that claims the disk, in libblkid's order. The caller has made sure that it is a whole disk.
///
/// # Errors
/// The device's read error.
pub(crate) fn probe(probe: &Probe<'_>) -> Result<Option<Found>, ReadError> {
    if probe.is_tiny() || probe.size() < MIN_SIZE {
        return Ok(None);
    }
    let end = End { probe, sectors: probe.size() / SECTOR, tail: probe.bytes_before_end(TAIL * SECTOR)? };
    if let Some(found) = ddf::probe(probe)? {
        return Ok(Some(found));
    }
    if let Some(found) = imsm::probe(probe)? {
        return Ok(Some(found));
    }
    simple(&end)
}

/// The end of a disk.
struct End<'a> {
    probe: &'a Probe<'a>,
    sectors: u64,
    tail: Cow<'a, [u8]>,
}

impl End<'_> {
    /// `len` bytes that begin so many sectors before the end of the disk.
    fn read(&self, before: u64, len: usize) -> Result<Option<Cow<'_, [u8]>>, ReadError> {
        let Some(sector) = self.sectors.checked_sub(before) else { return Ok(None) };
        if before <= TAIL
            && let Some(at) = usize::try_from((TAIL - before) * SECTOR).ok()
            && let Some(bytes) = self.tail.slice(at, len)
        {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        self.probe.bytes(sector.saturating_mul(SECTOR), len)
    }

    fn sector(&self, before: u64) -> Result<Cow<'_, [u8]>, ReadError> {
        Ok(self.read(before, 512)?.unwrap_or(Cow::Borrowed(&[])))
    }
}

/// The formats in which each disk speaks for itself.
fn simple(end: &End<'_>) -> Result<Option<Found>, ReadError> {
    let (last, second) = (end.sector(1)?, end.sector(2)?);
    // What is left of the disk before the metadata.
    let before = |sectors: u64| end.sectors.saturating_sub(sectors);
    if last.has(0, lsi::MAGIC) {
        return Ok(Some(found(Format::Lsi, None, lsi::part(&last, before(1)))));
    }
    if let Some(version) = via::version(&last) {
        return Ok(Some(found(Format::Via, Some(version), via::part(&last, before(1)))));
    }
    if let Some(version) = silicon::version(&last) {
        return Ok(Some(found(Format::Silicon, Some(version), silicon_part(end, &last)?)));
    }
    if let Some(version) = nvidia::version(&second) {
        return Ok(Some(found(Format::Nvidia, Some(version), nvidia::part(&second, before(2)))));
    }
    for place in promise::PLACES {
        if end.read(place, promise::MAGIC.len())?.is_some_and(|bytes| *bytes == *promise::MAGIC) {
            return Ok(Some(several(Format::Promise, None, promise_parts(end, place)?)));
        }
    }
    let eleventh = end.sector(11)?;
    if highpoint::is_45x(&eleventh).is_some() {
        return Ok(Some(found(Format::Hpt45x, None, highpoint::part_45x(&eleventh, before(11)))));
    }
    if let Some(meta) = end.probe.bytes(highpoint::PLACE_37X, highpoint::LENGTH_37X)?
        && highpoint::is_37x(&meta).is_some()
    {
        return Ok(Some(found(Format::Hpt37x, None, highpoint::part_37x(&meta, end.sectors))));
    }
    if let Some(version) = adaptec::version(&last) {
        return Ok(Some(found(Format::Adaptec, Some(version), adaptec_part(end, &last)?)));
    }
    if let Some(version) = jmicron::version(&last) {
        return Ok(Some(found(Format::Jmicron, Some(version), jmicron::part(&last))));
    }
    Ok(None)
}

fn found(format: Format, version: Option<String>, part: Option<Part>) -> Found {
    several(format, version, part.into_iter().collect())
}

fn several(format: Format, version: Option<String>, parts: Vec<Part>) -> Found {
    let doubt = parts.is_empty().then(|| {
        let name = format.name();
        format!("checksum or geometry of the {name} RAID metadata is wrong; look at it with dmraid -n")
    });
    Found {
        signature: Signature { version, doubt, ..Signature::new(format.kind()) },
        disk: (!parts.is_empty()).then_some(Disk::Parts(format, parts)),
    }
}

/// The copy that most of the copies agree with; the one in the last sector if there is no majority.
fn silicon_part(end: &End<'_>, last: &[u8]) -> Result<Option<Part>, ReadError> {
    let mut copies = Vec::new();
    for copy in 0..silicon::COPIES {
        let sector = end.sector(1 + copy * silicon::NEXT)?;
        if silicon::is_valid(&sector, end.sectors) {
            copies.push(sector);
        }
    }
    // As dmraid does: only the first valid copy is compared with the others, and it wins in any case.
    let first = copies.first().map_or(last, |copy| copy);
    Ok(silicon::is_valid(first, end.sectors).then(|| silicon::part(first, end.sectors)).flatten())
}

fn promise_parts(end: &End<'_>, place: u64) -> Result<Vec<Part>, ReadError> {
    let mut parts = Vec::new();
    for area in 0..promise::AREAS {
        let Some(before) = place.checked_sub(area * promise::NEXT) else { break };
        let Some(bytes) = end.read(before, promise::LENGTH)? else { break };
        let Some(part) = promise::part(&bytes, end.sectors, place, area == 0) else { break };
        parts.push(part);
    }
    Ok(parts)
}

fn adaptec_part(end: &End<'_>, block: &[u8]) -> Result<Option<Part>, ReadError> {
    let Some(start) = adaptec::table(block).and_then(|sector| sector.checked_mul(SECTOR)) else {
        return Ok(None);
    };
    let Some(room) = end.probe.size().checked_sub(start) else { return Ok(None) };
    let len = usize::try_from(room).map_or(adaptec::TABLE, |room| room.min(adaptec::TABLE));
    Ok(end.probe.bytes(start, len)?.and_then(|table| adaptec::part(block, &table)))
}

/// dmraid writes numbers in names as letters (`a` for `0`), so that what follows a name can be told from it:
/// `count` characters from `skip` on.
fn letters(text: &str, skip: usize, count: usize) -> String {
    let letter = |(at, c): (usize, char)| match c.to_digit(10) {
        Some(digit) if at >= skip && at - skip < count => {
            char::from(b"abcdefghij".get(digit as usize).copied().unwrap_or(b'a'))
        }
        _ => c,
    };
    text.chars().enumerate().map(letter).collect()
}

/// Sum of the little-endian words.
fn sum32(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(4).filter_map(|word| word.le32(0)).fold(0, u32::wrapping_add)
}
