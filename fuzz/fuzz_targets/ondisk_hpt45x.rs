//! HighPoint 45x: the input is the structure; the magic number is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut meta = sized(data, 512);
    put(&mut meta, 0, &0x5a78_16f3_u32.to_le_bytes());
    member(Device::with((16 << 20) - 11 * 512, meta), Kind::Hpt45xMember);
});
