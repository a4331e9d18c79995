//! LUKS containers: which ones are wanted, with what they are tried, when somebody is asked.
//!
//! One key derivation runs at a time: two containers of 1 GiB argon2id each must open on a 2 GiB machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cmdline::plan::KeyDevice;

use super::{Assembler, Requests, View};
use crate::command::{Action, CryptOptions, Loudness, SecretSource};
use crate::event::{CommandId, DevName, Failure, Outcome, SecretId};
use crate::explain::{Node, State as NodeState};
use crate::modules::kernel_requests;
use crate::table::Device;
use crate::time::Moment;

mod choice;
mod question;
mod report;
#[cfg(test)]
mod tests;

use question::Question;

/// Wrong passphrases until a container is given up, unless crypttab's `tries=` says otherwise (dracut's number).
const DEFAULT_TRIES: u32 = 5;

/// A key file that may open a container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    path: String,
    device: KeyDevice,
    /// Devices on which it was looked for.
    looked_on: BTreeSet<DevName>,
    offset: u64,
    size: Option<u64>,
}

/// What is being tried on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    KeyFile(String),
    Held(SecretId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Waits for its turn, for a key device or for somebody to type.
    Locked,
    ReadingKey(CommandId, String),
    Opening(CommandId, Attempt),
    Open,
    Failed(String),
    /// Failed for a reason that is not its secret's.
    Broken(String),
}

#[derive(Debug, Clone)]
struct Container {
    name: String,
    uuid: String,
    order: u64,
    options: CryptOptions,
    tries: Option<u32>,
    /// How long its passphrase is asked for.
    prompt_limit: Option<Duration>,
    keys: VecDeque<Key>,
    /// Until when a key device may still appear before somebody is asked.
    keys_until: Moment,
    /// Passphrases that had been typed before it was known: those do not count as wrong.
    known_from: usize,
    tried: BTreeSet<SecretId>,
    /// Secrets read from key devices for this container.
    read: Vec<SecretId>,
    state: State,
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Modules {
    #[default]
    NotAsked,
    Asked(CommandId),
    Ready,
}

/// The assembler of LUKS containers.
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
    prompt_until: Option<Moment>,
    waiting_for_key: Option<Moment>,
}

