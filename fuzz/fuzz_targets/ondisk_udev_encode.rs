//! udev's encoding: any bytes become a link name, and come back from it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::udev_encode::{decode, encode, safe};

fuzz_target!(|data: &[u8]| {
    let encoded = encode(data);
    assert!(encoded.len() <= data.len() * 4);
    assert!(!encoded.contains(['/', ' ', '\0', '\n']));
    assert_eq!(decode(&encoded), data);
    assert_eq!(encode(&decode(&encoded)), encoded);
    assert!(safe(data).chars().all(|character| !character.is_ascii_control()));
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(decode(text).len() <= text.len());
    }
});
