//! dm-integrity: the input is a device; the magic is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    device.put(0, b"integrt\0");
    device.check();
});
