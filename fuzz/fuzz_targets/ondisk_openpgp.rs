//! Keys that gpg has encrypted: any bytes give an answer, and what is decrypted keeps the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::openpgp::{check, decrypt};

fuzz_target!(|data: &[u8]| {
    // A count of hashed bytes that takes long is no fault: such files are left to the tests.
    let slow = data.windows(13).any(|bytes| bytes[0] == 4 && bytes[2] == 3 && bytes[12] > 0x60);
    if check(data).is_err() || slow {
        return;
    }
    if let Ok(key) = decrypt(data, b"x", 1 << 10) {
        assert!(key.len() <= 1 << 10);
    }
});
