//! Whole explanations, as an operator reads them.

use cmdline::Plan;
use ondisk::{Content, Kind};

use crate::script::{Script, content, gpt, is_mount, is_open, partition, plan, uuid};
use crate::{Failure, Moment, SecretId};

const ROOT: &str = "6e7410d5-90b8-e744-b233-a0e57b61cd0f";
const LUKS: &str = "c15167d9-e233-3846-c457-81ffc102baa0";

fn text(script: &Script) -> String {
    script.engine.explain(Moment(script.now)).to_string()
}

fn labelled(kind: Kind, id: &str, label: &[u8]) -> Content {
    let mut content = content(kind, id);
    content.signatures[0].label = Some(label.to_vec());
    content
}

/// A typical machine: an EFI partition, the root, a container.
fn machine(plan: Plan) -> Script {
    let mut script = Script::new(plan);
    script.disk("vda", gpt(&[(1, "11-11", Some("EFI")), (2, "22-22", Some("root")), (3, "33-33", None)]));
    script.add("vda1", partition("vda", 1), content(Kind::Vfat, "ABCD-1234"));
    script.add("vda2", partition("vda", 2), labelled(Kind::Ext4, ROOT, b"root"));
    script.add("vda3", partition("vda", 3), content(Kind::Luks2, LUKS));
    script
}

#[test]
fn a_typing_error() {
    let mut script = machine(plan(uuid(&ROOT.replace("90b8", "90b9"))));
    script.wait(1_000);
    assert_eq!(
        text(&script),
        "root is not reached yet: UUID=6e7410d5-90b9-e744-b233-a0e57b61cd0f, waiting
  ? root UUID=6e7410d5-90b9-e744-b233-a0e57b61cd0f
    - vda: 1.0 GiB, GPT
      - vda1: 1.0 GiB, vfat UUID=ABCD-1234, PARTUUID=11-11, PARTLABEL=EFI
      - vda2: 1.0 GiB, ext4 UUID=6e7410d5-90b8-e744-b233-a0e57b61cd0f LABEL=root, PARTUUID=22-22, PARTLABEL=root
      - vda3: 1.0 GiB, crypto_LUKS UUID=c15167d9-e233-3846-c457-81ffc102baa0, PARTUUID=33-33
        ~ locked: waits for a passphrase on the console
  try: root=UUID=6e7410d5-90b8-e744-b233-a0e57b61cd0f (vda2 is that device)
  try: type the passphrase of vda3 on the console
"
    );
}

#[test]
fn wrong_passphrases() {
    let mut plan = plan(uuid("nowhere"));
    plan.failure.shell = Some(false);
    let mut script = machine(plan);
    script.wait(1_000);
    for number in 0..5 {
        script.types(SecretId(number));
        script.answer(is_open, Err(Failure::WrongSecret));
    }
    script.wait(20_000);
    assert_eq!(
        text(&script),
        "cannot reach root: UUID=nowhere: every way to it has failed
  ? root UUID=nowhere
    - vda: 1.0 GiB, GPT
      - vda1: 1.0 GiB, vfat UUID=ABCD-1234, PARTUUID=11-11, PARTLABEL=EFI
      - vda2: 1.0 GiB, ext4 UUID=6e7410d5-90b8-e744-b233-a0e57b61cd0f LABEL=root, PARTUUID=22-22, PARTLABEL=root
      - vda3: 1.0 GiB, crypto_LUKS UUID=c15167d9-e233-3846-c457-81ffc102baa0, PARTUUID=33-33
        ! could not be opened: 5 wrong passphrases
  try: root=UUID=6e7410d5-90b8-e744-b233-a0e57b61cd0f (vda2 holds the only file system seen)
  try: retry, and type the right passphrase of vda3
"
    );
}

