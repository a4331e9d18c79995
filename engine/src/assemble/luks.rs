//! Encrypted containers (LUKS, plain, BitLocker, TrueCrypt): which ones are wanted, with what they are tried, when
//! somebody is asked.
//!
//! One key derivation runs at a time, whatever the memory: two containers of 1 GiB argon2id each must open on a 2 GiB
//! machine, libcryptsetup and libdevmapper keep global state and may not be entered twice, and argon2 spreads over
//! the CPUs by itself, so that there is little to be had from two at once.

use std::collections::{BTreeMap, BTreeSet};

use super::ata_raid::external::volumes_below;
use super::{Assembler, Hold, Requests, View};
use crate::command::{Action, Loudness, SecretSource, TokenKind};
use crate::event::{CommandId, DevName, Failure, Outcome, QuestionId, SecretId};
use crate::explain::{Node, State as NodeState};
use crate::table::Device;
use crate::time::Moment;

mod choice;
mod container;
mod header;
mod keys;
mod options;
mod question;
mod report;
#[cfg(test)]
mod tests;
mod tokens;

use container::{Attempt, Container, State};
use header::Header;
use keys::Next;
use question::{Purpose, Question};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Modules {
    #[default]
    NotAsked,
    Asked(CommandId),
    Ready,
}

/// The assembler of encrypted containers.
#[derive(Debug, Default)]
pub struct Luks {
    containers: BTreeMap<DevName, Container>,
    /// Devices that carry the UUID of another, opened container.
    twins: BTreeMap<DevName, DevName>,
    /// Openings of containers whose device was taken away meanwhile: their UUIDs.
    orphans: BTreeMap<CommandId, String>,
    /// UUIDs of those that are open all the same: neither they nor their copies are opened again.
    opened_orphans: BTreeSet<String>,
    modules: BTreeMap<String, Modules>,
    /// Passphrases typed so far; a later container is tried with them before anybody is asked again.
    typed: Vec<SecretId>,
    /// Typed passphrases that opened something: those do not count as wrong elsewhere.
    useful: BTreeSet<SecretId>,
    question: Option<Question>,
    /// The number of the newest question, and what an answer to it is for.
    asked: (QuestionId, Option<Purpose>),
    prompt_until: Option<Moment>,
    /// Since when the open question is about each of its containers.
    asked_since: BTreeMap<DevName, Moment>,
    waiting_for_key: Option<Moment>,
    /// PINs that tokens took: the next token of their kind is tried with them.
    pins: BTreeMap<TokenKind, SecretId>,
    /// Remarks still to be made.
    unsaid: Vec<(Loudness, String)>,
}

impl Luks {
    /// Enters the containers that are wanted now and were not before.
    fn choose(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        if !choice::may_want_any(view) {
            return;
        }
        let mapped = choice::mapped(view.table);
        let mut devices: Vec<&Device> = view
            .table
            .iter()
            // A loop device is there only while a key is taken out of an image.
            .filter(|device| choice::may_be_one(view, device) && !device.name.0.starts_with("loop"))
            .filter(|device| {
                !self.containers.contains_key(&device.name) && !self.twins.contains_key(&device.name)
            })
            .filter(|device| !mapped.contains(&device.name))
            .collect();
        devices.sort_by_key(|device| device.order);
        for device in devices {
            let Some(mut container) = choice::wanted(view, device) else { continue };
            let twin = self.containers.iter().find(|(_, other)| {
                !other.uuid.is_empty()
                    && other.uuid == container.uuid
                    && !matches!(other.state, State::Broken(_))
            });
            if let Some((first, _)) = twin {
                let text = format!(
                    "{} carries the same LUKS UUID {} as {first}; it is left alone",
                    device.name, container.uuid
                );
                requests.ask(Action::Say(Loudness::Warning, text));
                self.twins.insert(device.name.clone(), first.clone());
                continue;
            }
            // A selector may be a part of several UUIDs; the mappings cannot share its name.
            if self.containers.values().any(|other| other.name == container.name && !other.is_hopeless()) {
                container.name = choice::default_name(&container.uuid, &device.name);
            }
            container.known_from = self.typed.len();
            if self.opened_orphans.contains(&container.uuid) {
                container.state = State::Open;
            }
            self.containers.insert(device.name.clone(), container);
        }
    }

