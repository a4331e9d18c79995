//! The `rootward` command as users run it.

mod oracle;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use oracle::{Scratch, build_tree, tool};

fn rootward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootward"));
    command.env_remove("SOURCE_DATE_EPOCH").stdin(Stdio::null());
    command
}

fn build(scratch: &Scratch, modules: &Path, more: &[&str], image: &str) -> Output {
    let init = scratch.file("bin/init", b"\x7fELF pretends");
    let mut command = rootward();
    command.arg("build").arg("--modules-dir").arg(modules).arg("--init").arg(init);
    command.args(more).arg("-o").arg(scratch.path().join(image)).output().unwrap()
}

#[test]
fn the_same_bytes_every_time() {
    let scratch = Scratch::new("same");
    let modules = build_tree(scratch.path());
    scratch.file("extra/one", b"1");
    scratch.file("extra/two", b"2");
    let add = format!("{}:/opt", scratch.path().join("extra").display());
    for kind in [&["--universal"][..], &["--modules", "ext4,virtio_blk", "--compress", "xz"]] {
        let more: Vec<&str> = kind.iter().copied().chain(["--cmdline", "quiet", "--add", &add]).collect();
        let first = build(&scratch, &modules, &more, "a");
        assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
        // Neither the clock nor the times of the files may show.
        fs::write(scratch.path().join("extra/one"), b"1").unwrap();
        assert!(build(&scratch, &modules, &more, "b").status.success());
        let read = |name: &str| fs::read(scratch.path().join(name)).unwrap();
        assert!(read("a") == read("b"), "{kind:?}");
    }
    let image = scratch.path().join("a");
    assert_eq!(fs::metadata(&image).unwrap().permissions().mode() & 0o777, 0o600);
    let times = pack::list(&image).unwrap().into_iter().flat_map(|segment| segment.entries);
    assert!(times.into_iter().all(|entry| entry.mtime == 0));
}

#[test]
fn listings_name_everything() {
    let scratch = Scratch::new("list");
    let modules = build_tree(scratch.path());
    assert!(build(&scratch, &modules, &["--modules=ext4", "--layout=per-module"], "image").status.success());
    // What other builders do: an uncompressed archive in front, zeros in between.
    scratch.file("early/kernel/x86/microcode", b"code");
    let script = format!("cd {}/early && find . | cpio -o -H newc --quiet", scratch.path().display());
    let mut joined = tool("sh", &["-ec", &script]).into_bytes();
    joined.resize(joined.len().next_multiple_of(512) + 512, 0);
    joined.extend(fs::read(scratch.path().join("image")).unwrap());
    let joined = scratch.file("joined", &joined);
    let output = rootward().arg("list").arg(joined).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "# at 0: ",
        " kernel/x86/microcode\n",
        " lib/modules/9.9.9-test/kernel/fs/ext4/ext4.ko.zst\n",
        "-0755         13 init\n",
        "c0600       5, 1 dev/console\n",
        "l0777         14 etc/os-release -> initrd-release\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert_eq!(text.matches("# at ").count(), 3);
}

#[test]
fn failures_leave_the_old_image_and_say_why() {
    let scratch = Scratch::new("failure");
    let modules = build_tree(scratch.path());
    scratch.file("image", b"old");
    for (more, word) in [
        (&["--modules", "nonsense"][..], "nonsense"),
        (&["--universal", "--add", "/does/not/exist"], "/does/not/exist"),
        (&["--frobnicate"], "usage"),
        (&["--universal", "--modules-dir", "/does/not/exist", "--kver", "1"], "depmod"),
    ] {
        let output = build(&scratch, &modules, more, "image");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(word), "{more:?}: {errors}");
        assert_eq!(fs::read(scratch.path().join("image")).unwrap(), b"old");
    }
    let left = fs::read_dir(scratch.path()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".partial")));
}

#[test]
fn whoever_is_killed_leaves_no_half_image() {
    let scratch = Scratch::new("kill");
    let modules = build_tree(scratch.path());
    let noise: Vec<u8> =
        (0..4_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let big = scratch.file("noise", &noise);
    let add = format!("{}:/noise", big.display());
    let more = ["--modules", "ext4", "--compress", "none", "--add", &add];
    let begin = Instant::now();
    assert!(build(&scratch, &modules, &more, "whole").status.success());
    let whole_time = begin.elapsed();
    let whole = fs::read(scratch.path().join("whole")).unwrap();
    let target = scratch.path().join("image");
    let mut killed = 0;
    for n in 0_u32..12 {
        let init = scratch.path().join("bin/init");
        let mut child = rootward()
            .arg("build")
            .args(["--modules-dir", modules.to_str().unwrap(), "--init", init.to_str().unwrap()])
            .args(more)
            .args(["-o", target.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + whole_time * n / 12;
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
        if let Ok(bytes) = fs::read(&target) {
            assert!(bytes == whole, "a half image after {n} twelfths");
            fs::remove_file(&target).unwrap();
        }
    }
    assert!(killed > 0, "nobody was killed in time");
}
