//! bcache: caches and the devices behind them (kernel: drivers/md/bcache/bcache_ondisk.h, `struct cache_sb_disk`).

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;
use crate::crc::crc64;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

const OFFSET: usize = 4096;
/// Where the journal buckets begin, which the checksum covers as far as there are any.
const BUCKETS: usize = 208;
const MOST_BUCKETS: u16 = 256;
/// Shared with bcachefs.
pub(crate) const MAGIC: &[u8; 16] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";

/// What a superblock says of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// A backing device; otherwise a cache.
    pub backing: bool,
    /// UUID of the cache set; `None` for a backing device that has none attached.
    pub set: Option<String>,
    /// A backing device whose cache holds data that is nowhere else (`BDEV_STATE_DIRTY`, `BDEV_STATE_STALE`).
    pub dirty: bool,
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    Ok(signature(probe).unwrap_or(Found::Nothing))
}

fn signature(probe: &Probe<'_>) -> Option<Found> {
    let sb = probe.head().get(OFFSET..)?;
    if !sb.has(24, MAGIC) || sb.le64(8)? != (OFFSET / 512) as u64 {
        return None;
    }
    let signature = Signature {
        uuid: text::uuid(&sb.array(40)?),
        label: text::label(sb.slice(72, 32)?),
        version: Some(sb.le64(16)?.to_string()),
        ..Signature::new(Kind::Bcache)
    };
    let buckets = sb.le16(206).filter(|buckets| *buckets <= MOST_BUCKETS)?;
    let covered = sb.slice(8, BUCKETS - 8 + 8 * usize::from(buckets))?;
    if crc64(covered) != sb.le64(0)? {
        let doubt = Some("superblock checksum is wrong; look at it with bcache-super-show".to_owned());
        return Some(Found::Rejected(Signature { doubt, ..signature }));
    }
    Some(Found::Valid(signature))
}

pub(crate) fn member(probe: &Probe<'_>) -> Option<Superblock> {
    let sb = probe.head().get(OFFSET..)?;
    // Versions of caches: 0, 3, 5; of backing devices: 1, 4, 6.
    let backing = matches!(sb.le64(16)?, 1 | 4 | 6);
    let set = sb.array(56).filter(|set| set != MAGIC)?;
    // BDEV_STATE: none, clean, dirty, stale. A stale one has run without its cache and holds the truth alone; the kernel
    // starts it at once (drivers/md/bcache/super.c, register_bdev).
    let state = sb.le64(104)? >> 61 & 3;
    Some(Superblock {
        backing,
        set: if backing && matches!(state, 0 | 3) { None } else { text::uuid(&set) },
        dirty: backing && state == 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Member, identify};

    fn disk(version: u8, state: u64) -> Vec<u8> {
        let mut disk = vec![0_u8; 64 << 10];
        let sb = &mut disk[OFFSET..];
        sb[8] = 8;
        sb[16] = version;
        sb[24..40].copy_from_slice(MAGIC);
        sb[40..56].fill(0x11);
        sb[56..72].fill(0x22);
        sb[72..76].copy_from_slice(b"fast");
        sb[104..112].copy_from_slice(&(state << 61).to_le_bytes());
        sb[206] = 2;
        let crc = crc64(&sb[8..BUCKETS + 16]);
        sb[..8].copy_from_slice(&crc.to_le_bytes());
        disk
    }

    fn found(disk: &[u8]) -> Option<Superblock> {
        let content = identify(&disk).expect("no read errors");
        assert!(content.signatures.iter().all(|one| one.label.as_deref() == Some(b"fast")));
        content.member.as_deref().and_then(Member::bcache).cloned()
    }

    #[test]
    fn caches_and_backing_devices() {
        let set = Some("22222222-2222-2222-2222-222222222222".to_owned());
        for (version, state, expected) in [
            (3, 0, Superblock { backing: false, set: set.clone(), dirty: false }),
            (1, 0, Superblock { backing: true, set: None, dirty: false }),
            (4, 1, Superblock { backing: true, set: set.clone(), dirty: false }),
            (6, 2, Superblock { backing: true, set, dirty: true }),
            (6, 3, Superblock { backing: true, set: None, dirty: false }),
        ] {
            assert_eq!(found(&disk(version, state)), Some(expected));
        }
    }

    #[test]
    fn a_wrong_checksum_is_rejected() {
        let mut disk = disk(1, 0);
        disk[OFFSET + BUCKETS] = 1;
        let content = identify(&disk.as_slice()).expect("no read errors");
        assert!(content.signatures.is_empty());
        assert!(content.rejected.iter().any(|one| one.kind == Kind::Bcache && one.doubt.is_some()));
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        crate::probe::hurt(&disk(4, 1), OFFSET..OFFSET + 256);
    }
}
