//! Builds the explanation: from the wanted root to the one thing that is missing, and what to try.

use cmdline::plan::RootSpec;

use crate::assemble::{Assembler, View};
use crate::engine::{Engine, StopReason};
use crate::event::{DevName, DriverFacts, Failure};
use crate::explain::{self, Explanation, Node, State};
use crate::matching;
use crate::root::{self, Goal, Stage};
use crate::table::{Device, Knowledge};
use crate::time::Moment;

mod remedy;
#[cfg(test)]
mod tests;

/// Devices deeper than this are not drawn: a cycle of holders must not hang the one tool that explains it.
const MAX_DEPTH: usize = 12;

/// More disks than this are counted instead of drawn: a serial console takes seconds for hundreds of lines.
const MAX_DISKS: usize = 40;

/// Draws the tree.
#[must_use]
pub fn explain(
    view: View<'_>,
    goal: &Goal,
    assemblers: &[Box<dyn Assembler>],
    drivers: &DriverFacts,
    stopped: Option<&StopReason>,
) -> Explanation {
    let spec = goal.spec(view.plan);
    let wanted = spec.as_ref().map_or_else(|| "no root= on the command line".to_owned(), describe_spec);
    let mut tree = Node::new(root_state(goal), format!("{} {wanted}", goal.mountpoint));
    tree.children.extend(candidates(view, goal));
    if let Some(failure) = &goal.handover_failure {
        tree.children.push(Node::new(State::Failed, failure.to_string()));
    }
    for assembler in assemblers {
        tree.children.extend(assembler.missing(view));
    }
    let tops = view.table.iter().filter(|device| is_top(view, device) && is_worth_a_line(device));
    let mut drawn: Vec<Node> = tops.map(|device| draw(view, goal, assemblers, device, 0)).collect();
    if drawn.is_empty() {
        tree.children.push(Node::new(State::Missing, "no block device has been seen"));
    }
    if drawn.len() > MAX_DISKS {
        drawn.sort_by_key(|node| !node.is_telling());
    }
    let more = drawn.len().saturating_sub(MAX_DISKS);
    tree.children.extend(drawn.into_iter().take(MAX_DISKS));
    if more > 0 {
        tree.children.push(Node::new(State::Seen, format!("and {more} more (`devices` lists them)")));
    }
    tree.children.extend(driver_nodes(drivers));
    let mut remedies = remedy::for_goal(view, goal, drivers);
    remedies.extend(assemblers.iter().flat_map(|one| one.remedies(view)));
    let headline = match stopped {
        Some(reason) => format!("cannot reach {}: {}", goal.mountpoint, why(view, goal, reason, &wanted)),
        None if matches!(goal.stage, Stage::Mounted(_)) => {
            format!("{} is mounted; the hand-over waits for what was begun to be finished", goal.mountpoint)
        }
        None => format!("{} is not reached yet: {wanted}, {}", goal.mountpoint, progress(goal)),
    };
    Explanation { headline, tree, remedies }
}

fn why(view: View<'_>, goal: &Goal, reason: &StopReason, wanted: &str) -> String {
    match reason {
        StopReason::NoRoot => match goal.spec(view.plan) {
            Some(RootSpec::Unsupported(text)) => {
                format!("root={text} is a form that this version does not handle")
            }
            _ => "no root= on the command line".to_owned(),
        },
        StopReason::OutOfPatience => match view.plan.patience {
            cmdline::plan::Patience::Total(limit) => {
                format!("{wanted} was not found within {} s", limit.as_secs())
            }
            cmdline::plan::Patience::Quiet(limit) => {
                format!("{wanted} was not found and nothing has changed for {} s", limit.as_secs())
            }
            cmdline::plan::Patience::Forever => format!("{wanted} was not found"),
        },
        StopReason::Hopeless => format!("{wanted}: every way to it has failed"),
        StopReason::Handover => match &goal.handover_failure {
            Some(failure) => format!("{wanted} is mounted, but cannot be handed over to: {failure}"),
            None => format!("{wanted} is mounted, but cannot be handed over to"),
        },
    }
}

