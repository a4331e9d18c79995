//! EROFS (kernel: fs/erofs/erofs_fs.h, `struct erofs_super_block`).

use crate::bytes::Bytes as _;
use crate::crc::crc32c;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

const OFFSET: usize = 1024;
const COMPAT_SB_CHKSUM: u32 = 0x1;

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let sb = probe.head().get(OFFSET..);
    Ok(sb.and_then(|sb| parse(probe, sb)).unwrap_or(Found::Nothing))
}

fn parse(probe: &Probe<'_>, sb: &[u8]) -> Option<Found> {
    if !sb.has(0, &[0xe2, 0xe1, 0xf5, 0xe0]) {
        return None;
    }
    let block_bits = sb.u8(12).filter(|bits| (9..=16).contains(bits))?;
    let block = 1_usize << block_bits;
    let mut signature = Signature {
        uuid: text::uuid(&sb.array(48)?),
        label: text::label(sb.slice(64, 16)?),
        doubt: probe.truncation(u64::from(sb.le32(36)?) << block_bits),
        ..Signature::new(Kind::Erofs)
    };
    if sb.le32(8)? & COMPAT_SB_CHKSUM != 0 {
        // The rest of the first block is covered, or one block where blocks are not larger than the offset.
        let length = if block > OFFSET { block - OFFSET } else { block };
        let covered = sb.get(..length)?;
        let mut crc = crc32c(!0, covered.get(..4)?);
        crc = crc32c(crc, &[0; 4]);
        crc = crc32c(crc, covered.get(8..)?);
        if crc != sb.le32(4)? {
            signature.doubt = Some("superblock checksum is wrong; restore the image".into());
            return Some(Found::Rejected(signature));
        }
    }
    Some(Found::Valid(signature))
}
