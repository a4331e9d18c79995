//! Silicon Image: the input is the sector; magic, number and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized, sum16};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut meta = sized(data, 512);
    put(&mut meta, 0x60, &0x2f00_0000_u32.to_le_bytes());
    meta[0x116] &= 7;
    let sum = sum16(&meta[..0x13e]);
    put(&mut meta, 0x13e, &sum.wrapping_neg().to_le_bytes());
    member(Device::with((16 << 20) - 512, meta), Kind::SiliconMember);
});
