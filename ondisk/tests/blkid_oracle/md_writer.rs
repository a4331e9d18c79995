//! A writer of MD superblocks, since mdadm cannot make an array without the kernel's driver.

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A version 1 superblock of a two-disk mirror that lies at `offset` bytes.
pub fn version_1(offset: u64, name: &str, data_offset: u64, data_sectors: u64) -> Vec<u8> {
    let mut sb = vec![0; 4096];
    put(&mut sb, 0, &0xa92b_4efc_u32.to_le_bytes());
    put(&mut sb, 4, &1_u32.to_le_bytes());
    put(&mut sb, 16, b"ARRAYUUID1234567");
    put(&mut sb, 32, name.as_bytes());
    put(&mut sb, 72, &1_u32.to_le_bytes());
    put(&mut sb, 80, &data_sectors.to_le_bytes());
    put(&mut sb, 92, &2_u32.to_le_bytes());
    put(&mut sb, 128, &data_offset.to_le_bytes());
    put(&mut sb, 136, &data_sectors.to_le_bytes());
    put(&mut sb, 144, &(offset / 512).to_le_bytes());
    put(&mut sb, 168, b"DEVICEUUID123456");
    put(&mut sb, 200, &7_u64.to_le_bytes());
    put(&mut sb, 220, &3_u32.to_le_bytes());
    // Roles of three possible devices: an odd number, so that half a word is summed.
    put(&mut sb, 256, &[0, 0, 1, 0, 0xff, 0xff]);
    let words: u64 = sb[..260].chunks(4).map(|w| u64::from(u32::from_le_bytes(w.try_into().unwrap()))).sum();
    let sum = words + u64::from(u16::from_le_bytes([sb[260], sb[261]]));
    let folded = (sum & 0xffff_ffff) + (sum >> 32);
    put(&mut sb, 216, &u32::try_from(folded & 0xffff_ffff).unwrap().to_le_bytes());
    sb
}

/// A version 0.90 superblock of a mirror whose members have `kib` KiB of data.
pub fn version_0(kib: u32, big_endian: bool) -> Vec<u8> {
    let mut words = [0_u32; 1024];
    words[0] = 0xa92b_4efc;
    words[2] = 90;
    words[5] = 0x0102_0304;
    words[7] = 1;
    words[8] = kib;
    words[9] = 2;
    words[10] = 2;
    (words[13], words[14], words[15]) = (0x0506_0708, 0x090a_0b0c, 0x0d0e_0f10);
    let sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
    words[38] = u32::try_from(((sum & 0xffff_ffff) + (sum >> 32)) & 0xffff_ffff).unwrap();
    words.iter().flat_map(|word| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() }).collect()
}