fn progress(goal: &Goal) -> String {
    match &goal.stage {
        Stage::Wanted => "waiting".to_owned(),
        Stage::LoadingFs(_, name) | Stage::FsReady(name) => {
            format!("loading the file system's driver for {name}")
        }
        Stage::Mounting(_, name) => format!("mounting {name}"),
        Stage::Mounted(name) | Stage::Switching(_, name) => format!("{name} is mounted"),
    }
}

fn root_state(goal: &Goal) -> State {
    match &goal.stage {
        Stage::Wanted if !goal.failures.is_empty() => State::Failed,
        Stage::Wanted => State::Missing,
        Stage::LoadingFs(..) | Stage::FsReady(_) | Stage::Mounting(..) => State::Waiting,
        Stage::Mounted(_) | Stage::Switching(..) => State::Found,
    }
}

/// `root=` as the user would write it.
#[must_use]
pub fn describe_spec(spec: &RootSpec) -> String {
    match spec {
        RootSpec::Path(path) => path.clone(),
        RootSpec::Uuid(uuid) => format!("UUID={uuid}"),
        RootSpec::Label(label) => format!("LABEL={label}"),
        RootSpec::PartUuid { uuid, offset: 0 } => format!("PARTUUID={uuid}"),
        RootSpec::PartUuid { uuid, offset } => format!("PARTUUID={uuid}/PARTNROFF={offset}"),
        RootSpec::PartLabel(label) => format!("PARTLABEL={label}"),
        RootSpec::DevNum { major, minor } => format!("{major}:{minor}"),
        RootSpec::Unsupported(text) => text.clone(),
    }
}

/// Devices that match and cannot be, or could not be, mounted.
fn candidates(view: View<'_>, goal: &Goal) -> Vec<Node> {
    let matches = goal.matches(view.plan, view.table);
    let spec = goal.spec(view.plan);
    let matching = matches.iter().filter_map(|device| {
        let name = &device.name;
        if let Some(failure) = goal.failures.get(name) {
            let text = format!("{name} matches and could not be mounted: {failure}");
            return Some(Node::new(State::Failed, text));
        }
        if let Some(obstacle) = root::obstacle(view.plan, device) {
            return Some(Node::new(State::Failed, format!("{name} matches, but {obstacle}")));
        }
        (root::missing(view.table, device) > 0).then(|| waiting_for_devices(view, device))
    });
    let unfit = view.table.iter().filter_map(|device| {
        let carries = spec.as_ref().is_some_and(|spec| matching::carries(spec, device));
        if !carries || matches.iter().any(|known| known.name == device.name) {
            return None;
        }
        let text = match root::obstacle(view.plan, device) {
            Some(obstacle) => format!("{} carries that id, but {obstacle}", device.name),
            None => format!("{} carries that id, but another device is built on it", device.name),
        };
        Some(Node::new(State::Failed, text))
    });
    matching.chain(unfit).collect()
}

/// A file system of several devices that is not complete.
fn waiting_for_devices(view: View<'_>, device: &Device) -> Node {
    let what = root::shortfall(view.table, device);
    let outlook = match view.plan.degraded {
        Some(grace) => {
            let left = view.last_change.after(grace).since(view.now).as_secs();
            format!("waiting {left} s more before a degraded start")
        }
        None => "rootward.degraded=never forbids a degraded start".to_owned(),
    };
    Node::new(State::Missing, format!("{what}, {outlook}"))
}

fn is_top(view: View<'_>, device: &Device) -> bool {
    let known = |name: &DevName| view.table.get(name).is_some();
    !device.facts.parent.as_ref().is_some_and(known) && !device.facts.slaves.iter().any(known)
}

fn is_worth_a_line(device: &Device) -> bool {
    device.is_readable() || !device.facts.slaves.is_empty()
}

