//! FAT: the input is a device; the signature of the boot sector is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    device.put(510, &[0x55, 0xaa]);
    device.check();
});
