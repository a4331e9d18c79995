//! base64 with padding (RFC 4648, section 4).

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of these bytes. Its buffer never grows, so that no copy is left behind.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let mut padded = [0_u8; 4];
        for (place, byte) in padded.iter_mut().skip(1).zip(group) {
            *place = *byte;
        }
        let bits = u32::from_be_bytes(padded);
        for index in 0..4_u32 {
            let letter = LETTERS.get((bits >> (18 - 6 * index) & 63) as usize).copied().unwrap_or(b'=');
            let is_padding = index as usize > group.len();
            text.push(if is_padding { '=' } else { char::from(letter) });
        }
    }
    text
}

/// The bytes of a text, `None` if it is not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let stripped = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in stripped.chunks(4) {
        let mut bits = 0_u32;
        for letter in group {
            let value = LETTERS.iter().position(|known| known == letter)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bits <<= 6 * (4_usize.saturating_sub(group.len()));
        let whole = group.len().checked_sub(1)?;
        bytes.extend(bits.to_be_bytes().get(1..)?.get(..whole)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn both_ways() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for bad in ["Zg", "Zg=", "Z===", "Zm9v\n", "Zm-v", "===="] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
