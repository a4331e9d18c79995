//! ISO 9660 with Joliet, and High Sierra (ECMA-119; blkid's rules for UUID and label).

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

/// Descriptors begin after 16 sectors of 2 KiB.
const OFFSET: usize = 32 << 10;
const SECTOR: usize = 2048;
const MAX_DESCRIPTORS: usize = 16;
const VOLUME_ID: usize = 40;
/// Root directory record and dates of the two variants.
const ISO_ROOT: usize = 156;
const ISO_CREATED: usize = 813;
const ISO_MODIFIED: usize = 830;
const HIGH_SIERRA_ROOT: usize = 172;
const HIGH_SIERRA_CREATED: usize = 790;
const HIGH_SIERRA_MODIFIED: usize = 806;

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let head = probe.head();
    let high_sierra = if head.has(OFFSET + 1, b"CD001") {
        false
    } else if head.has(OFFSET + 9, b"CDROM") {
        true
    } else {
        return Ok(Found::Nothing);
    };
    let Some(set) = Descriptors::find(head, high_sierra) else { return Ok(Found::Nothing) };
    let root = if high_sierra { HIGH_SIERRA_ROOT } else { ISO_ROOT };
    let Some(block) = set.primary.le16(128).filter(|size| *size != 0) else { return Ok(Found::Nothing) };
    if !root_directory_fits(probe, set.primary, root, block)? {
        return Ok(Found::Nothing);
    }
    Ok(signature(probe, &set, high_sierra, block).into())
}

/// The descriptors that matter here. Those of High Sierra are seen without the eight bytes in front.
struct Descriptors<'a> {
    primary: &'a [u8],
    joliet: Option<&'a [u8]>,
}

impl<'a> Descriptors<'a> {
    fn find(head: &'a [u8], high_sierra: bool) -> Option<Self> {
        let (mut primary, mut joliet) = (None, None);
        let skip = if high_sierra { 8 } else { 0 };
        for sector in head.get(OFFSET..)?.chunks(SECTOR).take(MAX_DESCRIPTORS) {
            let Some(descriptor) = sector.get(skip..) else { break };
            match descriptor.u8(0) {
                Some(1) if primary.is_none() => primary = Some(descriptor),
                // Joliet is a supplementary descriptor with one of three escape sequences for UCS-2.
                Some(2) if joliet.is_none() && !high_sierra => {
                    let is_ucs2 = [b"%/@", b"%/C", b"%/E"].iter().any(|escape| descriptor.has(88, *escape));
                    joliet = is_ucs2.then_some(descriptor);
                }
                Some(255) | None => break,
                _ => {}
            }
        }
        primary.map(|primary| Self { primary, joliet })
    }
}

/// The magic may be data of another file system; the first entry of the root directory must be the directory itself.
fn root_directory_fits(probe: &Probe<'_>, primary: &[u8], at: usize, block: u16) -> Result<bool, ReadError> {
    const LENGTH: u32 = 34;
    let (Some(sector), Some(length)) = (primary.le32(at + 2), primary.le32(at + 10)) else {
        return Ok(false);
    };
    if length < LENGTH {
        return Ok(false);
    }
    let Some(entry) = probe.bytes(u64::from(sector) * u64::from(block), LENGTH as usize)? else {
        return Ok(false);
    };
    Ok(entry.u8(0) >= Some(34)
        && entry.u8(32) == Some(1)
        && entry.u8(33) == Some(0)
        && entry.le32(2) == Some(sector))
}

fn signature(probe: &Probe<'_>, set: &Descriptors<'_>, high_sierra: bool, block: u16) -> Option<Signature> {
    let primary = set.primary;
    let uuid = if high_sierra {
        date(primary.slice(HIGH_SIERRA_MODIFIED, 16)?, 0)
            .or_else(|| date(primary.slice(HIGH_SIERRA_CREATED, 16)?, 0))
    } else {
        date(primary.slice(ISO_MODIFIED, 16)?, primary.u8(ISO_MODIFIED + 16)?)
            .or_else(|| date(primary.slice(ISO_CREATED, 16)?, primary.u8(ISO_CREATED + 16)?))
    };
    let ascii = primary.slice(VOLUME_ID, 32)?;
    let label = match set.joliet {
        Some(joliet) => {
            let ucs2 = joliet.slice(VOLUME_ID, 32)?;
            let units: Vec<u16> = ucs2.chunks_exact(2).filter_map(|unit| unit.be16(0)).collect();
            text::label(&text::utf16(merge(&units, ascii).unwrap_or(units).into_iter()))
        }
        None => text::label(ascii),
    };
    Some(Signature {
        uuid,
        label,
        version: match set.joliet {
            Some(_) => Some("Joliet Extension".into()),
            None => high_sierra.then(|| "High Sierra".into()),
        },
        doubt: probe.truncation(u64::from(primary.le32(80)?) * u64::from(block)),
        ..Signature::new(Kind::Iso9660)
    })
}

/// A date's 16 digits as blkid's UUID; `None` for the date that means "not set".
fn date(digits: &[u8], zone: u8) -> Option<String> {
    if digits.iter().all(|digit| *digit == 0) || (digits.iter().all(|digit| *digit == b'0') && zone == 0) {
        return None;
    }
    let mut out = Vec::with_capacity(22);
    for (index, digit) in digits.iter().enumerate() {
        if index >= 4 && index % 2 == 0 {
            out.push(b'-');
        }
        out.push(*digit);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Joliet has 16 characters in UCS-2, the primary descriptor 32 in upper-case ASCII with `_` for what it cannot say.
/// Where the first is the beginning of the second, together they give the label that the user wrote.
fn merge(units: &[u16], ascii: &[u8]) -> Option<Vec<u16>> {
    let mut out = Vec::with_capacity(ascii.len());
    let mut letters = ascii.iter().copied().peekable();
    let mut units = units.iter().copied().peekable();
    while units.peek().is_some() && letters.peek().is_some() {
        let (unit, letter) = (units.next()?, letters.next()?);
        let mut last = unit;
        if (0xd800..0xdc00).contains(&unit)
            && let Some(low) = units.next_if(|next| (0xdc00..0xe000).contains(next))
        {
            out.push(unit);
            last = low;
        }
        let wide = u8::try_from(last).ok();
        out.push(match wide {
            _ if letter == b'_' => last,
            Some(b'_') => u16::from(letter),
            Some(wide) if wide.eq_ignore_ascii_case(&letter) => {
                u16::from(if letter.is_ascii_uppercase() { wide } else { letter })
            }
            _ => return None,
        });
    }
    out.extend(letters.map(u16::from));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn labels_are_put_together() {
        assert_eq!(
            merge(&units("Debian 13 amd64 "), b"DEBIAN 13 AMD64 N "),
            Some(units("Debian 13 amd64 N "))
        );
        assert_eq!(merge(&units("Müller"), b"M_LLER"), Some(units("Müller")));
        assert_eq!(merge(&units("other"), b"LABEL"), None);
    }

    #[test]
    fn dates() {
        assert_eq!(date(b"2024010203040506", 0).as_deref(), Some("2024-01-02-03-04-05-06"));
        assert_eq!(date(b"0000000000000000", 0), None);
        assert_eq!(date(b"0000000000000000", 4).as_deref(), Some("0000-00-00-00-00-00-00"));
    }
}
