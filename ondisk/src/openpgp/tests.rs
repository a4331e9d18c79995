//! gpg itself is the oracle.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

/// A directory for gpg, which wants one of its own.
struct Gpg(PathBuf);

impl Gpg {
    fn new(name: &str) -> Option<Gpg> {
        let there = Command::new("gpg").arg("--version").output().is_ok();
        assert!(there || std::env::var_os("ROOTWARD_REQUIRE_TOOLS").is_none(), "gpg is not installed");
        let home = std::env::temp_dir().join(format!("rootward-gpg-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(&home).unwrap();
        there.then_some(Gpg(home))
    }

    fn encrypt(&self, options: &[&str], passphrase: &str, data: &[u8]) -> Vec<u8> {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.0)
            .args(["--batch", "--quiet", "--no-permission-warning", "--pinentry-mode", "loopback"])
            .args(["--passphrase", passphrase])
            .args(options)
            .args(["--symmetric", "--output", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(data).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{options:?}");
        output.stdout
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "gpg-agent"]).status();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_gpg_has_encrypted() {
    let Some(gpg) = Gpg::new("all") else { return };
    let noise: Vec<u8> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let quick = ["--s2k-count", "65536"];
    for options in [
        &["--armor"][..],
        &["--cipher-algo", "AES128", "--s2k-digest-algo", "SHA512", "--compress-algo", "none"],
        &["--cipher-algo", "AES192", "--s2k-digest-algo", "SHA1"],
        &["--cipher-algo", "AES256", "--s2k-digest-algo", "SHA384", "--compress-algo", "zlib"],
        &["--s2k-mode", "1", "--s2k-digest-algo", "SHA224", "--s2k-cipher-algo", "AES256"],
        &["--s2k-mode", "0", "--compress-algo", "zip"],
    ] {
        for data in [&b"a key\n"[..], &noise, b""] {
            let file = gpg.encrypt(&[&quick[..], options].concat(), "correct horse", data);
            assert_eq!(check(&file), Ok(()), "{options:?}");
            let plain = decrypt(&file, b"correct horse", 1 << 20).map(|plain| plain.to_vec());
            assert_eq!(plain.as_deref(), Ok(data), "{options:?}");
            assert_eq!(decrypt(&file, b"wrong horse", 1 << 20), Err(OpenPgpError::WrongPassphrase));
            if data.len() > 100 {
                assert_eq!(decrypt(&file, b"correct horse", 100), Err(OpenPgpError::TooLarge(100)));
            }
        }
    }
    // With the count that gpg finds fit for this machine.
    let plain = decrypt(&gpg.encrypt(&[], "x", b"key"), b"x", 1 << 10);
    assert_eq!(plain.map(|plain| plain.to_vec()).as_deref(), Ok(&b"key"[..]));
    let other = gpg.encrypt(&["--cipher-algo", "CAST5"], "x", b"key");
    assert_eq!(check(&other), Err(OpenPgpError::Unsupported("a cipher other than AES")));
    let other = gpg.encrypt(&["--compress-algo", "bzip2"], "x", &noise);
    assert!(matches!(decrypt(&other, b"x", 1 << 20), Err(OpenPgpError::Unsupported(_))));
}

#[test]
fn every_change_is_noticed() {
    let Some(gpg) = Gpg::new("changed") else { return };
    let file = gpg.encrypt(&["--s2k-count", "1024", "--compress-algo", "none"], "x", b"the key");
    for length in 0..file.len() {
        assert!(decrypt(&file[..length], b"x", 1 << 10).is_err(), "{length} bytes");
    }
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        let plain = decrypt(&changed, b"x", 1 << 10).map(|plain| plain.to_vec());
        assert_ne!(plain.as_deref(), Ok(&b"another"[..]));
        assert!(plain.is_err() || plain.as_deref() == Ok(b"the key"), "byte {at}: {plain:?}");
    }
}

#[test]
fn what_is_no_message() {
    for foreign in [&b""[..], b"plain text", b"LUKS\xba\xbe", &[0; 100]] {
        assert_eq!(check(foreign), Err(OpenPgpError::Foreign), "{foreign:?}");
    }
    // A session key for a public key, then data.
    let public = [0xc1, 1, 3, 0xd2, 1, 1];
    assert_eq!(check(&public), Err(OpenPgpError::PublicKey));
}
