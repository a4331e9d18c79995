//! LUKS1: one header with fixed fields and eight key slots. It has no checksum.

use super::{Kdf, KeySlot, Luks};
use crate::bytes::Bytes as _;
use crate::text;

const SLOTS: usize = 208;
const SLOT: usize = 48;
const ACTIVE: u32 = 0x00ac_71f3;

pub(super) fn parse(header: &[u8]) -> Option<Luks> {
    let cipher = format!("{}-{}", text::ascii(header.slice(8, 32)?)?, text::ascii(header.slice(40, 32)?)?);
    let hash = text::ascii(header.slice(72, 32)?);
    let slot = |id: u32| {
        let at = SLOTS + SLOT * usize::try_from(id).ok()?;
        (header.be32(at)? == ACTIVE).then_some(KeySlot {
            id,
            kdf: Some(Kdf {
                name: "pbkdf2".into(),
                hash: hash.clone(),
                iterations: u64::from(header.be32(at + 4)?),
                memory: 0,
                threads: 1,
            }),
            cipher: Some(cipher.clone()),
            priority: 1,
        })
    };
    Some(Luks {
        version: 1,
        uuid: text::ascii(header.slice(168, 40)?),
        data_offset: u64::from(header.be32(104)?) * 512,
        keyslots: (0..8).filter_map(slot).collect(),
        cipher: Some(cipher),
        sector_size: 512,
        ..Luks::default()
    })
}
