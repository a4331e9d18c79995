//! Compiled keymaps: any bytes give an error or as many keys as the tables hold, and writing them again gives the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::keymap::parse;

fuzz_target!(|data: &[u8]| {
    let Ok(keys) = parse(data) else { return };
    assert_eq!(data.len(), 7 + 256 + 2 * keys.len());
    let mut written = data[..7].to_vec();
    // A flag other than 0 and 1 is a table, too.
    written.extend(&data[7..263]);
    written.extend(keys.iter().flat_map(|key| key.symbol.to_le_bytes()));
    assert!(written == data);
    assert!(keys.iter().all(|key| key.key < 128 && data[7 + usize::from(key.table)] != 0));
    assert!(keys.is_sorted_by_key(|key| (key.table, key.key)));
});
