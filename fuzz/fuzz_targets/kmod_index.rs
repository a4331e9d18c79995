//! kmod's binary index: any bytes are searched in bounded time, and all ways to look agree with each other.
//!
//! The input is a name, a NUL byte and an index.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::kmod::{Index, MAX_NAME, glob};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let Ok(index) = Index::parse(parts.next().unwrap_or_default()) else { return };
    let _ = index.search(&name);
    let wild = index.search_wild(&name);
    if let Ok(found) = &wild {
        assert!(found.is_sorted(), "by priority");
        assert!(found.len() * 5 <= data.len(), "no more values than the file has room for");
    }
    let Ok(all) = index.dump() else { return };
    // Keys that are not UTF-8 come back changed.
    if all.iter().any(|(key, _)| key.contains('\u{fffd}')) {
        return;
    }
    for (key, values) in &all {
        assert_eq!(index.search(key), Ok(values.first().map(|found| found.value)), "{key}");
    }
    // No pattern of a real index matches a name that is longer than any pattern may be; such a name finds nothing.
    if let Some(found) = wild.ok().filter(|_| name.len() < MAX_NAME) {
        let matching = all.iter().filter(|(pattern, _)| glob::matches(pattern, &name));
        let mut expected: Vec<&str> =
            matching.flat_map(|(_, values)| values.iter().map(|found| found.value)).collect();
        expected.sort_unstable();
        expected.dedup();
        let mut values: Vec<&str> = found.iter().map(|found| found.value).collect();
        values.sort_unstable();
        assert_eq!(values, expected, "{name}");
    }
});
