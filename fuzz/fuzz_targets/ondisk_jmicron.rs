//! JMicron: the input is the structure; magic and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized, sum16};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut meta = sized(data, 128);
    put(&mut meta, 0, b"JM");
    put(&mut meta, 4, &[0; 2]);
    let sum = sum16(&meta);
    put(&mut meta, 4, &sum.wrapping_neg().to_le_bytes());
    member(Device::with((16 << 20) - 512, meta), Kind::JmicronMember);
});