#[test]
fn a_mount_that_fails() {
    let mut script = machine(plan(uuid(ROOT)));
    script.answer(is_mount, Err(Failure::Os { what: "mount /dev/vda2 as ext4".into(), errno: 117 }));
    let text = text(&script);
    for expected in [
        "! vda2 matches and could not be mounted: cannot mount /dev/vda2 as ext4: errno 117",
        "try: check vda2 with fsck, and rootfstype= and rootflags=",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn nothing_there() {
    let mut script = Script::new(plan(uuid(ROOT)));
    script.wait(200_000);
    assert_eq!(
        text(&script),
        "cannot reach root: UUID=6e7410d5-90b8-e744-b233-a0e57b61cd0f was not found and nothing has changed for 180 s
  ? root UUID=6e7410d5-90b8-e744-b233-a0e57b61cd0f
    ? no block device has been seen
  try: check that the disk is connected and that the image has its driver
"
    );
}

/// What is said of `root=` forms that nearly fit.
#[test]
fn remedies() {
    for (root, expected) in [
        ("UUID=22-22", "root=PARTUUID=22-22 (vda2 is that device)"),
        (&*format!("PARTUUID={ROOT}"), &*format!("root=UUID={ROOT} (vda2 is that device)")),
        ("LABEL=EFI", "root=PARTLABEL=EFI (vda1 is that device)"),
        ("LABEL=ROOT", "root=PARTLABEL=root (vda2 is that device)"),
        ("PARTLABEL=Root", "root=LABEL=root (vda2 is that device)"),
        (
            &format!("UUID={LUKS}"),
            &format!(
                "vda3 is the container; name what lies in it: rd.luks.uuid={LUKS} root=/dev/mapper/luks-{LUKS}"
            ),
        ),
        (
            "/dev/sda2",
            "name the root by UUID= instead of /dev/sda2: names change with the order of discovery",
        ),
        ("PARTUUID=99-99", &format!("root=UUID={ROOT} (vda2 holds the only file system seen)")),
        ("gpt-auto", "name the root by UUID=, LABEL=, PARTUUID=, PARTLABEL= or a path below /dev"),
    ] {
        let script = machine(plan(cmdline::root_spec(root)));
        let remedies = script.engine.explain(Moment(1)).remedies;
        assert_eq!(remedies.first().map(String::as_str), Some(expected), "{root}: {remedies:#?}");
    }
    let script = machine(Plan::default());
    assert!(script.engine.explain(Moment(1)).remedies[0].starts_with("add root=UUID="));
}

#[test]
fn what_a_label_says_is_not_obeyed_by_a_terminal() {
    let mut script = Script::new(plan(uuid(ROOT)));
    script.disk("sda", labelled(Kind::Ext4, "x", b"\x1b[2J\x07"));
    for text in [text(&script), super::list_devices(&script.engine)] {
        assert!(text.contains("LABEL=\\u{1b}[2J\\u{7}"), "{text:?}");
        assert!(!text.contains('\x1b'));
    }
}

#[test]
fn hundreds_of_disks_are_counted() {
    let mut script = Script::new(plan(uuid(ROOT)));
    for number in 0..300 {
        script.disk(&format!("sd{number:03}"), Content::default());
    }
    script.disk("sdz", content(Kind::Luks2, LUKS));
    script.wait(2_000);
    let text = text(&script);
    assert!(text.lines().count() < 60, "{text}");
    assert!(text.contains("sdz: 1.0 GiB, crypto_LUKS"), "what matters goes first: {text}");
    assert!(text.contains("and 261 more"), "{text}");
    assert_eq!(
        super::list_devices(&script.engine).lines().filter(|line| line.starts_with("sd")).count(),
        301
    );
}

#[test]
fn a_mapping_is_drawn_below_its_container() {
    let mut script = machine(plan(uuid("nowhere")));
    script.mapping("dm-0", "cr", "vda3", content(Kind::Xfs, "inner"));
    let text = text(&script);
    assert!(
        text.contains("        + opened as dm-0\n        - dm-0: 1.0 GiB, /dev/mapper/cr, xfs UUID=inner"),
        "{text}"
    );
}

#[test]
fn sizes() {
    for (bytes, expected) in [
        (0, "0.0 B"),
        (512, "512.0 B"),
        (1 << 20, "1.0 MiB"),
        (1_500_000_000, "1.3 GiB"),
        (u64::MAX, "16777215.9 TiB"),
    ] {
        assert_eq!(super::size(bytes), expected);
    }
}
