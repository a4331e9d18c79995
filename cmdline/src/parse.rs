//! From words to the plan: every row of the table is applied, in order, to a plan full of defaults.

use crate::crypttab;
use crate::diagnostic::{Diagnostic, Remarks, shorten};
use crate::init_args::init_args;
use crate::modules;
use crate::nearest::nearest;
use crate::plan::{LuksIdKind, Patience, Plan, RootSpec};
use crate::root::unsupported_reason;
use crate::source::{Entry, MAX_SOURCE_BYTES, Source, Sources, Words, digits, is_on};
use crate::table::{self, Kind, Row, SetText, Spelling, Status};
use crate::time::{Span, span};
use crate::verity;

/// A word that belongs to a row.
#[derive(Clone, Copy)]
struct Hit<'a> {
    row: &'static Row,
    spelling: Spelling,
    entry: Entry<'a>,
}

impl<'a> Hit<'a> {
    /// The value as the row sees it; `None` for a bare word.
    fn value(&self) -> Option<&'a str> {
        match self.spelling {
            Spelling::Means(value) => Some(value),
            Spelling::Same | Spelling::Old => self.entry.word.value,
        }
    }

    /// The value of a row that needs one; a bare word has none, unless the row allows it.
    fn usable(&self) -> Option<&'a str> {
        match self.value() {
            None if self.row.bare => Some(""),
            value => value,
        }
    }
}

/// Reads the command line: what is wanted, with every default made explicit, and what could not be used as
/// written. It always comes to a plan.
pub fn parse(sources: &Sources) -> (Plan, Vec<Diagnostic>) {
    let (effective, hostonly) = sources.effective();
    let words = Words::new(&effective);
    let mut remarks = Remarks::default();
    let mut plan = Plan::default();

    remark_on_sources(&effective, &words, &mut remarks);
    let hits = assign(&words, &mut plan, &mut remarks);
    for row in table::rows().filter(|row| row.status == Status::Implemented) {
        apply(row, &hits, &mut plan, &mut remarks);
    }
    for hit in &hits {
        remark_on_status(hit, &mut remarks);
    }

    plan.root.init_args = init_args(&effective, sources.argv.as_deref());
    settle(&mut plan, hostonly);
    remark_on_conflicts(&hits, &plan, &mut remarks);
    verity::remark_on_hashes(&plan.verity, &mut remarks);
    for (id, options) in &plan.luks.options {
        crypttab::remark_on_options(id.as_deref().unwrap_or("rd.luks.options"), options, &mut remarks);
    }
    // A root that cannot be used stays, so that the boot stops for it; for /usr there is the root's fstab.
    let usr = plan.usr.spec.take_if(|spec| matches!(spec, RootSpec::Unsupported(_)));
    for (name, spec) in [("root", &plan.root.spec), ("mount.usr", &usr)] {
        if let Some(RootSpec::Unsupported(value)) = spec {
            let reason = unsupported_reason(value);
            remarks.add(|| Diagnostic::UnsupportedRoot { name, value: shorten(value), reason });
        }
    }
    (plan, remarks.finish())
}

/// Gives each word to its row, to a module, or to the remarks.
fn assign<'a>(words: &Words<'a>, plan: &mut Plan, remarks: &mut Remarks) -> Vec<Hit<'a>> {
    let mut hits = Vec::new();
    for entry in words.entries() {
        let key = entry.word.key;
        if let Some((row, spelling)) = table::lookup(key) {
            hits.push(Hit { row, spelling, entry: *entry });
            if spelling != Spelling::Same {
                remarks.add(|| Diagnostic::Deprecated { old: key.to_owned(), new: current(row, spelling) });
            }
        } else if let Some(parameter) = modules::parameter(&entry.word) {
            plan.modules.params.push(parameter);
        } else if is_ours(key) {
            remarks.add(|| Diagnostic::Unknown {
                name: shorten(key),
                source: entry.source.to_string(),
                nearest: nearest(key, table::names()),
            });
        }
    }
    hits
}

/// How an old spelling is written today.
fn current(row: &Row, spelling: Spelling) -> String {
    match spelling {
        Spelling::Means(value) => format!("{}={value}", row.name),
        Spelling::Same | Spelling::Old => row.name.to_owned(),
    }
}

