//! bcachefs: the input is a device; the magic is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    device.put(4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef");
    device.put(4096 + 104, &[8, 0, 0, 0, 0, 0, 0, 0]);
    device.check();
});
