//! SquashFS: the input is the superblock; the magic is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut sb = sized(data, 96);
    put(&mut sb, 0, b"hsqs");
    Device::with(0, sb).check();
});
