//! `cargo xtask native`: static libdevmapper and libcryptsetup for `init`.
//!
//! Debian ships neither as a static archive, so both are built from Debian's own source packages, whose
//! files apt checks against its signed index. The result is kept in the cache under a key made of the
//! recipe, the compiler and the SHA-256 of every source file, and `target/native` points at it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests_qemu::debian::{self, Apt};

use crate::{Failure, host, output, root, run, say};

/// The release whose sources are built, on whichever release: one set of C code is enough to trust.
const SUITE: &str = "bookworm";

const SOURCES: [&str; 2] = ["lvm2", "cryptsetup"];

/// Small code, position-independent for a static-pie, in sections that the linker can drop.
const CFLAGS: &str = "CFLAGS=-Os -fPIC -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables";

/// The commands that build and install, run in the source tree named first. `@PREFIX@` is replaced.
///
/// libdevmapper is built without udev synchronisation, since no udev answers in the initramfs. The nettle
/// backend of libcryptsetup is self-contained and the fastest at PBKDF2 of those that fit; its block
/// ciphers go through the kernel.
const RECIPE: &[(&str, &[&str])] = &[
    (
        "lvm2",
        &[
            "./configure",
            "--prefix=@PREFIX@",
            "--libdir=@PREFIX@/lib",
            "--enable-static_link",
            "--enable-pkgconfig",
            "--disable-udev_sync",
            "--disable-udev_rules",
            "--disable-selinux",
            "--disable-readline",
            "--disable-blkid_wiping",
            "--disable-dmeventd",
            "--disable-nls",
            "--with-symvers=no",
            "--with-thin=none",
            "--with-cache=none",
            "--with-vdo=none",
            "--with-writecache=none",
            "--with-integrity=none",
            CFLAGS,
        ],
    ),
    ("lvm2", &["make", "-s", "-C", "include"]),
    ("lvm2", &["make", "-s", "-C", "libdm", "-j@JOBS@"]),
    ("lvm2", &["make", "-s", "-C", "libdm", "install_static", "install_include", "install_pkgconfig"]),
    // Debian's tarball of cryptsetup carries no configure script.
    ("cryptsetup", &["./autogen.sh"]),
    (
        "cryptsetup",
        &[
            "./configure",
            "--prefix=@PREFIX@",
            "--libdir=@PREFIX@/lib",
            "--enable-static",
            "--disable-shared",
            "--with-crypto_backend=nettle",
            "--enable-internal-sse-argon2",
            "--disable-blkid",
            "--disable-udev",
            "--disable-nls",
            "--disable-asciidoc",
            "--disable-cryptsetup",
            "--disable-veritysetup",
            "--disable-integritysetup",
            "--disable-ssh-token",
            "--disable-external-tokens",
            "--disable-selinux",
            "--disable-fips",
            // configure looks for libdevmapper's header and library before it asks pkg-config.
            "CPPFLAGS=-I@PREFIX@/include",
            "LDFLAGS=-L@PREFIX@/lib",
            CFLAGS,
        ],
    ),
    ("cryptsetup", &["make", "-s", "-j@JOBS@", "libcryptsetup.la"]),
    (
        "cryptsetup",
        &["make", "-s", "install-libLTLIBRARIES", "install-pkgconfigDATA", "install-includeHEADERS"],
    ),
];

/// What must be there afterwards.
const PRODUCTS: [&str; 4] = [
    "lib/libdevmapper.a",
    "lib/libcryptsetup.a",
    "lib/pkgconfig/devmapper.pc",
    "lib/pkgconfig/libcryptsetup.pc",
];

/// File in a finished prefix that holds its key; written last.
const KEY: &str = "key";

