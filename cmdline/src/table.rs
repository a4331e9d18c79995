//! The table of parameters: the one place from which parser, defaults and documentation come.
//!
//! A row with a setter is implemented; giving a row a setter is all it takes to implement it. Rows apply in
//! the order of the table, so a row may refine what an earlier one has set.

use crate::plan::Plan;

mod core;
mod debug;
mod kernel;
mod live;
mod luks;
mod misc;
mod network;
mod storage;
mod systemd;

/// What a setter could not use: the words after "write" in the advice.
pub type Expected = &'static str;
/// Setter of a switch.
pub type SetFlag = fn(&mut Plan, bool);
/// Setter of a switch for which absent is a third state.
pub type SetTristate = fn(&mut Plan, Option<bool>);
/// Setter of a number.
pub type SetInt = fn(&mut Plan, i64);
/// Setter of a time limit; `None` is unlimited.
pub type SetTime = fn(&mut Plan, Option<std::time::Duration>);
/// Setter of a text; empty when the word is bare.
pub type SetText = fn(&mut Plan, &str) -> Result<(), Expected>;

/// What kind of value a parameter has and which of its occurrences count.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Present or not; a value is ignored.
    Presence(Option<fn(&mut Plan)>),
    /// Last occurrence; `0`, `no`, `off` are false, everything else is true.
    Flag(bool, Option<SetFlag>),
    /// As a flag, but absent means neither.
    Tristate(Option<SetTristate>),
    /// Last occurrence with a value; digits within a range.
    Int {
        /// When absent or unusable.
        default: i64,
        /// Least allowed.
        min: i64,
        /// Greatest allowed.
        max: i64,
        /// Setter.
        set: Option<SetInt>,
    },
    /// Last occurrence with a value; seconds or a time span. The default is in seconds, `None` is unlimited.
    Time(Option<u64>, Option<SetTime>),
    /// Last occurrence.
    Text(Option<SetText>),
    /// Every occurrence, in order.
    List(Option<SetText>),
    /// Every item of every occurrence, in order; items are separated by commas or white space.
    Commas(Option<SetText>),
    /// Not looked up by name: a rule of the grammar that the documentation has to mention.
    Grammar,
    /// A bare word that belongs to the real init.
    InitWord,
}

impl Kind {
    /// Whether the row has a setter.
    pub fn has_setter(&self) -> bool {
        match self {
            Kind::Presence(set) => set.is_some(),
            Kind::Flag(_, set) => set.is_some(),
            Kind::Tristate(set) => set.is_some(),
            Kind::Int { set, .. } => set.is_some(),
            Kind::Time(_, set) => set.is_some(),
            Kind::Text(set) | Kind::List(set) | Kind::Commas(set) => set.is_some(),
            Kind::Grammar | Kind::InitWord => true,
        }
    }
}

/// What another spelling means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As good as the name itself.
    Same,
    /// Old: works, with one warning.
    Old,
    /// Old: its presence means this value, whatever it says itself.
    Means(&'static str),
}

/// Another spelling of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The spelling.
    pub name: &'static str,
    /// What it means.
    pub spelling: Spelling,
}

/// A current second name.
const fn same(name: &'static str) -> Alias {
    Alias { name, spelling: Spelling::Same }
}
/// A deprecated name.
const fn old(name: &'static str) -> Alias {
    Alias { name, spelling: Spelling::Old }
}
/// A deprecated word whose presence stands for a value.
const fn means(name: &'static str, value: &'static str) -> Alias {
    Alias { name, spelling: Spelling::Means(value) }
}

/// Which part of the documentation a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Root, its options and its init.
    Root,
    /// Waiting, failure, debugging.
    Debug,
    /// Drivers.
    Drivers,
    /// Encrypted containers.
    Luks,
    /// LVM, MD, BIOS RAID, multipath.
    Storage,
    /// Network and network roots.
    Network,
    /// Live media and overlays.
    Live,
    /// Hibernation.
    Resume,
    /// Console, locale and what fits nowhere else.
    Misc,
    /// The kernel's own.
    Kernel,
    /// systemd's.
    Systemd,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Ordinary users rely on it.
    Must,
    /// A minority needs it.
    Should,
    /// Dead hardware, old names.
    Legacy,
}

/// What this version does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Acted on.
    Implemented,
    /// Known; a warning says that nothing is done.
    NotYet,
    /// For the kernel or the real root: left alone, without a warning.
    PassedThrough,
    /// Accepted without effect; the row's sentence says why.
    NoEffect,
}

/// One parameter.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name; one that ends in `*` stands for every name with that beginning.
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [Alias],
    /// What the value looks like; for messages and documentation.
    pub syntax: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// Whether it may stand without a value (only for texts, lists, numbers and times).
    pub bare: bool,
    /// What holds when it is absent, where the kind does not say it.
    pub absent: &'static str,
    /// Its family.
    pub family: Family,
    /// Its weight.
    pub priority: Priority,
    /// What is done about it.
    pub status: Status,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

