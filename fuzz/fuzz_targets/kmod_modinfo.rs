//! `.modinfo`: any bytes in place of a module give entries that the section can hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::kmod::ModInfo;

fuzz_target!(|data: &[u8]| {
    let section = ModInfo::from_section(data);
    let length: usize =
        section.entries.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum();
    assert!(length <= data.len());
    if let Ok(info) = ModInfo::from_elf(data) {
        assert!(info.entries.len() <= data.len() / 2);
        assert!(info.depends().iter().all(|name| !name.is_empty() && !name.contains('-')));
        let _ = (info.name(), info.firmware().count());
    }
});
