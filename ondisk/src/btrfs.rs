//! Btrfs (kernel: include/uapi/linux/btrfs_tree.h, `struct btrfs_super_block`).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bytes::Bytes as _;
use crate::crc::crc32c;
use crate::probe::{Found, Probe};
use crate::xxh64::xxh64;
use crate::{Kind, ReadError, Signature, text};

const OFFSET: usize = 64 << 10;
const LENGTH: usize = 4096;
/// A smaller device cannot hold one.
const MIN_SIZE: u64 = 1 << 20;

/// What one device says of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Devices that the file system consists of.
    pub devices: u64,
    /// This one's number.
    pub index: u64,
}

pub(crate) fn member(probe: &Probe<'_>) -> Option<Membership> {
    let sb = probe.head().slice(OFFSET, LENGTH)?;
    // While it is being replaced by another, a device has number 0.
    Some(Membership { devices: sb.le64(136)?, index: sb.le64(201)? })
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    if probe.size() < MIN_SIZE {
        return Ok(Found::Nothing);
    }
    let sb = probe.head().slice(OFFSET, LENGTH);
    Ok(sb.and_then(|sb| parse(probe, sb)).unwrap_or(Found::Nothing))
}

fn parse(probe: &Probe<'_>, sb: &[u8]) -> Option<Found> {
    if !sb.has(64, b"_BHRfS_M") || sb.le32(144)? == 0 {
        return None;
    }
    let mut signature = Signature {
        uuid: text::uuid(&sb.array(32)?),
        label: text::label(sb.slice(299, 256)?),
        uuid_sub: text::uuid(&sb.array(267)?),
        // The size in the device item is that of this device; the one further up is that of all members.
        doubt: probe.truncation(sb.le64(209)?),
        ..Signature::new(Kind::Btrfs)
    };
    if !checksum_holds(sb)? {
        signature.doubt = Some("superblock checksum is wrong; try btrfs rescue super-recover".into());
        return Some(Found::Rejected(signature));
    }
    Some(Found::Valid(signature))
}

fn checksum_holds(sb: &[u8]) -> Option<bool> {
    let (stored, covered) = sb.split_at_checked(32)?;
    Some(match sb.le16(196)? {
        0 => !crc32c(!0, covered) == stored.le32(0)?,
        1 => xxh64(covered) == stored.le64(0)?,
        2 => Sha256::digest(covered).as_slice() == stored,
        // BLAKE2b is left to the kernel, as blkid does; further types the kernel does not know either.
        3 => true,
        _ => false,
    })
}
