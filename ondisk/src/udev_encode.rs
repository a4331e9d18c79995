//! How udev writes arbitrary strings: in link names (`/dev/disk/by-label`), and in its database.

use std::fmt::Write as _;

use crate::text::is_space;

/// ASCII characters that link names keep, beside letters and digits.
const KEPT: &[u8] = b"#+-.:=@_";

/// The string as part of a link name: `\xNN` for everything but a few ASCII characters and valid UTF-8
/// (`blkid_encode_string(3)`, which udev makes `ID_FS_LABEL_ENC` with).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for piece in bytes.utf8_chunks() {
        for character in piece.valid().chars() {
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !KEPT.contains(&byte) => {
                    hex(&mut out, byte);
                }
                _ if is_noncharacter(character) => {
                    character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| hex(&mut out, byte));
                }
                _ => out.push(character),
            }
        }
        piece.invalid().iter().for_each(|byte| hex(&mut out, *byte));
    }
    out
}

/// The bytes that [`encode`] was given. Anything that is no complete `\xNN` stands for itself.
#[must_use]
pub fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if let [b'\\', b'x', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// The string for people: white space at both ends goes, inside it becomes one `_`, and so does every byte that is
/// neither printable ASCII nor valid UTF-8 (`blkid_safe_string(3)`, which udev makes `ID_FS_LABEL` with).
#[must_use]
pub fn safe(bytes: &[u8]) -> String {
    let from = bytes.iter().position(|byte| !is_space(*byte)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|byte| !is_space(*byte)).map_or(from, |last| last.saturating_add(1));
    let mut out = String::with_capacity(bytes.len());
    let mut in_space = false;
    for piece in bytes.get(from..to).unwrap_or(&[]).utf8_chunks() {
        for character in piece.valid().chars() {
            let space = u8::try_from(character).is_ok_and(is_space);
            if space && in_space {
                continue;
            }
            in_space = space;
            if space || character.is_ascii_control() {
                out.push('_');
            } else if is_noncharacter(character) {
                out.extend(std::iter::repeat_n('_', character.len_utf8()));
            } else {
                out.push(character);
            }
        }
        for _ in piece.invalid() {
            in_space = false;
            out.push('_');
        }
    }
    out
}

/// Code points that libblkid does not take for text, though UTF-8 can encode them.
fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xffff == 0xffff
}

fn hex(out: &mut String, byte: u8) {
    // Writing into a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn link_names() {
        for (raw, expected) in [
            (&b"root"[..], "root"),
            (b"my disk", r"my\x20disk"),
            (b"a/b", r"a\x2fb"),
            (b"a\\x20b", r"a\x5cx20b"),
            (b"#+-.:=@_", "#+-.:=@_"),
            (b"'\"$`,~", r"\x27\x22\x24\x60\x2c\x7e"),
            ("Größe".as_bytes(), "Größe"),
            (b"\xff\xc3", r"\xff\xc3"),
            ("\u{fdd0}".as_bytes(), r"\xef\xb7\x90"),
            (b"", ""),
        ] {
            assert_eq!(encode(raw), expected);
            assert_eq!(decode(expected), raw);
        }
        assert_eq!(decode(r"50\x"), br"50\x");
        assert_eq!(decode(r"\xZZ"), br"\xZZ");
    }

    #[test]
    fn safe_strings() {
        for (raw, expected) in [
            (&b"  my \t disk "[..], "my_disk"),
            (b"a/b\x01\xffc", "a/b__c"),
            ("Größe".as_bytes(), "Größe"),
            (b"   ", ""),
        ] {
            assert_eq!(safe(raw), expected);
        }
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(raw: Vec<u8>) {
            let encoded = encode(&raw);
            prop_assert!(!encoded.contains(['/', ' ', '\0']));
            prop_assert_eq!(decode(&encoded), raw);
        }
    }
}
