//! bcache: the input is a device; the magic is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    device.put(4096 + 8, &[8, 0, 0, 0, 0, 0, 0, 0]);
    device.put(4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81");
    device.check();
});
