//! LVM2 label: the input is the sector; magic, sector number and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut label = sized(data, 512);
    let sector = u64::from(label[8] & 3);
    put(&mut label, 0, b"LABELONE");
    put(&mut label, 8, &sector.to_le_bytes());
    put(&mut label, 24, b"LVM2 001");
    // A sector 0 that ends like a boot sector may be one as well.
    put(&mut label, 510, &[0, 0]);
    let crc = crc32(0xf597_a6cf, &label[20..]);
    put(&mut label, 16, &crc.to_le_bytes());
    let content = Device::with(sector * 512, label).check();
    assert_eq!(content.only().map(|signature| signature.kind), Some(ondisk::Kind::Lvm2Pv));
});
