//! Field logs, replayed: `tests/logs/*.log` hold what `rd.debug` wrote, with two lines before it:
//! `cmdline WORDS` and `ends ACTION`, the last command that is expected.

use std::collections::{BTreeMap, VecDeque};

use engine::record::{self, Line};
use engine::{CommandId, Engine, Event, ImageFacts, Moment};

/// Answers carry the numbers of the recorded boot; the engine of today may have counted differently.
#[derive(Default)]
struct Numbers {
    today: BTreeMap<String, VecDeque<CommandId>>,
    known: BTreeMap<CommandId, CommandId>,
}

impl Numbers {
    fn asked(&mut self, commands: &[engine::Command]) -> Option<String> {
        for command in commands {
            self.today.entry(record::action(&command.action)).or_default().push_back(command.id);
        }
        commands.last().map(|command| record::action(&command.action))
    }

    fn recorded(&mut self, id: CommandId, action: &str) {
        if let Some(today) = self.today.get_mut(action).and_then(VecDeque::pop_front) {
            self.known.insert(id, today);
        }
    }

    fn translate(&self, event: Event) -> Option<Event> {
        let today = |id: CommandId| self.known.get(&id).copied();
        Some(match event {
            Event::Identified(id, content) => Event::Identified(today(id)?, content),
            Event::Done(id, outcome) => Event::Done(today(id)?, outcome),
            Event::Failed(id, failure) => Event::Failed(today(id)?, failure),
            other => other,
        })
    }
}

fn replay(name: &str, text: &str) {
    let (header, log): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("cmdline ") || line.starts_with("ends "));
    let word = |key: &str| header.iter().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let sources = cmdline::Sources { kernel: word("cmdline ").to_owned(), ..Default::default() };
    let mut engine = Engine::new(cmdline::parse(&sources).0, ImageFacts::default());
    let mut numbers = Numbers::default();
    let mut last = numbers.asked(&engine.start(Moment(0)));
    for line in log.into_iter().filter(|line| !line.trim().is_empty()) {
        match record::line(line).unwrap_or_else(|bad| panic!("{name}: {bad}")) {
            Line::Command(_, id, action) => numbers.recorded(id, &action),
            Line::Event(now, event) => {
                if let Some(event) = numbers.translate(event) {
                    last = numbers.asked(&engine.handle(now, event)).or(last);
                }
            }
        }
    }
    assert_eq!(last.as_deref(), Some(word("ends ")), "{name}\n{}", engine.explain(Moment(0)));
}

#[test]
fn recorded_boots_end_as_they_should() {
    let logs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs");
    let mut count = 0;
    for entry in std::fs::read_dir(&logs).expect("tests/logs") {
        let path = entry.expect("an entry").path();
        replay(&path.display().to_string(), &std::fs::read_to_string(&path).expect("a log"));
        count += 1;
    }
    assert!(count >= 2, "{count} logs");
}
