//! XFS (kernel: fs/xfs/libxfs/xfs_format.h, `struct xfs_dsb`; all fields big-endian, the checksum little-endian).

use crate::bytes::Bytes as _;
use crate::crc::crc32c;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

/// The checksum field of a version 5 superblock.
const CRC: usize = 224;
/// Feature bits that every version 5 superblock has: more bits, and among those the checksum.
const MORE_BITS: u16 = 0x8000;
const CRC_BIT: u32 = 0x100;

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    Ok(parse(probe, probe.head()).unwrap_or(Found::Nothing))
}

fn parse(probe: &Probe<'_>, sb: &[u8]) -> Option<Found> {
    if !sb.has(0, b"XFSB") {
        return None;
    }
    let block = sb.be32(4)?;
    let blocks = sb.be64(8)?;
    let sector = sb.be16(102)?;
    if !geometry_fits(sb, block, blocks, sector)? {
        return None;
    }
    let mut signature = Signature {
        uuid: text::uuid(&sb.array(32)?),
        label: text::label(sb.slice(108, 12)?),
        doubt: probe.truncation(blocks.saturating_mul(u64::from(block))),
        ..Signature::new(Kind::Xfs)
    };
    let version = sb.be16(100)?;
    if version & 0xf == 5 {
        if version & MORE_BITS == 0 || sb.be32(200)? & CRC_BIT == 0 {
            return None;
        }
        let covered = sb.get(..usize::from(sector))?;
        let mut crc = crc32c(!0, covered.get(..CRC)?);
        crc = crc32c(crc, &[0; 4]);
        crc = crc32c(crc, covered.get(CRC + 4..)?);
        if !crc != sb.le32(CRC)? {
            signature.doubt = Some("superblock checksum is wrong; try xfs_repair".into());
            return Some(Found::Rejected(signature));
        }
    }
    Some(Found::Valid(signature))
}

/// Whether sizes and their logarithms agree and lie within the format's limits; four bytes of magic are not enough.
fn geometry_fits(sb: &[u8], block: u32, blocks: u64, sector: u16) -> Option<bool> {
    let is_log = |value: u32, log: u8| value.is_power_of_two() && value.trailing_zeros() == u32::from(log);
    let (block_log, sector_log, inode_log, inodes_per_block_log) =
        (sb.u8(120)?, sb.u8(121)?, sb.u8(122)?, sb.u8(123)?);
    let inode = sb.be16(104)?;
    let (group_blocks, groups) = (u64::from(sb.be32(84)?), u64::from(sb.be32(88)?));
    let realtime_extent = sb.be32(80)?.checked_mul(block)?;
    let most = groups.checked_mul(group_blocks)?;
    let least = groups.checked_sub(1)?.checked_mul(group_blocks)?.checked_add(64)?;
    Some(
        (512..=32768).contains(&sector)
            && is_log(u32::from(sector), sector_log)
            && (512..=65536).contains(&block)
            && is_log(block, block_log)
            && (256..=2048).contains(&inode)
            && is_log(u32::from(inode), inode_log)
            && block_log.checked_sub(inode_log)? == inodes_per_block_log
            && (4096..=1 << 30).contains(&realtime_extent)
            && sb.u8(127)? <= 100
            && (least..=most).contains(&blocks)
            && blocks != 0,
    )
}
