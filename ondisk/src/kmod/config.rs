//! modprobe.d(5) files and the `modules.softdep` and `modules.weakdep` that depmod writes (same grammar).

use std::collections::BTreeSet;

use super::{alias_name, glob, module_name};

/// Modules that should be loaded before or after another one; the names can be aliases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SoftDep {
    /// Before.
    pub pre: Vec<String>,
    /// After.
    pub post: Vec<String>,
}

/// A line that is understood and deliberately not obeyed, or not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// File name as given to [`Config::add`].
    pub origin: String,
    /// 1-based number of the line on which it begins.
    pub line: usize,
    /// First word, for instance `install`.
    pub directive: String,
    /// The module that it is about, if it names one.
    pub module: String,
}

/// What all files together say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `alias PATTERN MODULE`, in order.
    pub aliases: Vec<(String, String)>,
    /// `blacklist MODULE`.
    pub blacklist: BTreeSet<String>,
    /// `options MODULE-OR-ALIAS TEXT`, in order.
    pub options: Vec<(String, String)>,
    /// `softdep MODULE ...`, in order; the first entry is a pattern.
    pub softdeps: Vec<(String, SoftDep)>,
    /// Softdeps that the modules themselves declare (`modules.softdep`).
    pub declared: Vec<(String, SoftDep)>,
    /// `weakdep MODULE ...`: hints for image builders that modprobe itself does not follow (kmod 33).
    pub weakdeps: Vec<(String, Vec<String>)>,
    /// `install`, `remove` (no programs are run here) and unknown lines.
    pub ignored: Vec<Ignored>,
}

impl Config {
    /// Adds one modprobe.d file. Files are to be given in the order of [`effective_order`].
    pub fn add(&mut self, origin: &str, text: &str) {
        for (line, words) in logical_lines(text) {
            let mut parts = words.splitn(2, is_blank);
            let directive = parts.next().unwrap_or_default();
            let rest = parts.next().unwrap_or_default().trim_matches(is_blank);
            let mut names = rest.split(is_blank).filter(|word| !word.is_empty());
            let understood = match directive {
                "alias" => match (names.next().and_then(alias_name), names.next()) {
                    (Some(pattern), Some(module)) => {
                        self.aliases.push((pattern, module_name(module)));
                        true
                    }
                    _ => false,
                },
                "blacklist" => names.next().map(|name| self.blacklist.insert(module_name(name))).is_some(),
                "options" => match rest.split_once(is_blank) {
                    Some((name, options)) => {
                        self.options.push((module_name(name), options.trim_matches(is_blank).to_owned()));
                        true
                    }
                    None => false,
                },
                "softdep" => softdep(&mut names).map(|entry| self.softdeps.push(entry)).is_some(),
                "weakdep" => match names.next() {
                    Some(name) => {
                        self.weakdeps.push((module_name(name), names.map(module_name).collect()));
                        true
                    }
                    None => false,
                },
                _ => false,
            };
            if !understood {
                let module = rest.split(is_blank).next().map(module_name).unwrap_or_default();
                let directive = directive.to_owned();
                self.ignored.push(Ignored { origin: origin.to_owned(), line, directive, module });
            }
        }
    }

    /// Adds `modules.softdep` or `modules.weakdep` of a kernel.
    pub fn add_declared(&mut self, text: &str) {
        let mut file = Config::default();
        file.add("", text);
        self.declared.append(&mut file.softdeps);
        self.weakdeps.append(&mut file.weakdeps);
    }

    /// The softdeps of a module.
    ///
    /// The first line of modprobe.d whose pattern matches decides, as in libkmod. Without one, everything that the
    /// module itself declares is taken, where libkmod stops at the first line: at this stage there is no modprobe for
    /// the kernel to call later, so a forgotten `softdep btrfs pre: blake2b-256` is a root that cannot be mounted.
    #[must_use]
    pub fn softdep(&self, module: &str) -> SoftDep {
        if let Some((_, first)) = self.softdeps.iter().find(|(pattern, _)| glob::matches(pattern, module)) {
            return first.clone();
        }
        let mut all = SoftDep::default();
        for (_, one) in self.declared.iter().filter(|(name, _)| name == module) {
            all.pre.extend(one.pre.iter().cloned());
            all.post.extend(one.post.iter().cloned());
        }
        all
    }

