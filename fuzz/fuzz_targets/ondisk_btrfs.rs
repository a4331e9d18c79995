//! Btrfs: the input is the superblock; magic and, where it is crc32c, the checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32c, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut sb = sized(data, 4096);
    put(&mut sb, 64, b"_BHRfS_M");
    if sb[196..198] == [0, 0] {
        let crc = !crc32c(!0, &sb[32..]);
        put(&mut sb, 0, &crc.to_le_bytes());
    }
    Device::with(65536, sb).check();
});
