//! dm-verity's superblock on the hash device (cryptsetup's "DMVerity" page; kernel:
//! Documentation/admin-guide/device-mapper/verity.rst).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadAt, ReadError, Signature, text};

/// Bytes of the superblock; the hash area begins at the next hash block.
pub const SUPERBLOCK: usize = 512;
/// What cryptsetup takes (`VERITY_BLOCK_SIZE_OK`).
const BLOCKS: std::ops::RangeInclusive<u32> = 512..=512 << 10;

/// How a hash device was formatted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// 0 is Chrome OS' layout, 1 the normal one.
    pub format: u32,
    /// UUID of the pair of devices.
    pub uuid: Option<String>,
    /// Hash algorithm as the kernel's crypto API names it.
    pub algorithm: String,
    /// Data block size in bytes.
    pub data_block: u32,
    /// Hash block size in bytes.
    pub hash_block: u32,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// Salt in hexadecimal; may be empty.
    pub salt: String,
    /// Root hash in hexadecimal that the tree on this device really has, where its algorithm is SHA-256: the digest of the
    /// uppermost block. With others the first read of the mapping tells.
    pub root: Option<String>,
}

/// The superblock at byte `offset` of `dev`; `None` if there is none, or none that could be used.
///
/// # Errors
/// The device's read error.
pub fn read(dev: &dyn ReadAt, offset: u64) -> Result<Option<Superblock>, ReadError> {
    read_with(offset, |at, len| {
        if at.checked_add(len as u64).is_none_or(|end| end > dev.size()) {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        let count = dev.read_at(at, &mut bytes)?;
        Ok((count == len).then_some(Cow::Owned(bytes)))
    })
}

pub(crate) fn member(probe: &Probe<'_>) -> Result<Option<Superblock>, ReadError> {
    read_with(0, |at, len| probe.bytes(at, len))
}

fn read_with<'a>(
    offset: u64,
    bytes: impl Fn(u64, usize) -> Result<Option<Cow<'a, [u8]>>, ReadError>,
) -> Result<Option<Superblock>, ReadError> {
    let Some(head) = bytes(offset, SUPERBLOCK)?.filter(|head| is_superblock(head)) else { return Ok(None) };
    let Some((mut sb, salt)) = parse(&head) else { return Ok(None) };
    // Without levels the digest is that of the only data block.
    if sb.data_blocks > 1
        && let Some(first) = offset.checked_add(SUPERBLOCK as u64)
        && let Some(top) = first.checked_next_multiple_of(u64::from(sb.hash_block))
        && let Ok(len) = usize::try_from(sb.hash_block)
        && let Some(block) = bytes(top, len)?
    {
        let (before, after) = if sb.format == 1 { (salt, &[][..]) } else { (&[][..], salt) };
        sb.root = digest(&sb.algorithm, &[before, &block, after]);
    }
    Ok(Some(sb))
}

/// The digest of `parts` in a row; `None` for an algorithm other than veritysetup's default.
fn digest(algorithm: &str, parts: &[&[u8]]) -> Option<String> {
    let sha256 = || parts.iter().fold(Sha256::new(), Digest::chain_update).finalize();
    (algorithm == "sha256").then(|| text::hex(&sha256()))
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let Some(bytes) = probe.head().slice(0, SUPERBLOCK).filter(|bytes| is_superblock(bytes)) else {
        return Ok(Found::Nothing);
    };
    Ok(Some(Signature {
        uuid: bytes.array(16).and_then(|uuid| text::uuid(&uuid)),
        version: Some("1".to_owned()),
        doubt: parse(bytes)
            .is_none()
            .then(|| "its fields make no sense; look at it with veritysetup dump".to_owned()),
        ..Signature::new(Kind::DmVerity)
    })
    .into())
}

/// All that libblkid asks for.
fn is_superblock(bytes: &[u8]) -> bool {
    bytes.has(0, b"verity\0\0") && bytes.le32(8) == Some(1)
}

