//! Labels and UUIDs as blkid prints them.

use std::fmt::Write as _;

/// C's `isspace` in the POSIX locale, which is what blkid trims with.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// A fixed-size string field: ends at the first NUL, loses trailing white space, and is `None` when nothing is left.
pub(crate) fn label(field: &[u8]) -> Option<Vec<u8>> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = field.get(..end)?;
    let last = text.iter().rposition(|byte| !is_space(*byte))?;
    text.get(..=last).map(<[u8]>::to_vec)
}

/// The same for a field that is ASCII by its format.
pub(crate) fn ascii(field: &[u8]) -> Option<String> {
    label(field).map(|text| String::from_utf8_lossy(&text).into_owned())
}

/// A UUID stored in network byte order; `None` when all bytes are zero.
pub(crate) fn uuid(bytes: &[u8; 16]) -> Option<String> {
    if *bytes == [0; 16] {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A GUID as EFI stores it: the first three fields little-endian (UEFI specification, appendix A).
pub(crate) fn guid(bytes: &[u8; 16]) -> Option<String> {
    let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = *bytes;
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest;
    uuid(&[a3, a2, a1, a0, b1, b0, c1, c0, d0, d1, d2, d3, d4, d5, d6, d7])
}

/// UTF-16 units up to the first NUL as UTF-8; lone surrogates are kept as three bytes, as blkid does.
pub(crate) fn utf16(units: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut units = units.take_while(|unit| *unit != 0).peekable();
    while let Some(unit) = units.next() {
        let mut code = u32::from(unit);
        if (0xd800..0xdc00).contains(&unit)
            && let Some(low) = units.next_if(|next| (0xdc00..0xe000).contains(next))
        {
            code = 0x10000 + ((code & 0x3ff) << 10) + (u32::from(low) & 0x3ff);
        }
        match char::from_u32(code) {
            Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {
                let [low, high, ..] = code.to_le_bytes();
                out.extend_from_slice(&[
                    0xe0 | (high >> 4),
                    0x80 | ((high & 0x0f) << 2) | (low >> 6),
                    0x80 | (low & 0x3f),
                ]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_at_nul_and_lose_trailing_space_only() {
        assert_eq!(label(b"  my disk \t\0junk"), Some(b"  my disk".to_vec()));
        assert_eq!(label(b"full"), Some(b"full".to_vec()));
        assert_eq!(label(b" \0x"), None);
        assert_eq!(label(b""), None);
    }

    #[test]
    fn uuids() {
        let bytes: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(uuid(&bytes).unwrap(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(guid(&bytes).unwrap(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(uuid(&[0; 16]), None);
    }

    #[test]
    fn utf16_with_surrogates() {
        assert_eq!(utf16([0x41, 0xe9, 0x20ac, 0xd83d, 0xde00, 0, 0x42].into_iter()), "Aé€😀".as_bytes());
        assert_eq!(utf16([0xd83d, 0x41].into_iter()), [0xed, 0xa0, 0xbd, 0x41]);
    }
}
