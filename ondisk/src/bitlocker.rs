//! BitLocker volumes: recognised as libblkid does, by the boot sector and the FVE metadata block that it points to
//! (libyal's "BitLocker Drive Encryption (BDE) format"). Everything else about them is libcryptsetup's.

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature};

/// Begins each of the three copies of the metadata; also the file-system name of the boot sector.
const FVE: &[u8] = b"-FVE-FS-";

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let head = probe.head();
    let metadata = if head.has(0, b"\xeb\x52\x90-FVE-FS-") {
        // Windows Vista keeps a cluster number where later versions keep the offset.
        return Ok(Some(Signature::new(Kind::BitLocker)).into());
    } else if head.has(0, b"\xeb\x58\x90-FVE-FS-") {
        head.le64(176)
    } else if head.has(0, b"\xeb\x58\x90MSWIN4.1") {
        // BitLocker To Go, on what looks like FAT.
        head.le64(440)
    } else {
        None
    };
    let Some(metadata) = metadata.filter(|offset| *offset != 0) else { return Ok(Found::Nothing) };
    let Some(block) = probe.bytes(metadata, 104)? else { return Ok(Found::Nothing) };
    if !block.has(0, FVE) {
        return Ok(Found::Nothing);
    }
    // UUID is the 32-bit serial number of the volume, which BitLocker leaves at zero.
    let serial = head.le32(67).filter(|_| head.has(1, b"\x58\x90-")).unwrap_or(0);
    Ok(Some(Signature {
        uuid: (serial != 0).then(|| format!("{:016}", serial.cast_signed())),
        version: block.le16(10).map(|version| version.to_string()),
        cipher: block.le16(100).and_then(cipher).map(str::to_owned),
        ..Signature::new(Kind::BitLocker)
    })
    .into())
}

/// dm-crypt's name for an encryption method.
fn cipher(method: u16) -> Option<&'static str> {
    match method {
        0x8000 | 0x8001 => Some("aes-cbc-elephant"),
        0x8002 | 0x8003 => Some("aes-cbc-eboiv"),
        0x8004 | 0x8005 => Some("aes-xts-plain64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Kind, identify};

    /// Windows 10's layout in small: boot sector, metadata at 64 KiB + 512.
    fn volume() -> Vec<u8> {
        let mut disk = vec![0_u8; 256 << 10];
        disk[..11].copy_from_slice(b"\xeb\x58\x90-FVE-FS-");
        disk[176..184].copy_from_slice(&66_048_u64.to_le_bytes());
        disk[510..512].copy_from_slice(b"\x55\xaa");
        disk[66_048..66_056].copy_from_slice(b"-FVE-FS-");
        disk[66_058] = 2;
        disk[66_148..66_150].copy_from_slice(&0x8004_u16.to_le_bytes());
        disk
    }

    #[test]
    fn the_three_layouts() {
        let found = |disk: &[u8]| identify(&disk).expect("no read errors").only().cloned();
        let mut disk = volume();
        let signature = found(&disk).expect("BitLocker");
        assert_eq!((signature.kind, signature.version.as_deref()), (Kind::BitLocker, Some("2")));
        assert_eq!((signature.uuid, signature.cipher.as_deref()), (None, Some("aes-xts-plain64")));
        disk[67] = 7;
        assert_eq!(found(&disk).and_then(|one| one.uuid).as_deref(), Some("0000000000000007"));
        let mut to_go = volume();
        to_go[..11].copy_from_slice(b"\xeb\x58\x90MSWIN4.1");
        assert_eq!(found(&to_go).map(|one| one.kind), None, "no offset at its place");
        to_go[440..448].copy_from_slice(&66_048_u64.to_le_bytes());
        assert_eq!(found(&to_go).map(|one| one.kind), Some(Kind::BitLocker));
        let mut vista = volume();
        vista[..11].copy_from_slice(b"\xeb\x52\x90-FVE-FS-");
        assert_eq!(found(&vista).map(|one| one.kind), Some(Kind::BitLocker));
    }

    #[test]
    fn offsets_that_lead_nowhere() {
        for offset in [0, 1, 511, 256 << 10, (256 << 10) - 103, u64::MAX, u64::MAX - 50] {
            let mut disk = volume();
            disk[176..184].copy_from_slice(&offset.to_le_bytes());
            assert_eq!(identify(&disk.as_slice()).expect("no read errors").only(), None, "{offset}");
        }
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        let disk = volume();
        for end in (0..1024).chain(66_040..66_160) {
            let _ = identify(&&disk[..end]);
        }
        let mut changed = disk.clone();
        for at in (0..512).chain(66_048..66_152) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                changed[at] = value;
                let _ = identify(&changed.as_slice());
            }
            changed[at] = disk[at];
        }
    }
}