/// Builds the libraries unless the cache has them, and points `target/native` at them. With `fresh`,
/// newer source packages are looked for even if the present libraries would do.
pub fn native(fresh: bool) -> Result<(), Failure> {
    host::for_native()?;
    let link = root().join("target/native");
    let recipe = recipe_text()?;
    let present = fs::read_to_string(link.join(KEY)).unwrap_or_default();
    if !fresh && present.starts_with(&recipe) && PRODUCTS.iter().all(|file| link.join(file).exists()) {
        return Ok(());
    }
    let prefix = build(&recipe)?;
    let before = fs::read_link(&link).ok();
    if before.as_ref() == Some(&prefix) {
        return Ok(());
    }
    fs::create_dir_all(root().join("target"))?;
    let temporary = root().join(format!("target/native.{}", std::process::id()));
    symlink(&prefix, &temporary)?;
    fs::rename(&temporary, &link)?;
    if before.is_some() { forget_bindings() } else { Ok(()) }
}

/// Makes cargo build the crates anew that carry the old archives inside them: it sees the same path and
/// would go on using them.
fn forget_bindings() -> Result<(), Failure> {
    for profile in ["dev", "release"] {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root()).args(["clean", "--quiet", "--profile", profile]);
        run(cargo.args(["--package", "libcryptsetup-rs-sys", "--package", "devicemapper-sys"]))?;
    }
    Ok(())
}

/// The part of the key that is known without a package index.
fn recipe_text() -> Result<String, Failure> {
    let compiler = output(Command::new("cc").arg("--version"))?;
    let mut text = format!("compiler {}\n", compiler.lines().next().unwrap_or_default());
    for (tree, words) in RECIPE {
        writeln!(text, "{tree}: {}", words.join(" "))?;
    }
    Ok(text)
}

/// Returns a finished prefix for `recipe` and the current sources of [`SUITE`].
fn build(recipe: &str) -> Result<PathBuf, Failure> {
    let cache = debian::cache_root();
    let apt = Apt::for_suite(SUITE, &cache)?;
    let mut key = recipe.to_owned();
    for source in SOURCES {
        for file in apt.source_files(source)? {
            writeln!(key, "source {} {}", file.sha256, file.name)?;
        }
    }
    let directory = cache.join("native");
    let _lock = debian::lock(&directory.join("lock"))?;
    let pending = directory.join("key");
    fs::write(&pending, &key)?;
    let name = debian::sha256(&pending)?;
    let prefix = directory.join(name.get(..16).unwrap_or(&name));
    if fs::read_to_string(prefix.join(KEY)).is_ok_and(|built| built == key) {
        return Ok(prefix);
    }
    say("building static libdevmapper and libcryptsetup (about a minute)");
    let work = directory.join("work");
    for stale in [&work, &prefix] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    for source in SOURCES {
        apt.source(source, &work)?;
    }
    let log = directory.join("build.log");
    let log_file = fs::File::create(&log)?;
    for (tree, words) in RECIPE {
        step(&work.join(tree), words, &prefix, &log_file)
            .map_err(|Failure(message)| Failure(format!("{message}; see {}", log.display())))?;
    }
    for name in ["devmapper.pc", "libcryptsetup.pc"] {
        relocate(&prefix.join("lib/pkgconfig").join(name), &prefix)?;
    }
    if let Some(file) = PRODUCTS.iter().find(|file| !prefix.join(file).exists()) {
        return Err(Failure(format!("the build left no {file}; see {}", log.display())));
    }
    fs::rename(&pending, prefix.join(KEY))?;
    fs::remove_dir_all(&work)?;
    Ok(prefix)
}

fn step(tree: &Path, words: &[&str], prefix: &Path, log: &fs::File) -> Result<(), Failure> {
    let jobs = std::thread::available_parallelism().map_or(2, usize::from).to_string();
    let prefix_text = prefix.display().to_string();
    let mut arguments =
        words.iter().map(|word| word.replace("@PREFIX@", &prefix_text).replace("@JOBS@", &jobs));
    let program = arguments.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(tree).env("LC_ALL", "C");
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    run(command.stdout(log.try_clone()?).stderr(log.try_clone()?))
}

/// Lets a pkg-config file find its prefix from its own place, so that a cache may be moved.
fn relocate(file: &Path, prefix: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(file)?;
    fs::write(file, text.replace(&prefix.display().to_string(), "${pcfiledir}/../.."))?;
    Ok(())
}
