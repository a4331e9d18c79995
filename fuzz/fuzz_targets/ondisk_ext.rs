//! ext2/3/4: the input is the superblock; magic and checksum are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32c, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut sb = sized(data, 1024);
    put(&mut sb, 0x38, &[0x53, 0xef]);
    let crc = crc32c(!0, &sb[..0x3fc]);
    put(&mut sb, 0x3fc, &crc.to_le_bytes());
    let content = Device::with(1024, sb).check();
    let is_ext = |kind| matches!(kind, Kind::Ext2 | Kind::Ext3 | Kind::Ext4 | Kind::Jbd);
    assert!(!content.rejected.iter().any(|signature| is_ext(signature.kind)));
});
