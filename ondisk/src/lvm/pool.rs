//! Superblocks of the metadata of thin pools and caches (kernel: drivers/md/dm-thin-metadata.c, dm-cache-metadata.c).

use crate::bytes::Bytes as _;
use crate::crc::crc32c;

/// Bytes of a superblock: one metadata block.
pub const SUPERBLOCK: usize = 4096;

/// What a pool's metadata says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// A thin pool's transaction; 0 for caches.
    pub transaction_id: u64,
    /// The kernel found the metadata damaged, and wants it checked before it is used again.
    pub needs_check: bool,
}

/// Why a superblock tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolError {
    /// Nothing but zeros: a pool that was never used.
    Empty,
    /// Not the superblock of such a pool.
    Foreign,
    /// Its checksum is wrong.
    Damaged,
}

/// `THIN_SUPERBLOCK_MAGIC`, `SUPERBLOCK_CSUM_XOR` and `THIN_METADATA_NEEDS_CHECK_FLAG`.
const THIN: (u64, u32, u32) = (27_022_010, 160_774, 1);
/// `CACHE_SUPERBLOCK_MAGIC`, which is written in octal, `SUPERBLOCK_CSUM_XOR` and the bit `NEEDS_CHECK`.
const CACHE: (u64, u32, u32) = (0o6_142_003, 9_031_977, 1 << 1);

/// Reads the first block of a thin pool's metadata.
///
/// # Errors
/// [`PoolError`].
pub fn thin(block: &[u8]) -> Result<PoolState, PoolError> {
    let needs_check = superblock(block, THIN)?;
    Ok(PoolState { transaction_id: block.le64(48).ok_or(PoolError::Foreign)?, needs_check })
}

/// Reads the first block of a cache's metadata.
///
/// # Errors
/// [`PoolError`].
pub fn cache(block: &[u8]) -> Result<PoolState, PoolError> {
    let needs_check = superblock(block, CACHE)?;
    Ok(PoolState { transaction_id: 0, needs_check })
}

/// Whether a valid superblock asks to be checked.
fn superblock(block: &[u8], (magic, xor, flag): (u64, u32, u32)) -> Result<bool, PoolError> {
    let block = block.slice(0, SUPERBLOCK).ok_or(PoolError::Foreign)?;
    if block.iter().all(|byte| *byte == 0) {
        return Err(PoolError::Empty);
    }
    if block.le64(32) != Some(magic) {
        return Err(PoolError::Foreign);
    }
    let sum = crc32c(!0, block.get(4..).unwrap_or_default()) ^ xor;
    match (block.le32(0), block.le32(4)) {
        (Some(stored), Some(flags)) if stored == sum => Ok(flags & flag != 0),
        _ => Err(PoolError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A superblock with this flag word; `magic` and the xor of the checksum tell which.
    fn block((magic, xor, _): (u64, u32, u32), flags: u32, transaction: u64) -> Vec<u8> {
        let mut block = vec![0; SUPERBLOCK];
        block[4..8].copy_from_slice(&flags.to_le_bytes());
        block[32..40].copy_from_slice(&magic.to_le_bytes());
        block[48..56].copy_from_slice(&transaction.to_le_bytes());
        let sum = crc32c(!0, &block[4..]) ^ xor;
        block[..4].copy_from_slice(&sum.to_le_bytes());
        block
    }

    #[test]
    fn flags_and_transaction_are_read() {
        let state = |transaction_id, needs_check| Ok(PoolState { transaction_id, needs_check });
        assert_eq!(thin(&block(THIN, 0, 7)), state(7, false));
        assert_eq!(thin(&block(THIN, 1, 7)), state(7, true));
        // A cache that was shut down cleanly, and one that wants to be checked.
        assert_eq!(cache(&block(CACHE, 1, 0)), state(0, false));
        assert_eq!(cache(&block(CACHE, 2, 0)), state(0, true));
        assert_eq!(thin(&block(CACHE, 0, 0)), Err(PoolError::Foreign));
        assert_eq!(cache(&block(THIN, 0, 0)), Err(PoolError::Foreign));
        assert_eq!(thin(&vec![0; SUPERBLOCK]), Err(PoolError::Empty));
    }

    #[test]
    fn no_prefix_and_no_changed_byte_is_taken() {
        let good = block(THIN, 0, 7);
        for length in 0..good.len() {
            assert_eq!(thin(&good[..length]), Err(PoolError::Foreign), "{length}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(thin(&bad).is_err(), "{at}");
        }
    }
}