/// The fields, and the bytes of the salt. The algorithm becomes a word of a device-mapper table.
fn parse(bytes: &[u8]) -> Option<(Superblock, &[u8])> {
    let algorithm = text::ascii(bytes.slice(32, 32)?)?;
    let salt = bytes.slice(88, usize::from(bytes.le16(80)?).min(257)).filter(|salt| salt.len() <= 256)?;
    let size = |at| bytes.le32(at).filter(|size| size.is_power_of_two() && BLOCKS.contains(size));
    let sb = Superblock {
        format: bytes.le32(12).filter(|format| *format <= 1)?,
        uuid: text::uuid(&bytes.array(16)?),
        data_block: size(64)?,
        hash_block: size(68)?,
        data_blocks: bytes.le64(72)?,
        salt: text::hex(salt),
        root: None,
        algorithm,
    };
    sb.data_blocks.checked_mul(u64::from(sb.data_block))?;
    sb.algorithm
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_()".contains(&byte))
        .then_some((sb, salt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Member, identify};

    /// As `veritysetup format --salt aabb --uuid 0102...` writes it, with one block of hashes.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0_u8; 64 << 10];
        disk[..8].copy_from_slice(b"verity\0\0");
        disk[8] = 1;
        disk[12] = 1;
        disk[16..32].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        disk[32..38].copy_from_slice(b"sha256");
        disk[64..68].copy_from_slice(&4096_u32.to_le_bytes());
        disk[68..72].copy_from_slice(&4096_u32.to_le_bytes());
        disk[72..80].copy_from_slice(&100_u64.to_le_bytes());
        disk[80] = 2;
        disk[88..90].copy_from_slice(&[0xaa, 0xbb]);
        disk[4096] = 7;
        disk
    }

    fn found(disk: &[u8]) -> Option<Superblock> {
        let content = identify(&disk).expect("no read errors");
        content.member.as_deref().and_then(Member::verity).cloned()
    }

    #[test]
    fn the_fields_and_the_root_hash() {
        let disk = disk();
        let sb = found(&disk).expect("a superblock");
        assert_eq!((sb.format, sb.data_block, sb.hash_block, sb.data_blocks), (1, 4096, 4096, 100));
        assert_eq!((sb.algorithm.as_str(), sb.salt.as_str()), ("sha256", "aabb"));
        assert_eq!(sb.uuid.as_deref(), Some("01020304-0506-0708-090a-0b0c0d0e0f10"));
        let expected = text::hex(&Sha256::digest([&[0xaa, 0xbb][..], &disk[4096..8192]].concat()));
        assert_eq!(sb.root, Some(expected));
        let mut chrome = disk;
        chrome[12] = 0;
        let expected = text::hex(&Sha256::digest([&chrome[4096..8192], &[0xaa, 0xbb][..]].concat()));
        assert_eq!(found(&chrome).and_then(|sb| sb.root), Some(expected));
    }

    #[test]
    fn fields_that_no_table_may_hold() {
        for (at, bytes) in [
            (12, &[2][..]),
            (64, &[0, 0, 0, 0][..]),
            (64, &[1, 2, 0, 0][..]),
            (68, &[0, 0, 16, 0][..]),
            (72, &[0xff; 8][..]),
            (80, &[1, 1][..]),
            (32, b"sha 256"),
            (32, b"\0"),
        ] {
            let mut disk = disk();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(found(&disk), None, "{at}");
            let content = identify(&disk.as_slice()).expect("no read errors");
            assert!(content.only().is_some_and(|one| one.kind == Kind::DmVerity && one.doubt.is_some()));
        }
        let mut newer = disk();
        newer[8] = 2;
        assert!(identify(&newer.as_slice()).expect("no read errors").signatures.is_empty());
    }

    #[test]
    fn at_an_offset() {
        let mut both = vec![1_u8; 32 << 10];
        both.extend(disk());
        let here = read(&both.as_slice(), 32 << 10).expect("no read errors").expect("a superblock");
        // The hash area begins at the next block of the device, which is the next of the area here.
        assert_eq!(here.root, found(&disk()).and_then(|sb| sb.root));
        for offset in [0, 511, 96 << 10, u64::MAX, u64::MAX - 500] {
            assert_eq!(read(&both.as_slice(), offset).expect("no read errors"), None, "{offset}");
        }
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        crate::probe::hurt(&disk(), 0..SUPERBLOCK);
    }
}
