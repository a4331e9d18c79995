//! EROFS: the input is the superblock and what follows in its block; magic and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32c, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut sb = sized(data, 65536 - 1024);
    put(&mut sb, 0, &[0xe2, 0xe1, 0xf5, 0xe0, 0, 0, 0, 0]);
    let block = 1_usize << (sb[12] & 31);
    let covered = if block > 1024 { block - 1024 } else { block };
    if let Some(covered) = sb.get(..covered) {
        let crc = crc32c(!0, covered);
        put(&mut sb, 4, &crc.to_le_bytes());
    }
    Device::with(1024, sb).check();
});
