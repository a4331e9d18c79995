//! Reads the texts that make up the command line.

use std::path::Path;

use cmdline::source::{self, Sources};

/// Reads every source that exists; one that cannot be read is named in the log and counts as empty.
#[must_use]
pub fn read() -> Sources {
    read_below(
        Path::new("/"),
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect(),
    )
}

fn read_below(root: &Path, argv: Vec<String>) -> Sources {
    let mut image = directory(&root.join("etc/cmdline.d"));
    let etc = root.join("etc/cmdline");
    if let Some(text) = file(&etc) {
        image.push((etc.to_string_lossy().into_owned(), text));
    }
    Sources {
        image,
        kernel: file(&root.join("proc/cmdline")).unwrap_or_default(),
        run: directory(&root.join("run/initramfs/cmdline.d")),
        derived: Vec::new(),
        argv: Some(argv),
    }
}

fn file(path: &Path) -> Option<String> {
    match std::fs::read(path) {
        Ok(bytes) => Some(source::text(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            log::warn!("cannot read {}: {error}; its parameters are missing", path.display());
            None
        }
    }
}

fn directory(path: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut texts: Vec<(String, String)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .filter_map(|path| Some((path.to_string_lossy().into_owned(), file(&path)?)))
        .collect();
    texts.sort();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_found() {
        let root = std::env::temp_dir().join(format!("rootward-sources-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(read_below(&root, Vec::new()), Sources { argv: Some(Vec::new()), ..Sources::default() });
        write("etc/cmdline.d/20-b.conf", "b");
        write("etc/cmdline.d/10-a.conf", "a");
        write("etc/cmdline.d/README", "ignored");
        write("etc/cmdline", "c");
        write("proc/cmdline", "root=LABEL=x\n");
        write("run/initramfs/cmdline.d/99-ask.conf", "d");
        let sources = read_below(&root, vec!["single".to_owned()]);
        std::fs::remove_dir_all(&root).unwrap();
        let texts: Vec<&str> = sources.image.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "c"]);
        assert!(sources.image[0].0.ends_with("/etc/cmdline.d/10-a.conf"));
        assert_eq!(sources.kernel, "root=LABEL=x\n");
        assert_eq!(sources.run.len(), 1);
        assert_eq!(sources.argv.as_deref(), Some(&["single".to_owned()][..]));
    }
}
