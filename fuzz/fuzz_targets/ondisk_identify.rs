//! Any device: what is found of all formats at once stays within its bounds.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    Device::sparse(data).check();
});
