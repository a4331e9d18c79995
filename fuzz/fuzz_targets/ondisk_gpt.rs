//! GPT: the input is one byte for the sector size, the header and the entries; magics, sizes and checksums are put
//! right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32, put, sized};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (choice, data) = data.split_first().unwrap_or((&0, &[]));
    let sector: u32 = if choice & 1 == 0 { 512 } else { 4096 };
    let (header, entries) = data.split_at(data.len().min(92));
    let mut header = sized(header, 92);
    // Up to 512 entries, directly behind the header as everybody has them.
    let count = u32::from_le_bytes(header[80..84].try_into().unwrap()) % 512;
    let entries = sized(entries, count as usize * 128);
    put(&mut header, 0, b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0");
    put(&mut header, 24, &1_u64.to_le_bytes());
    put(&mut header, 72, &2_u64.to_le_bytes());
    put(&mut header, 80, &count.to_le_bytes());
    put(&mut header, 84, &128_u32.to_le_bytes());
    put(&mut header, 88, &(!crc32(!0, &entries)).to_le_bytes());
    let crc = !crc32(!0, &header);
    put(&mut header, 16, &crc.to_le_bytes());
    let sector_at = u64::from(sector);
    let mut device = Device::new(16 << 20, sector, vec![(sector_at, header), (2 * sector_at, entries)]);
    device.put(446 + 4, &[0xee]);
    device.put(510, &[0x55, 0xaa]);
    let content = device.check();
    assert!(content.table.is_some_and(|table| table.gpt));
});
