//! `/run/mdadm/map`, by which mdadm of the real root knows arrays and their names (mdadm, mapfile.c): a line for each of
//! `DEVICE METADATA UUID PATH`, the newest first.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use engine::MdFacts;

const DIRECTORY: &str = "/run/mdadm";
const MAP: &str = "/run/mdadm/map";
const NEW: &str = "/run/mdadm/map.new";

/// Enters an array; problems are logged, since the array works without.
pub fn enter(device: &str, metadata: &str, uuid: &str, path: &str) {
    change(device, &format!("{device} {metadata} {uuid} {path}\n"));
}

/// Takes an array out.
pub fn remove(device: &str) {
    change(device, "");
}

/// What the map says of an array.
pub fn look_up(device: &str) -> MdFacts {
    let map = fs::read_to_string(MAP).unwrap_or_default();
    let found = map.lines().find_map(|line| {
        let mut fields = line.splitn(4, ' ');
        let (name, _, uuid, path) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (name == device).then(|| MdFacts { path: path.to_owned(), uuid: uuid.to_owned() })
    });
    found.unwrap_or_default()
}

fn change(device: &str, line: &str) {
    let old = fs::read_to_string(MAP).unwrap_or_default();
    let others = old.lines().filter(|line| line.split(' ').next() != Some(device));
    let mut text = line.to_owned();
    others.for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    if let Err(error) = write(&text) {
        log::warn!(
            "cannot write {MAP}: {error}; mdadm of the real root will make it anew, perhaps with other names"
        );
    }
}

fn write(text: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY)?;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(NEW)?;
    file.write_all(text.as_bytes())?;
    fs::rename(NEW, MAP)
}
