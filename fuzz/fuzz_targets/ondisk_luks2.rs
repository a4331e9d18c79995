//! LUKS2: the input is the JSON area; the binary header around it is right, checksum included.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, put, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::luks;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let size = (4096 + data.len()).max(16384).next_power_of_two();
    let mut header = sized(&[], 4096);
    put(&mut header, 0, b"LUKS\xba\xbe\0\x02");
    put(&mut header, 8, &(size as u64).to_be_bytes());
    put(&mut header, 72, b"sha256");
    header.extend(data);
    header.resize(size, 0);
    let digest = Sha256::digest(&header);
    put(&mut header, 448, &digest);
    let device = Device::with(0, header);
    let content = device.check();
    let signature = content.only().expect("a container");
    let luks = luks::read(&device).unwrap().expect("a container");
    assert_eq!(signature.kdf_memory, luks.kdf_memory());
    assert_eq!(signature.cipher, luks.cipher);
});
