use proptest::prelude::*;

use super::*;

const FULL: &str = r#"
# a comment
defaults {
	user_friendly_names yes   # at the end
	find_multipaths smart
	find_multipaths_timeout -7
	path_selector "queue-length 0"
	features "1 queue_if_no_path"
	polling_interval 4
	max_polling_interval 20
	partition_delimiter "-p"
}
blacklist {
	devnode "^(ram|loop)[0-9]*"
	devnode "!^(sd[a-z]|dasd[a-z]|nvme[0-9])"
	wwid ".*"
	protocol "scsi:(sas|unspec)"
	device {
		vendor "ATA"
	}
}
blacklist_exceptions {
	wwid "^36001"
	protocol "scsi:fcp"
}
devices {
	device {
		vendor "IBM"
		product "^2145"
		no_path_retry fail
		path_grouping_policy multibus
		mystery_keyword 3
	}
	device {
		vendor "OnlyVendor"
	}
}
overrides {
	rr_min_io_rq 7
	protocol {
		type "scsi:fcp"
		fast_io_fail_tmo 5
	}
}
multipaths {
	multipath {
		wwid 360014055830e6b4
		alias yellow
		path_grouping_policy group_by_prio
	}
	multipath {
		alias nobody
	}
}
"#;

fn disk(wwid: &str) -> Disk<'_> {
    Disk {
        name: "sda",
        wwid,
        vendor: "IBM",
        product: "2145",
        revision: "0000",
        protocol: "scsi:fcp",
        wwn: false,
    }
}

#[test]
fn a_whole_file() {
    let (config, remarks) = Config::read([FULL]);
    assert_eq!(remarks, ["line 40, protocol: the keyword is not known here"]);
    assert_eq!((config.find, config.find_timeout), (Find::Smart, Some(-7)));
    assert_eq!(config.delimiter.as_deref(), Some("-p"));
    let one = disk("360014055830e6b4");
    assert_eq!(config.name(one), "yellow");
    assert_eq!(config.setting(one, |all| all.grouping), Some(Grouping::Priority), "the device's own");
    assert_eq!(config.setting(disk("x"), |all| all.grouping), Some(Grouping::Multibus), "the file's array");
    assert_eq!(config.setting(one, |all| all.no_path_retry), Some(Retry::Fail), "before the built-in queue");
    assert_eq!(config.setting(one, |all| all.prio.clone()).as_deref(), Some("alua"), "the built-in one");
    assert_eq!(config.setting(one, |all| all.min_io), Some(7), "overrides");
    assert_eq!(config.setting(one, |all| all.selector.clone()).as_deref(), Some("queue-length 0"));
    assert_eq!(config.devices.len(), 1, "a section without wwid is nobody's");
    assert_eq!(config.patience(one), 7);
    assert_eq!(config.patience(Disk { vendor: "QEMU", ..one }), 1);
    let all = Disk { wwid: "36001", ..one };
    assert!(!config.is_blacklisted(all));
    for other in [
        Disk { wwid: "35000", ..all },
        Disk { name: "vda", ..all },
        Disk { name: "ram0", ..all },
        Disk { vendor: "ATA", ..all },
        Disk { protocol: "scsi:sas", ..all },
        Disk { protocol: "scsi:usb", ..all },
    ] {
        assert!(config.is_blacklisted(other), "{other:?}");
    }
}

#[test]
fn how_long_a_map_without_paths_queues() {
    for (text, seconds) in [
        ("no_path_retry 12", Some(60)),
        ("no_path_retry 12\n polling_interval 2", Some(24)),
        ("no_path_retry 12\n polling_interval 9\n max_polling_interval 3", Some(36)),
        ("no_path_retry 12\n max_polling_interval 40", Some(120)),
        ("no_path_retry 12\n max_polling_interval 3", Some(12)),
        ("no_path_retry 4294967295\n polling_interval 4294967295", Some(u64::from(u32::MAX).pow(2))),
        ("no_path_retry queue", None),
        ("no_path_retry 0", None),
        ("", None),
    ] {
        let (config, remarks) = Config::read([format!("defaults {{\n {text}\n}}\n").as_str()]);
        assert!(remarks.is_empty(), "{remarks:?}");
        let about = Disk { vendor: "QEMU", product: "x", ..disk("3") };
        assert_eq!(config.queues_for(about), seconds.map(Duration::from_secs), "{text}");
    }
    let (config, _) = Config::read([]);
    let array = Disk { vendor: "3PARdata", product: "VV", ..disk("3") };
    assert_eq!(config.queues_for(array), Some(Duration::from_secs(90)));
    let flush = |disk| config.setting(disk, |all| all.flush);
    assert_eq!((flush(Disk { vendor: "NETAPP", product: "LUN", ..array }), flush(array)), (Some(true), None));
}

