//! Members of Linux MD arrays (kernel: include/uapi/linux/raid/md_p.h).

mod home;
mod superblock;

pub use superblock::{Reshape, Role, Superblock, Version};

use crate::bytes::Bytes as _;
use crate::probe::Probe;
use crate::{Kind, PartitionTable, ReadError, Signature, text};

/// A superblock: as blkid sees it, and what it says; the latter is absent where it makes no sense.
pub(crate) type Hit = (Signature, Option<Superblock>);

const MAGIC: u32 = 0xa92b_4efc;
/// Version 0.90 lies in the last whole 64 KiB block.
const RESERVED: u64 = 64 << 10;
const LENGTH_0: usize = 4096;
/// Version 1 without the table of roles.
const LENGTH_1: usize = 256;
/// The kernel reads one page of superblock, which bounds the table of roles.
const MAX_ROLES: u32 = (4096 - 256) / 2;

/// Versions 0.90 and 1.0. `table` is the device's own partition table, for a superblock at the end of the last
/// partition is at the end of the disk as well.
pub(crate) fn at_end(probe: &Probe<'_>, table: Option<&PartitionTable>) -> Result<Option<Hit>, ReadError> {
    if probe.is_tiny() {
        return Ok(None);
    }
    let size = probe.size();
    let found = version_0(probe, (size & !(RESERVED - 1)).saturating_sub(RESERVED), table)?;
    if found.is_some() {
        return Ok(found);
    }
    version_1(probe, (size & !0xfff).saturating_sub(0x2000), Version::V1_0)
}

/// Versions 1.1 and 1.2.
pub(crate) fn at_start(probe: &Probe<'_>) -> Result<Option<Hit>, ReadError> {
    if probe.is_tiny() {
        return Ok(None);
    }
    let found = version_1(probe, 0, Version::V1_1)?;
    if found.is_some() {
        return Ok(found);
    }
    version_1(probe, 4096, Version::V1_2)
}

fn version_0(
    probe: &Probe<'_>,
    offset: u64,
    table: Option<&PartitionTable>,
) -> Result<Option<Hit>, ReadError> {
    let Some(sb) = probe.bytes(offset, LENGTH_0)? else { return Ok(None) };
    Ok(parse_0(probe, &sb, offset, table))
}

/// The superblock is in the byte order of the machine that made it.
fn parse_0(probe: &Probe<'_>, sb: &[u8], offset: u64, table: Option<&PartitionTable>) -> Option<Hit> {
    let little = sb.le32(0)? == MAGIC;
    if !little && sb.be32(0)? != MAGIC {
        return None;
    }
    let word = |index: usize| if little { sb.le32(index * 4) } else { sb.be32(index * 4) };
    let (major, minor, patch) = (word(1)?, word(2)?, word(3)?);
    let used = u64::from(word(8)?) << 10;
    if used.checked_add(RESERVED)? > probe.size() || offset < used {
        return None;
    }
    let covered = |table: &PartitionTable| {
        table.partitions.iter().any(|partition| {
            partition.start <= offset - used
                && partition.start.saturating_add(partition.length) >= offset.saturating_add(RESERVED)
        })
    };
    if table.is_some_and(covered) {
        return None;
    }
    // The first word of the UUID and the other three are stored apart; printed is the big-endian form of each.
    let mut uuid = [0; 16];
    let words = [word(5)?, word(13)?, word(14)?, word(15)?];
    let meant = if minor >= 90 { 4 } else { 1 };
    for (bytes, word) in uuid.chunks_exact_mut(4).zip(words).take(meant) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    let superblock = superblock::parse_0(!little, word);
    let stored = word(38)?;
    let sum: u64 = (0..LENGTH_0 / 4).filter_map(word).map(u64::from).sum();
    let signature = Signature {
        uuid: text::uuid(&uuid),
        version: Some(format!("{major}.{minor}.{patch}")),
        doubt: (fold(sum.saturating_sub(u64::from(stored))) != stored).then(bad_checksum),
        ..Signature::new(Kind::MdMember)
    };
    Some((signature, superblock))
}

fn version_1(probe: &Probe<'_>, offset: u64, version: Version) -> Result<Option<Hit>, ReadError> {
    // One page holds the fixed part and all roles; at the very end of a device there may be less.
    let length = probe.size().saturating_sub(offset).min(4096);
    let Some(sb) =
        usize::try_from(length).ok().map(|length| probe.bytes(offset, length)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    let Some((signature, mut superblock)) = parse_1(&sb, offset, version) else { return Ok(None) };
    if let Some(superblock) = &mut superblock
        && let Some(sectors) = superblock.bitmap_offset
        && let Some(at) = offset.checked_add_signed(i64::from(sectors) * 512)
        // A bitmap that cannot be read is the kernel's to judge.
        && let Ok(Some(bitmap)) = probe.bytes(at, 256)
    {
        superblock.nodes = superblock::bitmap_nodes(&bitmap).unwrap_or(0);
    }
    Ok(Some((signature, superblock)))
}

fn parse_1(sb: &[u8], offset: u64, version: Version) -> Option<Hit> {
    if sb.le32(0)? != MAGIC || sb.le32(4)? != 1 || sb.le64(144)? != offset / 512 {
        return None;
    }
    let signature = Signature {
        uuid: text::uuid(&sb.array(16)?),
        label: text::label(sb.slice(32, 32)?),
        uuid_sub: text::uuid(&sb.array(168)?),
        version: Some(version.name().into()),
        // A member stays a member: were it dropped, the file system of a mirror would be mounted behind MD's back.
        doubt: (checksum_1(sb) != sb.le32(216)).then(bad_checksum),
        ..Signature::new(Kind::MdMember)
    };
    Some((signature, superblock::parse_1(version, sb)))
}

/// The sum of all words up to the end of the roles, the checksum itself taken as zero.
fn checksum_1(sb: &[u8]) -> Option<u32> {
    let roles = sb.le32(220).filter(|roles| *roles <= MAX_ROLES)?;
    let covered = sb.get(..LENGTH_1 + roles as usize * 2)?;
    let words = covered.chunks_exact(4);
    let half = words.remainder().le16(0).unwrap_or(0);
    let sum: u64 = words.filter_map(|word| word.le32(0)).map(u64::from).sum();
    Some(fold((sum + u64::from(half)).saturating_sub(u64::from(sb.le32(216)?))))
}

/// Adds the carries back in.
fn fold(sum: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = sum.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).wrapping_add(u32::from_le_bytes([e, f, g, h]))
}

fn bad_checksum() -> String {
    "checksum of the MD superblock is wrong; look at it with mdadm --examine".into()
}
