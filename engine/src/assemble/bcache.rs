//! bcache: the kernel is given every part of it, and makes the device (Documentation/admin-guide/bcache.rst).
//!
//! A backing device whose cache is missing starts without it only after the grace for degraded starts, and only if the
//! cache holds nothing that the device lacks.

use std::collections::BTreeMap;

use ondisk::{Kind, Member, bcache};

use super::ata_raid::external::volumes_below;
use super::{Assembler, Requests, View};
use crate::command::{Action, Loudness};
use crate::event::{CommandId, DevName, Failure, Outcome};
use crate::explain::{Node, State as NodeState};
use crate::table::{Device, Table};
use crate::time::Moment;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Asked(CommandId),
    /// The kernel has it.
    Registered,
    /// The kernel is told to start it without its cache.
    Alone(CommandId),
    /// It has been started without.
    Started,
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Driver {
    #[default]
    NotAsked,
    Asked(CommandId),
    Ready,
}

/// The assembler of bcache devices.
#[derive(Debug, Default)]
pub struct Bcache {
    driver: Driver,
    parts: BTreeMap<DevName, State>,
    /// When a device whose cache is missing may start without it.
    alone_from: Option<Moment>,
}

fn superblock(device: &Device) -> Option<&bcache::Superblock> {
    device.content()?.member.as_deref().and_then(Member::bcache).filter(|_| device.is_free())
}

fn is_part(device: &Device) -> bool {
    device.is_free() && device.signature().is_some_and(|signature| signature.kind == Kind::Bcache)
}

/// The set that this backing device waits for, if nothing that was seen is of it.
fn missing_set<'a>(table: &Table, device: &'a Device) -> Option<&'a str> {
    let set = superblock(device).filter(|sb| sb.backing)?.set.as_deref()?;
    let of_set =
        |other: &Device| superblock(other).is_some_and(|sb| !sb.backing && sb.set.as_deref() == Some(set));
    (!table.iter().any(of_set)).then_some(set)
}

impl Bcache {
    /// Whether nothing has been made of this registered backing device.
    fn is_waiting(&self, table: &Table, device: &Device) -> bool {
        self.parts.get(&device.name) == Some(&State::Registered)
            && superblock(device).is_some_and(|sb| sb.backing)
            && table.holders(&device.name).next().is_none()
    }
}

