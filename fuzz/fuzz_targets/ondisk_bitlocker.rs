//! BitLocker: the input is a device; the boot sector's magic, one of three, is put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut device = Device::sparse(data);
    let magic: [&[u8]; 3] = [b"\xeb\x58\x90-FVE-FS-", b"\xeb\x58\x90MSWIN4.1", b"\xeb\x52\x90-FVE-FS-"];
    device.put(0, magic[data.len() % 3]);
    device.check();
});
