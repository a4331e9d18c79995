//! Reading apt's own configuration: where this machine takes its Debian packages from.
//!
//! Both formats of sources.list(5) are read: one-line `*.list` and deb822 `*.sources`.

use std::fs;
use std::path::{Path, PathBuf};

/// The Debian archive that this machine is configured to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// URI as apt takes it (`http:`, `https:`, `file:`, `mirror+file:` ...).
    pub uri: String,
    /// Keyring file that signs it; `None` leaves the choice to apt's trusted keys.
    pub keyring: Option<PathBuf>,
}

/// One archive of the configuration, of whichever format.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    keyring: Option<PathBuf>,
}

/// Suites under which Debian's main archive goes by something else than a release's code name.
const ALIASES: [&str; 4] = ["stable", "oldstable", "testing", "unstable"];

/// Looks through `etc_apt` (normally /etc/apt) for Debian's main archive: the entry that carries the
/// suite `codename` itself, not its security, updates or backports companions.
pub fn mirror(etc_apt: &Path, codename: &str) -> Option<Mirror> {
    entries(etc_apt).into_iter().find_map(|entry| {
        let has_suite =
            entry.suites.iter().any(|suite| suite == codename || ALIASES.contains(&suite.as_str()));
        if !has_suite || !entry.components.iter().any(|component| component == "main") {
            return None;
        }
        let uri = entry.uris.into_iter().find(|uri| !uri.starts_with("cdrom:"))?;
        Some(Mirror { uri, keyring: entry.keyring })
    })
}

/// Every archive named in sources.list, sources.list.d/*.list and sources.list.d/*.sources.
fn entries(etc_apt: &Path) -> Vec<Entry> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(directory) = fs::read_dir(etc_apt.join("sources.list.d")) {
        let mut parts: Vec<PathBuf> = directory.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(text.lines().filter_map(one_line)),
            Some("sources") => found.extend(stanzas(&text)),
            _ => {}
        }
    }
    found
}

/// A line `deb [options] uri suite component...`.
fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let keyring =
        options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(PathBuf::from);
    let mut words = rest.split_whitespace().map(String::from);
    let uri = words.next()?;
    let suite = words.next()?;
    Some(Entry { uris: vec![uri], suites: vec![suite], components: words.collect(), keyring })
}

/// The stanzas of a deb822 file that are enabled and list binary packages.
fn stanzas(text: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

fn stanza(fields: &[(String, String)]) -> Option<Entry> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let words = |name: &str| -> Vec<String> {
        field(name).unwrap_or_default().split_whitespace().map(String::from).collect()
    };
    if field("enabled").is_some_and(|value| matches!(value, "no" | "false" | "0" | "off")) {
        return None;
    }
    if !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    // A key written into the stanza itself is not a file name; apt's trusted keys must do then.
    let keyring = field("signed-by").filter(|value| value.starts_with('/')).map(PathBuf::from);
    Some(Entry { uris: words("uris"), suites: words("suites"), components: words("components"), keyring })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_entries() {
        let entry =
            one_line("deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main contrib # note")
                .unwrap();
        assert_eq!(entry.uris, ["http://m/debian"]);
        assert_eq!(entry.suites, ["bookworm"]);
        assert_eq!(entry.components, ["main", "contrib"]);
        assert_eq!(entry.keyring, Some(PathBuf::from("/k.gpg")));
        for line in [
            "",
            "# deb http://m/debian bookworm main",
            "deb-src http://m/debian bookworm main",
            "deb http://m",
        ] {
            assert_eq!(one_line(line), None, "{line:?}");
        }
    }

    #[test]
    fn deb822_entries() {
        let text = "Types: deb deb-src\n# comment\nURIs: http://m/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\nEnabled: no\nTypes: deb\nURIs: http://off\nSuites: bookworm\n\
                    Components: main\n\nTypes: deb-src\nURIs: http://src\nSuites: bookworm\nComponents: main\n";
        let found = stanzas(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(found[0].keyring, Some(PathBuf::from("/k.gpg")));
    }

    #[test]
    fn main_archive_is_told_from_its_companions() {
        let directory = std::env::temp_dir().join(format!("rootward-sources-{}", std::process::id()));
        fs::create_dir_all(directory.join("sources.list.d")).unwrap();
        fs::write(
            directory.join("sources.list"),
            "deb http://security bookworm-security main\ndeb http://other nodistro main\ndeb cdrom:[x]/ bookworm main\n",
        )
        .unwrap();
        assert_eq!(mirror(&directory, "bookworm"), None);
        fs::write(
            directory.join("sources.list.d/debian.sources"),
            "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\n",
        )
        .unwrap();
        let found = mirror(&directory, "bookworm");
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, Some(Mirror { uri: "http://m/debian".into(), keyring: None }));
    }
}
