//! LUKS 1 and 2 headers (LUKS1 On-Disk Format 1.2.3; LUKS2 On-Disk Format 1.1.x).

use sha2::{Sha256, Sha512};

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

/// The binary part of a LUKS2 header; the JSON area follows.
const BINARY: usize = 4096;
/// A LUKS2 header, JSON area included, has one of the sizes 16 KiB, 32 KiB, ... 4 MiB.
const SIZES: std::ops::RangeInclusive<u64> = 16 << 10..=4 << 20;
/// Where the checksum lies, zeroed while it is computed.
const CSUM: usize = 448;
const CSUM_LENGTH: usize = 64;

const PRIMARY: &[u8] = b"LUKS\xba\xbe";
const SECONDARY: &[u8] = b"SKUL\xba\xbe";

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let head = probe.head();
    if !head.has(0, PRIMARY) {
        return Ok(Found::Nothing);
    }
    match head.be16(6) {
        Some(1) => Ok(head.get(..592).and_then(luks1).into()),
        Some(2) => luks2(probe),
        _ => Ok(Found::Nothing),
    }
}

/// A LUKS2 container whose primary header is gone: the secondary is looked for only in what is read anyway and only
/// when nothing else claims the device, because it outlives a later mkfs.
pub(crate) fn orphan(probe: &Probe<'_>) -> Result<Option<Signature>, ReadError> {
    for offset in [16 << 10, 32 << 10, 64 << 10] {
        if let Some(header) = Header::at(probe, offset, SECONDARY)?
            && header.checksum_holds(probe)?
        {
            let mut signature = header.signature;
            signature.doubt = Some(
                "the primary LUKS2 header is missing, only the secondary is intact; try cryptsetup repair"
                    .into(),
            );
            return Ok(Some(signature));
        }
    }
    Ok(None)
}

fn luks1(header: &[u8]) -> Option<Signature> {
    Some(Signature {
        kind: Kind::Luks1,
        uuid: text::ascii(header.slice(168, 40)?),
        label: None,
        uuid_sub: None,
        version: Some("1".into()),
        doubt: None,
    })
}

fn luks2(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let Some(primary) = Header::at(probe, 0, PRIMARY)? else {
        return Ok(Found::Nothing);
    };
    if primary.checksum_holds(probe)? {
        return Ok(Found::Valid(primary.signature));
    }
    // The secondary header follows the primary directly, so its position is the size that the primary tells.
    let mut signature = primary.signature;
    match Header::at(probe, primary.size, SECONDARY)? {
        Some(secondary) if secondary.checksum_holds(probe)? => {
            signature = secondary.signature;
            signature.doubt = Some(
                "the checksum of the primary LUKS2 header is wrong, the secondary is intact; try cryptsetup repair"
                    .into(),
            );
        }
        _ => {
            signature.doubt = Some(
                "the checksums of both LUKS2 headers are wrong; restore them with cryptsetup luksHeaderRestore".into(),
            );
        }
    }
    Ok(Found::Valid(signature))
}

/// One copy of a LUKS2 binary header.
struct Header {
    signature: Signature,
    offset: u64,
    size: u64,
    algorithm: Option<String>,
    csum: Vec<u8>,
}

impl Header {
    /// The header at `offset`, if the magic and the offset that it says itself agree.
    fn at(probe: &Probe<'_>, offset: u64, magic: &[u8]) -> Result<Option<Self>, ReadError> {
        Ok(probe.bytes(offset, BINARY)?.and_then(|bytes| Self::parse(&bytes, offset, magic)))
    }

    fn parse(bytes: &[u8], offset: u64, magic: &[u8]) -> Option<Self> {
        if !bytes.has(0, magic) || bytes.be16(6)? != 2 || bytes.be64(256)? != offset {
            return None;
        }
        Some(Self {
            signature: Signature {
                kind: Kind::Luks2,
                uuid: text::ascii(bytes.slice(168, 40)?),
                label: text::label(bytes.slice(24, 48)?),
                uuid_sub: None,
                version: Some("2".into()),
                doubt: None,
            },
            offset,
            size: bytes.be64(8)?,
            algorithm: text::ascii(bytes.slice(72, 32)?),
            csum: bytes.slice(CSUM, CSUM_LENGTH)?.to_vec(),
        })
    }

    /// Whether the checksum over binary header and JSON area is right.
    fn checksum_holds(&self, probe: &Probe<'_>) -> Result<bool, ReadError> {
        if !SIZES.contains(&self.size) || !self.size.is_power_of_two() {
            return Ok(false);
        }
        match self.algorithm.as_deref() {
            Some("sha256") => self.digest::<Sha256>(probe),
            Some("sha512") => self.digest::<Sha512>(probe),
            _ => Ok(false),
        }
    }

    fn digest<D: sha2::Digest>(&self, probe: &Probe<'_>) -> Result<bool, ReadError> {
        let mut digest = D::new();
        let Some(mut binary) = probe.bytes(self.offset, BINARY)?.map(std::borrow::Cow::into_owned) else {
            return Ok(false);
        };
        if let Some(csum) = binary.get_mut(CSUM..CSUM + CSUM_LENGTH) {
            csum.fill(0);
        }
        digest.update(&binary);
        let json = self.size.saturating_sub(BINARY as u64);
        let whole =
            probe.stream(self.offset.saturating_add(BINARY as u64), json, |piece| digest.update(piece))?;
        let digest = digest.finalize();
        Ok(whole && self.csum.starts_with(&digest))
    }
}
