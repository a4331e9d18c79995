//! Members of a ZFS pool, as libblkid recognises them: at least four uberblocks, and a name and ids in the label.
//!
//! libblkid looks at a mebibyte of each device for that. We look for the uberblocks only where the first label's
//! name-value list begins as every pool's does, so that a device costs nothing unless it is one.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature};

const LABEL: u64 = 256 << 10;
const LIST: usize = 16 << 10;
const LIST_LENGTH: usize = 4096;
const UBERBLOCKS: u64 = 128 << 10;
const UBERBLOCK: usize = 1024;
const WANTED: usize = 4;
const MAGIC: u64 = 0x00ba_b10c;
const MIN_SIZE: u64 = 64 << 20;

/// What a member says of its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The pool's name.
    pub name: String,
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    // XDR, of a little-endian machine or a big-endian one; version 0, unique names.
    let head = probe.head();
    let begins = head.u8(LIST) == Some(1) && head.has(LIST + 2, b"\0\0\0\0\0\0\0\0\0\x01");
    if probe.size() < MIN_SIZE || !begins {
        return Ok(Found::Nothing);
    }
    let end = probe.size() / LABEL * LABEL;
    let mut seen = 0;
    for label in [0, LABEL, end.saturating_sub(2 * LABEL), end.saturating_sub(LABEL)] {
        let Some(ring) = probe.bytes(label + UBERBLOCKS, 128 * UBERBLOCK)? else { continue };
        let found = ring.chunks_exact(UBERBLOCK).filter_map(version).next_back();
        seen += ring.chunks_exact(UBERBLOCK).filter_map(version).count();
        if let Some(version) = found.filter(|_| seen >= WANTED) {
            // The list is taken from the label that was looked at last.
            let place = label + LIST as u64;
            let facts = probe.bytes(place, LIST_LENGTH)?.map(|list| facts(&list)).unwrap_or_default();
            return Ok(Some(Signature {
                uuid: facts.pool.map(|guid| guid.to_string()),
                uuid_sub: facts.device.map(|guid| guid.to_string()),
                label: facts.name,
                version: Some(version.to_string()),
                ..Signature::new(Kind::ZfsMember)
            })
            .into());
        }
    }
    Ok(Found::Nothing)
}

pub(crate) fn member(signature: &Signature) -> Option<Pool> {
    let name = signature.label.as_deref()?;
    Some(Pool { name: String::from_utf8_lossy(name).into_owned() })
}

/// The version, if this is an uberblock; each machine writes them in its own byte order.
fn version(block: &[u8]) -> Option<u64> {
    if block.le64(0)? == MAGIC {
        block.le64(8)
    } else if block.be64(0)? == MAGIC {
        block.be64(8)
    } else {
        None
    }
}

#[derive(Default)]
struct Facts {
    name: Option<Vec<u8>>,
    pool: Option<u64>,
    device: Option<u64>,
}

/// Walks the XDR list: each pair has its encoded size, its decoded size, a name, a type, a count and a value.
fn facts(list: &[u8]) -> Facts {
    const NUMBER: u32 = 8;
    const STRING: u32 = 9;
    const LIST: u32 = 19;
    let mut facts = Facts::default();
    let mut at = 12_usize;
    let mut depth = 0_usize;
    while let Some(size) = list.be32(at) {
        if size == 0 {
            if depth == 0 {
                break;
            }
            depth -= 1;
            at += 8;
            continue;
        }
        let Some(pair) = usize::try_from(size).ok().and_then(|size| list.slice(at, size)) else { break };
        let Some((name, value)) = split(pair) else { break };
        match (value.be32(0), name) {
            (Some(LIST), _) => {
                depth += 1;
                at += pair.len() - value.len() + 16;
                continue;
            }
            (Some(STRING), b"name") if depth == 0 => {
                let length = value.be32(8).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                facts.name = value.slice(12, length).and_then(crate::text::label);
            }
            (Some(NUMBER), b"guid") if depth == 0 => facts.device = value.be64(8),
            (Some(NUMBER), b"pool_guid") if depth == 0 => facts.pool = value.be64(8),
            _ => {}
        }
        at += pair.len();
    }
    facts
}

/// Name and value of a pair; the name is padded to four bytes.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(pair.be32(8)?).ok()?;
    let name = pair.slice(12, length)?;
    Some((name, pair.get(length.checked_next_multiple_of(4)?.checked_add(12)?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Member, identify};

    fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        let mut pair = vec![0; 8];
        pair.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        pair.extend(name.bytes());
        pair.resize(pair.len().next_multiple_of(4), 0);
        pair.extend(kind.to_be_bytes());
        pair.extend(1_u32.to_be_bytes());
        pair.extend(value);
        pair.resize(pair.len().next_multiple_of(4), 0);
        let size = u32::try_from(pair.len()).unwrap().to_be_bytes();
        pair[..4].copy_from_slice(&size);
        pair
    }

    /// A label as `zpool create tank` leaves it, in the order of its fields, shortened.
    pub(super) fn label() -> Vec<u8> {
        let mut label = vec![0_u8; 256 << 10];
        let mut list = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        list.extend(pair("version", 8, &5000_u64.to_be_bytes()));
        list.extend(pair("name", 9, b"\0\0\0\x04tank"));
        list.extend(pair("pool_guid", 8, &77_u64.to_be_bytes()));
        list.extend(pair("guid", 8, &88_u64.to_be_bytes()));
        // The tree of devices has names and ids of its own.
        list.extend(pair("vdev_tree", 19, &[0; 8]));
        list.extend(pair("guid", 8, &99_u64.to_be_bytes()));
        list.extend([0; 8]);
        list.extend(pair("name", 9, b"\0\0\0\x05tank2"));
        list.extend([0; 8]);
        label[LIST..LIST + list.len()].copy_from_slice(&list);
        for slot in 4..8 {
            let at = (128 + slot) << 10;
            label[at..at + 8].copy_from_slice(&MAGIC.to_le_bytes());
            label[at + 8..at + 16].copy_from_slice(&5000_u64.to_le_bytes());
        }
        label
    }

    fn disk() -> Vec<u8> {
        let mut disk = label();
        disk.resize(64 << 20, 0);
        disk
    }

    #[test]
    fn the_pool_is_named() {
        let content = identify(&disk().as_slice()).expect("no read errors");
        let one = content.only().expect("a member");
        assert_eq!((one.kind, one.version.as_deref()), (Kind::ZfsMember, Some("5000")));
        assert_eq!((one.uuid.as_deref(), one.uuid_sub.as_deref()), (Some("77"), Some("88")));
        assert_eq!(
            content.member.as_deref().and_then(Member::zfs).map(|pool| pool.name.as_str()),
            Some("tank2")
        );
    }

    #[test]
    fn fewer_uberblocks_are_none() {
        let mut disk = disk();
        disk[132 << 10] = 0;
        assert!(identify(&disk.as_slice()).expect("no read errors").signatures.is_empty());
    }

    #[test]
    fn no_changed_byte_panics() {
        let mut disk = disk();
        for at in LIST..LIST + 400 {
            let was = disk[at];
            for value in [0, 1, 0x7f, 0xff] {
                disk[at] = value;
                let _ = identify(&disk.as_slice());
            }
            disk[at] = was;
        }
        for end in 0..600 {
            let _ = facts(&disk[LIST..LIST + end]);
        }
    }
}