/// Whether nobody but us would want this name, so that not knowing it is worth a remark.
fn is_ours(key: &str) -> bool {
    const SPACES: &[&str] = &["rd.", "rootward.", "luks.", "rd_", "root.", "rootf", "mount.usr"];
    SPACES.iter().any(|space| key.starts_with(space))
}

fn apply(row: &'static Row, hits: &[Hit<'_>], plan: &mut Plan, remarks: &mut Remarks) {
    let mut own = hits.iter().filter(|hit| std::ptr::eq(hit.row, row));
    match row.kind {
        Kind::Presence(Some(set)) if own.next().is_some() => set(plan),
        Kind::Flag(default, Some(set)) => {
            set(plan, own.next_back().map_or(default, |hit| is_on(hit.value().unwrap_or(""))));
        }
        Kind::Tristate(Some(set)) => set(plan, own.next_back().map(|hit| is_on(hit.value().unwrap_or("")))),
        Kind::Int { default, min, max, set: Some(set) } => {
            let read = last_valued(own, remarks).map(|(hit, value)| (hit, digits(value, min, max)));
            let expected = || format!("a number from {min} to {max}");
            set(plan, or_default(read, default, || default.to_string(), expected, remarks));
        }
        Kind::Time(default, Some(set)) => {
            let default = default.map(std::time::Duration::from_secs);
            let read = last_valued(own, remarks).map(|(hit, value)| (hit, span(value).map(Span::finite)));
            let shown = || default.map_or("no limit".to_owned(), |limit| format!("{} s", limit.as_secs()));
            set(
                plan,
                or_default(
                    read,
                    default,
                    shown,
                    || "seconds or a time span such as 1min 30s".to_owned(),
                    remarks,
                ),
            );
        }
        Kind::Text(Some(set)) => {
            if let Some((hit, value)) = last_valued(own, remarks) {
                set_text(set, plan, hit, value, "the default", remarks);
            }
        }
        Kind::List(Some(set)) => {
            for hit in own {
                match hit.usable() {
                    Some(value) => set_text(set, plan, hit, value, "nothing", remarks),
                    None => missing(hit, remarks),
                }
            }
        }
        Kind::Commas(Some(set)) => {
            for hit in own {
                let Some(value) = hit.usable() else {
                    missing(hit, remarks);
                    continue;
                };
                let items = value.split(|c: char| c == ',' || c.is_ascii_whitespace());
                for item in items.filter(|item| !item.is_empty()) {
                    set_text(set, plan, hit, item, "nothing", remarks);
                }
            }
        }
        // Rows without a setter never come here, and grammar rules and init's words have none.
        _ => {}
    }
}

/// The last occurrence with a value. A bare word that needs one is remarked on and does not hide an earlier
/// value, as it would in dracut.
fn last_valued<'h, 'a>(
    hits: impl DoubleEndedIterator<Item = &'h Hit<'a>>,
    remarks: &mut Remarks,
) -> Option<(&'h Hit<'a>, &'a str)> {
    for hit in hits.rev() {
        match hit.usable() {
            Some(value) => return Some((hit, value)),
            None => missing(hit, remarks),
        }
    }
    None
}

