//! SCSI identification pages: any bytes give names that may stand in a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::scsi_id::{DeviceIds, unit_serial};

fuzz_target!(|data: &[u8]| {
    let page = DeviceIds(data);
    for named in
        [page.ata(), page.scsi("ACME", "Disk"), unit_serial(data, "ACME", "Disk")].into_iter().flatten()
    {
        for text in [&named.name, &named.serial] {
            assert!(!text.contains(['/', ' ', '\0', '\n']), "{text:?}");
            assert!(text.len() <= 3 * data.len() + 64);
        }
    }
    if let Some(wwn) = page.wwn() {
        assert!(wwn.len() <= 32 && wwn.bytes().all(|byte| byte.is_ascii_hexdigit()), "{wwn}");
    }
});