#[test]
fn the_built_in_arrays() {
    let (config, _) = Config::read([]);
    assert_eq!(config.arrays.len(), 114);
    assert_eq!(config.find, Find::Strict);
    let of = |vendor, product| Disk { vendor, product, ..disk("3") };
    let policy = |disk| config.setting(disk, |all| all.grouping);
    assert_eq!(policy(of("DGC", "VRAID")), Some(Grouping::Priority));
    assert_eq!(policy(of("EMC", "SYMMETRIX")), Some(Grouping::Multibus));
    assert_eq!(policy(of("HPE", "OPEN-V")), Some(Grouping::Priority));
    // Of two that match, the later one.
    assert_eq!(policy(of("HITACHI", "DF600F")), Some(Grouping::Multibus));
    assert_eq!(policy(of("QEMU", "QEMU HARDDISK")), None);
    assert!(config.is_blacklisted(of("DGC", "LUNZ")));
    assert!(!config.is_blacklisted(of("DGC", "VRAID")));
    let detect = |disk| config.setting(disk, |all| all.detect_prio);
    assert_eq!((detect(of("PURE", "FlashArray")), detect(of("LIO-ORG", "x"))), (Some(false), None));
    let features = config.setting(of("NETAPP", "LUN C-Mode"), |all| all.features.clone());
    assert_eq!(features.as_deref(), Some("2 pg_init_retries 50"));
}

#[test]
fn names() {
    let (mut config, _) = Config::read(["defaults {\n user_friendly_names yes\n}\n"]);
    config.read_bindings("# Multipath bindings\nmpatha 3600\nmpathb 3601 # two\n\nbroken\n");
    config.read_wwids("# Multipath wwids\n/3600/\n/3601/\nnone\n//\n");
    assert_eq!(config.known, ["3600", "3601"]);
    assert_eq!(config.name(disk("3601")), "mpathb");
    assert_eq!(config.name(disk("3602")), "3602", "nobody writes new bindings");
    // NetApp's own entry wants plain names.
    assert_eq!(config.name(Disk { vendor: "NETAPP", product: "LUN", ..disk("3601") }), "3601");
    config.defaults.friendly_names = None;
    assert_eq!(config.name(disk("3601")), "3601");
}

#[test]
fn odd_lines() {
    let text = "defaults {\n find_multipaths maybe\n}\n}\nwhat ever\ndefaults {\n path_selector \"a \"\"b\"\n no_path_retry\n blacklist {\n";
    let (config, remarks) = Config::read([text]);
    assert_eq!(
        remarks,
        [
            "line 2, find_multipaths: the value cannot be used",
            "line 4, }: nothing is open that could end here",
            "line 5, what: the keyword is not known here",
            "line 8, no_path_retry: the value is missing",
            "line 9, blacklist: the keyword is not known here",
        ]
    );
    assert_eq!(config.defaults.selector.as_deref(), Some("a \"b"));
}

#[test]
fn what_would_make_another_map_is_not_passed_over() {
    for (line, complaint) in [
        ("skip_kpartx maybe", true),
        ("skip_kpartx yes", false),
        ("uid_attribute ID_WWN", true),
        ("uid_attribute \"ID_SERIAL\"", false),
        ("uid_attrs \"sd:ID_SERIAL dasd:ID_UID nvme:ID_WWN\"", false),
        ("uid_attrs \"sd:ID_WWN\"", true),
        ("max_sectors_kb 512", true),
        ("max_sectors_kb 0", false),
        ("polling_interval often", true),
        ("flush_on_last_del sometimes", true),
        ("no_path_retry never", true),
    ] {
        let (_, remarks) = Config::read([format!("defaults {{\n {line}\n}}\n").as_str()]);
        assert_eq!(remarks.len(), usize::from(complaint), "{line}: {remarks:?}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in any::<String>(), words in "[a-z_\"{}#! \n]{0,200}") {
        for text in [&text, &words] {
            let (mut config, _) = Config::read([text.as_str()]);
            config.read_bindings(text);
            config.read_wwids(text);
        }
    }
}
