//! What the LVM assembler has to say to an operator.

use std::collections::BTreeSet;

use ondisk::lvm::PvEntry;

use super::activation::{self, KernelFacts, Refusal};
use super::group::{self, Group};
use super::{Lvm, State, choice, key};
use crate::assemble::View;
use crate::explain::{Node, State as NodeState};
use crate::table::Device;

/// A PV as people can find it: `abc (last seen on sdb2)`.
pub fn pv_name(entry: &PvEntry) -> String {
    let mark = if group::is_lost(entry) { ", counted as lost by the group" } else { "" };
    match &entry.device {
        Some(device) => {
            format!("PV {} (last seen on {}{mark})", entry.id, device.strip_prefix("/dev/").unwrap_or(device))
        }
        None => format!("PV {}{mark}", entry.id),
    }
}

impl Lvm {
    /// What a PV belongs to, and what is wrong with it.
    pub(super) fn explain_device(&self, view: View<'_>, device: &Device) -> Option<Node> {
        let pv = group::pv(device)?;
        let groups = group::all(view.table, view.lvm_conf());
        let mine =
            groups.iter().find(|group| group.members.iter().flatten().any(|other| other.name == device.name));
        let outdated =
            groups.iter().find(|group| group.outdated.iter().any(|other| other.name == device.name));
        let text = match (mine, outdated) {
            (Some(group), _) => format!("PV {} of VG {}", pv.label.id, group.vg.name),
            (None, Some(group)) => format!(
                "PV {} was taken out of VG {} and does not know it (its metadata has seqno {}, the group's {})",
                pv.label.id,
                group.vg.name,
                pv.label.vg.as_ref().map_or(0, |vg| vg.seqno),
                group.vg.seqno
            ),
            (None, None) if !view.lvm_conf().accepts(device) => {
                format!("PV {} is rejected by the filter in lvm.conf", pv.label.id)
            }
            (None, None) if !pv.label.doubts.is_empty() => {
                format!("PV {}: all of its metadata is damaged, and no other PV knows it", pv.label.id)
            }
            (None, None) => format!("PV {} of no known group", pv.label.id),
        };
        let mut node = Node::new(NodeState::Seen, text);
        node.children.extend(pv.label.doubts.iter().map(|doubt| Node::new(NodeState::Failed, doubt.clone())));
        Some(node)
    }

    /// Groups that root may need and that cannot be had, and volumes that failed.
    pub(super) fn explain_groups(&self, view: View<'_>) -> Vec<Node> {
        if !view.plan.lvm.enabled {
            return Vec::new();
        }
        let groups = group::all(view.table, view.lvm_conf());
        let mut nodes: Vec<Node> =
            groups.iter().filter_map(|group| self.explain_group(view, group, &groups)).collect();
        for name in named_groups(view) {
            if !groups.iter().any(|group| group.vg.name == name) {
                nodes.push(Node::new(
                    NodeState::Missing,
                    format!("VG {name} is named, and no PV of it has been seen"),
                ));
            }
        }
        nodes
    }

