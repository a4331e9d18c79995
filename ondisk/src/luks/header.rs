//! LUKS2: two copies of a binary header, each with a JSON area and a checksum over both.

use sha2::{Digest as _, Sha256};

use super::{Luks, PRIMARY, metadata};
use crate::bytes::Bytes as _;
use crate::probe::Probe;
use crate::{ReadError, text};

/// Length of the binary part; the JSON area follows.
const BINARY: u64 = 4096;
/// A copy has one of the sizes 16 KiB, 32 KiB, ... 4 MiB.
const SIZES: std::ops::RangeInclusive<u64> = 16 << 10..=4 << 20;
/// Where the checksum lies, zeroed while it is computed.
const CSUM: usize = 448;
const CSUM_LENGTH: usize = 64;
/// Magic of the second copy.
const SECONDARY: &[u8] = b"SKUL\xba\xbe";

/// Places of the second copy that cost no further read; cryptsetup's default is the first.
const SECONDARY_OFFSETS: [u64; 3] = [16 << 10, 32 << 10, 64 << 10];

/// The container whose first bytes are a primary header. The second copy is used when the first is damaged.
pub(super) fn find(probe: &Probe<'_>) -> Result<Option<Luks>, ReadError> {
    let Some(primary) = Copy::at(probe, 0, PRIMARY)? else { return Ok(None) };
    if primary.checksum_holds(probe)? {
        return primary.luks(probe, None).map(Some);
    }
    // The copies follow one another, so the second begins where the first says it ends, unless that is damaged too.
    let doubt =
        "the checksum of the primary LUKS2 header is wrong, the secondary is intact; try cryptsetup repair";
    for offset in std::iter::once(primary.size).chain(SECONDARY_OFFSETS) {
        if let Some(luks) = secondary(probe, offset, doubt)? {
            return Ok(Some(luks));
        }
    }
    let doubt =
        "the checksums of both LUKS2 headers are wrong; restore them with cryptsetup luksHeaderRestore";
    Ok(Some(Luks { doubt: Some(doubt.into()), ..primary.luks }))
}

/// The container of which only the second copy is left.
pub(super) fn orphan(probe: &Probe<'_>) -> Result<Option<Luks>, ReadError> {
    let doubt = "the primary LUKS2 header is missing, only the secondary is intact; try cryptsetup repair";
    for offset in SECONDARY_OFFSETS {
        if let Some(luks) = secondary(probe, offset, doubt)? {
            return Ok(Some(luks));
        }
    }
    Ok(None)
}

/// The container by an intact second copy at `offset`.
fn secondary(probe: &Probe<'_>, offset: u64, doubt: &str) -> Result<Option<Luks>, ReadError> {
    match Copy::at(probe, offset, SECONDARY)? {
        Some(copy) if copy.checksum_holds(probe)? => copy.luks(probe, Some(doubt)).map(Some),
        _ => Ok(None),
    }
}

/// One copy of the header.
struct Copy {
    luks: Luks,
    offset: u64,
    size: u64,
    algorithm: Option<String>,
    csum: [u8; CSUM_LENGTH],
}

impl Copy {
    /// The copy at `offset`, if the magic is there and the offset that it states itself agrees.
    fn at(probe: &Probe<'_>, offset: u64, magic: &[u8]) -> Result<Option<Self>, ReadError> {
        Ok(probe.bytes(offset, BINARY as usize)?.and_then(|bytes| Self::parse(&bytes, offset, magic)))
    }

    fn parse(bytes: &[u8], offset: u64, magic: &[u8]) -> Option<Self> {
        if !bytes.has(0, magic) || bytes.be16(6)? != 2 || bytes.be64(256)? != offset {
            return None;
        }
        Some(Self {
            luks: Luks {
                version: 2,
                uuid: text::ascii(bytes.slice(168, 40)?),
                label: text::label(bytes.slice(24, 48)?),
                subsystem: text::label(bytes.slice(208, 48)?),
                ..Luks::default()
            },
            offset,
            size: bytes.be64(8)?,
            algorithm: text::ascii(bytes.slice(72, 32)?),
            csum: bytes.array(CSUM)?,
        })
    }

    /// Whether the checksum over binary part and JSON area is right.
    fn checksum_holds(&self, probe: &Probe<'_>) -> Result<bool, ReadError> {
        if !SIZES.contains(&self.size) || !self.size.is_power_of_two() {
            return Ok(false);
        }
        // cryptsetup never wrote another algorithm, so another name is damage.
        if self.algorithm.as_deref() != Some("sha256") {
            return Ok(false);
        }
        let mut digest = Sha256::new();
        let Some(binary) = probe.bytes(self.offset, BINARY as usize)? else { return Ok(false) };
        let (Some(before), Some(after)) = (binary.get(..CSUM), binary.get(CSUM + CSUM_LENGTH..)) else {
            return Ok(false);
        };
        digest.update(before);
        digest.update([0; CSUM_LENGTH]);
        digest.update(after);
        let Some((json, length)) = self.json() else { return Ok(false) };
        let whole = probe.stream(json, length, |piece| digest.update(piece))?;
        Ok(whole && self.csum.starts_with(&digest.finalize()))
    }

    /// Offset and length of the JSON area.
    fn json(&self) -> Option<(u64, u64)> {
        Some((self.offset.checked_add(BINARY)?, self.size.checked_sub(BINARY)?))
    }

    /// Everything that this copy says; its checksum is known to hold.
    fn luks(mut self, probe: &Probe<'_>, doubt: Option<&str>) -> Result<Luks, ReadError> {
        self.luks.doubt = doubt.map(Into::into);
        let area = match self.json() {
            Some((at, length)) => probe.bytes(at, usize::try_from(length).unwrap_or(0))?,
            None => None,
        };
        if !area.is_some_and(|area| metadata::fill(&mut self.luks, &area)) {
            self.luks.doubt =
                Some("the LUKS2 metadata is not understood; look at it with cryptsetup luksDump".into());
        }
        Ok(self.luks)
    }
}
