//! ext2, ext3, ext4 and the external journal (kernel: fs/ext4/ext4.h, `struct ext4_super_block`).

use crate::bytes::Bytes as _;
use crate::crc::crc32c;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

/// The superblock lies 1 KiB into the device and is 1 KiB long.
const OFFSET: usize = 1024;
const LENGTH: usize = 1024;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_64BIT: u32 = 0x80;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
/// Features that the ext2 driver knows: filetype, `meta_bg`.
const EXT2_INCOMPAT: u32 = 0x2 | 0x10;
/// Features that the ext3 driver knows: those and recovery.
const EXT3_INCOMPAT: u32 = EXT2_INCOMPAT | 0x4;
/// Read-only features that ext2 and ext3 know: sparse superblocks, large files, directory trees.
const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let Some(sb) = probe.head().slice(OFFSET, LENGTH) else {
        return Ok(Found::Nothing);
    };
    Ok(parse(probe, sb).unwrap_or(Found::Nothing))
}

fn parse(probe: &Probe<'_>, sb: &[u8]) -> Option<Found> {
    if sb.le16(0x38)? != 0xef53 {
        return None;
    }
    let (compat, incompat, ro_compat) = (sb.le32(0x5c)?, sb.le32(0x60)?, sb.le32(0x64)?);
    let log_block_size = sb.le32(0x18)?;
    let has_csum = ro_compat & RO_COMPAT_METADATA_CSUM != 0;
    if !has_csum && log_block_size >= 256 {
        return None;
    }
    let kind = kind(compat, incompat, ro_compat)?;

    let mut blocks = u64::from(sb.le32(0x4)?);
    if incompat & INCOMPAT_64BIT != 0 {
        blocks |= u64::from(sb.le32(0x150)?) << 32;
    }
    let length =
        1024_u64.checked_shl(log_block_size).and_then(|size| blocks.checked_mul(size)).unwrap_or(u64::MAX);

    let mut signature = Signature {
        uuid: text::uuid(&sb.array(0x68)?),
        label: text::label(sb.slice(0x78, 16)?),
        version: Some(format!("{}.{}", sb.le32(0x4c)?, sb.le16(0x3e)?)),
        doubt: probe.truncation(length),
        ..Signature::new(kind)
    };
    if has_csum && crc32c(!0, sb.slice(0, 0x3fc)?) != sb.le32(0x3fc)? {
        signature.doubt = Some("superblock checksum is wrong; try e2fsck with a backup superblock".into());
        return Some(Found::Rejected(signature));
    }
    Some(Found::Valid(signature))
}

/// blkid's distinction: the oldest driver that knows all features gives the name.
fn kind(compat: u32, incompat: u32, ro_compat: u32) -> Option<Kind> {
    let journal = compat & COMPAT_HAS_JOURNAL != 0;
    if incompat & INCOMPAT_JOURNAL_DEV != 0 {
        Some(Kind::Jbd)
    } else if ro_compat & !EXT3_RO_COMPAT != 0 || incompat & !EXT3_INCOMPAT != 0 {
        Some(Kind::Ext4)
    } else if journal {
        Some(Kind::Ext3)
    } else if incompat & !EXT2_INCOMPAT == 0 {
        Some(Kind::Ext2)
    } else {
        // Wants recovery but has no journal: no driver claims it.
        None
    }
}
