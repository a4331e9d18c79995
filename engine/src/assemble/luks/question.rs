//! What is asked on the consoles, of whom, how often.

use super::container::{Container, Key, State};
use super::{Luks, Modules};
use crate::assemble::{Requests, View};
use crate::command::{Action, Loudness, TokenKind};
use crate::event::{DevName, QuestionId};
use crate::time::Moment;

/// Why a container is given up that nobody has typed for.
const OUT_OF_TIME: &str =
    "nobody typed a passphrase in time (rd.luks.timeout=, or timeout= among its options)";

/// What an answer is for. What was typed for one purpose is used for no other: a token counts wrong PINs, and a plain
/// mapping opens with anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A passphrase that is tried on all containers that can tell a wrong one.
    Shared,
    /// A passphrase of this plain mapping alone.
    Plain(DevName),
    /// The PIN of this container's token.
    Pin(DevName, TokenKind),
}

/// A question on the consoles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    prompt: String,
    note: Option<String>,
    /// The containers that it is about.
    of: Vec<DevName>,
}

impl Luks {
    /// Wrong passphrases typed for a container: those that opened nothing anywhere.
    pub(super) fn wrong(&self, container: &Container) -> u32 {
        let wrong = self
            .typed
            .iter()
            .skip(container.known_from)
            .filter(|secret| container.tried.contains(secret) && !self.useful.contains(secret));
        u32::try_from(wrong.count()).unwrap_or(u32::MAX)
    }

    /// Gives containers up that have had all their tries, and keeps the question on the consoles true.
    pub(super) fn ask(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        if self.is_opening() || self.modules.values().any(|state| matches!(state, Modules::Asked(_))) {
            // The answer decides what is to be asked.
            return;
        }
        let timed_out = self.prompt_until.is_some_and(|until| until <= view.now);
        let was_asked_for =
            |name: &DevName| self.question.as_ref().is_some_and(|question| question.of.contains(name));
        let (mut waiting, mut given_up) = (Vec::new(), Vec::new());
        let mut left: Option<u32> = None;
        self.waiting_for_key = None;
        let keysource_pending = self.containers.values().any(|one| {
            one.keysource
                && matches!(
                    one.state,
                    State::Locked | State::ReadingKey(..) | State::Unsealing(..) | State::Opening(..)
                )
        });
        for name in self.locked_or_reading() {
            let Some(container) = self.containers.get(&name) else { continue };
            if container.state != State::Locked {
                waiting.push(name);
                continue;
            }
            if container.header(view, &name).is_none() || (keysource_pending && !container.keys.is_empty()) {
                continue;
            }
            let may_come = container.keys_until.is_none_or(|until| view.now < until)
                && container.keys.iter().any(Key::may_come);
            if container.images.is_empty() && may_come {
                self.waiting_for_key = self.waiting_for_key.into_iter().chain(container.keys_until).min();
                continue;
            }
            if container.has_pin(&self.pins) {
                continue;
            }
            if let Some(at) = container.next_token() {
                // One that is due waits for another container's, whose answer comes by itself.
                if at <= view.now {
                    continue;
                }
                self.waiting_for_key = Some(self.waiting_for_key.map_or(at, |other| other.min(at)));
                continue;
            }
            let remaining = container.tries.map(|tries| tries.saturating_sub(self.wrong(container)));
            let why_not = match remaining {
                Some(0) => Some(format!("{} wrong passphrases", self.wrong(container))),
                _ if timed_out && was_asked_for(&name) => Some(OUT_OF_TIME.to_owned()),
                _ => None,
            };
            if let Some(reason) = why_not {
                given_up.push((name, reason));
                continue;
            }
            left = match (left, remaining) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            waiting.push(name);
        }
        for (name, reason) in given_up {
            if let Some(container) = self.containers.get_mut(&name) {
                let text = format!("{name} ({}) stays locked: {reason}", container.name);
                requests.ask(Action::Say(Loudness::Error, text));
                container.state = State::Failed(reason);
            }
        }
        if waiting.is_empty() {
            if self.question.is_some() {
                requests.ask(Action::StopAsking);
            }
            self.forget_question();
            return;
        }
        // What opens with any passphrase is asked for on its own, after the others.
        let is_plain = |name: &DevName| self.containers.get(name).is_some_and(Container::is_plain);
        if waiting.iter().any(|name| !is_plain(name)) {
            waiting.retain(|name| !is_plain(name));
        } else {
            waiting.truncate(1);
        }
        // A PIN is one token's, and shown as such.
        let wants_pin =
            |name: &&DevName| self.containers.get(name).is_some_and(|one| one.wants_pin().is_some());
        let pin = waiting.iter().find(wants_pin).cloned();
        if let Some(name) = pin {
            waiting = vec![name];
        }
        let purpose = self.purpose(&waiting);
        let prompt = self.prompt(&waiting);
        let wrong =
            waiting.iter().filter_map(|name| self.containers.get(name)).map(|one| self.wrong(one)).max();
        let note = match (wrong.unwrap_or(0), left) {
            (0, _) => {
                waiting.iter().find_map(|name| self.containers.get(name).and_then(|one| one.note.clone()))
            }
            (_, Some(1)) => Some("wrong passphrase, 1 try left".to_owned()),
            (_, Some(left)) => Some(format!("wrong passphrase, {left} tries left")),
            (_, None) => Some("wrong passphrase".to_owned()),
        };
        let question = Question { prompt, note, of: waiting };
        let is_new = self.asked.1.as_ref() != Some(&purpose);
        if is_new {
            self.asked = (QuestionId(self.asked.0.0.saturating_add(1)), Some(purpose));
        }
        if is_new || self.question.as_ref() != Some(&question) {
            if self.question.is_none() {
                requests.ask(Action::LoadInputDrivers);
            }
            self.asked_since.retain(|name, _| question.of.contains(name));
            for name in &question.of {
                self.asked_since.entry(name.clone()).or_insert(view.now);
            }
            self.prompt_until = self.prompt_end();
            requests.ask(Action::AskPassphrase {
                question: self.asked.0,
                prompt: question.prompt.clone(),
                note: question.note.clone(),
                device: question.of.first().cloned(),
            });
            self.question = Some(question);
        }
    }

