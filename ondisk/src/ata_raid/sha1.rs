//! SHA-1 (FIPS 180-4), from which mdadm makes the UUIDs of arrays whose metadata have none. Not for security.

/// The first 16 bytes of the digest.
pub(super) fn uuid(input: &[&[u8]]) -> [u8; 16] {
    let mut message: Vec<u8> = input.concat();
    let bits = (message.len() as u64).wrapping_mul(8);
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend(bits.to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in message.chunks_exact(64) {
        compress(&mut state, block);
    }
    let mut uuid = [0; 16];
    for (bytes, word) in uuid.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    uuid
}

fn compress(state: &mut [u32; 5], block: &[u8]) {
    // The schedule is kept as its last 16 words.
    let mut words: [u32; 16] = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_be_bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for round in 0..80 {
        let (f, k) = match round {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999_u32),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let [w0, _, w2, _, _, _, _, _, w8, _, _, _, _, w13, _, _] = words;
        let sum = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(w0);
        (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        words.rotate_left(1);
        if let Some(last) = words.last_mut() {
            *last = (w0 ^ w2 ^ w8 ^ w13).rotate_left(1);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_standard() {
        let hex = |bytes: [u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(uuid(&[b"a", b"bc"])), "a9993e364706816aba3e25717850c26c");
        let two_blocks: &[u8] = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(uuid(&[two_blocks])), "84983e441c3bd26ebaae4aa1f95129e5");
    }
}
