//! LUKS containers made by cryptsetup: blkid's fields, the metadata, and damaged copies of the header.

use std::path::{Path, PathBuf};

use crate::bench::{self, Bench, Disk, agree, agree_on, identify, poke, run};
use ondisk::luks::{self, Luks};
use ondisk::{Kind, Signature};

const MIB: u64 = 1 << 20;

fn format(bench: &Bench, options: &[&str]) -> PathBuf {
    let disk = bench.image(20 * MIB);
    let key = bench.path("key");
    std::fs::write(&key, "secret").unwrap();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"luksFormat", &"-q"];
    arguments.extend(options.iter().map(|option| option as &dyn AsRef<_>));
    arguments.extend([&disk as &dyn AsRef<_>, &key]);
    run("cryptsetup", &arguments);
    disk
}

fn read(path: &Path) -> Luks {
    luks::read(&Disk::open(path, 512)).unwrap().expect("a LUKS header")
}

const PBKDF2: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

#[test]
fn luks1() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    let disk = format(
        &bench,
        &[
            "--type",
            "luks1",
            "--pbkdf-force-iterations",
            "1000",
            "--cipher",
            "aes-cbc-plain64",
            "--hash",
            "sha512",
        ],
    );
    let signature = agree_on(&disk, Kind::Luks1);
    assert_eq!(signature.cipher.as_deref(), Some("aes-cbc-plain64"));
    let luks = read(&disk);
    assert!(!luks.is_detached());
    assert_eq!((luks.version, luks.keyslots.len(), luks.kdf_memory()), (1, 1, 0));
    let kdf = luks.keyslots[0].kdf.as_ref().unwrap();
    assert_eq!((kdf.name.as_str(), kdf.hash.as_deref(), kdf.iterations), ("pbkdf2", Some("sha512"), 1000));
}

#[test]
fn luks2() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    let long = "x".repeat(47);
    for label in ["", "root", "my disk", "Größe/q'\"\\", long.as_str()] {
        let options = [&["--type", "luks2", "--label", label, "--subsystem", "tests"][..], &PBKDF2].concat();
        let disk = format(&bench, &options);
        let signature = agree_on(&disk, Kind::Luks2);
        assert_eq!(signature.cipher.as_deref(), Some("aes-xts-plain64"));
        assert_eq!(signature.kdf_memory, 0);
        assert_eq!(read(&disk).subsystem.as_deref(), Some(&b"tests"[..]));
    }
}

#[test]
fn luks2_costs_of_a_key_slot() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    let disk = format(
        &bench,
        &[
            "--type",
            "luks2",
            "--pbkdf",
            "argon2id",
            "--pbkdf-memory",
            "4096",
            "--pbkdf-parallel",
            "1",
            "--pbkdf-force-iterations",
            "4",
            "--sector-size",
            "4096",
            "--cipher",
            "aes-cbc-plain64",
        ],
    );
    let luks = read(&disk);
    let kdf = luks.keyslots[0].kdf.clone().unwrap();
    assert_eq!((kdf.name.as_str(), kdf.iterations, kdf.memory, kdf.threads), ("argon2id", 4, 4096, 1));
    assert_eq!(
        (luks.cipher.as_deref(), luks.sector_size, luks.data_offset),
        (Some("aes-cbc-plain64"), 4096, 16 << 20)
    );
    assert_eq!(identify(&disk).only().unwrap().kdf_memory, 4096);
}

#[test]
fn luks2_metadata_sizes() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    for size in ["16k", "64k", "512k", "4M"] {
        let options =
            [&["--type", "luks2", "--luks2-metadata-size", size, "--luks2-keyslots-size", "1M"][..], &PBKDF2]
                .concat();
        let disk = format(&bench, &options);
        let signature = agree_on(&disk, Kind::Luks2);
        assert!(signature.cipher.is_some(), "{size}");
    }
}

#[test]
fn detached_headers() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    for options in [
        &["--type", "luks1", "--pbkdf-force-iterations", "1000"][..],
        &[&["--type", "luks2"][..], &PBKDF2].concat(),
    ] {
        let header = bench.path("header");
        let _ = std::fs::remove_file(&header);
        let disk = format(&bench, &[options, &["--header", header.to_str().unwrap()]].concat());
        assert!(read(&header).is_detached());
        agree(&header);
        assert_eq!(agree(&disk).signatures, []);
        assert_eq!(luks::read(&Disk::open(&disk, 512)).unwrap(), None);
    }
}

#[test]
fn tokens() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    let disk = format(&bench, &[&["--type", "luks2"][..], &PBKDF2].concat());
    let token = bench.path("token.json");
    std::fs::write(&token, r#"{"type":"clevis","keyslots":["0"]}"#).unwrap();
    run("cryptsetup", &[&"token", &"import", &"--json-file", &token, &disk]);
    let luks = read(&disk);
    assert_eq!(luks.tokens.len(), 1);
    assert_eq!((luks.tokens[0].kind.as_str(), &luks.tokens[0].keyslots[..]), ("clevis", &[0][..]));
    agree_on(&disk, Kind::Luks2);
}

fn doubt(path: &Path) -> (Signature, String) {
    let signature = identify(path).only().expect("one signature").clone();
    let doubt = signature.doubt.clone().expect("a doubt");
    (signature, doubt)
}

#[test]
fn damaged_headers() {
    let Some(bench) = Bench::new(&["cryptsetup"]) else { return };
    let disk = format(&bench, &[&["--type", "luks2", "--label", "home"][..], &PBKDF2].concat());
    let intact = identify(&disk).only().unwrap().clone();

    // The JSON area of the first copy: the second copy has everything.
    poke(&disk, 5000, b"damage");
    let (signature, why) = doubt(&disk);
    assert!(why.contains("primary"), "{why}");
    assert_eq!(Signature { doubt: None, ..signature }, intact);
    assert_eq!(bench::ours(&identify(&disk)), bench::blkid(&disk));

    // Its size as well, so that it no longer says where the second copy is.
    poke(&disk, 8, &[0xff; 8]);
    let (signature, why) = doubt(&disk);
    assert!(why.contains("primary"), "{why}");
    assert_eq!(Signature { doubt: None, ..signature }, intact);

    // The first copy is gone altogether.
    poke(&disk, 0, &[0; 4096]);
    let (signature, why) = doubt(&disk);
    assert!(why.contains("missing"), "{why}");
    assert_eq!(Signature { doubt: None, ..signature }, intact);

    // A file system made later wins over the leftover.
    run("mkfs.ext4", &[&"-q", &"-F", &disk]);
    assert_eq!(identify(&disk).only().unwrap().kind, Kind::Ext4);

    // Both copies are damaged: still a container, but nothing in it can be trusted.
    let disk = format(&bench, &[&["--type", "luks2"][..], &PBKDF2].concat());
    poke(&disk, 5000, b"damage");
    poke(&disk, 16384 + 5000, b"damage");
    let (signature, why) = doubt(&disk);
    assert!(why.contains("both"), "{why}");
    assert_eq!((signature.kind, signature.cipher), (Kind::Luks2, None));
}