    fn explain_group(&self, view: View<'_>, group: &Group<'_>, groups: &[Group<'_>]) -> Option<Node> {
        let name = &group.vg.name;
        if let Some((why, _)) = group.obstacle(groups, view.lvm_conf()) {
            return Some(Node::new(NodeState::Failed, format!("VG {name} is left alone: {why}")));
        }
        let mut children = Vec::new();
        for lv in &group.vg.lvs {
            if let Some(State::Failed(why, _)) = self.volumes.get(&key(group.vg, lv)) {
                children.push(Node::new(NodeState::Failed, format!("{name}/{}: {why}", lv.name)));
            } else if self.job.as_ref().is_some_and(|job| job.key == key(group.vg, lv)) {
                children
                    .push(Node::new(NodeState::Waiting, format!("{name}/{} is being activated", lv.name)));
            } else if let Some(why) = uncovered(view, group, &lv.name) {
                children.push(Node::new(NodeState::Missing, why));
            }
        }
        for (group_name, volume) in named_volumes(view) {
            if group_name == name && group.vg.lv(volume).is_none() {
                children.push(Node::new(NodeState::Missing, format!("VG {name} has no volume {volume}")));
            }
        }
        let missing: Vec<String> = group.missing().map(pv_name).collect();
        let seen = group.vg.pvs.len().saturating_sub(missing.len());
        let mut text = format!("VG {name}: {seen} of {} PVs seen", group.vg.pvs.len());
        let mut state = NodeState::Seen;
        if !missing.is_empty() {
            state = NodeState::Missing;
            text.push_str(&format!(", missing {}", missing.join(", ")));
            match self.degraded_at.filter(|at| *at > view.now) {
                Some(at) => {
                    let left = at.since(view.now).as_millis().div_ceil(1000);
                    let what =
                        if view.plan.degraded.is_some() { "degraded start" } else { "a start without it" };
                    text.push_str(&format!(", waiting {left} s more before {what}"));
                }
                None => match view.plan.degraded {
                    None => text.push_str(", and rootward.degraded=never"),
                    Some(grace) if !view.calm && is_covered(view, group) => {
                        let grace = grace.as_secs();
                        text.push_str(&format!(", degraded start {grace} s after the last new device"));
                    }
                    Some(_) => {}
                },
            }
        }
        let mut node = Node::new(state, text);
        node.children = children;
        (node.is_telling()).then_some(node)
    }

    /// What may help.
    pub(super) fn remedies_for(&self, view: View<'_>) -> Vec<String> {
        let lvm = &view.plan.lvm;
        let groups = group::all(view.table, view.lvm_conf());
        if !lvm.enabled {
            let advice = "take rd.lvm=0 off the command line if root lies in a volume group".to_owned();
            return if groups.is_empty() { Vec::new() } else { vec![advice] };
        }
        let mut remedies = BTreeSet::new();
        let explicit = !lvm.vgs.is_empty() || !lvm.lvs.is_empty();
        for group in &groups {
            let name = &group.vg.name;
            if let Some((_, advice)) = group.obstacle(&groups, view.lvm_conf()) {
                remedies.insert(advice);
                continue;
            }
            for entry in group.missing() {
                remedies.insert(if group::is_lost(entry) {
                    format!(
                        "{} is counted as lost: vgextend --restoremissing {name} from a rescue system",
                        pv_name(entry)
                    )
                } else {
                    format!("attach the disk with {} of VG {name}", pv_name(entry))
                });
            }
            let named = |wanted: &str| wanted == name;
            if explicit && !lvm.vgs.iter().any(|vg| named(vg)) && !lvm.lvs.iter().any(|(vg, _)| named(vg)) {
                remedies
                    .insert(format!("if root lies in VG {name}: rd.lvm.vg={name}, since others are named"));
            } else if !explicit && view.plan.auto == Some(false) {
                remedies.insert(format!("if root lies in VG {name}: rd.lvm.vg={name}, since rd.auto=0"));
            }
        }
        for pv in view.table.iter().filter_map(group::pv).filter(|pv| !pv.label.doubts.is_empty()) {
            match &pv.label.vg {
                Some(vg) => remedies.insert(format!(
                    "vgck --updatemetadata {}, for the damage on {}",
                    vg.name, pv.device.name
                )),
                None => remedies
                    .insert(format!("look at the metadata of {} with pvck --dump headers", pv.device.name)),
            };
        }
        remedies.into_iter().collect()
    }

    /// Whether the volume that `root=` names cannot be had, whatever comes.
    pub(super) fn root_has_failed(&self, view: View<'_>) -> bool {
        let groups = group::all(view.table, view.lvm_conf());
        groups.iter().any(|group| {
            let mut roots = group.vg.lvs.iter().filter(|lv| choice::is_root(view, group.vg, lv));
            roots.any(|lv| {
                matches!(self.volumes.get(&key(group.vg, lv)), Some(State::Failed(..)))
                    || group.obstacle(&groups, view.lvm_conf()).is_some()
            })
        })
    }
}

/// Whether the volume that `root=` names can be started degraded.
fn is_covered(view: View<'_>, group: &Group<'_>) -> bool {
    let named = group.vg.lvs.iter().find(|lv| choice::is_root(view, group.vg, lv));
    named.is_some_and(|lv| uncovered(view, group, &lv.name).is_none())
}

/// Why the volume that `root=` names cannot even be started degraded.
fn uncovered(view: View<'_>, group: &Group<'_>, lv: &str) -> Option<String> {
    let wanted = choice::is_root(view, group.vg, group.vg.lv(lv)?);
    if group.is_complete() || !wanted {
        return None;
    }
    let thin_threshold = view.lvm_conf().thin_threshold();
    let facts =
        KernelFacts { version: view.image.kernel, thin_threshold, active: &|_| None, read_only: &|_| false };
    let refusal = activation::activate(group.vg, lv, &|id| group.number(id), true, &facts).err()?;
    matches!(refusal, Refusal::MissingPv { covered: false, .. }).then(|| refusal.to_string())
}

/// Groups that the command line names.
fn named_groups(view: View<'_>) -> BTreeSet<&str> {
    let lvm = &view.plan.lvm;
    let volumes = named_volumes(view).into_iter().map(|(group, _)| group);
    lvm.vgs.iter().map(String::as_str).chain(volumes).collect()
}

/// Volumes that the command line names.
fn named_volumes(view: View<'_>) -> Vec<(&str, &str)> {
    let lvm = &view.plan.lvm;
    let explicit = lvm.lvs.iter().map(|(group, volume)| (group.as_str(), volume.as_str()));
    explicit.chain(choice::root_path(view)).collect()
}
