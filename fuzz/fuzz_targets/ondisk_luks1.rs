//! LUKS1: the input is the header; magic and version are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::luks;

fuzz_target!(|data: &[u8]| {
    let mut header = sized(data, 1024);
    put(&mut header, 0, b"LUKS\xba\xbe\0\x01");
    let device = Device::with(0, header);
    device.check();
    if let Some(luks) = luks::read(&device).unwrap() {
        assert!(luks.keyslots.len() <= 8);
    }
});
