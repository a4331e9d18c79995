//! Looking at files inside a root that is not ours yet: no symbolic link leads out of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Opens `path` as a process whose root is `root` would see it: absolute links and `..` stay inside.
///
/// # Errors
///
/// openat2(2)'s; `ENOSYS` before Linux 5.6 is answered by walking the path here.
pub fn open(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    // openat2(2) refuses words that mean nothing together with O_PATH.
    let never_control = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
    let flags = flags | OFlags::CLOEXEC | never_control;
    match openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOSYS) => walk::open(root.as_fd(), path, flags),
        other => other,
    }
}

/// Reads at most `limit` bytes of a regular file inside `root`; neither the file nor its directory may be a symbolic
/// link when `no_symlinks` is set.
///
/// # Errors
///
/// `ELOOP` for a refused link, `EINVAL` for something that is no regular file, else openat2(2)'s and read(2)'s.
pub fn read_text(root: impl AsFd, path: &str, limit: u64, no_symlinks: bool) -> io::Result<String> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | if no_symlinks { OFlags::NOFOLLOW } else { OFlags::empty() };
    let file = File::from(open(root, path, flags)?);
    if !file.metadata()?.is_file() {
        return Err(Errno::INVAL.into());
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The walk for kernels without openat2(2).
mod walk {
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
    use rustix::io::Errno;

    /// As many links as the kernel follows (`MAXSYMLINKS`, include/linux/namei.h).
    const LINKS_MAX: usize = 40;

    pub fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = openat(root, ".", directory, Mode::empty())?;
        let mut open_dirs: Vec<OwnedFd> = Vec::new();
        let mut todo: Vec<String> = components(path);
        let mut links = 0_usize;
        while let Some(name) = todo.pop() {
            if name == ".." {
                open_dirs.pop();
                continue;
            }
            let here = open_dirs.last().unwrap_or(&top);
            let stat = statat(here, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            let last = todo.is_empty();
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
                && !(last && flags.contains(OFlags::NOFOLLOW))
            {
                links = links.saturating_add(1);
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(here, name.as_str(), Vec::new())?;
                let target = target.to_str().map_err(|_| Errno::ILSEQ)?;
                if target.starts_with('/') {
                    open_dirs.clear();
                }
                todo.extend(components(target));
            } else if last {
                let opened = openat(here, name.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())?;
                // A path that was replaced by a link in between is caught by NOFOLLOW, or here with O_PATH.
                let same = fstat(&opened)?;
                return if (same.st_dev, same.st_ino) == (stat.st_dev, stat.st_ino) {
                    Ok(opened)
                } else {
                    Err(Errno::AGAIN)
                };
            } else {
                open_dirs.push(openat(here, name.as_str(), directory, Mode::empty())?);
            }
        }
        openat(open_dirs.last().unwrap_or(&top), ".", flags, Mode::empty())
    }

    /// In reverse, so that the next one is popped.
    fn components(path: &str) -> Vec<String> {
        path.split('/').filter(|name| !name.is_empty() && *name != ".").rev().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A root with links that try to get out.
    fn tree(name: &str) -> std::path::PathBuf {
        let top = std::env::temp_dir().join(format!("rootward-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("root/usr/lib")).expect("directories");
        fs::write(top.join("outside"), "outside").expect("file");
        fs::write(top.join("root/usr/lib/init"), "inside").expect("file");
        symlink("/usr/lib/init", top.join("root/absolute")).expect("link");
        symlink("../../../../usr/lib/init", top.join("root/usr/dots")).expect("link");
        symlink("usr/lib", top.join("root/lib")).expect("link");
        symlink("../outside", top.join("root/escape")).expect("link");
        symlink("loop", top.join("root/loop")).expect("link");
        top
    }

    fn both(root: &std::path::Path, path: &str) -> [Result<String, Errno>; 2] {
        let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("root");
        let read = |opened: Result<OwnedFd, Errno>| {
            opened.map(|fd| {
                let mut text = String::new();
                File::from(fd).read_to_string(&mut text).expect("read");
                text
            })
        };
        [
            read(open(&root, path, OFlags::RDONLY)),
            read(walk::open(root.as_fd(), path, OFlags::RDONLY | OFlags::CLOEXEC)),
        ]
    }

    #[test]
    fn links_stay_inside_with_and_without_openat2() {
        let top = tree("links");
        let root = top.join("root");
        for path in [
            "/usr/lib/init",
            "absolute",
            "/usr/dots",
            "lib/init",
            "/lib/../lib/init",
            "../../usr/./lib//init",
        ] {
            assert_eq!(both(&root, path), [Ok("inside".to_owned()), Ok("inside".to_owned())], "{path}");
        }
        for (path, errno) in [
            ("/escape", Errno::NOENT),
            ("/loop", Errno::LOOP),
            ("/none", Errno::NOENT),
            ("/usr/lib/init/x", Errno::NOTDIR),
        ] {
            assert_eq!(both(&root, path), [Err(errno), Err(errno)], "{path}");
        }
        fs::remove_dir_all(top).expect("clean");
    }

    #[test]
    fn a_linked_file_is_refused_on_demand() {
        let top = tree("nofollow");
        let root = rustix::fs::open(top.join("root"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .expect("root");
        assert_eq!(read_text(&root, "/absolute", 3, false).expect("followed"), "ins");
        let refused = read_text(&root, "/absolute", 3, true).map_err(|error| error.raw_os_error());
        assert_eq!(refused, Err(Some(Errno::LOOP.raw_os_error())));
        assert!(read_text(&root, "/usr", 3, true).is_err(), "a directory");
        fs::remove_dir_all(top).expect("clean");
    }
}
