//! machine-id(5), and the id that an application makes of it (sd_id128_get_machine_app_specific(3)).

use sha2::{Digest as _, Sha256};

use crate::text;

/// Length of the blocks that SHA-256 works on, to which a shorter key is filled up with zeros (RFC 2104).
const BLOCK: usize = 64;

/// Reads `/etc/machine-id`: 32 hexadecimal digits and at most a line end, which are not all zeros. What says
/// `uninitialized` is none (systemd: src/libsystemd/sd-id128/id128-util.c, id128_read_fd).
#[must_use]
pub fn read(bytes: &[u8]) -> Option<[u8; 16]> {
    let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let number = u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (number != 0).then(|| number.to_be_bytes())
}

/// The machine's id for an application, in 32 digits: the first half of HMAC-SHA256 with the machine's id as key, marked as
/// a random UUID (systemd: src/libsystemd/sd-id128/sd-id128.c, sd_id128_get_app_specific).
#[must_use]
pub fn for_application(machine: [u8; 16], application: [u8; 16]) -> String {
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(machine).for_each(|(pad, byte)| *pad ^= byte);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(application).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    let mut half = [0; 16];
    half.iter_mut().zip(outer).for_each(|(to, byte)| *to = byte);
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut half;
    (*version, *variant) = (*version & 0x0f | 0x40, *variant & 0x3f | 0x80);
    text::hex(&half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_machine_id() {
        let id = b"51df0b4bc3b04c9780e299b98ca373b8\n";
        assert_eq!(read(id).map(|id| (id[0], id[15])), Some((0x51, 0xb8)));
        assert_eq!(read(&id[..32]), read(id));
        for text in
            [&b""[..], b"uninitialized\n", &[b'0'; 32], &id[..31], b"+1df0b4bc3b04c9780e299b98ca373b8", b" "]
        {
            assert_eq!(read(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    /// The first is systemd's own example (src/test/test-id128.c); the second is what Python's hmac says.
    #[test]
    fn what_systemd_makes_of_it() {
        let id = |text: &str| read(text.as_bytes()).unwrap();
        let machine = id("51df0b4bc3b04c9780e299b98ca373b8");
        for (application, expected) in [
            ("f03daaeb1c334b43a732172944bf772e", "1dee5954e75c4d6fb96cc6c04ca18a86"),
            ("f64406832c2140e8ac5422d1089aae03", "eb898014e1b64159b088f384c2fc6d0d"),
        ] {
            assert_eq!(for_application(machine, id(application)), expected);
        }
    }
}
