//! Packets: headers, lengths, armour (RFC 9580, sections 4.2 and 6).

use zeroize::Zeroizing;

use super::{OpenPgpError, Result};

/// More packets than any message has that is read here.
const MAX_PACKETS: usize = 64;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    PublicKey,
    Signature,
    PassphraseKey,
    Compressed,
    Unprotected,
    Marker,
    Literal,
    Protected,
    Aead,
    Padding,
    Other,
}

impl Tag {
    fn of(number: u8) -> Tag {
        match number {
            1 => Tag::PublicKey,
            // A signature, and the packet that announces one.
            2 | 4 => Tag::Signature,
            3 => Tag::PassphraseKey,
            8 => Tag::Compressed,
            9 => Tag::Unprotected,
            10 => Tag::Marker,
            11 => Tag::Literal,
            18 => Tag::Protected,
            20 => Tag::Aead,
            21 => Tag::Padding,
            _ => Tag::Other,
        }
    }
}

/// One packet.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) tag: Tag,
    pub(super) body: Zeroizing<Vec<u8>>,
}

const SHORT: OpenPgpError = OpenPgpError::Damaged("it ends too early");

/// All packets; bytes that cannot begin one are an error.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Packet>> {
    let mut packets = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        if first & 0x80 == 0 {
            let begun = !packets.is_empty();
            return Err(if begun { OpenPgpError::Damaged("a packet") } else { OpenPgpError::Foreign });
        }
        if packets.len() >= MAX_PACKETS {
            return Err(OpenPgpError::Damaged("too many packets"));
        }
        let (tag, body, after) = if first & 0x40 == 0 {
            let (body, after) = old_body(first & 3, rest)?;
            (Tag::of(first >> 2 & 0x0f), body, after)
        } else {
            let (body, after) = new_body(rest)?;
            (Tag::of(first & 0x3f), body, after)
        };
        packets.push(Packet { tag, body });
        bytes = after;
    }
    Ok(packets)
}

type Body<'a> = (Zeroizing<Vec<u8>>, &'a [u8]);

fn old_body(kind: u8, rest: &[u8]) -> Result<Body<'_>> {
    let octets = match kind {
        0 => 1,
        1 => 2,
        2 => 4,
        // To the end.
        _ => return Ok((Zeroizing::new(rest.to_vec()), &[])),
    };
    let (length, rest) = rest.split_at_checked(octets).ok_or(SHORT)?;
    whole(number(length), rest)
}

fn new_body(mut rest: &[u8]) -> Result<Body<'_>> {
    // Sized for the worst case at once: growing would leave copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(rest.len()));
    loop {
        let (first, after) = rest.split_first().ok_or(SHORT)?;
        let (length, partial, after) = match first {
            0..=191 => (usize::from(*first), false, after),
            192..=223 => {
                let (second, after) = after.split_first().ok_or(SHORT)?;
                let high = usize::from(*first).saturating_sub(192) << 8;
                (high.saturating_add(usize::from(*second)).saturating_add(192), false, after)
            }
            255 => {
                let (length, after) = after.split_at_checked(4).ok_or(SHORT)?;
                (number(length), false, after)
            }
            _ => (1_usize.checked_shl(u32::from(first & 0x1f)).ok_or(SHORT)?, true, after),
        };
        let (part, after) = after.split_at_checked(length).ok_or(SHORT)?;
        body.extend_from_slice(part);
        if !partial {
            return Ok((body, after));
        }
        rest = after;
    }
}

fn whole(length: usize, rest: &[u8]) -> Result<Body<'_>> {
    let (body, after) = rest.split_at_checked(length).ok_or(SHORT)?;
    Ok((Zeroizing::new(body.to_vec()), after))
}

fn number(octets: &[u8]) -> usize {
    octets.iter().fold(0, |number, octet| number << 8 | usize::from(*octet))
}

const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
const END: &[u8] = b"-----END PGP MESSAGE-----";

/// The message itself, if it stands between lines of armour; its checksum is optional and not looked at, since the data
/// has a stronger one.
pub(super) fn without_armour(file: &[u8]) -> Result<Vec<u8>> {
    let lines = || file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    if !lines().any(|line| line == BEGIN) {
        return Ok(file.to_vec());
    }
    let inside = lines().skip_while(|line| *line != BEGIN).skip(1);
    // Headers such as `Version: x`, up to an empty line.
    let data = inside.skip_while(|line| !line.is_empty()).take_while(|line| *line != END);
    let digits = data.filter(|line| !line.starts_with(b"=")).flatten();
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in digits.take_while(|digit| **digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit.saturating_sub(b'A'),
            b'a'..=b'z' => digit.saturating_sub(b'a').saturating_add(26),
            b'0'..=b'9' => digit.saturating_sub(b'0').saturating_add(52),
            b'+' => 62,
            b'/' => 63,
            _ => return Err(OpenPgpError::Damaged("its armour")),
        };
        bits = bits << 6 | u32::from(value);
        held = held.saturating_add(6);
        if held >= 8 {
            held = held.saturating_sub(8);
            bytes.extend(u8::try_from(bits >> held & 0xff));
        }
    }
    Ok(bytes)
}
