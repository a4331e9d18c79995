//! A PV around any text: label, area header and ring are right, the text wraps where the input says.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, crc32, put};
use libfuzzer_sys::fuzz_target;
use ondisk::{Kind, lvm};

const CRC_INIT: u32 = 0xf597_a6cf;
const AREA: u64 = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((start, text)) = data.split_at_checked(2) else { return };
    let mut label = vec![0; 512];
    put(&mut label, 0, b"LABELONE\x01");
    put(&mut label, 20, b"\x20\0\0\0LVM2 001");
    put(&mut label, 32, &[b'a'; 32]);
    put(&mut label, 72, &(1_u64 << 20).to_le_bytes());
    put(&mut label, 104, &AREA.to_le_bytes());
    let crc = crc32(CRC_INIT, &label[20..]);
    put(&mut label, 16, &crc.to_le_bytes());

    let ring = text.len() + 64;
    let at = usize::from(u16::from_le_bytes([start[0], start[1]])) % ring;
    let mut header = vec![0; 512];
    put(&mut header, 4, b" LVM2 x[5A%r0N*>\x01");
    put(&mut header, 24, &AREA.to_le_bytes());
    put(&mut header, 32, &(512 + ring as u64).to_le_bytes());
    put(&mut header, 40, &(512 + at as u64).to_le_bytes());
    put(&mut header, 48, &(text.len() as u64).to_le_bytes());
    put(&mut header, 56, &crc32(CRC_INIT, text).to_le_bytes());
    let crc = crc32(CRC_INIT, &header[4..]);
    put(&mut header, 0, &crc.to_le_bytes());
    let mut body = vec![0; ring];
    for (index, byte) in text.iter().enumerate() {
        body[(at + index) % ring] = *byte;
    }

    let runs = vec![(512, label), (AREA, header), (AREA + 512, body)];
    let content = Device::new(16 << 20, 512, runs).check();
    // The ring reaches over the place of the one signature that blkid prefers to a PV there.
    if content.signatures.iter().any(|signature| signature.kind == Kind::Hpt37xMember) {
        return;
    }
    let member = content.member.expect("a PV");
    let pv = member.lvm().expect("a PV");
    assert_eq!(pv.vg, lvm::parse_metadata(text).ok());
    assert_eq!(pv.vg.is_none(), pv.doubts.len() == 1);
});