impl Container {
    fn is_hopeless(&self) -> bool {
        matches!(self.state, State::Failed(_) | State::Broken(_))
    }
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
            .filter(|device| choice::is_luks(device))
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
                container.name = choice::default_name(&container.uuid);
            }
            container.known_from = self.typed.len();
            if self.opened_orphans.contains(&container.uuid) {
                container.state = State::Open;
            }
            self.containers.insert(device.name.clone(), container);
        }
    }

    /// Asks for the modules that a container needs; true once all answers are in.
    fn modules_ready(&mut self, view: View<'_>, name: &DevName, requests: &mut Requests<'_>) -> bool {
        let Some(device) = view.table.get(name) else { return false };
        let wanted = choice::modules_for(device);
        ready(&mut self.modules, wanted, requests)
    }

    /// Starts the next attempt, if none is under way. Returns whether something was started.
    fn attempt(&mut self, view: View<'_>, requests: &mut Requests<'_>) -> bool {
        if self.is_opening() {
            return false;
        }
        for name in self.locked() {
            if !self.modules_ready(view, &name, requests) {
                continue;
            }
            let typed = self.typed.clone();
            let Some(container) = self.containers.get_mut(&name) else { continue };
            if let Some(other) = view
                .table
                .iter()
                .find(|other| other.facts.dm.as_ref().is_some_and(|dm| dm.name == container.name))
            {
                container.state =
                    State::Broken(format!("the name {} is taken by {}", container.name, other.name));
                return true;
            }
            let attempt = next_key(view, container, &mut self.modules, requests);
            let (attempt, secret) = match attempt {
                Next::Try(path, source) => (Attempt::KeyFile(path), source),
                Next::Reading => return true,
                Next::Loading => continue,
                Next::Nothing => {
                    let mut held = container.read.iter().chain(&typed);
                    match held.find(|secret| !container.tried.contains(secret)).copied() {
                        Some(secret) => (Attempt::Held(secret), SecretSource::Held(secret)),
                        None => continue,
                    }
                }
            };
            if let Attempt::Held(secret) = &attempt {
                container.tried.insert(*secret);
            }
            let id = requests.ask(Action::OpenCrypt {
                device: name.clone(),
                name: container.name.clone(),
                secret,
                options: container.options.clone(),
            });
            container.state = State::Opening(id, attempt);
            return true;
        }
        false
    }

    fn is_opening(&self) -> bool {
        !self.orphans.is_empty()
            || self.containers.values().any(|container| matches!(container.state, State::Opening(..)))
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

enum Next {
    Try(String, SecretSource),
    Reading,
    /// The key device's file system still needs its driver.
    Loading,
    Nothing,
}

/// Asks once for these modules; true once the answer is in.
fn ready(modules: &mut BTreeMap<String, Modules>, wanted: Vec<String>, requests: &mut Requests<'_>) -> bool {
    let state = modules.entry(wanted.join(",")).or_default();
    if *state == Modules::NotAsked {
        *state = Modules::Asked(requests.ask(Action::LoadModules(wanted)));
    }
    *state == Modules::Ready
}

/// The next key file of a container that can be had now.
///
/// A key that lies elsewhere stays in the list: another device may match, or the same one come again.
fn next_key(
    view: View<'_>,
    container: &mut Container,
    modules: &mut BTreeMap<String, Modules>,
    requests: &mut Requests<'_>,
) -> Next {
    for (index, key) in container.keys.iter_mut().enumerate() {
        let path = key.path.clone();
        if key.device == KeyDevice::Initramfs {
            let source = SecretSource::File { path: path.clone(), offset: key.offset, size: key.size };
            container.keys.remove(index);
            return Next::Try(path, source);
        }
        let Some((device, fstype)) = choice::key_device(view, &key.device, &key.looked_on) else { continue };
        if !ready(modules, kernel_requests::for_filesystem(&fstype), requests) {
            return Next::Loading;
        }
        key.looked_on.insert(device.clone());
        let (offset, size) = (key.offset, key.size);
        let action = Action::ReadKey { device, fstype, path: path.clone(), offset, size };
        container.state = State::ReadingKey(requests.ask(action), path);
        return Next::Reading;
    }
    Next::Nothing
}

impl Assembler for Luks {
    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        if !view.plan.luks.enabled {
            return;
        }
        self.choose(view, requests);
        while self.attempt(view, requests) {}
        self.ask(view, requests);
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
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
            State::ReadingKey(asked, _) | State::Opening(asked, _) => *asked == id,
            _ => false,
        });
        let Some((name, container)) = ours else { return false };
        match (container.state.clone(), result) {
            (State::ReadingKey(_, path), Ok(Outcome::Secret(secret))) => {
                container.note = Some(format!("key {path} read"));
                container.read.push(*secret);
                // What has been found need not be waited for any more.
                container.keys_until = Moment::default();
                container.state = State::Locked;
            }
            (State::ReadingKey(_, path), Err(failure)) => {
                container.note = Some(format!("key {path}: {failure}"));
                container.state = State::Locked;
            }
            (State::Opening(_, attempt), Ok(_)) => {
                container.state = State::Open;
                if let Attempt::Held(secret) = attempt {
                    self.useful.insert(secret);
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
            (State::Opening(..), Err(failure)) => {
                container.state = State::Broken(failure.to_string());
                let broken = name.clone();
                self.twins.retain(|_, first| *first != broken);
            }
            (_, _) => container.state = State::Locked,
        }
        true
    }

    fn typed(&mut self, secret: SecretId) {
        // The consoles take one answer per question.
        self.question = None;
        self.prompt_until = None;
        if !self.typed.contains(&secret) {
            self.typed.push(secret);
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
        for key in self.containers.values_mut().flat_map(|container| &mut container.keys) {
            key.looked_on.remove(name);
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
        self.question = None;
        self.prompt_until = None;
    }

    fn stop_asking(&mut self) {
        self.question = None;
        self.prompt_until = None;
    }

    fn is_busy(&self) -> bool {
        self.is_opening()
            || self.containers.values().any(|one| matches!(one.state, State::ReadingKey(..)))
            || self.modules.values().any(|state| matches!(state, Modules::Asked(_)))
    }

    fn has_failed(&self, view: View<'_>) -> bool {
        self.containers.values().any(Container::is_hopeless)
            && self.containers.values().all(|one| one.is_hopeless() || one.state == State::Open)
            && choice::unseen_selectors(view).next().is_none()
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
        choice::unseen_selectors(view)
            .map(|id| Node::new(NodeState::Missing, format!("no LUKS container matches {id}")))
            .collect()
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        self.remedies_for(view)
    }
}
