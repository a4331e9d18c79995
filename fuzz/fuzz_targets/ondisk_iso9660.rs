//! ISO 9660: the input is a device; the magics of three descriptors are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    device.put(0x8000, b"\x01CD001");
    device.put(0x8800, b"\x02CD001");
    device.put(0x8800 + 88, b"%/E");
    device.check();
});
