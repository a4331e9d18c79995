//! The fstab of the real root: the input is the file. What was read can be written down and read again, the last line for
//! `/` and for `/usr` counts, and what follows from it stays within bounds.
#![no_main]

use cmdline::Plan;
use cmdline::plan::RootSpec;
use engine::fstab::{Entry, parse_line, root_entry, usr_entry};
use engine::mount_options::MountOptions;
use engine::record;
use engine::usr::{self, Usr};
use engine::{CommandId, Event, Moment, Outcome};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let entries: Vec<Entry> = text.lines().filter_map(parse_line).collect();
    for entry in &entries {
        assert!(
            [&entry.source, &entry.target, &entry.fstype, &entry.options]
                .iter()
                .all(|field| !field.is_empty())
        );
        assert_eq!(parse_line(&written(entry)).as_ref(), Some(entry));
        options(&entry.options);
    }
    let last = |wanted: fn(&Entry) -> bool| entries.iter().rfind(|entry| wanted(entry));
    assert_eq!(root_entry(&text).as_ref(), last(|entry| entry.target == "/"));
    let usr = last(|entry| entry.target.trim_end_matches('/') == "/usr");
    let automatic = usr.filter(|entry| entry.options.split(',').all(|option| option != "noauto"));
    assert_eq!(usr_entry(&text).as_ref(), automatic);

    if let Some(entry) = usr_entry(&text).map(Box::new) {
        let said = Event::Done(CommandId(7), Outcome::Usr(entry.clone()));
        let line = record::event(Moment(1), &said);
        assert_eq!(record::line(&line), Ok(record::Line::Event(Moment(1), said)), "{line}");
        match usr::wanted(&mut Plan::default(), Some(entry)) {
            Usr::Wanted(plan) => {
                assert!(!matches!(plan.spec, None | Some(RootSpec::Unsupported(_))));
                assert!(plan.fstype.iter().all(|name| name != "auto"));
            }
            Usr::Left(_) => {}
            Usr::None => panic!("the line is lost"),
        }
    }
});

/// The line of an entry (fstab(5): blanks, backslashes and what begins a comment in octal).
fn written(entry: &Entry) -> String {
    let field = |text: &str| -> String {
        let special = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\\' | '#');
        text.chars()
            .map(|c| if special(c) { format!("\\{:03o}", u32::from(c)) } else { c.to_string() })
            .collect()
    };
    let Entry { source, target, fstype, options, pass } = entry;
    format!("{}\t{} {}  {} 0 {pass}", field(source), field(target), field(fstype), field(options))
}

/// Words that are nobody's never reach the kernel, and a remount names no other tree.
fn options(text: &str) {
    let options = MountOptions::parse(text);
    let words = text.matches(',').count() + 1;
    assert!(options.data.len() <= words);
    for (key, value) in &options.data {
        assert!(!key.is_empty() && key != "comment" && !key.starts_with("x-") && !key.starts_with("X-"));
        assert!(
            value.is_some() || !matches!(key.as_str(), "ro" | "rw" | "defaults" | "nofail" | "_netdev"),
            "{key}"
        );
    }
    let string = options.data_string();
    assert!(string.len() <= text.len());
    let keys = |options: &MountOptions| options.data.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&MountOptions::parse(&string)), keys(&options), "{string}");
    let mut twice = options.clone();
    twice.extend(text);
    assert_eq!(twice.read_only, options.read_only);
    assert!(options.for_remount().data.iter().all(|(key, _)| key != "subvol" && key != "device"));
}
