//! dm-integrity's superblock (kernel: drivers/md/dm-integrity.c, `struct superblock`). It has neither UUID nor checksum.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature};

/// How a device was formatted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// Version 1 to 5 (6 with in-line tags).
    pub version: u8,
    /// Bytes of a tag.
    pub tag: u16,
    /// Length of the mapping in 512-byte sectors.
    pub sectors: u64,
    /// Bytes of a data block.
    pub block: u32,
    /// `SB_FLAG_*`.
    pub flags: u32,
}

impl Superblock {
    /// `SB_FLAG_RECALCULATING`: tags are still being calculated, and go on being so.
    #[must_use]
    pub fn is_recalculating(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether the tags lie in the metadata that the disk itself keeps beside each sector (`SB_FLAG_INLINE`).
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.flags & 0x20 != 0
    }
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let version = probe.head().u8(8).filter(|version| *version != 0);
    let Some(version) = version.filter(|_| probe.head().has(0, b"integrt\0")) else {
        return Ok(Found::Nothing);
    };
    let doubt = parse(probe.head())
        .is_none()
        .then(|| "its fields make no sense; look at it with integritysetup dump".to_owned());
    Ok(Some(Signature { version: Some(version.to_string()), doubt, ..Signature::new(Kind::DmIntegrity) })
        .into())
}

pub(crate) fn member(probe: &Probe<'_>) -> Option<Superblock> {
    parse(probe.head())
}

fn parse(head: &[u8]) -> Option<Superblock> {
    Some(Superblock {
        version: head.u8(8)?,
        tag: head.le16(10)?,
        sectors: head.le64(16).filter(|sectors| *sectors > 0)?,
        flags: head.le32(24)?,
        // The kernel takes blocks of 512 to 4096 bytes.
        block: 512_u32.checked_shl(u32::from(head.u8(28)?)).filter(|block| (512..=4096).contains(block))?,
    })
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Member, identify};

    fn disk() -> Vec<u8> {
        let mut disk = vec![0_u8; 64 << 10];
        disk[..8].copy_from_slice(b"integrt\0");
        disk[8] = 4;
        disk[10] = 4;
        disk[16..24].copy_from_slice(&1000_u64.to_le_bytes());
        disk[24] = 2;
        disk[28] = 3;
        disk
    }

    #[test]
    fn the_fields() {
        let content = identify(&disk().as_slice()).expect("no read errors");
        assert_eq!(
            content.only().map(|one| (one.kind, one.version.as_deref())),
            Some((Kind::DmIntegrity, Some("4")))
        );
        let sb = content.member.as_deref().and_then(Member::integrity).expect("a superblock");
        assert_eq!((sb.tag, sb.sectors, sb.block, sb.is_recalculating()), (4, 1000, 4096, true));
        for (at, value) in [(28, 4), (28, 255), (16, 0), (17, 0)] {
            let mut disk = disk();
            disk[16..20].fill(0);
            disk[at] = value;
            assert!(identify(&disk.as_slice()).expect("no read errors").member.is_none());
        }
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        crate::probe::hurt(&disk(), 0..64);
    }
}
