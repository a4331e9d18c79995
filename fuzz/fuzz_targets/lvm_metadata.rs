//! LVM2 metadata: the input is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::lvm;

fuzz_target!(|data: &[u8]| {
    let Ok(vg) = lvm::parse_metadata(data) else { return };
    assert!(vg.extent_size > 0 && vg.id.len() == 32 && !vg.name.contains('/'));
    for lv in &vg.lvs {
        assert!(lv.id.len() == 32 && !lv.name.contains('/'));
        let mut end = 0;
        for segment in &lv.segments {
            assert_eq!(segment.start_extent, end);
            end += segment.extent_count;
        }
        assert!(end.checked_mul(vg.extent_size * 512).is_some());
    }
});
