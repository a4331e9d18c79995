//! VIA: the input is the structure; magic, version and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut meta = sized(data, 51);
    put(&mut meta, 0, &[0x55, 0xaa, 1]);
    meta[50] = meta[..50].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    member(Device::with((16 << 20) - 512, meta), Kind::ViaMember);
});