fn or_default<T>(
    read: Option<(&Hit<'_>, Option<T>)>,
    default: T,
    shown: impl FnOnce() -> String,
    expected: impl FnOnce() -> String,
    remarks: &mut Remarks,
) -> T {
    match read {
        None => default,
        Some((_, Some(value))) => value,
        Some((hit, None)) => {
            remarks.add(|| bad(hit, hit.value().unwrap_or(""), expected(), shown()));
            default
        }
    }
}

fn set_text(set: SetText, plan: &mut Plan, hit: &Hit<'_>, value: &str, instead: &str, remarks: &mut Remarks) {
    if let Err(expected) = set(plan, value) {
        remarks.add(|| bad(hit, value, expected.to_owned(), instead.to_owned()));
    }
}

fn bad(hit: &Hit<'_>, value: &str, expected: String, used: String) -> Diagnostic {
    let word = shorten(&format!("{}={value}", hit.entry.word.key));
    Diagnostic::BadValue { word, source: hit.entry.source.to_string(), expected, used }
}

fn missing(hit: &Hit<'_>, remarks: &mut Remarks) {
    remarks.add(|| Diagnostic::MissingValue {
        name: hit.entry.word.key.to_owned(),
        source: hit.entry.source.to_string(),
        expected: hit.row.syntax,
    });
}

/// Invariants between fields that no single row can keep.
fn settle(plan: &mut Plan, hostonly: bool) {
    plan.hostonly = hostonly;
    if !hostonly {
        plan.md.conf = false;
        plan.luks.crypttab = false;
        plan.lvm.conf = false;
        plan.verity.tab = false;
    }
    verity::settle(plan);
    plan.failure.breaks.sort_unstable();
    plan.failure.breaks.dedup();
    // Partition UUIDs go before serials and these before LUKS UUIDs; a name does not make it another kind.
    let strongest = [LuksIdKind::PartUuid, LuksIdKind::Serial]
        .into_iter()
        .find(|kind| plan.luks.selectors.iter().any(|selector| selector.kind == *kind));
    if let Some(kind) = strongest {
        let left_out = plan.luks.selectors.extract_if(.., |selector| selector.kind != kind);
        plan.luks.names = left_out
            .filter(|selector| selector.kind == LuksIdKind::Uuid)
            .filter_map(|selector| Some((selector.id, selector.name?)))
            .collect();
    }
}

fn remark_on_sources(sources: &[Source], words: &Words<'_>, remarks: &mut Remarks) {
    for source in sources {
        if source.truncated {
            remarks.add(|| Diagnostic::Truncated { source: source.to_string(), limit: MAX_SOURCE_BYTES });
        }
        if source.text.contains(char::REPLACEMENT_CHARACTER) {
            remarks.add(|| Diagnostic::NotUtf8 { source: source.to_string() });
        }
    }
    for entry in words.entries().iter().filter(|entry| entry.word.unterminated) {
        remarks.add(|| Diagnostic::OpenQuote {
            name: shorten(entry.word.key),
            source: entry.source.to_string(),
        });
    }
    for entry in words.after_dashes().iter().filter(|entry| is_ours(entry.word.key)) {
        remarks.add(|| Diagnostic::AfterDashes {
            name: shorten(entry.word.key),
            source: entry.source.to_string(),
        });
    }
}

fn remark_on_status(hit: &Hit<'_>, remarks: &mut Remarks) {
    let name = || hit.entry.word.key.to_owned();
    match hit.row.status {
        Status::Implemented | Status::PassedThrough => {}
        Status::NotYet => {
            // What is not there yet is off already.
            let off = matches!(hit.row.kind, Kind::Flag(..)) && !is_on(hit.value().unwrap_or(""));
            let empty = hit.value() == Some("");
            if !off && !empty {
                remarks.add(|| Diagnostic::NotImplemented { name: name(), meaning: hit.row.doc });
            }
        }
        Status::NoEffect => remarks.add(|| Diagnostic::NoEffect { name: name(), advice: hit.row.doc }),
    }
}

fn remark_on_conflicts(hits: &[Hit<'_>], plan: &Plan, remarks: &mut Remarks) {
    let given = |name: &str| hits.iter().any(|hit| hit.row.name == name);
    let on = |name: &str| {
        hits.iter().rfind(|hit| hit.row.name == name).is_some_and(|hit| is_on(hit.value().unwrap_or("")))
    };
    let mut conflict = |wins, loses| remarks.add(|| Diagnostic::Conflict { wins, loses });
    if on("ro") && on("rw") {
        conflict("rw", "ro");
    }
    let waits = given("rootwait");
    match plan.patience {
        Patience::Total(_) if waits && given("rd.timeout") => conflict("rd.timeout", "rootwait"),
        Patience::Forever if waits && given("rd.retry") => conflict("rootwait", "rd.retry"),
        _ => {}
    }
    if given("rd.luks.uuid") && given("rd.luks.partuuid") {
        conflict("rd.luks.partuuid", "rd.luks.uuid");
    }
    if given("rd.luks.serial") && given("rd.luks.partuuid") {
        conflict("rd.luks.partuuid", "rd.luks.serial");
    } else if given("rd.luks.uuid") && given("rd.luks.serial") {
        conflict("rd.luks.serial", "rd.luks.uuid");
    }
    if !plan.luks.enabled && !plan.luks.selectors.is_empty() {
        conflict("rd.luks=0", "rd.luks.uuid");
    }
}