    /// Starts the next attempt, if none is under way. Returns whether something was started.
    fn attempt(&mut self, view: View<'_>, requests: &mut Requests<'_>) -> bool {
        if self.is_opening() {
            return false;
        }
        for name in self.locked() {
            let typed = self.typed.clone();
            let key_is_busy = self.security_key_is_busy();
            let Some(container) = self.containers.get_mut(&name) else { continue };
            let Some(header) = container.header(view, &name) else { continue };
            let wanted = choice::modules_for(view, &name, container, header.as_ref());
            if !ready(&mut self.modules, wanted, requests) {
                continue;
            }
            if let Some(other) = view
                .table
                .iter()
                .find(|other| other.facts.dm.as_ref().is_some_and(|dm| dm.name == container.name))
            {
                container.state =
                    State::Broken(format!("the name {} is taken by {}", container.name, other.name));
                return true;
            }
            let attempt = keys::next(view, container, &mut self.modules, requests);
            let (attempt, secret) = match attempt {
                Next::Try(path, source) => (Attempt::KeyFile(path), source),
                Next::Reading => return true,
                Next::Loading => continue,
                Next::Nothing => match container.next_held(&typed, &self.pins, key_is_busy) {
                    Some(container::Next::Container(secret)) => {
                        (Attempt::Held(secret), SecretSource::Held(secret))
                    }
                    Some(container::Next::Image(image, secret)) => {
                        let asked = requests.ask(Action::UnsealKey(image.key.clone(), Some(secret)));
                        container.state = State::Unsealing(asked, image, Some(secret));
                        return true;
                    }
                    None => match tokens::next(
                        view,
                        &name,
                        container,
                        header.as_ref(),
                        key_is_busy,
                        &mut self.modules,
                        requests,
                    ) {
                        tokens::Next::Asking => return true,
                        tokens::Next::Loading | tokens::Next::Nothing => continue,
                    },
                },
            };
            let mut options = container.options.clone();
            options.header = header;
            if !options.read_only {
                options.volumes = volumes_below(view.plan, view.table, view.table.get(&name));
            }
            if let Attempt::Held(secret) = &attempt {
                container.tried.insert(*secret);
            }
            container.settle_hash(&attempt, &mut options);
            let device = name.clone();
            let id =
                requests.ask(Action::OpenCrypt { device, name: container.name.clone(), secret, options });
            container.state = State::Opening(id, attempt);
            return true;
        }
        false
    }

    fn is_opening(&self) -> bool {
        !self.orphans.is_empty()
            || self.containers.values().any(|container| match &container.state {
                State::Opening(..) => true,
                // A token waits for somebody to touch it, and nothing else for that.
                State::Unsealing(_, image, _) => image.token().is_none(),
                _ => false,
            })
    }

    /// Whether a container waits for a security key, which serves one at a time.
    fn security_key_is_busy(&self) -> bool {
        self.containers.values().any(|container| {
            matches!(&container.state, State::Unsealing(_, image, _) if image.token() == Some(TokenKind::Fido2))
        })
    }

    /// Locked containers in the order of their devices' appearance.
    fn locked(&self) -> Vec<DevName> {
        let mut locked: Vec<(u64, &DevName)> = self
            .containers
            .iter()
            .filter(|(_, container)| container.state == State::Locked)
            .map(|(name, container)| (container.order, name))
            .collect();
        locked.sort();
        locked.into_iter().map(|(_, name)| name.clone()).collect()
    }
}

/// Asks once for these modules; true once the answer is in.
fn ready(modules: &mut BTreeMap<String, Modules>, wanted: Vec<String>, requests: &mut Requests<'_>) -> bool {
    let state = modules.entry(wanted.join(",")).or_default();
    if *state == Modules::NotAsked {
        *state = Modules::Asked(requests.ask(Action::LoadModules(wanted)));
    }
    *state == Modules::Ready
}