impl Row {
    const fn new(name: &'static str, kind: Kind, status: Status, doc: &'static str) -> Row {
        Row {
            name,
            aliases: &[],
            syntax: "",
            kind,
            bare: false,
            absent: "",
            family: Family::Misc,
            priority: Priority::Should,
            status,
            doc,
        }
    }
    /// A parameter that this version acts on.
    const fn done(name: &'static str, kind: Kind, doc: &'static str) -> Row {
        Row::new(name, kind, Status::Implemented, doc)
    }
    /// A parameter that is known and not implemented yet.
    const fn later(name: &'static str, kind: Kind, doc: &'static str) -> Row {
        Row::new(name, kind, Status::NotYet, doc)
    }
    /// A parameter of the kernel or of the real root.
    const fn passed(name: &'static str, doc: &'static str) -> Row {
        Row::new(name, Kind::Text(None), Status::PassedThrough, doc)
    }
    /// A parameter without effect; the sentence is the advice to the user.
    const fn inert(name: &'static str, doc: &'static str) -> Row {
        Row::new(name, Kind::Text(None), Status::NoEffect, doc)
    }
    const fn syntax(mut self, syntax: &'static str) -> Row {
        self.syntax = syntax;
        self
    }
    const fn aliases(mut self, aliases: &'static [Alias]) -> Row {
        self.aliases = aliases;
        self
    }
    const fn bare(mut self) -> Row {
        self.bare = true;
        self
    }
    const fn absent(mut self, absent: &'static str) -> Row {
        self.absent = absent;
        self
    }
    const fn family(mut self, family: Family) -> Row {
        self.family = family;
        self
    }
    const fn must(mut self) -> Row {
        self.priority = Priority::Must;
        self
    }
    const fn legacy(mut self) -> Row {
        self.priority = Priority::Legacy;
        self
    }

    /// Whether `name` is this row's name or lies in the range of names that it stands for.
    fn answers_to(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

/// All parameters, in the order in which they apply.
pub static TABLE: &[&[Row]] = &[
    core::ROWS,
    debug::ROWS,
    luks::ROWS,
    misc::ROWS,
    storage::ROWS,
    network::ROWS,
    live::ROWS,
    kernel::ROWS,
    systemd::ROWS,
];

/// Every row, in the order in which they apply.
pub fn rows() -> impl Iterator<Item = &'static Row> + Clone {
    TABLE.iter().flat_map(|part| part.iter())
}

/// Every name and alias, names that stand for a range excepted.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    rows()
        .filter(|row| !row.name.ends_with('*') && !matches!(row.kind, Kind::Grammar))
        .flat_map(|row| std::iter::once(row.name).chain(row.aliases.iter().map(|alias| alias.name)))
}

/// The row that a name belongs to and what that spelling means. Whole names go before ranges.
pub fn lookup(name: &str) -> Option<(&'static Row, Spelling)> {
    let mut range = None;
    for row in rows().filter(|row| !matches!(row.kind, Kind::Grammar)) {
        if row.name == name {
            return Some((row, Spelling::Same));
        }
        if let Some(alias) = row.aliases.iter().find(|alias| alias.name == name) {
            return Some((row, alias.spelling));
        }
        if range.is_none() && row.answers_to(name) {
            range = Some((row, Spelling::Same));
        }
    }
    range
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_stands_once() {
        let mut seen = BTreeSet::new();
        for name in names() {
            assert!(seen.insert(name), "{name} stands twice");
        }
        assert!(seen.len() > 370, "the table lost names: {}", seen.len());
    }

    #[test]
    fn status_and_setter_agree() {
        for row in rows() {
            match row.status {
                Status::Implemented => assert!(row.kind.has_setter(), "{} has no setter", row.name),
                _ => assert!(
                    !row.kind.has_setter() || matches!(row.kind, Kind::Grammar),
                    "{} has a setter that no one may call",
                    row.name
                ),
            }
            assert!(row.doc.ends_with('.'), "{}: a sentence ends in a full stop", row.name);
            assert!(!row.name.contains('='), "{}: the name ends before =", row.name);
        }
    }

    #[test]
    fn whole_names_go_before_ranges() {
        let (row, _) = lookup("rd.systemd.break").expect("known");
        assert_eq!(row.name, "rd.systemd.break");
        let (row, _) = lookup("rd.systemd.log_level").expect("known");
        assert_eq!(row.name, "rd.systemd.*");
        assert!(lookup("systemd.").is_none());
        assert!(lookup("rd.nonsense").is_none());
    }

    #[test]
    fn old_spellings() {
        for (name, target, spelling) in [
            ("rdshell", "rd.shell", Spelling::Old),
            ("rd_LUKS_UUID", "rd.luks.uuid", Spelling::Old),
            ("luks.uuid", "rd.luks.uuid", Spelling::Same),
            ("rd_NO_MD", "rd.md", Spelling::Means("0")),
            ("rdinfo", "rd.info", Spelling::Old),
            ("rd_NO_LUKS", "rd.luks", Spelling::Means("0")),
            ("rdnetdebug", "rd.debug", Spelling::Means("1")),
        ] {
            let (row, found) = lookup(name).expect(name);
            assert_eq!((row.name, found), (target, spelling), "{name}");
        }
    }
}
