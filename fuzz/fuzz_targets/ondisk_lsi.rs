//! LSI MegaRAID: the input is the sector; the magic is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut meta = sized(data, 512);
    put(&mut meta, 0, b"$XIDE$");
    member(Device::with((16 << 20) - 512, meta), Kind::LsiMember);
});
