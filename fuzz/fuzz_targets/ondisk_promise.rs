//! Promise FastTrak: the input is up to four areas; magic and checksum of the first are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized, sum32};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut areas = sized(data, 3 * 14 * 512 + 2048);
    for area in 0..4 {
        put(&mut areas, area * 14 * 512, b"Promise Technology, Inc.");
    }
    let sum = sum32(&areas[..2044]);
    put(&mut areas, 2044, &sum.to_le_bytes());
    member(Device::with((16 << 20) - 63 * 512, areas), Kind::PromiseMember);
});
