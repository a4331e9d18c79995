//! `cargo xtask build`: the two release programs, checked for what is promised of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf::{self, Elf};
use crate::{Failure, native, output, root, run, size};

/// Most that a stripped `/init` may take, in bytes: 3.5 MiB.
const INIT_LIMIT: usize = 7 << 19;

/// Where the programs are left.
pub struct Artifacts {
    /// The `/init` of the image.
    pub init: PathBuf,
    /// The command that builds images.
    pub rootward: PathBuf,
}

/// Builds both programs in the release profile, leaves them in target/rootward and checks that they are
/// static and stripped and that `/init` is within its limit. With `report`, prints what fills them.
pub fn build(report: bool) -> Result<Artifacts, Failure> {
    native::native(false)?;
    let directory = root().join("target/rootward");
    fs::create_dir_all(&directory)?;
    let init = program(&directory, "rootward-init", "init", Some(INIT_LIMIT), report)?;
    let rootward = program(&directory, "rootward-pack", "rootward", None, report)?;
    Ok(Artifacts { init, rootward })
}

fn program(
    directory: &Path,
    package: &str,
    name: &str,
    limit: Option<usize>,
    report: bool,
) -> Result<PathBuf, Failure> {
    let map = directory.join(format!("{name}.map"));
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args([
        "rustc",
        "--quiet",
        "--release",
        "--package",
        package,
        "--bin",
        name,
        "--",
    ]);
    // A static-pie relocates itself, by 24 bytes per pointer unless they are packed (glibc 2.36). Only the
    // last compilation sees these arguments; the linker's map costs no second build.
    cargo.arg("-Clink-arg=-Wl,-z,pack-relative-relocs");
    // Functions of the same code become one; the linker is rustc's own lld.
    cargo.arg("-Clink-arg=-Wl,--icf=all");
    // Unwind tables and their index are for panics that unwind, which abort here.
    cargo.arg("-Clink-arg=-Wl,--no-eh-frame-hdr");
    let script = root().join("xtask/src/without_unwind_tables.ld");
    cargo.arg(format!("-Clink-arg=-Wl,-T,{}", script.display()));
    run(cargo.arg(format!("-Clink-arg=-Wl,-Map={}", map.display())))?;
    let built = release_directory()?.join(name);
    let file = fs::read(&built)?;
    let elf = elf::parse(&file).ok_or_else(|| Failure(format!("{} is no ELF program", built.display())))?;
    check(name, &elf, file.len(), limit)?;
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.new"));
    fs::copy(&built, &temporary)?;
    fs::rename(&temporary, &path)?;
    if report {
        let map = fs::read_to_string(&map).unwrap_or_default();
        print!("{}", size::report(name, file.len(), limit, &elf, &map));
    }
    Ok(path)
}

/// The promises: no interpreter, no shared library, no symbol table, no more than `limit` bytes.
fn check(name: &str, elf: &Elf, size: usize, limit: Option<usize>) -> Result<(), Failure> {
    if let Some(interpreter) = &elf.interpreter {
        return Err(Failure(format!("{name} is not static: it asks for the interpreter {interpreter}")));
    }
    if elf.needed > 0 {
        return Err(Failure(format!("{name} is not static: it needs {} shared libraries", elf.needed)));
    }
    if elf.symbols {
        return Err(Failure(format!("{name} is not stripped")));
    }
    match limit {
        Some(limit) if size > limit => Err(Failure(format!("{name} takes {size} bytes, more than {limit}"))),
        _ => Ok(()),
    }
}

/// Where cargo leaves release programs for the host, which .cargo/config.toml names as explicit target.
fn release_directory() -> Result<PathBuf, Failure> {
    let triple = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(triple.trim()).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_promise_is_an_error() {
        let good = || Elf { interpreter: None, needed: 0, symbols: false, sections: Vec::new() };
        assert!(check("init", &good(), 10, Some(10)).is_ok());
        assert!(check("init", &good(), 11, Some(10)).is_err());
        assert!(check("init", &Elf { interpreter: Some("/ld.so".into()), ..good() }, 1, None).is_err());
        assert!(check("init", &Elf { needed: 1, ..good() }, 1, None).is_err());
        assert!(check("init", &Elf { symbols: true, ..good() }, 1, None).is_err());
    }
}
