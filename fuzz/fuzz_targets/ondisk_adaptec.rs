//! Adaptec HostRAID: the input is the table and the block; magics and the pointer between them are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let (block, table) = data.split_at_checked(512).unwrap_or((data, &[]));
    let (mut block, mut table) = (sized(block, 512), sized(table, 16 * 512));
    put(&mut block, 0, &0x37fc_4d1e_u32.to_be_bytes());
    block[0x3f] = 8;
    put(&mut block, 0x100, &0x4450_544d_u32.to_be_bytes());
    put(&mut block, 0x104, &((16_u32 << 11) - 17).to_be_bytes());
    put(&mut table, 0, &0x9007_65c4_u32.to_be_bytes());
    put(&mut table, 12, &64_u16.to_be_bytes());
    let mut device = Device::with((16 << 20) - 512, block);
    device.put((16 << 20) - 17 * 512, &table);
    member(device, Kind::AdaptecMember);
});
