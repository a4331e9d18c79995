//! ZFS: the input is a device; the magic is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    device.put(16 << 10, b"\x01\x01\0\0\0\0\0\0\0\0\0\x01");
    for slot in 4..8 {
        device.put((128 + slot) << 10, &0x00ba_b10c_u64.to_le_bytes());
    }
    device.check();
});