fn draw(
    view: View<'_>,
    goal: &Goal,
    assemblers: &[Box<dyn Assembler>],
    device: &Device,
    depth: usize,
) -> Node {
    let is_root = goal.device() == Some(&device.name);
    let state = match &device.knowledge {
        _ if is_root => State::Found,
        Knowledge::Unreadable(_) => State::Failed,
        Knowledge::Asked(_) => State::Waiting,
        _ => State::Seen,
    };
    let mut node = Node::new(state, describe(view, device));
    node.children.extend(assemblers.iter().filter_map(|one| one.explain(view, device)));
    if depth < MAX_DEPTH {
        let below = view.table.partitions(&device.name).chain(view.table.holders(&device.name));
        node.children.extend(below.map(|child| draw(view, goal, assemblers, child, depth.saturating_add(1))));
    }
    node
}

/// Every device in one line, with the links that it owns: what `devices` prints at the rescue prompt.
#[must_use]
pub fn list_devices(engine: &Engine) -> String {
    let view = engine.view(Moment::default());
    let lines = view.table.iter().map(|device| {
        let links: String = device.links.iter().map(|link| format!("\n    /dev/{link}")).collect();
        format!("{}{links}\n", describe(view, device))
    });
    let text: String = lines.collect();
    if text.is_empty() { "no block device has been seen\n".to_owned() } else { explain::printable(&text) }
}

/// One device in one line.
#[must_use]
pub fn describe(view: View<'_>, device: &Device) -> String {
    let mut parts = vec![format!("{}: {}", device.name, size(device.facts.size))];
    if let Some(dm) = &device.facts.dm {
        parts.push(format!("/dev/mapper/{}", dm.name));
    }
    match &device.knowledge {
        Knowledge::Unknown => parts.push("not read".to_owned()),
        Knowledge::Asked(_) => parts.push("being read".to_owned()),
        Knowledge::Unreadable(failure) => parts.push(failure_text(failure)),
        Knowledge::Known(content) => {
            if let Some(table) = &content.table {
                parts.push(if table.gpt { "GPT".to_owned() } else { "MBR".to_owned() });
            }
            for signature in &content.signatures {
                let mut text = signature.kind.name().to_owned();
                if let Some(uuid) = &signature.uuid {
                    text.push_str(&format!(" UUID={uuid}"));
                }
                if let Some(label) = &signature.label {
                    text.push_str(&format!(" LABEL={}", String::from_utf8_lossy(label)));
                }
                parts.push(text);
            }
            for signature in &content.rejected {
                let doubt = signature.doubt.as_deref().unwrap_or("its checksum is wrong");
                parts.push(format!("damaged {} ({doubt})", signature.kind.name()));
            }
            if content.signatures.is_empty() && content.rejected.is_empty() && content.table.is_none() {
                parts.push("nothing that this version knows".to_owned());
            }
        }
    }
    if let Some(owner) = &device.claimed {
        parts.push(format!("part of {owner}"));
    }
    if let Some(entry) = view.table.partition_entry(device) {
        parts.push(format!("PARTUUID={}", entry.uuid));
        if let Some(name) = &entry.name {
            parts.push(format!("PARTLABEL={name}"));
        }
    }
    parts.join(", ")
}

fn failure_text(failure: &Failure) -> String {
    format!("cannot be read: {failure}")
}

/// A size for people: three digits are enough to recognise a disk.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let (unit, shift) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0).unwrap_or(("B", 0));
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

fn driver_nodes(drivers: &DriverFacts) -> Vec<Node> {
    let failed = drivers.failed.iter().map(|(name, errno)| {
        Node::new(State::Failed, format!("module {name} could not be loaded: errno {errno}"))
    });
    let storage = drivers.driverless.iter().filter_map(|device| {
        let kind = remedy::storage_kind(&device.modalias)?;
        Some(Node::new(
            State::Missing,
            format!("{} ({kind}, {}) has no driver in this image", device.devpath, device.modalias),
        ))
    });
    let pending = (drivers.pending > 0)
        .then(|| Node::new(State::Waiting, format!("{} modules are still being loaded", drivers.pending)));
    failed.chain(storage).chain(pending).collect()
}
