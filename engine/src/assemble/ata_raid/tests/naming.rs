//! Names of containers and volumes.

use cmdline::mdadm_conf;

use super::external::{anchor, content, disk, is_start, started};
use super::{ddf, plan, uuid};
use crate::ImageFacts;
use crate::assemble::ata_raid::containers::colons;
use crate::command::ContainerRequest;
use crate::script::Script;

fn image(conf: &str) -> ImageFacts {
    let (mdadm, remarks) = mdadm_conf::parse(conf);
    assert!(remarks.is_empty(), "{remarks:?}");
    ImageFacts { mdadm, ..ImageFacts::default() }
}

/// What is asked for when both disks of the Intel container are there.
fn intel(conf: &str, anchor: &ondisk::ata_raid::imsm::Anchor) -> Option<ContainerRequest> {
    let mut script = Script::with_image(plan(uuid("root")), image(conf));
    disk(&mut script, "sda", "one", content(anchor));
    let actions = disk(&mut script, "sdb", "two", content(anchor));
    started(&actions).cloned()
}

/// By the volumes' numbers.
fn paths(request: &ContainerRequest) -> Vec<&str> {
    request.volumes.iter().rev().map(|volume| volume.path.as_str()).collect()
}

#[test]
fn volumes_of_one_name_have_paths_of_their_own() {
    let mut same = anchor();
    same.volumes[1].name = "Root".into();
    assert_eq!(
        paths(&intel("", &same).unwrap()),
        ["/dev/md/Root_1", "/dev/md/Root_0"],
        "mdadm comes to the last one first"
    );
    let conf = format!("ARRAY metadata=imsm UUID={}\n", colons(same.uuid(None).unwrap()));
    assert_eq!(paths(&intel(&conf, &same).unwrap()), ["/dev/md/Root_0", "/dev/md/Root"]);
}

/// Each volume has one line in mdadm's map, and a link below `/dev/md`.
#[test]
fn a_name_forges_no_path() {
    let mut odd = anchor();
    odd.volumes[0].name = "a\nmd0 b/../c".into();
    assert_eq!(paths(&intel("", &odd).unwrap())[0], "/dev/md/a_md0_b-..-c_0");
}

/// The lines of `mdadm --examine --scan`, and what a user may make of them.
#[test]
fn lines_of_mdadm_conf_name_volumes() {
    let (container, root) = (anchor().uuid(None).unwrap(), anchor().uuid(Some(0)).unwrap());
    let (container, root) = (colons(container), colons(root));
    let request = intel(
        &format!(
            "ARRAY /dev/md/imsm0 metadata=imsm UUID={container}\n\
             ARRAY /dev/md/root container={container} member=0 UUID={root}\n\
             ARRAY /dev/md4 container=/dev/md/imsm0 member=1\n"
        ),
        &anchor(),
    )
    .unwrap();
    assert_eq!(request.path, "/dev/md/imsm0");
    assert_eq!(paths(&request), ["/dev/md/root", "/dev/md4"]);
    assert_eq!(request.volumes[0].number, Some(4));
    // A container that is named by its node, and a line that vouches for what comes after it.
    let request = intel(
        &format!(
            "ARRAY /dev/md100 metadata=imsm UUID={container}\nARRAY /dev/md/b container=/dev/md100 member=1\n"
        ),
        &anchor(),
    )
    .unwrap();
    assert_eq!((request.path.as_str(), request.number), ("/dev/md100", Some(100)));
    assert_eq!(paths(&request), ["/dev/md/Root", "/dev/md/b"]);
    let request = intel(&format!("ARRAY /dev/md/b container={container} member=1\n"), &anchor()).unwrap();
    assert_eq!(paths(&request), ["/dev/md/Root", "/dev/md/b"]);
    // Lines for another container, or another number in it, mean nothing here.
    let request = intel(
        &format!(
            "ARRAY /dev/md/a container={root} member=0\nARRAY /dev/md/b container={container} member=2\n\
             ARRAY /dev/md/c container={container} member=0 UUID={container}\n"
        ),
        &anchor(),
    )
    .unwrap();
    assert_eq!(paths(&request), ["/dev/md/Root_0", "/dev/md/Fast_0"]);
}

