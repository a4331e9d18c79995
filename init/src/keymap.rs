//! The keyboard layout of the console, which decides what a typed passphrase is.
//!
//! It is set before the first question, and before keys are typed ahead of it as far as that can be: the kernel
//! translates a key when it is pressed.

mod ioctl;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use engine::image;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Any virtual terminal will do: all share one keymap.
const TERMINAL: &str = "/dev/tty0";
/// The layout that the kernel begins with.
const KERNELS_OWN: &str = "us";

/// Sets the layout of this name, or the image's default. What hinders it goes to the log: a serial console needs none.
pub fn set(name: Option<&str>) {
    let path = file(name.unwrap_or(image::DEFAULT_KEYMAP));
    let keymap = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(_) if name.is_none_or(|name| name == KERNELS_OWN) => return,
        Err(error) => {
            let there = present();
            let there = if there.is_empty() { "no other".to_owned() } else { there.join(", ") };
            log::warn!(
                "rd.vconsole.keymap={}: {}: {error}; the image has {there}, `rootward build --keymap NAME` brings one",
                name.unwrap_or_default(),
                path.display(),
            );
            return set(None);
        }
    };
    if let Err(error) = load(&path, &keymap) {
        log::warn!("{error}; passphrases are typed as on a US keyboard");
    }
}

fn file(name: &str) -> PathBuf {
    // A name is no path: what is not one file's name finds nothing.
    Path::new("/").join(image::KEYMAP_DIRECTORY).join(format!("{}.bmap", name.replace('/', "_")))
}

/// The layouts that the image has.
fn present() -> Vec<String> {
    let entries = std::fs::read_dir(Path::new("/").join(image::KEYMAP_DIRECTORY));
    let names = entries.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".bmap").filter(|name| *name != image::DEFAULT_KEYMAP).map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn load(path: &Path, bytes: &[u8]) -> Result<()> {
    let keymap = ondisk::keymap::parse(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        .on("read keymap", path)?;
    let terminal = match open() {
        // A machine without a screen, or a kernel without virtual terminals.
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::IO) => return Ok(()),
        opened => opened.on("open", TERMINAL)?,
    };
    let mut refused = 0_usize;
    // A key that the layout leaves out keeps what it means, as loadkeys(1) would leave it.
    for meaning in keymap.into_iter().filter(|meaning| meaning.symbol != ondisk::keymap::HOLE) {
        if let Err(errno) = ioctl::set_key(terminal.as_fd(), meaning) {
            // One symbol that this kernel does not know is no reason to type on another layout.
            log::debug!("key {} with modifiers {}: {errno}", meaning.key, meaning.table);
            refused = refused.saturating_add(1);
        }
    }
    if refused > 0 {
        log::info!("{}: the kernel refused {refused} symbols", path.display());
    }
    Ok(())
}

fn open() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(TERMINAL, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}
