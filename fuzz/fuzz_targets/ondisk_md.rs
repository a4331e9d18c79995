//! MD: the input is a superblock behind a first byte that chooses its place; magic and offset are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (choice, superblock) = data.split_first().unwrap_or((&0, &[]));
    let mut sb = sized(superblock, 4096);
    put(&mut sb, 0, &0xa92b_4efc_u32.to_le_bytes());
    let offset: u64 = match choice & 3 {
        0 => (16 << 20) - 65536,
        1 => (16 << 20) - 8192,
        2 => 0,
        _ => 4096,
    };
    if choice & 3 != 0 {
        put(&mut sb, 4, &1_u32.to_le_bytes());
        put(&mut sb, 144, &(offset / 512).to_le_bytes());
    }
    Device::with(offset, sb).check();
});
