//! What a VDO volume says of its own size (kernel: drivers/md/dm-vdo/encodings.c; lvm2: libdm/vdo/vdo_reader.c).
//!
//! LVM's metadata count in extents, and a volume whose size was left to vdoformat ends within one: lvm2 maps as much as the
//! volume itself says, and the kernel refuses to map less.

use crate::bytes::Bytes as _;

/// Bytes of a block, and of what is read of either structure.
pub const BLOCK: usize = 4096;

/// Component of the header that begins the geometry block (`VDO_GEOMETRY_BLOCK`).
const GEOMETRY: u32 = 5;
/// The volume's region behind that of the index: the second of two.
const DATA_REGION: usize = 1;
/// The newest version of the super block's content.
const COMPONENT: u32 = 41;

/// Where the super block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Ties both blocks together.
    nonce: u64,
    /// Bytes from the start of the device.
    pub super_block: u64,
}

/// Reads the first block of a volume; `None` if it is none of a version that is known.
#[must_use]
pub fn geometry(block: &[u8]) -> Option<Geometry> {
    if !block.has(0, b"dmvdo001") || block.le32(8)? != GEOMETRY {
        return None;
    }
    let nonce = block.le64(32)?;
    let (bio_offset, regions) = match block.le32(12)? {
        4 => (0, 56),
        5 => (block.le64(56)?, 64),
        _ => return None,
    };
    // A region is its number and its first block.
    let start = block.le64(regions + DATA_REGION * 12 + 4)?;
    let super_block = start.checked_sub(bio_offset)?.checked_mul(BLOCK as u64)?;
    Some(Geometry { nonce, super_block })
}

/// Size of the volume in 512-byte sectors, from its super block; `None` if that is another volume's or of a version that is
/// not known.
#[must_use]
pub fn sectors(geometry: Geometry, block: &[u8]) -> Option<u64> {
    let known = block.le32(32)? <= COMPONENT && block.le64(100)? == geometry.nonce;
    block.le64(60)?.checked_mul((BLOCK / 512) as u64).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
        block[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Geometry and super block of a volume of 1,000,001 blocks.
    fn volume(version: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut first, mut second) = (vec![0; BLOCK], vec![0; BLOCK]);
        put(&mut first, 0, b"dmvdo001");
        put(&mut first, 8, &5_u32.to_le_bytes());
        put(&mut first, 12, &version.to_le_bytes());
        put(&mut first, 32, &77_u64.to_le_bytes());
        let at = if version == 4 { 72 } else { 80 };
        if version == 5 {
            put(&mut first, 56, &2_u64.to_le_bytes());
        }
        put(&mut first, at, &1002_u64.to_le_bytes());
        put(&mut second, 32, &41_u32.to_le_bytes());
        put(&mut second, 60, &1_000_001_u64.to_le_bytes());
        put(&mut second, 100, &77_u64.to_le_bytes());
        (first, second)
    }

    #[test]
    fn both_versions() {
        for (version, place) in [(4, 1002), (5, 1000)] {
            let (first, second) = volume(version);
            let geometry = geometry(&first).expect("a geometry");
            assert_eq!(geometry.super_block, place * 4096, "{version}");
            assert_eq!(sectors(geometry, &second), Some(8_000_008), "{version}");
        }
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        assert_eq!(geometry(&volume(6).0), None);
        let (first, second) = volume(5);
        for length in 0..92 {
            assert_eq!(geometry(&first[..length]).is_some(), length >= 88, "{length}");
        }
        let geometry = geometry(&first).expect("a geometry");
        for (at, bytes) in [(32, 42_u64), (100, 78), (60, u64::MAX)] {
            let mut other = second.clone();
            put(&mut other, at, &bytes.to_le_bytes());
            assert_eq!(sectors(geometry, &other), None, "{at}");
        }
        assert_eq!(sectors(geometry, &second[..107]), None);
    }
}
