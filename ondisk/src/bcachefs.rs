//! bcachefs (kernel: fs/bcachefs/bcachefs_format.h, `struct bch_sb`), by the superblock at its first place.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;
use crate::crc::{crc32c, crc64};
use crate::probe::{Found, Probe};
use crate::xxh64::xxh64;
use crate::{Kind, ReadError, Signature, bcache, text};

const OFFSET: u64 = 4096;
const MAGIC: &[u8; 16] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
/// Where the variable fields begin.
const FIELDS: usize = 752;
/// libblkid's limit of `sb_max_size_bits`: a superblock of 32 MiB, of which we read no more than this.
const MOST: usize = 1 << 20;
const MIN_SIZE: u64 = 128 << 10;
/// More devices than the format can number.
const MOST_DEVICES: usize = 256;

/// What one device says of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Devices that the file system consists of.
    pub devices: u8,
    /// This one's number.
    pub index: u8,
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let Some(length) = length(probe) else { return Ok(Found::Nothing) };
    let Some(sb) = probe.bytes(OFFSET, length)? else { return Ok(Found::Nothing) };
    Ok(signature(&sb).unwrap_or(Found::Nothing))
}

/// Length of the superblock with its fields, if one begins here.
fn length(probe: &Probe<'_>) -> Option<usize> {
    let sb = probe.head().get(usize::try_from(OFFSET).ok()?..)?;
    let magic = sb.has(24, MAGIC) || sb.has(24, bcache::MAGIC);
    if probe.size() < MIN_SIZE || !magic || sb.le64(104)? != OFFSET / 512 {
        return None;
    }
    let (index, devices) = (sb.u8(122)?, sb.u8(123)?);
    let length = usize::try_from(sb.le32(124)?).ok()?.checked_mul(8)?.checked_add(FIELDS)?;
    let bits = u32::from(sb.u8(257)?);
    (index < devices && bits <= 16 && length <= 512 << bits && length <= MOST).then_some(length)
}

fn signature(sb: &[u8]) -> Option<Found> {
    let version = sb.le16(16)?;
    let own = usize::from(sb.u8(122)?);
    let mut signature = Signature {
        uuid: text::uuid(&sb.array(56)?),
        label: text::label(sb.slice(72, 32)?),
        uuid_sub: members(sb).get(own).and_then(text::uuid),
        version: Some(format!("{}.{}", version >> 10, version & 0x3ff)),
        ..Signature::new(Kind::Bcachefs)
    };
    if !checksum_holds(sb)? {
        signature.doubt = Some("superblock checksum is wrong; try bcachefs fsck".to_owned());
        return Some(Found::Rejected(signature));
    }
    Some(Found::Valid(signature))
}

/// `BCH_SB_CSUM_TYPE`; keyed and unknown ones are left to the kernel.
fn checksum_holds(sb: &[u8]) -> Option<bool> {
    let covered = sb.get(16..)?;
    Some(match sb.u8(144)? >> 2 {
        1 => !crc32c(!0, covered) == sb.le32(0)?,
        2 => crc64(covered) == sb.le64(0)?,
        7 => xxh64(covered) == sb.le64(0)?,
        _ => true,
    })
}

pub(crate) fn member(probe: &Probe<'_>) -> Result<Option<Membership>, ReadError> {
    let Some(sb) = length(probe).map(|length| probe.bytes(OFFSET, length)).transpose()?.flatten() else {
        return Ok(None);
    };
    let (Some(index), Some(devices)) = (sb.u8(122), sb.u8(123)) else { return Ok(None) };
    // A device that was removed leaves an entry without UUID.
    let used = members(&sb).iter().filter(|uuid| **uuid != [0; 16]).count();
    let devices = u8::try_from(used).ok().filter(|used| *used > 0).unwrap_or(devices);
    Ok(Some(Membership { devices, index }))
}

/// UUIDs of all devices, from the list of members in whichever version is there.
fn members(sb: &[u8]) -> Vec<[u8; 16]> {
    let mut at = FIELDS;
    while let (Some(words), Some(kind)) = (sb.le32(at), sb.le32(at.saturating_add(4))) {
        let Some(field) = usize::try_from(words)
            .ok()
            .and_then(|words| words.checked_mul(8))
            .filter(|length| *length >= 8)
            .and_then(|length| sb.slice(at, length))
        else {
            break;
        };
        let list = match kind {
            1 => Some((8, 56)),
            11 => field.le16(8).map(|each| (16, usize::from(each))),
            _ => None,
        };
        if let Some((start, each)) = list.filter(|(_, each)| *each >= 16) {
            let entries = field.get(start..).unwrap_or_default().chunks_exact(each);
            return entries.take(MOST_DEVICES).filter_map(|entry| entry.array(0)).collect();
        }
        at = at.saturating_add(field.len());
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Member, identify};

    /// Two devices and the place of a third that was removed; a field of another kind before the list.
    fn disk(check: u8) -> Vec<u8> {
        let mut disk = vec![0_u8; 256 << 10];
        let sb = &mut disk[4096..];
        sb[16..18].copy_from_slice(&(1_u16 << 10 | 7).to_le_bytes());
        sb[24..40].copy_from_slice(MAGIC);
        sb[56..72].fill(0x55);
        sb[72..76].copy_from_slice(b"pool");
        sb[104] = 8;
        sb[122..124].copy_from_slice(&[1, 3]);
        let words = 2 + 2 + 3 * 8;
        sb[124] = words;
        sb[144] = check << 2;
        sb[257] = 8;
        sb[752..760].copy_from_slice(&[2, 0, 0, 0, 5, 0, 0, 0]);
        sb[768..778].copy_from_slice(&[2 + 3 * 8, 0, 0, 0, 11, 0, 0, 0, 64, 0]);
        sb[784..800].fill(1);
        sb[848..864].fill(2);
        let end = FIELDS + usize::from(words) * 8;
        let sum = match check {
            1 => u64::from(!crc32c(!0, &sb[16..end])),
            2 => crc64(&sb[16..end]),
            7 => xxh64(&sb[16..end]),
            _ => 0,
        };
        sb[..8].copy_from_slice(&sum.to_le_bytes());
        disk
    }

    #[test]
    fn the_fields() {
        for check in [0, 1, 2, 7] {
            let content = identify(&disk(check).as_slice()).expect("no read errors");
            let one = content.only().expect("bcachefs");
            assert_eq!((one.kind, one.version.as_deref()), (Kind::Bcachefs, Some("1.7")));
            assert_eq!(one.label.as_deref(), Some(&b"pool"[..]));
            assert_eq!(one.uuid_sub.as_deref(), Some("02020202-0202-0202-0202-020202020202"));
            let member = content.member.as_deref().and_then(Member::bcachefs);
            assert_eq!(member, Some(&Membership { devices: 2, index: 1 }));
        }
    }

    #[test]
    fn a_wrong_checksum_is_rejected() {
        for check in [1, 2, 7] {
            let mut disk = disk(check);
            disk[4096 + 80] ^= 1;
            let content = identify(&disk.as_slice()).expect("no read errors");
            assert!(content.signatures.is_empty() && content.rejected.len() == 1, "{check}");
        }
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        crate::probe::hurt(&disk(0), 4096..4096 + 900);
    }
}