impl Assembler for Bcache {
    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        self.alone_from = None;
        let wanted = match view.plan.auto {
            Some(always) => always,
            None => view.calm,
        };
        let mut parts: Vec<&Device> = view.table.iter().filter(|device| is_part(device)).collect();
        if !wanted || parts.is_empty() {
            return;
        }
        match self.driver {
            Driver::NotAsked => {
                let modules = vec!["bcache".to_owned()];
                self.driver = Driver::Asked(requests.ask(Action::LoadModules(modules)));
                return;
            }
            Driver::Asked(_) => return,
            Driver::Ready => {}
        }
        parts.sort_by_key(|device| device.order);
        for device in &parts {
            let held = view.table.holders(&device.name).next().is_some();
            if !held && !self.parts.contains_key(&device.name) {
                let id = requests.ask(Action::StartBcache(
                    device.name.clone(),
                    false,
                    volumes_below(view.plan, view.table, [*device]),
                ));
                self.parts.insert(device.name.clone(), State::Asked(id));
            }
        }
        let Some(grace) = view.plan.degraded else { return };
        let from = view.at_rest.after(grace);
        for device in parts {
            let clean = superblock(device).is_some_and(|sb| !sb.dirty);
            let Some(set) =
                missing_set(view.table, device).filter(|_| clean && self.is_waiting(view.table, device))
            else {
                continue;
            };
            if view.now < from {
                self.alone_from = Some(from);
                continue;
            }
            let name = &device.name;
            let text =
                format!("the cache set {set} of {name} is missing; {name} is clean and starts without it");
            requests.ask(Action::Say(Loudness::Warning, text));
            let id = requests.ask(Action::StartBcache(name.clone(), true, Vec::new()));
            self.parts.insert(name.clone(), State::Alone(id));
        }
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if self.driver == Driver::Asked(id) {
            // Without its module it may be built in; registering tells.
            self.driver = Driver::Ready;
            return true;
        }
        let asked =
            |state: &&mut State| matches!(**state, State::Asked(one) | State::Alone(one) if one == id);
        let Some(state) = self.parts.values_mut().find(asked) else {
            return false;
        };
        *state = match result {
            Ok(_) if *state == State::Alone(id) => State::Started,
            Ok(_) => State::Registered,
            Err(failure) => State::Failed(failure.to_string()),
        };
        true
    }

    fn gone(&mut self, name: &DevName) {
        self.parts.remove(name);
    }

    fn retry(&mut self) {
        self.parts.retain(|_, state| !matches!(state, State::Failed(_)));
    }

    fn is_busy(&self) -> bool {
        matches!(self.driver, Driver::Asked(_))
            || self.parts.values().any(|state| matches!(state, State::Asked(_) | State::Alone(_)))
    }

    fn deadline(&self) -> Option<Moment> {
        self.alone_from
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        if let Some(State::Failed(why)) = self.parts.get(&device.name) {
            return Some(Node::new(
                NodeState::Failed,
                format!("bcache does not take {}: {why}", device.name),
            ));
        }
        let set =
            missing_set(view.table, device).filter(|_| view.table.holders(&device.name).next().is_none())?;
        let dirty = superblock(device).is_some_and(|sb| sb.dirty);
        let outlook = match view.plan.degraded {
            _ if dirty => "which holds data that is nowhere else: nothing is started without it".to_owned(),
            Some(grace) => {
                let left = view.at_rest.after(grace).since(view.now).as_secs();
                format!("waiting {left} s more before it starts without")
            }
            None => "rootward.degraded=never forbids to start without".to_owned(),
        };
        Some(Node::new(NodeState::Missing, format!("{} misses its cache set {set}, {outlook}", device.name)))
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        let dirty = |device: &&Device| {
            superblock(device).is_some_and(|sb| sb.dirty) && missing_set(view.table, device).is_some()
        };
        view.table
            .iter()
            .filter(dirty)
            .map(|device| {
                format!("connect the cache of the bcache device {}; without it data is lost", device.name)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, content, is_mount, plan, uuid};
    use cmdline::Plan;
    use ondisk::Content;
    use std::time::Duration;

    fn part(backing: bool, set: Option<&str>, dirty: bool) -> Content {
        let member = bcache::Superblock { backing, set: set.map(str::to_owned), dirty };
        Content { member: Some(Box::new(Member::Bcache(member))), ..content(Kind::Bcache, "part") }
    }

    fn started(actions: &[Action]) -> Vec<(&str, bool)> {
        actions
            .iter()
            .filter_map(|action| match action {
                Action::StartBcache(name, alone, _) => Some((name.0.as_str(), *alone)),
                _ => None,
            })
            .collect()
    }

    fn is_start(action: &Action) -> bool {
        matches!(action, Action::StartBcache(..))
    }

    fn script(change: impl FnOnce(&mut Plan)) -> Script {
        let mut plan = plan(uuid("root"));
        change(&mut plan);
        Script::new(plan)
    }

    #[test]
    fn registered_when_calm_and_root_on_it_is_mounted() {
        let mut script = script(|_| {});
        let backing = script.disk("sda", part(true, Some("set"), true));
        assert_eq!(started(&backing), [("sda", false)]);
        let cache = script.disk("sdb", part(false, Some("set"), false));
        assert_eq!(started(&cache), [("sdb", false)]);
        script.answer(is_start, Ok(Outcome::Done));
        script.answer(is_start, Ok(Outcome::Done));
        let facts = crate::DeviceFacts {
            major: 252,
            size: 1 << 30,
            slaves: vec!["sda".into(), "sdb".into()],
            ..crate::DeviceFacts::default()
        };
        let actions = script.add("bcache0", facts, content(Kind::Ext4, "root"));
        assert!(actions.iter().any(is_mount), "{actions:?}");
    }

    #[test]
    fn rd_auto_decides() {
        let mut never = script(|plan| plan.auto = Some(false));
        assert!(started(&never.disk("sda", part(true, None, false))).is_empty());
        assert!(started(&never.wait(5000)).is_empty());
        let mut always = script(|plan| plan.auto = Some(true));
        assert_eq!(started(&always.disk("sda", part(true, None, false))), [("sda", false)]);
    }

    #[test]
    fn a_clean_device_starts_without_its_cache_after_the_grace() {
        let mut script = script(|_| {});
        script.disk("sda", part(true, Some("set"), false));
        script.answer(is_start, Ok(Outcome::Done));
        assert!(started(&script.wait(9000)).is_empty());
        assert!(
            script
                .engine
                .explain(Moment(script.now))
                .to_string()
                .contains("sda misses its cache set set, waiting")
        );
        assert_eq!(started(&script.wait(2000)), [("sda", true)]);
        assert!(started(&script.wait(20_000)).is_empty(), "once");
        script.answer(is_start, Err(Failure::Other("no".into())));
        let why = script.engine.explain(Moment(script.now)).to_string();
        assert!(why.contains("bcache does not take sda: no"), "{why}");
        assert_eq!(started(&script.tell(crate::Event::Retry)), [("sda", false)]);
    }

    #[test]
    fn a_dirty_one_never_does() {
        let mut script = script(|plan| plan.degraded = Some(Duration::ZERO));
        script.disk("sda", part(true, Some("set"), true));
        script.answer(is_start, Ok(Outcome::Done));
        assert!(started(&script.wait(60_000)).is_empty());
        let why = script.engine.explain(Moment(script.now)).to_string();
        assert!(why.contains("nothing is started without it") && why.contains("connect the cache"), "{why}");
    }

    #[test]
    fn a_refusal_is_explained() {
        let mut script = script(|_| {});
        script.disk("sda", part(true, None, false));
        script.answer(is_start, Err(Failure::Other("no".into())));
        assert!(
            script.engine.explain(Moment(script.now)).to_string().contains("bcache does not take sda: no")
        );
    }
}
