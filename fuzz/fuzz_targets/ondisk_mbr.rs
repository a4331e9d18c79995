//! MBR: the input is one byte for the sector size and the first sectors of the disk, each made a boot record.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (choice, data) = data.split_first().unwrap_or((&0, &[]));
    let sector: u32 = if choice & 1 == 0 { 512 } else { 4096 };
    let runs = (0_u64..).zip(data.chunks(512)).map(|(lba, record)| {
        let mut record = sized(record, 512);
        record[510..].copy_from_slice(&[0x55, 0xaa]);
        (lba * u64::from(sector), record)
    });
    Device::new(1 << 20, sector, runs.collect()).check();
});
