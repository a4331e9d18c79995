//! XFS: the input is the superblock; magic and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32c, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut sb = sized(data, 4096);
    put(&mut sb, 0, b"XFSB");
    put(&mut sb, 224, &[0; 4]);
    let sector = usize::from(u16::from_be_bytes([sb[102], sb[103]]));
    let crc = !crc32c(!0, &sb[..sector.min(4096)]);
    put(&mut sb, 224, &crc.to_le_bytes());
    Device::with(0, sb).check();
});