    /// Weak dependencies of a module.
    pub fn weakdeps<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> {
        let mine = self.weakdeps.iter().filter(move |(pattern, _)| glob::matches(pattern, module));
        mine.flat_map(|(_, names)| names.iter().map(String::as_str))
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn softdep<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<(String, SoftDep)> {
    let name = module_name(words.next()?);
    let mut deps = SoftDep::default();
    let mut list: Option<&mut Vec<String>> = None;
    for word in words {
        match word {
            "pre:" => list = Some(&mut deps.pre),
            "post:" => list = Some(&mut deps.post),
            name => {
                if let Some(list) = list.as_deref_mut() {
                    list.push(module_name(name));
                }
            }
        }
    }
    Some((name, deps))
}

/// Lines without comments and blank ones, joined where a backslash ends them, with the number of the first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let (start, mut joined) = open.take().unwrap_or((number.saturating_add(1), String::new()));
        if let Some(head) = line.strip_suffix('\\') {
            joined.push_str(head);
            open = Some((start, joined));
        } else {
            joined.push_str(line);
            lines.push((start, joined));
        }
    }
    lines.extend(open);
    for (_, line) in &mut lines {
        *line = line.trim_matches(is_blank).to_owned();
    }
    lines.retain(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
}

/// Orders configuration files as kmod reads them.
///
/// `directories` holds the file names of each directory, highest precedence first (modprobe.d(5): `/etc`, `/run`,
/// `/usr/local/lib`, `/usr/lib`, `/lib`, each with `modprobe.d`). The result is (directory, name): `*.conf` only,
/// sorted by name, and a name is taken from the first directory that has it.
#[must_use]
pub fn effective_order(directories: &[Vec<String>]) -> Vec<(usize, String)> {
    let mut order = std::collections::BTreeMap::new();
    for (directory, names) in directories.iter().enumerate() {
        for name in names.iter().filter(|name| name.ends_with(".conf") && !name.starts_with('.')) {
            order.entry(name.clone()).or_insert(directory);
        }
    }
    order.into_iter().map(|(name, directory)| (directory, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_directive() {
        let mut config = Config::default();
        config.add(
            "test.conf",
            "# comment\n\n alias my-net* e1000-x\nblacklist evil-driver # why\noptions a-b x=1  y=\"2 3\"\n\
             softdep c pre: p-1 p2 post: q\nsoftdep c pre: never\nweakdep w one two-2\n\
             options long \\\n  a=1\ninstall usb-storage /bin/false\nfrobnicate\nalias x]y z\n",
        );
        config.add_declared(
            "# made by depmod\nsoftdep btrfs pre: crc32c\nsoftdep btrfs pre: blake2b-256 post: zz\n",
        );
        assert_eq!(config.aliases, [("my_net*".into(), "e1000_x".into())]);
        assert!(config.blacklist.contains("evil_driver"));
        assert_eq!(
            config.options,
            [("a_b".into(), "x=1  y=\"2 3\"".into()), ("long".to_owned(), "a=1".to_owned())]
        );
        assert_eq!(
            config.softdep("c"),
            SoftDep { pre: vec!["p_1".into(), "p2".into()], post: vec!["q".into()] }
        );
        let declared = SoftDep { pre: vec!["crc32c".into(), "blake2b_256".into()], post: vec!["zz".into()] };
        assert_eq!(config.softdep("btrfs"), declared);
        assert_eq!(config.softdep("other"), SoftDep::default());
        assert_eq!(config.weakdeps("w").collect::<Vec<_>>(), ["one", "two_2"]);
        let ignored: Vec<_> =
            config.ignored.iter().map(|i| (i.line, i.directive.as_str(), i.module.as_str())).collect();
        assert_eq!(ignored, [(11, "install", "usb_storage"), (12, "frobnicate", ""), (13, "alias", "x]y")]);
    }

    #[test]
    fn files_shadow_each_other_by_name() {
        let dirs =
            [vec!["b.conf".into(), "a.conf".into(), "readme".into()], vec!["a.conf".into(), "c.conf".into()]];
        let order = effective_order(&dirs);
        assert_eq!(order, [(0, "a.conf".to_owned()), (0, "b.conf".to_owned()), (1, "c.conf".to_owned())]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(alias|softdep|options|install|pre:|post:|[a-z\\[\\]\\\\# \n\t-])*") {
            Config::default().add("x", &text);
        }
    }
}
