//! Whether the new root has an init that the kernel would execute, seen before anything is moved.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use engine::Failure;
use rustix::fs::{FileType, OFlags, StatVfsMountFlags, fstat, fstatvfs};
use rustix::io::Errno;

use super::executable::{self, Executable};
use crate::mount_root::SYSROOT;
use crate::new_root;

/// Tried after `init=`, or alone (cmdline.md: there is no further fallback).
const DEFAULT: &str = "/sbin/init";

/// How many interpreters of interpreters the kernel follows (fs/exec.c: `BINPRM_BUF` recursion limit).
const DEPTH_MAX: usize = 4;

/// An init that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealInit {
    /// Path inside the new root, as it is executed.
    pub path: String,
    /// It is systemd (by the name behind all symbolic links).
    pub is_systemd: bool,
    /// What was asked for instead, and why it cannot be executed.
    pub refused: Option<(String, String)>,
}

/// The first candidate that can be executed: `init=`, then `/sbin/init`.
///
/// # Errors
///
/// [`Failure::NoInit`] with every candidate and what is wrong with it.
pub fn find(root: &OwnedFd, init: Option<&str>) -> Result<RealInit, Failure> {
    let mut refused: Vec<(String, String)> = Vec::new();
    for path in init.into_iter().chain(Some(DEFAULT).filter(|default| init != Some(default))) {
        match check(root, path, 0) {
            Ok(resolved) => {
                let is_systemd = resolved.rsplit('/').next() == Some("systemd");
                return Ok(RealInit { path: path.to_owned(), is_systemd, refused: refused.pop() });
            }
            Err(reason) => refused.push((path.to_owned(), reason)),
        }
    }
    Err(Failure::NoInit(refused))
}

/// The path behind all links, as seen from the outside, or why the kernel would refuse.
fn check(root: &OwnedFd, path: &str, depth: usize) -> Result<String, String> {
    let file =
        new_root::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => missing(root, path),
            Errno::LOOP => "its symbolic links go round in circles".to_owned(),
            errno => std::io::Error::from(errno).to_string(),
        })?;
    let stat = fstat(&file).map_err(|errno| errno.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is not a regular file".to_owned());
    }
    if stat.st_mode & 0o111 == 0 {
        return Err("it is not executable (chmod +x)".to_owned());
    }
    if fstatvfs(&file).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        return Err("it lies on a file system mounted noexec (see rootflags= and fstab)".to_owned());
    }
    let mut head = vec![0_u8; executable::HEAD];
    let length =
        rustix::io::pread(&file, &mut head, 0).map_err(|errno| format!("it cannot be read: {errno}"))?;
    match executable::recognise(head.get(..length).unwrap_or_default()) {
        Executable::Unknown if length == 0 => return Err("it is empty".to_owned()),
        Executable::Unknown => return Err("it is neither a program (ELF) nor a script (#!)".to_owned()),
        Executable::Elf { machine, .. } if !executable::runs_here(machine) => {
            return Err(format!("it is a program for another machine (ELF machine {machine})"));
        }
        Executable::Elf { loader: Some(interpreter), .. } | Executable::Script(interpreter) => {
            if depth >= DEPTH_MAX {
                return Err("its interpreters are nested too deep".to_owned());
            }
            check(root, &interpreter, depth.saturating_add(1))
                .map_err(|reason| format!("its interpreter {interpreter} cannot be executed: {reason}"))?;
        }
        Executable::Elf { loader: None, .. } => {}
    }
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let resolved =
        rustix::fs::readlink(link.as_str(), Vec::new()).map_err(|errno| format!("{link}: {errno}"))?;
    let resolved = resolved.to_string_lossy();
    Ok(resolved.strip_prefix(SYSROOT).unwrap_or(&resolved).to_owned())
}

/// A dangling link deserves a better word than "does not exist".
fn missing(root: &OwnedFd, path: &str) -> String {
    let link = new_root::open(root, path, OFlags::PATH | OFlags::NOFOLLOW)
        .and_then(|link| rustix::fs::readlinkat(&link, "", Vec::new()));
    match link {
        Ok(target) => format!("it is a symbolic link to {}, which does not exist", target.to_string_lossy()),
        Err(_) => "it does not exist".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    fn tree(name: &str) -> PathBuf {
        let top = std::env::temp_dir().join(format!("rootward-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("sbin")).expect("directories");
        fs::create_dir_all(top.join("usr/lib/systemd")).expect("directories");
        top
    }

    fn put(path: PathBuf, bytes: &[u8], mode: u32) {
        fs::write(&path, bytes).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    }

    fn open(root: &Path) -> OwnedFd {
        rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY, rustix::fs::Mode::empty()).expect("root")
    }

    /// A static program for this machine: our own header without program headers.
    fn program() -> Vec<u8> {
        let mut head = fs::read("/proc/self/exe").expect("own binary")[..64].to_vec();
        head[44..46].fill(0);
        head[56..58].fill(0);
        head
    }

    #[test]
    fn systemd_behind_an_absolute_link() {
        let top = tree("systemd");
        put(top.join("usr/lib/systemd/systemd"), &program(), 0o755);
        symlink("/usr/lib/systemd/systemd", top.join("sbin/init")).expect("link");
        let found = find(&open(&top), None);
        assert_eq!(found, Ok(RealInit { path: "/sbin/init".into(), is_systemd: true, refused: None }));
        fs::remove_dir_all(top).expect("clean");
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let top = tree("refusals");
        put(top.join("data"), b"not a program", 0o755);
        put(top.join("empty"), b"", 0o755);
        put(top.join("plain"), &program(), 0o644);
        put(top.join("script"), b"#!/bin/nosuch\n", 0o755);
        let mut foreign = program();
        foreign[18] = 0xee;
        put(top.join("foreign"), &foreign, 0o755);
        symlink("/nowhere", top.join("dangling")).expect("link");
        symlink("circle", top.join("circle")).expect("link");
        let root = open(&top);
        let table = [
            ("/none", "does not exist"),
            ("/data", "neither a program"),
            ("/empty", "empty"),
            ("/plain", "not executable"),
            ("/script", "interpreter /bin/nosuch cannot be executed: it does not exist"),
            ("/dangling", "symbolic link to /nowhere"),
            ("/circle", "circles"),
            ("/usr", "not a regular file"),
        ];
        for (path, expected) in table {
            let Err(Failure::NoInit(refused)) = find(&root, Some(path)) else { panic!("{path} was taken") };
            let [(first, reason), (second, _)] = refused.as_slice() else { panic!("{refused:?}") };
            assert_eq!((first.as_str(), second.as_str()), (path, DEFAULT));
            assert!(reason.contains(expected), "{path}: {reason}");
        }
        if cfg!(target_arch = "x86_64") {
            assert!(matches!(check(&root, "/foreign", 0), Err(reason) if reason.contains("another machine")));
        }
        fs::remove_dir_all(top).expect("clean");
    }

    #[test]
    fn a_bad_init_word_falls_back_to_the_default() {
        let top = tree("fallback");
        put(top.join("sbin/init"), &program(), 0o755);
        put(top.join("other"), &program(), 0o755);
        let root = open(&top);
        let path = |init| find(&root, init).map(|found| (found.path, found.is_systemd));
        assert_eq!(path(Some("/none")), Ok(("/sbin/init".into(), false)));
        assert_eq!(path(Some("/other")), Ok(("/other".into(), false)));
        assert_eq!(path(None), Ok(("/sbin/init".into(), false)));
        fs::remove_dir_all(top).expect("clean");
    }
}
