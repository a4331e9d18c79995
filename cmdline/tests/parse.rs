//! From a line to the plan and the remarks.

use std::time::Duration;

use cmdline::plan::{
    Access, BreakPoint, Discards, EmergencyAction, KeyDevice, LuksIdKind, Multipath, Patience, Plan, RootSpec,
};
use cmdline::{Diagnostic, Sources, parse};
use proptest::prelude::*;

fn kernel(line: &str) -> Sources {
    Sources { kernel: line.to_owned(), ..Sources::default() }
}

/// The plan of a line that is in order.
fn plan(line: &str) -> Plan {
    let (plan, remarks) = parse(&kernel(line));
    assert!(remarks.is_empty(), "{line}: {remarks:#?}");
    plan
}

/// The texts of the remarks on a line.
fn remarks(line: &str) -> Vec<String> {
    parse(&kernel(line)).1.iter().map(Diagnostic::to_string).collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn nothing_means_the_defaults() {
    assert_eq!(parse(&Sources::default()), (Plan::default(), vec![]));
}

#[test]
fn lines_of_real_machines_need_no_remark() {
    for line in [
        "BOOT_IMAGE=/vmlinuz-6.1.0-18-amd64 root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro quiet",
        "BOOT_IMAGE=/boot/vmlinuz root=/dev/mapper/vg-root ro quiet splash nomodeset",
        "initrd=\\EFI\\Linux\\initrd.img root=PARTUUID=2a5c-01 rw rootflags=subvol=@ rootfstype=btrfs loglevel=3",
        "console=tty0 console=ttyS0,115200n8 earlyprintk=serial net.ifnames=0 root=LABEL=cloudimg-rootfs ro panic=-1",
        "root=/dev/vda1 rootwait rw rd.luks.uuid=luks-1234abcd systemd.unit=rescue.target rd.lvm=0 rd.md=0",
        "root=/dev/sda1 ro selinux=0 snd_hda_intel.model=auto mitigations=off nvidia-drm.modeset=1 plymouth.enable=0",
        "root=/dev/sda1 ro vconsole.keymap_toggle=de locale.LANG=de_DE.UTF-8 fsck.mode=skip noresume single",
    ] {
        assert_eq!(remarks(line), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn root() {
    let root =
        plan("root=UUID=ab ro rootfstype=ext4,auto,xfs rootflags=noatime,discard rd.fstab=0 init=/sbin/x")
            .root;
    assert_eq!(root.spec, Some(RootSpec::Uuid("ab".into())));
    assert_eq!(root.access, Some(Access::ReadOnly));
    assert_eq!(root.fstype, ["ext4", "xfs"]);
    assert_eq!(root.flags.as_deref(), Some("noatime,discard"));
    assert!(!root.fstab);
    assert_eq!(root.init.as_deref(), Some("/sbin/x"));
    assert_eq!(plan("rootflags=").root.flags.as_deref(), Some(""), "present at all keeps fstab out");
    assert_eq!(plan("root=/dev/a root=/dev/b").root.spec, Some(RootSpec::Path("/dev/b".into())));
    assert_eq!(plan("root=LABEL=\"my disk\"").root.spec, Some(RootSpec::Label("my disk".into())));
}

#[test]
fn access() {
    for (line, expected) in [
        ("", None),
        ("ro", Some(Access::ReadOnly)),
        ("rw", Some(Access::ReadWrite)),
        ("ro=0", None),
        ("ro ro=0", None),
        ("ro=0 rw", Some(Access::ReadWrite)),
        ("ro rw=0", Some(Access::ReadOnly)),
    ] {
        assert_eq!(plan(line).root.access, expected, "{line}");
    }
    for line in ["ro rw", "rw ro"] {
        let (plan, remarks) = parse(&kernel(line));
        assert_eq!(plan.root.access, Some(Access::ReadWrite), "{line}");
        assert_eq!(remarks, [Diagnostic::Conflict { wins: "rw", loses: "ro" }], "{line}");
    }
}

#[test]
fn patience() {
    for (line, expected) in [
        ("", Patience::Quiet(secs(180))),
        ("rd.retry=5", Patience::Quiet(secs(5))),
        ("rd.retry=2min", Patience::Quiet(secs(120))),
        ("rd.retry=infinity", Patience::Forever),
        ("rootdelay=5", Patience::Quiet(secs(180))),
        ("rootdelay=300", Patience::Quiet(secs(300))),
        ("rd.timeout=30", Patience::Total(secs(30))),
        ("rd.timeout=0", Patience::Quiet(secs(180))),
        ("rd.timeout=infinity rd.retry=7", Patience::Quiet(secs(7))),
        ("rootwait", Patience::Forever),
        ("rootwait rootdelay=9", Patience::Forever),
        ("rootwait=20", Patience::Total(secs(20))),
        ("rd.retry=3 rd.timeout=30", Patience::Total(secs(30))),
    ] {
        assert_eq!(plan(line).patience, expected, "{line}");
    }
    for (line, expected, wins, loses) in [
        ("rd.timeout=30 rootwait", Patience::Total(secs(30)), "rd.timeout", "rootwait"),
        ("rootwait rd.retry=5", Patience::Forever, "rootwait", "rd.retry"),
    ] {
        let (plan, remarks) = parse(&kernel(line));
        assert_eq!(
            (plan.patience, remarks),
            (expected, vec![Diagnostic::Conflict { wins, loses }]),
            "{line}"
        );
    }
}

#[test]
fn degraded_start() {
    for (line, expected) in [
        ("", Some(secs(10))),
        ("rootward.degraded=3", Some(secs(3))),
        ("rootward.degraded=0", Some(secs(0))),
        ("rootward.degraded=never", None),
        ("rootward.degraded=1min", Some(secs(60))),
    ] {
        assert_eq!(plan(line).degraded, expected, "{line}");
    }
}

#[test]
fn failure() {
    for (line, expected) in
        [("", None), ("rd.shell", Some(true)), ("rd.shell=0", Some(false)), ("rd.shell=no", Some(false))]
    {
        assert_eq!(plan(line).failure.shell, expected, "{line}");
    }
    assert_eq!(
        plan("rd.emergency=halt rd.emergency=reboot").failure.emergency,
        Some(EmergencyAction::Reboot)
    );
    let bare = plan("rd.emergency=poweroff rd.emergency").failure;
    assert_eq!(
        bare.emergency,
        Some(EmergencyAction::PowerOff),
        "the bare word is systemd's and hides nothing"
    );
    assert_eq!(bare.breaks, [BreakPoint::Cmdline]);
    let breaks = plan("rd.break rd.break=mount rd.break=cmdline rd.break=mount rd.systemd.break=pre-basic")
        .failure
        .breaks;
    assert_eq!(breaks, [BreakPoint::Cmdline, BreakPoint::Initqueue, BreakPoint::Mount, BreakPoint::Cleanup]);
    for (line, expected) in [("panic=0", Some(0)), ("panic=-1", Some(-1)), ("panic=30", Some(30)), ("", None)]
    {
        assert_eq!(plan(line).failure.panic, expected, "{line}");
    }
}

#[test]
fn drivers() {
    let modules = plan(
        "rd.driver.pre=a-b,c modules_load=d rd.modules_load=\"e f\" rd.driver.post=x,y modprobe.blacklist=n1,n-2 \
         rd.driver.blacklist=n_2 usb-storage.quirks=a:b:c kvm.flag -- not.this=1",
    )
    .modules;
    assert_eq!(modules.pre, ["a_b", "c", "d", "e", "f"]);
    assert_eq!(modules.post, ["x", "y"], "each name of the list is held back");
    assert_eq!(modules.blacklist, ["n1", "n_2"]);
    let params =
        [("usb_storage", "quirks=a:b:c"), ("kvm", "flag")].map(|(m, p)| (m.to_owned(), p.to_owned()));
    assert_eq!(modules.params, params);
}

#[test]
fn logging() {
    let log = plan("rd.debug rd.info=0 quiet=0 loglevel=4").log;
    assert_eq!((log.debug, log.info, log.quiet, log.loglevel), (true, false, true, Some(4)));
    assert!(!plan("debug").log.debug, "the kernel's word does not switch ours on");
}

#[test]
fn luks() {
    let line = "rd.luks.uuid=luks-AB-CD luks.uuid=keysource:1111 rd.luks.name=abcd=root rd.luks.key=/k:LABEL=stick \
                rd.luks.key.tout=3 rd.luks.timeout=90 rd.luks.options=tries=2 rd.luks.crypttab=no";
    let luks = plan(line).luks;
    assert!(luks.enabled && !luks.crypttab);
    let selectors: Vec<_> =
        luks.selectors.iter().map(|s| (s.kind, s.id.as_str(), s.keysource, s.name.as_deref())).collect();
    assert_eq!(
        selectors,
        [(LuksIdKind::Uuid, "AB-CD", false, Some("root")), (LuksIdKind::Uuid, "1111", true, None)]
    );
    assert_eq!(luks.keys.len(), 1);
    assert_eq!(luks.keys[0].device, KeyDevice::Label("stick".into()));
    assert_eq!((luks.key_timeout, luks.prompt_timeout), (secs(3), Some(secs(90))));
    assert_eq!(luks.options, [(None, vec!["tries=2".to_owned()])]);
    assert_eq!(plan("rd.luks.timeout=0").luks.prompt_timeout, None);
    assert_eq!(plan("rd.luks.allow-discards").luks.discards, Discards::All);
    assert_eq!(
        plan("rd.luks.allow-discards=12345678").luks.discards,
        Discards::Some(vec!["12345678".into()])
    );
    assert!(!plan("luks=no").luks.enabled);
    assert!(plan("rd.luks=0 rd.luks=1").luks.enabled);
    // A name on an earlier word than its id.
    assert_eq!(plan("rd.luks.name=ab=x rd.luks.uuid=AB").luks.selectors[0].name.as_deref(), Some("x"));
}

/// Partition UUIDs and serial numbers select alone; what the others were called is still their name.
#[test]
fn names_outlive_their_selectors() {
    let line = "rd.luks.partuuid=aa rd.luks.uuid=bb rd.luks.name=aa=root rd.luks.name=bb=x rd.luks.name=cc=y";
    let (Plan { luks, .. }, remarks) = parse(&kernel(line));
    let wins = "rd.luks.partuuid";
    assert_eq!(remarks, [Diagnostic::Conflict { wins, loses: "rd.luks.uuid" }]);
    let selectors: Vec<_> =
        luks.selectors.iter().map(|s| (s.kind, s.id.as_str(), s.name.as_deref())).collect();
    assert_eq!(selectors, [(LuksIdKind::PartUuid, "aa", Some("root"))]);
    assert_eq!(luks.names, [("bb", "x"), ("cc", "y")].map(|(id, name)| (id.to_owned(), name.to_owned())));
}

#[test]
fn switches_of_storage() {
    let defaults = Plan::default();
    assert!(defaults.md.conf && !defaults.md.wait_clean);
    assert!(!plan("rd.md.conf=0").md.conf);
    assert!(plan("rd.md.waitclean").md.wait_clean && plan("rd.md.waitclean=1").md.wait_clean);
    for (line, expected) in [
        ("rd.multipath", Multipath::Configured),
        ("rd.multipath=1", Multipath::Configured),
        ("rd.multipath=default", Multipath::Default),
        ("rd.multipath=off", Multipath::Off),
        // systemd's conditions on multipathd.
        ("nompath", Multipath::Off),
        ("multipath=off", Multipath::Off),
        ("rd.multipath=1 multipath=on", Multipath::Configured),
    ] {
        assert_eq!(plan(line).multipath, expected, "{line}");
    }
}

#[test]
fn an_empty_id_opens_nothing() {
    for line in ["rd.luks.uuid=", "rd.luks.uuid", "rd.luks.uuid=luks-", "rd.luks.serial=", "rd.luks.partuuid"]
    {
        let (plan, remarks) = parse(&kernel(line));
        assert!(plan.luks.selectors.is_empty(), "{line}");
        assert_eq!(remarks.len(), 1, "{line}: {remarks:?}");
    }
}

#[test]
fn stronger_ids_replace_weaker_ones() {
    let (plan, remarks) = parse(&kernel("rd.luks.uuid=aa rd.luks.serial=S1 rd.luks.partuuid=bb"));
    assert_eq!(plan.luks.selectors.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["bb"]);
    assert_eq!(remarks.len(), 2, "{remarks:?}");
}

#[test]
fn automatic_assembly() {
    for (line, expected) in
        [("", None), ("rd.auto", Some(true)), ("rd.auto=1", Some(true)), ("rd.auto=0", Some(false))]
    {
        assert_eq!(plan(line).auto, expected, "{line}");
    }
}

#[test]
fn arguments_for_the_real_init() {
    assert_eq!(plan("ro single -- rd=1 \"a b\"").root.init_args, ["single", "rd=1", "a b"]);
    let sources = Sources { argv: Some(vec!["foo".into(), "splash".into()]), ..kernel("init=/x foo splash") };
    assert_eq!(parse(&sources).0.root.init_args, ["foo"]);
}

#[test]
fn a_moved_disk() {
    let sources = Sources {
        image: vec![("/etc/cmdline.d/20-crypt.conf".into(), "rd.luks.uuid=ab root=/dev/x".into())],
        ..kernel("rd.hostonly=0")
    };
    let (plan, remarks) = parse(&sources);
    assert!(!plan.hostonly && !plan.luks.crypttab);
    assert_eq!((plan.root.spec, plan.luks.selectors.len(), remarks.len()), (None, 0, 0));
}

#[test]
fn remarks_are_advice() {
    for (line, expected) in [
        (
            "rd.luks.uid=x",
            "the kernel command line: rd.luks.uid is not a known parameter and is ignored; did you mean rd.luks.uuid?",
        ),
        (
            "rootward.degrade=x",
            "the kernel command line: rootward.degrade is not a known parameter and is ignored; did you mean rootward.degraded?",
        ),
        (
            "rd.zzzzzzzzzzzz",
            "the kernel command line: rd.zzzzzzzzzzzz is not a known parameter and is ignored; check its spelling",
        ),
        (
            "rootflag=x",
            "the kernel command line: rootflag is not a known parameter and is ignored; did you mean rootflags?",
        ),
        (
            "rd.retry=abc",
            "the kernel command line: rd.retry=abc cannot be used; write seconds or a time span such as 1min 30s (now: 180 s)",
        ),
        (
            "rd.luks.key.tout=-1",
            "the kernel command line: rd.luks.key.tout=-1 cannot be used; write a number from 0 to 86400 (now: 10)",
        ),
        (
            "rd.break=nowhere",
            "the kernel command line: rd.break=nowhere cannot be used; write nothing or cmdline, pre-udev, pre-trigger, initqueue, pre-mount, mount, pre-pivot or cleanup (now: nothing)",
        ),
        (
            "init=bin/sh",
            "the kernel command line: init=bin/sh cannot be used; write an absolute path inside the real root (now: the default)",
        ),
        ("rdshell", "rdshell is an old spelling; write rd.shell instead"),
        ("rd_NO_LUKS", "rd_NO_LUKS is an old spelling; write rd.luks=0 instead"),
        (
            "rd.systemd.mount-extra=a",
            "rd.systemd.mount-extra is known but not implemented yet and does nothing (A further mount in the initramfs.)",
        ),
        (
            "rd.udev.log_level=info",
            "rd.udev.log_level has no effect here: there is no udev in this initramfs; use rd.debug.",
        ),
        (
            "-- rd.break",
            "the kernel command line: rd.break stands after `--` and reaches only the real init; move it before the `--`",
        ),
        (
            "root=sda1",
            "root=sda1 cannot be used: a kernel name needs /dev/ in front; otherwise write UUID=, LABEL=, PARTUUID= or PARTLABEL=",
        ),
        ("root=live:LABEL=x", "root=live:LABEL=x cannot be used: live media are not implemented yet"),
        (
            "rd.luks=0 rd.luks.uuid=ab",
            "rd.luks=0 and rd.luks.uuid contradict each other: rd.luks=0 is used; remove one of them",
        ),
    ] {
        assert_eq!(remarks(line), [expected], "{line}");
    }
}

#[test]
fn a_bare_word_does_not_hide_a_value() {
    let (plan, remarks) = parse(&kernel("rd.retry=7 rd.retry root=/dev/a root"));
    assert_eq!(plan.patience, Patience::Quiet(secs(7)));
    assert_eq!(plan.root.spec, Some(RootSpec::Path("/dev/a".into())));
    assert!(
        remarks.iter().all(|r| matches!(r, Diagnostic::MissingValue { .. })) && remarks.len() == 2,
        "{remarks:?}"
    );
}

#[test]
fn old_spellings_do_the_same() {
    let same = |old: &str, new: &str| {
        let plan = plan(new);
        assert_ne!(plan, Plan::default(), "{new} says nothing");
        assert_eq!(parse(&kernel(old)).0, plan, "{old}");
    };
    for (old, new) in [
        ("rdblacklist=a,b", "rd.driver.blacklist=a,b"),
        ("rd_retry=4", "rd.retry=4"),
        ("rd_NO_LUKS=1", "rd.luks=0"),
        ("rd_NO_CRYPTTAB", "rd.luks.crypttab=0"),
        ("rd_LUKS_UUID=ab", "rd.luks.uuid=ab"),
        ("rd_LUKS_PARTUUID=ab", "rd.luks.partuuid=ab"),
        ("rd_LUKS_SERIAL=ab", "rd.luks.serial=ab"),
        ("luks.uuid=ab", "rd.luks.uuid=ab"),
        ("luks.name=ab=x", "rd.luks.name=ab=x"),
        ("luks.key=/k:LABEL=stick", "rd.luks.key=/k:LABEL=stick"),
        ("luks.options=tries=2", "rd.luks.options=tries=2"),
        ("luks.data=12345678=/dev/sdb", "rd.luks.data=12345678=/dev/sdb"),
        ("luks.crypttab=0", "rd.luks.crypttab=0"),
        ("rd_NO_LVM", "rd.lvm=0"),
        ("rd_NO_LVMCONF", "rd.lvm.conf=0"),
        ("rd_LVM_VG=vg", "rd.lvm.vg=vg"),
        ("rd_LVM_LV=vg/lv", "rd.lvm.lv=vg/lv"),
        ("rd_NO_MD", "rd.md=0"),
        ("rd_NO_MDADMCONF", "rd.md.conf=0"),
        ("rd_NO_MDIMSM", "rd.md.imsm=0"),
        ("noiswmd", "rd.md.imsm=0"),
        ("rd_NO_MDDDF", "rd.md.ddf=0"),
        ("noddfmd", "rd.md.ddf=0"),
        ("rd_MD_UUID=01234567:89abcdef:01234567:89abcdef", "rd.md.uuid=0123456789abcdef0123456789abcdef"),
        ("rd_NO_DM", "rd.dm=0"),
        ("rd_DM_UUID=nvidia_ab", "rd.dm.uuid=nvidia_ab"),
        ("nodmraid", "rd.dm=0 rd.md.imsm=0 rd.md.ddf=0"),
        ("rd_NO_MULTIPATH", "rd.multipath=0"),
    ] {
        same(old, new);
    }
    // Presence counts, whatever the value says.
    assert!(!parse(&kernel("rd_NO_LUKS=0")).0.luks.enabled);
}

#[test]
fn a_source_that_is_not_in_order_is_named() {
    let sources = Sources {
        image: vec![("/etc/cmdline.d/a.conf".into(), "rd.retry=x \"open".into())],
        kernel: cmdline::source::text(b"root=LABEL=\xe9"),
        ..Sources::default()
    };
    let (_, remarks) = parse(&sources);
    let text: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|t| t.starts_with("/etc/cmdline.d/a.conf: rd.retry=x")), "{text:?}");
    assert!(text.iter().any(|t| t.contains("opened in open is never closed")), "{text:?}");
    assert!(
        text.iter().any(|t| t.starts_with("the kernel command line: some bytes are not UTF-8")),
        "{text:?}"
    );
}

#[test]
fn remarks_have_a_bound() {
    let line: String = (0..2_000).map(|n| format!("rd.x{n} ")).collect();
    let (_, remarks) = parse(&kernel(&line));
    assert_eq!(remarks.len(), 65);
    assert!(matches!(remarks.last(), Some(Diagnostic::More { count }) if *count > 1000));
}

/// A word that is often one of ours.
fn word() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = cmdline::table::names().collect();
    let values = "[a-z0-9:/=,.\"-]{0,12}|0|1|no|/dev/[a-z]{1,4}|UUID=[0-9a-f-]{1,9}|[0-9]{1,4}(s|min)?";
    prop_oneof![
        4 => (prop::sample::select(names.clone()), values).prop_map(|(n, v)| format!("{n}={v}")),
        1 => prop::sample::select(names).prop_map(str::to_owned),
        1 => "rd\\.[a-z.]{1,10}(=[a-z]{0,3})?|--|\\PC{0,8}",
    ]
}

proptest! {
    #[test]
    fn every_line_comes_to_a_plan(words in prop::collection::vec(word(), 0..12)) {
        let (plan, remarks) = parse(&kernel(&words.join(" ")));
        prop_assert!(plan.failure.breaks.is_sorted());
        for selector in &plan.luks.selectors {
            prop_assert!(selector.id.bytes().any(|b| b.is_ascii_alphanumeric()));
        }
        for key in &plan.luks.keys {
            prop_assert!(key.path.starts_with('/'));
        }
        for remark in remarks {
            prop_assert!(!remark.to_string().contains('\n'));
        }
    }

    #[test]
    fn the_layer_of_a_word_does_not_change_its_meaning(words in prop::collection::vec("[a-z.]{1,6}=[a-z0-9]{0,4}|rd.retry=[0-9]{1,3}|ro|rw", 0..6)) {
        let line = words.join(" ");
        let from_kernel = parse(&kernel(&line)).0;
        let run = Sources { run: vec![("/run/initramfs/cmdline.d/a.conf".into(), line.clone())], ..Sources::default() };
        prop_assert_eq!(&parse(&run).0, &from_kernel);
        let image = Sources { image: vec![("/etc/cmdline".into(), line)], ..Sources::default() };
        prop_assert_eq!(&parse(&image).0, &from_kernel);
    }

    #[test]
    fn the_kernels_word_beats_the_images(a in 0u64..10_000, b in 0u64..10_000) {
        let sources = Sources {
            image: vec![("/etc/cmdline".into(), format!("rd.retry={a}"))],
            ..kernel(&format!("rd.retry={b}"))
        };
        prop_assert_eq!(parse(&sources).0.patience, Patience::Quiet(secs(b)));
    }
}

#[test]
fn bios_raid() {
    for (text, dm, imsm, ddf) in [
        ("", true, true, true),
        ("rd.dm=0", false, true, true),
        ("rd_NO_DM", false, true, true),
        ("rd.md.imsm=0", true, false, true),
        ("noiswmd", true, false, true),
        ("rd_NO_MDIMSM", true, false, true),
        ("rd.md.ddf=no", true, true, false),
        ("noddfmd", true, true, false),
        ("rd_NO_MDDDF", true, true, false),
        ("nodmraid", false, false, false),
    ] {
        let plan = parse(&kernel(text)).0;
        assert_eq!((plan.dm.enabled, plan.md.imsm, plan.md.ddf), (dm, imsm, ddf), "{text}");
    }
    let plan = parse(&kernel("rd.dm.uuid= rd.dm.uuid=nvidia_ab rd_DM_UUID=isw_c rd.dm.uuid=nvidia_ab")).0;
    assert_eq!(plan.dm.sets, ["nvidia_ab", "isw_c"]);
}

#[test]
fn lvm() {
    let plan = parse(&kernel(
        "rd.lvm.vg=a rd_LVM_VG=/dev/b rd.lvm.vg=a rd.lvm.lv=c/d rd_LVM_LV=/dev/e/f rd_NO_LVMCONF",
    ))
    .0;
    assert!(plan.lvm.enabled && !plan.lvm.conf);
    assert_eq!(plan.lvm.vgs, ["a", "b"]);
    assert_eq!(plan.lvm.lvs, [("c".into(), "d".into()), ("e".into(), "f".into())]);
    assert!(!parse(&kernel("rd_NO_LVM")).0.lvm.enabled);
    for wrong in ["rd.lvm.vg=a/b", "rd.lvm.lv=a", "rd.lvm.lv=a/", "rd.lvm.lv=a/b/c"] {
        assert_eq!(remarks(wrong).len(), 1, "{wrong}");
    }
}
