//! Tables and configuration files of the image: multipath.conf with its bindings, integritytab, veritytab, mdadm.conf and
//! lvm.conf. Whatever they hold is bounded in memory and comes out the same twice.
//!
//! The input is cut at NUL bytes into two files of multipath.conf, bindings, wwids and one more text for the others.
#![no_main]

use cmdline::multipath::{Config, Disk};
use cmdline::{integritytab, mdadm_conf, source, verity};
use engine::assemble::lvm::LvmConf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let texts: Vec<String> = data.splitn(5, |byte| *byte == 0).map(source::text).collect();
    let text = |at: usize| texts.get(at).map_or("", String::as_str);
    let read = || {
        let (mut config, remarks) = Config::read([text(0), text(1)]);
        config.read_bindings(text(2));
        config.read_wwids(text(3));
        (config, remarks)
    };
    let (config, remarks) = read();
    assert_eq!((&config, &remarks), (&read().0, &read().1), "the same files, the same configuration");
    let disk = Disk {
        name: "sda",
        wwid: text(4),
        vendor: "DGC",
        product: "VRAID",
        revision: "1",
        protocol: "scsi:fcp",
        wwn: data.len() % 2 == 0,
    };
    let _ = config.is_blacklisted(disk);
    let name = config.name(disk);
    assert!(!name.contains('/') || disk.wwid.contains('/') || text(2).contains('/'), "{name}");
    let _ = (config.patience(disk), config.setting(disk, |all| all.min_io));

    let (volumes, remarks) = integritytab::parse(text(4));
    assert!(volumes.len() + remarks.len() <= text(4).len() + 1);
    let (volumes, remarks) = verity::parse_tab(text(4));
    assert!(volumes.len() <= text(4).len() && remarks.len() <= text(4).len() * 64 + 64);
    let (conf, _) = mdadm_conf::parse(text(4));
    assert_eq!(conf, mdadm_conf::parse(text(4)).0);
    let mut conf = LvmConf::read(Some(text(4).as_bytes()), Some(text(3).as_bytes()));
    conf.identify(text(2), Some(text(2).as_bytes()));
});
