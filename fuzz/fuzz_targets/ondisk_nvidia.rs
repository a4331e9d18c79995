//! NVIDIA RAID: the input is the structure; magic, length and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized, sum32};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut meta = sized(data, 120);
    put(&mut meta, 0, b"NVIDIA");
    put(&mut meta, 8, &30_u32.to_le_bytes());
    put(&mut meta, 12, &[0; 4]);
    let sum = sum32(&meta);
    put(&mut meta, 12, &sum.wrapping_neg().to_le_bytes());
    member(Device::with((16 << 20) - 1024, meta), Kind::NvidiaMember);
});