impl Assembler for Luks {
    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        if !view.plan.luks.enabled {
            return;
        }
        self.finish(view, requests);
        self.choose(view, requests);
        while self.attempt(view, requests) {}
        self.ask(view, requests);
    }

    fn answer(&mut self, view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if let Some(state) = self.modules.values_mut().find(|state| **state == Modules::Asked(id)) {
            // A missing module shows when the container is opened, with a better message; it may also be built in.
            *state = Modules::Ready;
            return true;
        }
        if let Some(uuid) = self.orphans.remove(&id) {
            if result.is_ok() {
                let again = self.containers.values_mut().filter(|one| one.uuid == uuid);
                again.for_each(|one| one.state = State::Open);
                self.opened_orphans.insert(uuid);
            }
            return true;
        }
        let ours = self.containers.iter_mut().find(|(_, container)| match &container.state {
            State::ReadingKey(asked, _)
            | State::Unsealing(asked, ..)
            | State::Opening(asked, _)
            | State::Closing(asked) => *asked == id,
            _ => false,
        });
        let Some((name, container)) = ours else { return false };
        if let State::Unsealing(_, image, pin) = &container.state
            && let Some(kind) = image.token()
        {
            let (image, pin) = (image.clone(), *pin);
            container.state = State::Locked;
            match result {
                Ok(Outcome::Secret(key)) => {
                    container.token_answered(image, kind, Some(*key));
                    self.pins.extend(pin.map(|pin| (kind, pin)));
                }
                Ok(_) if pin.is_none() => container.token_answered(image, kind, None),
                // One that wants what it was given would do so for ever.
                Ok(_) => {
                    let failure = Failure::BadKey("it wants another PIN than its own".to_owned());
                    self.unsaid.extend(container.token_failed(view.now, image, kind, pin, &failure));
                }
                Err(failure) => {
                    self.unsaid.extend(container.token_failed(view.now, image, kind, pin, failure));
                }
            }
            return true;
        }
        match (container.state.clone(), result) {
            (State::ReadingKey(_, path), Ok(Outcome::Secret(secret))) => {
                container.note = Some(format!("key {path} read"));
                container.read.push(*secret);
                // What has been found need not be waited for any more.
                container.keys_until = Some(Moment::default());
                container.state = State::Locked;
            }
            (State::ReadingKey(_, path), Err(failure)) => {
                if matches!(failure, Failure::BadKey(_)) {
                    self.unsaid.push((Loudness::Error, format!("{name}: {failure}")));
                }
                container.note = Some(format!("key {path}: {failure}"));
                container.state = State::Locked;
            }
            (State::Unsealing(_, image, None), Ok(_)) => {
                container.keep(image, None);
                container.state = State::Locked;
            }
            (State::Unsealing(_, image, Some(passphrase)), Ok(Outcome::Secret(key))) => {
                container.take_key(&image, *key);
                container.state = State::Locked;
                self.useful.insert(passphrase);
                // One derivation is enough for all whose key it is.
                for other in self.containers.values_mut() {
                    let known = other.images.len();
                    other.images.retain(|one| one.key != image.key);
                    if other.images.len() < known {
                        other.take_key(&image, *key);
                    }
                }
            }
            (State::Unsealing(_, image, secret), Err(Failure::WrongSecret)) => {
                container.keep(image, secret);
                container.state = State::Locked;
            }
            (State::Unsealing(_, image, secret), Err(failure)) => {
                // Of many devices that may hold the image most do not.
                if secret.is_some() || !matches!(failure, Failure::NoKeyFile(_)) {
                    let text = format!("key {} cannot be used: {failure}", image.name());
                    self.unsaid.push((Loudness::Error, text));
                }
                container.note = Some(format!("key {}: {failure}", image.name()));
                container.state = State::Locked;
            }
            (State::Closing(_), Ok(_)) => container.state = State::Closed,
            (State::Closing(_), Err(failure)) => {
                container.note = Some(format!("could not be closed: {failure}"));
                container.state = State::Closed;
            }
            (State::Opening(_, attempt), Ok(_)) => {
                container.state = State::Open;
                if let Attempt::Held(secret) = attempt {
                    self.useful.insert(secret);
                }
                if container.keysource {
                    // Its file system still has to be found.
                    let until = view.now.after(view.plan.luks.key_timeout);
                    let others = self.containers.values_mut().filter(|one| !one.keys.is_empty());
                    others.for_each(|one| one.keys_until = one.keys_until.map(|before| before.max(until)));
                }
            }
            (
                State::Opening(_, Attempt::KeyFile(path)),
                Err(Failure::WrongSecret | Failure::NoKeyFile(_)),
            ) => {
                container.note = Some(format!("key file {path} opens no keyslot or does not exist"));
                container.state = State::Locked;
            }
            (State::Opening(..), Err(Failure::WrongSecret)) => container.state = State::Locked,
            // The next key, or a passphrase, may still open it.
            (State::Opening(..), Err(Failure::BadKey(why))) => {
                self.unsaid.push((Loudness::Error, format!("{name}: {why}")));
                container.note = Some(why.clone());
                container.state = State::Locked;
            }
            (State::Opening(..), Err(failure)) => {
                let text = format!("{name} cannot be opened as {}: {failure}", container.name);
                self.unsaid.push((Loudness::Error, text));
                container.state = State::Broken(failure.to_string());
                let broken = name.clone();
                self.twins.retain(|_, first| *first != broken);
            }
            (_, _) => container.state = State::Locked,
        }
        true
    }

    fn typed(&mut self, secret: SecretId, question: QuestionId) {
        // The answer to an earlier question may cross a later one, whose recipients it was not meant for.
        let (newest, Some(purpose)) = &self.asked else { return };
        if *newest != question {
            return;
        }
        let purpose = purpose.clone();
        // The consoles take one answer per question.
        self.forget_question();
        match purpose {
            Purpose::Pin(name, kind) => {
                if let Some(container) = self.containers.get_mut(&name)
                    && container.wants_pin() == Some(kind)
                {
                    container.pin = Some(secret);
                }
            }
            // Without a header nothing tells a wrong passphrase: only what was typed for this very container is its own.
            Purpose::Plain(name) => {
                if let Some(container) = self.containers.get_mut(&name) {
                    container.typed.push(secret);
                }
            }
            Purpose::Shared => {
                if !self.typed.contains(&secret) {
                    self.typed.push(secret);
                }
            }
        }
    }

    fn gone(&mut self, name: &DevName) {
        if let Some(container) = self.containers.remove(name) {
            match container.state {
                State::Opening(id, _) => {
                    self.orphans.insert(id, container.uuid);
                }
                // Its mapping is still there, with its name.
                State::Open => {
                    self.opened_orphans.insert(container.uuid);
                }
                _ => {}
            }
        }
        self.twins.retain(|twin, first| twin != name && first != name);
        self.containers.values_mut().for_each(|container| container.forget(name));
        if let (_, Some(Purpose::Pin(of, _) | Purpose::Plain(of))) = &self.asked
            && of == name
        {
            // Another device of this name gets nothing that was typed for this one.
            self.asked.1 = None;
        }
    }

    fn retry(&mut self) {
        self.containers.retain(|_, container| !container.is_hopeless());
        let first = &self.containers;
        self.twins.retain(|_, of| first.contains_key(of));
        self.opened_orphans.clear();
        self.typed.retain(|secret| self.useful.contains(secret));
        for container in self.containers.values_mut() {
            container.known_from = self.typed.len();
        }
        self.forget_question();
    }

    fn stop_asking(&mut self) {
        self.forget_question();
    }

    fn is_busy(&self) -> bool {
        self.is_opening()
            || self.containers.values().any(|one| {
                matches!(one.state, State::ReadingKey(..) | State::Unsealing(..) | State::Closing(_))
            })
            || self.modules.values().any(|state| matches!(state, Modules::Asked(_)))
    }

    fn has_failed(&self, view: View<'_>) -> bool {
        self.containers.values().any(Container::is_hopeless)
            && self.containers.values().all(|one| one.is_hopeless() || one.state == State::Open)
            && choice::unseen_selectors(view, &self.containers).next().is_none()
    }

    fn hold(&self, view: View<'_>) -> Hold {
        if !view.plan.luks.enabled {
            return Hold::No;
        }
        // A container whose header does not come is missing itself.
        let working = |(name, one): (&DevName, &Container)| {
            one.holds_root
                && match one.state {
                    State::Locked => one.header(view, name).is_some(),
                    State::ReadingKey(..) | State::Unsealing(..) | State::Opening(..) => true,
                    _ => false,
                }
        };
        if self.containers.iter().any(working) {
            return Hold::Working;
        }
        let headless = self.containers.values().any(|one| one.holds_root && one.state == State::Locked);
        let missing = headless
            || choice::is_one_wanting(view, &self.containers)
            || choice::unseen_rows(view, &self.containers).next().is_some();
        if missing { Hold::Missing } else { Hold::No }
    }

    fn wind_up(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        self.finish(view, requests);
        for container in self.containers.values_mut().filter(|one| one.keysource && one.state == State::Open)
        {
            container.state = State::Closing(requests.ask(Action::RemoveDm(container.name.clone())));
        }
    }

    fn finish(&mut self, _view: View<'_>, requests: &mut Requests<'_>) {
        for (loudness, remark) in self.unsaid.drain(..) {
            requests.ask(Action::Say(loudness, remark));
        }
    }

    fn is_asking(&self) -> bool {
        self.question.is_some()
    }

    fn deadline(&self) -> Option<Moment> {
        match (self.prompt_until, self.waiting_for_key) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        self.explain_device(view, device)
    }

    fn missing(&self, view: View<'_>) -> Vec<Node> {
        let selectors = choice::unseen_selectors(view, &self.containers)
            .map(|selector| format!("no encrypted container matches {}", selector.id));
        let rows = choice::unseen_rows(view, &self.containers).map(|row| {
            format!("{}, the container of {} in crypttab, has not shown up", row.device_field, row.name)
        });
        selectors.chain(rows).map(|text| Node::new(NodeState::Missing, text)).collect()
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        self.remedies_for(view)
    }
}
