//! What a boot has written to its disks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::bed::Disk;
use crate::program::{output, program};
use crate::qemu::overlay;

/// Unit of comparison, in bytes: what the kernel writes at least.
const BLOCK: usize = 4096;

/// `wrote TITLE DISK BEFORE AFTER`, for the script of a recipe, prints the line for one disk.
pub const WROTE: &str = "\
wrote() {
    echo \"wrote $1 $2\" $(cmp -l \"$3\" \"$4\" | awk 'BEGIN { last = -1 }
        { block = int(($1 - 1) / 4096); if (block != last) print block; last = block }')
}
";

/// What may be written to the disks of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Nobody looks.
    Any,
    /// Every disk must be the same afterwards, bit for bit.
    None,
    /// Only blocks that the real tools write to the same disks: the dump has a line `wrote TITLE DISK BLOCK..` for every
    /// disk.
    AsTheTools(&'static str),
}

impl Allowed {
    /// What was written that may not be. `disks` are the attached ones with their images as they were.
    pub fn judge(
        self,
        disks: &[(&Disk, PathBuf)],
        dump: &str,
        directory: &Path,
    ) -> Result<Vec<String>, Error> {
        let mut faults = Vec::new();
        if self == Allowed::Any {
            return Ok(faults);
        }
        for (number, (disk, before)) in disks.iter().enumerate() {
            let overlay = overlay(directory, number);
            let after = directory.join("after.raw");
            output(
                program("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).arg(&overlay).arg(&after),
            )?;
            let changed = changed(before, &after)?;
            crate::cache::remove(&after)?;
            crate::cache::remove(&overlay)?;
            let allowed = match (self, disk) {
                (Allowed::AsTheTools(title), Disk::Built(_, name)) => tools(dump, title, name),
                _ => Some(BTreeSet::new()),
            };
            let Some(allowed) = allowed else {
                faults.push(format!("nobody has noted what the real tools write to disk {number}"));
                continue;
            };
            let more: Vec<u64> = changed.difference(&allowed).copied().collect();
            if !more.is_empty() {
                let kept = if allowed.is_empty() { "" } else { " that the real tools do not write" };
                faults.push(format!("disk {number}: {} blocks were written{kept}: {more:?}", more.len()));
            }
        }
        Ok(faults)
    }
}

/// Blocks of the disk of this name that the real tools wrote.
fn tools(dump: &str, title: &str, name: &str) -> Option<BTreeSet<u64>> {
    let prefix = format!("wrote {title} {name}");
    let line = dump
        .lines()
        .find_map(|line| line.strip_prefix(&prefix).filter(|rest| !rest.starts_with(|c| c != ' ')))?;
    line.split_whitespace().map(|block| block.parse().ok()).collect()
}

/// Numbers of the blocks in which two images differ.
fn changed(before: &Path, after: &Path) -> Result<BTreeSet<u64>, Error> {
    let mut changed = BTreeSet::new();
    let mut files = [before, after].map(|path| (path, vec![0; 256 * BLOCK]));
    let mut open = Vec::new();
    for (path, _) in &files {
        open.push(File::open(path).map_err(Error::io(path))?);
    }
    let mut first = 0;
    loop {
        let mut read = 0;
        for ((path, buffer), file) in files.iter_mut().zip(&mut open) {
            let length = fill(file, buffer).map_err(Error::io(&**path))?;
            buffer[length..].fill(0);
            read = read.max(length);
        }
        if read == 0 {
            return Ok(changed);
        }
        let [(_, old), (_, new)] = &files;
        if old != new {
            let blocks = old.chunks(BLOCK).zip(new.chunks(BLOCK)).zip(first..);
            changed.extend(blocks.filter(|((old, new), _)| old != new).map(|(_, number)| number));
        }
        first += 256;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_differ_are_found() {
        let name = |which: &str| std::env::temp_dir().join(format!("{which}-{}", std::process::id()));
        let [one, other] = ["written-one", "written-other"].map(name);
        let mut content = vec![7; 300 * BLOCK + 512];
        std::fs::write(&one, &content).unwrap();
        for at in [0, 255 * BLOCK, 256 * BLOCK + 1, 300 * BLOCK + 511] {
            content[at] = 8;
        }
        std::fs::write(&other, &content).unwrap();
        assert_eq!(changed(&one, &other).unwrap(), BTreeSet::from([0, 255, 256, 300]));
        assert!(changed(&one, &one).unwrap().is_empty());
        for path in [one, other] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn notes_of_the_tools_are_read() {
        let dump = "wrote half A2 1\nwrote half A 8 9\nwrote half B\nwrote whole A 7\n";
        assert_eq!(tools(dump, "half", "A"), Some(BTreeSet::from([8, 9])));
        assert_eq!(tools(dump, "half", "B"), Some(BTreeSet::new()));
        assert_eq!(tools(dump, "half", "C"), None);
    }
}
