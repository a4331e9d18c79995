//! The CRCs that disks use: two of 32 bits in their reflected form, a byte at a time, and a rare one of 64 bits.

/// Table for one reflected polynomial.
const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// CRC-32 of IEEE 802.3: GPT and LVM2.
static IEEE: [u32; 256] = table(0xedb8_8320);
/// CRC-32C (Castagnoli): ext4, XFS, btrfs, EROFS.
static CASTAGNOLI: [u32; 256] = table(0x82f6_3b78);

fn update(table: &[u32; 256], crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        // The index is one byte, so the lookup cannot miss.
        let entry = table.get(usize::from(crc.to_le_bytes()[0] ^ byte)).copied().unwrap_or(0);
        (crc >> 8) ^ entry
    })
}

/// CRC-32 register after `bytes`, without the final inversion.
pub(crate) fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    update(&IEEE, crc, bytes)
}

/// CRC-32C register after `bytes`, without the final inversion.
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    update(&CASTAGNOLI, crc, bytes)
}

/// CRC-64 as bcache and bcachefs use it (CRC-64/WE: ECMA-182's polynomial, inverted before and after), bit by bit.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x42f0_e1eb_a9ea_3693;
    !bytes.iter().fold(!0, |crc: u64, byte| {
        (0..8).fold(crc ^ u64::from(*byte) << 56, |crc, _| {
            if crc >> 63 == 1 { crc << 1 ^ POLYNOMIAL } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        // The standard check input of the CRC catalogue.
        assert_eq!(!crc32(!0, b"123456789"), 0xcbf4_3926);
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc64(b"123456789"), 0x62ec_59e3_f1a4_f00a);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
    }
}
