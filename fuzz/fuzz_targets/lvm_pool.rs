//! Superblocks of the metadata of thin pools and caches: the input is the block, as it is and with magic number and checksum
//! put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{crc32c, put, sized};
use engine::assemble::lvm::activation::PoolKind;
use libfuzzer_sys::fuzz_target;
use ondisk::lvm::pool::{PoolError, PoolState, SUPERBLOCK, cache, thin};
use ondisk::lvm::vdo;

type Read = fn(&[u8]) -> Result<PoolState, PoolError>;

/// Magic number, what the checksum is mixed with, and the flag that asks for a check (dm-thin-metadata.c,
/// dm-cache-metadata.c).
const KINDS: [(u64, u32, u32, Read); 2] =
    [(27_022_010, 160_774, 1, thin), (0o6_142_003, 9_031_977, 2, cache)];

fuzz_target!(|data: &[u8]| {
    let Some((choice, raw)) = data.split_first_chunk::<2>() else { return };
    as_it_is(raw);
    vdo_volume(raw);
    let block = sized(raw, SUPERBLOCK);
    let bit = usize::from(u16::from_le_bytes(*choice)) % (SUPERBLOCK * 8);
    for (own, other) in [(0, 1), (1, 0)] {
        sealed(block.clone(), bit, KINDS[own], KINDS[other].3);
    }
});

/// A VDO volume says nothing that does not fit into a device.
fn vdo_volume(raw: &[u8]) {
    let mut first = sized(raw, vdo::BLOCK);
    put(&mut first, 0, b"dmvdo001\x05\0\0\0");
    for block in [raw, &first] {
        if let Some(geometry) = vdo::geometry(block) {
            assert_eq!(geometry.super_block % vdo::BLOCK as u64, 0);
            let sectors = vdo::sectors(geometry, raw);
            assert!(sectors.is_none_or(|sectors| sectors.is_multiple_of(8)));
        }
    }
}

/// Nothing is taken for both kinds, what follows the block is not looked at, and a part of one is none.
fn as_it_is(raw: &[u8]) {
    let zeros = raw.len() >= SUPERBLOCK && raw[..SUPERBLOCK].iter().all(|byte| *byte == 0);
    for (.., read) in KINDS {
        let found = read(raw);
        assert_eq!(found == Err(PoolError::Empty), zeros);
        match raw.get(..SUPERBLOCK) {
            Some(block) => assert_eq!(found, read(block)),
            None => assert_eq!(found, Err(PoolError::Foreign)),
        }
    }
    assert!(thin(raw).is_err() || cache(raw).is_err());
    let judged = |kind: PoolKind| kind.judge(raw).is_ok();
    // Only a pool that was never used is as good as one that is.
    assert!(zeros || !judged(PoolKind::Cache) || cache(raw).is_ok_and(|state| !state.needs_check));
    assert!(
        zeros
            || !judged(PoolKind::Thin { transaction_id: 0 })
            || thin(raw).is_ok_and(|state| !state.needs_check)
    );
}

/// A superblock says what stands in it, and no changed bit of it goes unnoticed.
fn sealed(mut block: Vec<u8>, bit: usize, (magic, mixed, flag, read): (u64, u32, u32, Read), other: Read) {
    put(&mut block, 32, &magic.to_le_bytes());
    let sum = crc32c(!0, &block[4..]) ^ mixed;
    put(&mut block, 0, &sum.to_le_bytes());
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
    let transaction_id = if magic == KINDS[0].0 { word(48) } else { 0 };
    let needs_check = (word(0) >> 32) & u64::from(flag) != 0;
    assert_eq!(read(&block), Ok(PoolState { transaction_id, needs_check }));
    assert_eq!(other(&block), Err(PoolError::Foreign));
    let kind = if magic == KINDS[0].0 { PoolKind::Thin { transaction_id } } else { PoolKind::Cache };
    assert_eq!(kind.judge(&block).is_ok(), !needs_check);
    block[bit / 8] ^= 1 << (bit % 8);
    assert!(matches!(read(&block), Err(PoolError::Foreign | PoolError::Damaged)));
}