#[test]
fn what_mdadm_conf_ignores_is_left_alone() {
    let (container, root) = (anchor().uuid(None).unwrap(), anchor().uuid(Some(0)).unwrap());
    let conf = format!("ARRAY <ignore> container={} member=0\n", colons(container));
    assert_eq!(paths(&intel(&conf, &anchor()).unwrap()), ["/dev/md/Fast_0"]);
    let conf = format!("ARRAY <ignore> UUID={}\n", colons(root));
    assert_eq!(paths(&intel(&conf, &anchor()).unwrap()), ["/dev/md/Fast_0"]);
    let ignored = format!("ARRAY <ignore> metadata=imsm UUID={}\n", colons(container));
    for conf in [ignored.as_str(), "AUTO -imsm +all\n", "AUTO homehost -all\n"] {
        assert_eq!(intel(conf, &anchor()), None, "{conf}");
    }
    let conf = format!("AUTO -all\nARRAY metadata=imsm UUID={}\n", colons(container));
    assert_eq!(paths(&intel(&conf, &anchor()).unwrap()), ["/dev/md/Root", "/dev/md/Fast"]);
    // The command line goes first, as with native arrays.
    let mut named = plan(uuid("root"));
    named.md.uuids = vec![root];
    let mut script = Script::with_image(named, image("AUTO -all\n"));
    disk(&mut script, "sda", "one", content(&anchor()));
    assert!(started(&disk(&mut script, "sdb", "two", content(&anchor()))).is_some());
}

/// Two containers whose volumes have the same names.
#[test]
fn containers_do_not_share_names() {
    let mut other = anchor();
    (other.family, other.orig_family) = (8, 8);
    (other.disks[0].serial, other.disks[1].serial) = ("three".into(), "four".into());
    let mut script = Script::new(plan(uuid("root")));
    let mut actions = Vec::new();
    for (name, serial, anchor) in [
        ("sda", "one", anchor()),
        ("sdb", "two", anchor()),
        ("sdc", "three", other.clone()),
        ("sdd", "four", other),
    ] {
        actions.extend(disk(&mut script, name, serial, content(&anchor)));
    }
    let mut all: Vec<ContainerRequest> = Vec::new();
    for _ in 0..2 {
        all.extend(started(&actions).cloned());
        actions.retain(|action| started(std::slice::from_ref(action)) != all.last());
    }
    let taken: Vec<(&str, Vec<&str>)> = all.iter().map(|one| (one.path.as_str(), paths(one))).collect();
    assert_eq!(
        taken,
        [
            ("/dev/md/imsm0", vec!["/dev/md/Root_0", "/dev/md/Fast_0"]),
            ("/dev/md/imsm1", vec!["/dev/md/Root_1", "/dev/md/Fast_1"]),
        ]
    );
}

/// mdadm notes in DDF for which host it made it.
#[test]
fn volumes_of_this_host_have_their_plain_names() {
    for (host, path) in [
        (Some("here"), "/dev/md/data"),
        (Some("any"), "/dev/md/data"),
        (Some("there"), "/dev/md/data_0"),
        (None, "/dev/md/data_0"),
    ] {
        let mut script = Script::with_image(plan(uuid("root")), image("HOMEHOST here\n"));
        let mut actions = Vec::new();
        for (name, number) in [("sda", 0), ("sdb", 1)] {
            let mut group = ddf::group(number, (1, 0));
            group.host = host.map(str::to_owned);
            actions.extend(disk(&mut script, name, name, ddf::disk(group)));
        }
        assert!(actions.iter().any(is_start));
        assert_eq!(paths(started(&actions).unwrap()), [path], "{host:?}");
    }
}
