//! BitLocker's boot sectors, written from the format's description; no tool here makes a volume.

use crate::bench::{Bench, agree, agree_on, poke};
use ondisk::Kind;

const METADATA: u64 = 0x0210_0000;

#[test]
fn bitlocker() {
    let Some(bench) = Bench::new(&[]) else { return };
    for (start, place) in [(b"\xeb\x58\x90-FVE-FS-", 176), (b"\xeb\x58\x90MSWIN4.1", 440)] {
        let disk = bench.image(64 << 20);
        poke(&disk, 0, start);
        poke(&disk, 510, b"\x55\xaa");
        assert!(agree(&disk).signatures.is_empty(), "without metadata it is none");
        poke(&disk, place, &METADATA.to_le_bytes());
        poke(&disk, METADATA, b"-FVE-FS-\x40\0\x02\0");
        poke(&disk, METADATA + 100, &0x8004_u16.to_le_bytes());
        let signature = agree_on(&disk, Kind::BitLocker);
        assert_eq!(signature.cipher.as_deref(), Some("aes-xts-plain64"));
        if place == 176 {
            for serial in [1_u32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                poke(&disk, 67, &serial.to_le_bytes());
                agree_on(&disk, Kind::BitLocker);
            }
        }
    }
}
