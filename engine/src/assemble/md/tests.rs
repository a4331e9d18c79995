//! Every decision of the MD assembler, on members as their superblocks describe them.

mod assembly;
mod judging;

use cmdline::mdadm_conf;
use ondisk::md::{Role, Superblock, Version};

use super::naming;
use crate::ImageFacts;
use crate::table::Table;

/// A member of a clean array of this level in this slot.
fn member(level: i32, disks: u32, slot: u16) -> Superblock {
    Superblock {
        version: Version::V1_2,
        minor: 2,
        big_endian: false,
        uuid: [0x11; 16],
        name: "box:data".into(),
        level,
        layout: if level == 10 { 0x102 } else { 2 },
        chunk: 65536,
        raid_disks: disks,
        size: 1 << 20,
        created: 0,
        updated: 0,
        events: 10,
        clean: true,
        slots: "A".repeat(disks as usize),
        number: slot.into(),
        role: Role::Active(slot),
        replacement: false,
        write_mostly: false,
        failfast: false,
        device_uuid: Some([slot as u8; 16]),
        data_offset: 2048,
        data_size: 1 << 20,
        recovery_offset: None,
        bitmap_offset: None,
        nodes: 0,
        journal: false,
        ppl: false,
        bad_block_log: 0,
        reshape: None,
    }
}

fn all(level: i32, disks: u32) -> Vec<Superblock> {
    (0..disks).map(|slot| member(level, disks, slot as u16)).collect()
}

/// Path, number, foreign.
fn named(conf: &str, host: &str, name: &str) -> (Option<String>, Option<u32>, bool) {
    let image =
        ImageFacts { mdadm: mdadm_conf::parse(conf).0, hostname: host.to_owned(), ..ImageFacts::default() };
    let superblock = Superblock { name: name.to_owned(), ..member(1, 2, 0) };
    let line = naming::line(&image.mdadm, &superblock, &Table::default()).expect("one line at most");
    let name = naming::name(&image, line, &superblock, |path| path == "/dev/md/taken");
    (name.path, name.number, name.foreign)
}

/// Nobody gets a number of an `ARRAY` line by chance (mdadm: mdopen.c, `find_free_devnm`).
#[test]
fn numbers_are_kept_for_the_arrays_of_mdadm_conf() {
    let conf = "ARRAY /dev/md127 UUID=11111111:11111111:11111111:11111111\n\
                ARRAY /dev/md/home name=box:home\nARRAY /dev/md/3 name=box:4\nARRAY <ignore> super-minor=9\n";
    assert_eq!(naming::reserved(&mdadm_conf::parse(conf).0), [3, 9, 127]);
}

#[test]
fn names_are_mdadms() {
    let uuid = "UUID=11111111:11111111:11111111:11111111";
    let array = |device: &str| format!("ARRAY {device} {uuid}");
    for (conf, host, name, path, number, foreign) in [
        (String::new(), "box", "box:root", "/dev/md/root", None, false),
        (String::new(), "box", "box:0", "/dev/md/0", Some(0), false),
        (String::new(), "box", "box:md7", "/dev/md/md7", Some(7), false),
        (String::new(), "box", "any:x", "/dev/md/x", None, false),
        (String::new(), "box", "else:root", "/dev/md/else:root", None, true),
        (String::new(), "box", "else:0", "/dev/md/else:0", None, true),
        (String::new(), "box", "root", "/dev/md/root_0", None, true),
        (String::new(), "", "box:root", "/dev/md/box:root", None, true),
        (String::new(), "box", "box:taken", "/dev/md/taken_0", None, false),
        (String::new(), "box", "box:a b/c", "/dev/md/a_b-c", None, false),
        ("HOMEHOST other".into(), "box", "other:x", "/dev/md/x", None, false),
        ("HOMEHOST <none>".into(), "box", "box:x", "/dev/md/box:x", None, true),
        ("HOMEHOST <ignore>".into(), "box", "else:x", "/dev/md/x", None, false),
        (array("/dev/md0"), "box", "else:x", "/dev/md0", Some(0), false),
        (array("/dev/md/7"), "box", "else:x", "/dev/md/7", Some(7), false),
        (array("/dev/md/data"), "box", "else:x", "/dev/md/data", None, false),
        (array("/dev/md/data"), "box", "else:3", "/dev/md/data", Some(3), false),
        (array("data"), "box", "else:x", "/dev/md/data", None, false),
    ] {
        let seen = named(&conf, host, name);
        assert_eq!(seen, (Some(path.to_owned()), number, foreign), "{conf:?} on {host:?}: {name:?}");
    }
}
