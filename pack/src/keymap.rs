//! Keyboard layouts of the console: kbd's loadkeys(1) compiles them here, so that `/init` needs no program for it.

use std::path::Path;
use std::process::{Command, Stdio};

use engine::image;

use crate::error::{Error, Result};
use crate::kernel;
use crate::tree::{Node, Tree};

/// The layout that the kernel begins with.
const KERNELS_OWN: &str = "us";
/// vconsole.conf(5), where systemd's layout stands.
const VCONSOLE: &str = "etc/vconsole.conf";
/// keyboard(5), where Debian's stands.
const KEYBOARD: &str = "etc/default/keyboard";
/// What setupcon(1) made of it.
const CACHED: &str = "etc/console-setup/cached_UTF-8_del.kmap.gz";

/// Brings a layout, by the name or the file that loadkeys(1) takes; the first one becomes the image's default.
///
/// # Errors
/// loadkeys is not installed, or does not know or understand the layout.
pub fn add(tree: &mut Tree, name: &str) -> Result<()> {
    let failed = |cause: String| Error::Keymap { name: name.to_owned(), cause };
    let short = short_name(name).ok_or_else(|| failed("that is no name for a file".to_owned()))?;
    let compiled = compile(Path::new(name)).map_err(failed)?;
    insert(tree, short, compiled);
    Ok(())
}

/// Brings the layout of the machine with this root, if it has one other than the kernel's own; what went wrong is
/// returned as warnings, since an image with the wrong layout still boots.
///
/// # Errors
/// A file of the machine that is there and cannot be read.
pub fn add_own(tree: &mut Tree, root: &Path) -> Result<Vec<String>> {
    let read = |name: &str| -> Result<String> {
        let content = kernel::optional(&root.join(name))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    if let Some(name) = assigned(&read(VCONSOLE)?, "KEYMAP") {
        if name == KERNELS_OWN {
            return Ok(Vec::new());
        }
        return Ok(add(tree, &name).err().map(|error| error.to_string()).into_iter().collect());
    }
    let keyboard = read(KEYBOARD)?;
    let Some(layout) = assigned(&keyboard, "XKBLAYOUT") else { return Ok(Vec::new()) };
    if layout == KERNELS_OWN && assigned(&keyboard, "XKBVARIANT").is_none() {
        return Ok(Vec::new());
    }
    let file = root.join(CACHED);
    let compiled = if file.exists() {
        compile(&file)
    } else {
        Err(format!("/{CACHED} is missing; run `setupcon --save`, or name a layout with --keymap"))
    };
    match compiled {
        // Layouts may be a list, the one in use first.
        Ok(compiled) => {
            let first = layout.split(',').next().and_then(short_name);
            insert(tree, first.unwrap_or("console"), compiled);
            Ok(Vec::new())
        }
        Err(cause) => Ok(vec![Error::Keymap { name: layout, cause }.to_string()]),
    }
}

fn insert(tree: &mut Tree, name: &str, compiled: Vec<u8>) {
    let directory = image::KEYMAP_DIRECTORY;
    tree.file(&format!("{directory}/{name}.bmap"), compiled);
    let default = format!("{directory}/{}.bmap", image::DEFAULT_KEYMAP);
    if !tree.contains(&default) {
        tree.insert(&default, Node::Symlink(format!("{name}.bmap")));
    }
}

/// `de` of `/usr/share/keymaps/i386/qwertz/de.kmap.gz`.
fn short_name(name: &str) -> Option<&str> {
    let file = name.rsplit('/').next()?;
    let stem = [".kmap", ".map"].iter().find_map(|end| file.rfind(end).and_then(|at| file.get(..at)));
    let stem = stem.unwrap_or(file);
    (!stem.is_empty() && !stem.starts_with('.') && stem != image::DEFAULT_KEYMAP).then_some(stem)
}

/// The keymap in the form that `/init` reads.
fn compile(layout: &Path) -> std::result::Result<Vec<u8>, String> {
    let output = Command::new("loadkeys")
        .args(["--bkeymap", "--unicode", "--quiet", "--"])
        .arg(layout)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("loadkeys: {error}; install kbd"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("loadkeys says: {}", said.trim()));
    }
    match ondisk::keymap::parse(&output.stdout) {
        Ok(_) => Ok(output.stdout),
        Err(error) => Err(format!("what loadkeys writes is no keymap: {error}")),
    }
}