    /// What an answer of these containers' is for.
    fn purpose(&self, waiting: &[DevName]) -> Purpose {
        if let [name] = waiting
            && let Some(container) = self.containers.get(name)
        {
            if let Some(kind) = container.wants_pin() {
                return Purpose::Pin(name.clone(), kind);
            }
            if container.is_plain() {
                return Purpose::Plain(name.clone());
            }
        }
        Purpose::Shared
    }

    /// Locked containers, and those for which a key is being read while somebody may be typing already.
    fn locked_or_reading(&self) -> Vec<DevName> {
        let mut names = self.locked();
        if let Some(question) = &self.question {
            let reading = |name: &&DevName| {
                self.containers.get(*name).is_some_and(|one| matches!(one.state, State::ReadingKey(..)))
            };
            names.extend(question.of.iter().filter(reading).cloned());
        }
        names
    }

    /// Until when the question stands: as long as the most patient container waits.
    fn prompt_end(&self) -> Option<Moment> {
        let end = |(name, since): (&DevName, &Moment)| {
            let limit = self.containers.get(name)?.prompt_limit?;
            Some(since.after(limit))
        };
        let ends: Option<Vec<Moment>> = self.asked_since.iter().map(end).collect();
        ends?.into_iter().max()
    }

    /// The question is answered, or nobody needs it any more.
    pub(super) fn forget_question(&mut self) {
        self.question = None;
        self.prompt_until = None;
        self.asked_since.clear();
    }

    fn prompt(&self, waiting: &[DevName]) -> String {
        if let [name] = waiting
            && let Some(container) = self.containers.get(name)
            && let Some(kind) = container.wants_pin()
        {
            return format!(
                "PIN of the {} for {name} ({}), or nothing for its passphrase",
                kind.name(),
                container.name
            );
        }
        let names: Vec<String> = waiting
            .iter()
            .filter_map(|name| {
                self.containers.get(name).map(|container| match container.images.first() {
                    Some(image) => format!("{}, the key of {name} ({})", image.name(), container.name),
                    None => format!("{name} ({})", container.name),
                })
            })
            .collect();
        format!("Passphrase for {}", names.join(", "))
    }
}
