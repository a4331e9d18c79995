//! Intel RAID: the input is the metadata from the first disk on; magic, length and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized, sum32};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let body = data.len().min(16 << 10);
    let mut mpb = sized(data, body.max(0xd8).next_multiple_of(4));
    put(&mut mpb, 0, b"Intel Raid ISM Cfg Sig. 1.3.00");
    let length = u32::try_from(mpb.len()).unwrap();
    put(&mut mpb, 0x24, &length.to_le_bytes());
    put(&mut mpb, 0x20, &[0; 4]);
    let sum = sum32(&mpb);
    put(&mut mpb, 0x20, &sum.to_le_bytes());
    // What does not fit into the anchor lies before it.
    let mut device = Device::with((16 << 20) - 1024, mpb[..mpb.len().min(512)].to_vec());
    let rest = mpb.get(512..).unwrap_or_default();
    device.put((16 << 20) - 1024 - rest.len().next_multiple_of(512) as u64, rest);
    member(device, Kind::ImsmMember);
});