/// The value of the last assignment to `name` in a file of shell assignments; empty counts as none.
fn assigned(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    let value = values.next_back()?.trim();
    let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let bare = bare.unwrap_or(value);
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Compression;
    use crate::testing::Scratch;

    #[test]
    fn names() {
        for (given, short) in [
            ("de", Some("de")),
            ("de-latin1.kmap.gz", Some("de-latin1")),
            ("/x/fr.map", Some("fr")),
            ("/x/.kmap", None),
            ("default", None),
            ("", None),
        ] {
            assert_eq!(short_name(given), short, "{given}");
        }
    }

    #[test]
    fn assignments() {
        let text = "# KEYMAP=x\nKEYMAP=de\n KEYMAP=\"fr-latin9\"\nKEYMAP_TOGGLE=us\nFONT=\n";
        assert_eq!(assigned(text, "KEYMAP").as_deref(), Some("fr-latin9"));
        assert_eq!(assigned(text, "FONT"), None);
        assert_eq!(assigned("XKBLAYOUT='ch'", "XKBLAYOUT").as_deref(), Some("ch"));
    }

    #[test]
    fn the_kernels_own_layout_takes_no_room() {
        let s = Scratch::new("keymap");
        let mut tree = Tree::default();
        for (vconsole, keyboard) in [("", ""), ("KEYMAP=us\n", "XKBLAYOUT=de\n"), ("", "XKBLAYOUT=\"us\"\n")]
        {
            s.file(VCONSOLE, vconsole.as_bytes());
            s.file(KEYBOARD, keyboard.as_bytes());
            assert_eq!(add_own(&mut tree, s.path()).unwrap(), Vec::<String>::new());
        }
        assert_eq!(tree, Tree::default());
        s.file(KEYBOARD, b"XKBLAYOUT=us\nXKBVARIANT=dvorak\n");
        let warnings = add_own(&mut tree, s.path()).unwrap();
        assert!(warnings.iter().any(|text| text.contains("setupcon --save")), "{warnings:?}");
        assert_eq!(tree, Tree::default());
    }

    /// What console-setup and systemd keep, compiled by the real loadkeys.
    #[test]
    fn a_machines_own_layout() {
        let s = Scratch::new("own-keymap");
        let source = "keycode 21 = +z\nkeycode 44 = +y\n";
        let compressed = Compression::Gzip.pack(source.as_bytes()).unwrap();
        s.file(CACHED, &compressed);
        s.file(KEYBOARD, b"XKBLAYOUT=\"de,us\"\n");
        let layout = s.file("swapped.kmap", source.as_bytes());
        for (vconsole, name) in [("", "de"), (&*format!("KEYMAP={}\n", layout.display()), "swapped")] {
            s.file(VCONSOLE, vconsole.as_bytes());
            let mut tree = Tree::default();
            assert_eq!(add_own(&mut tree, s.path()).unwrap(), Vec::<String>::new());
            let path = format!("{}/{name}.bmap", image::KEYMAP_DIRECTORY);
            let Some(Node::File(_, bytes)) =
                tree.iter().find(|(there, _)| *there == path).map(|found| found.1)
            else {
                panic!("{path} is missing")
            };
            let keys = ondisk::keymap::parse(bytes).unwrap();
            let plain = |key| keys.iter().find(|one| one.table == 0 && one.key == key).unwrap().symbol & 0xff;
            assert_eq!([plain(21), plain(44)], [u16::from(b'z'), u16::from(b'y')]);
        }
        s.file(VCONSOLE, b"KEYMAP=no-such-layout\n");
        let warnings = add_own(&mut Tree::default(), s.path()).unwrap();
        assert!(warnings.iter().any(|text| text.contains("no-such-layout")), "{warnings:?}");
    }

    #[test]
    fn the_first_one_is_the_default() {
        let mut tree = Tree::default();
        insert(&mut tree, "de", vec![1]);
        insert(&mut tree, "fr", vec![2]);
        let default = tree.iter().find(|(path, _)| path.ends_with("default.bmap")).unwrap().1;
        assert_eq!(*default, Node::Symlink("de.bmap".to_owned()));
        assert!(tree.contains("etc/rootward/keymaps/fr.bmap"));
    }
}
