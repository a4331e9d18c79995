//! What the LUKS assembler has to say to an operator.

use super::container::State;
use super::{Luks, choice, options};
use crate::assemble::View;
use crate::explain::{Node, State as NodeState};
use crate::table::Device;

impl Luks {
    /// One container's state.
    pub(super) fn explain_device(&self, view: View<'_>, device: &Device) -> Option<Node> {
        let container = self.containers.get(&device.name);
        if !choice::is_encrypted(device) && container.is_none() {
            return None;
        }
        if let Some(mapping) = choice::mapping_of(view.table, device) {
            return Some(Node::new(NodeState::Found, format!("opened as {mapping}")));
        }
        if let Some(first) = self.twins.get(&device.name) {
            return Some(Node::new(NodeState::Seen, format!("left alone: same LUKS UUID as {first}")));
        }
        let Some(container) = container else {
            return Some(Node::new(
                NodeState::Seen,
                format!("not opened: {}", choice::why_not(view, device)),
            ));
        };
        Some(match &container.state {
            State::Locked if container.header(view, &device.name).is_none() => {
                let header = container.header.as_ref().map_or_else(String::new, super::Header::describe);
                Node::new(NodeState::Waiting, format!("locked: waits for its header, {header}"))
            }
            State::Locked if self.question.is_some() => {
                Node::new(NodeState::Waiting, "locked: waits for a passphrase on the console")
            }
            State::Locked if container.awaited_token().is_some() => {
                let device = container.awaited_token().unwrap_or_default();
                Node::new(NodeState::Waiting, format!("locked: waits for the {device} that has its key"))
            }
            State::Locked if !container.keys.is_empty() => {
                Node::new(NodeState::Waiting, "locked: waits for the device with its key file")
            }
            State::Locked => Node::new(NodeState::Waiting, "locked: waits for its turn"),
            State::ReadingKey(_, path) => Node::new(NodeState::Waiting, format!("key {path} is being read")),
            State::Unsealing(_, image, _) if image.token().is_some() => {
                Node::new(NodeState::Waiting, format!("the {} is asked for its key", image.name()))
            }
            State::Unsealing(_, image, None) => {
                Node::new(NodeState::Waiting, format!("key {} is being looked for", image.name()))
            }
            State::Opening(..) | State::Unsealing(..) => {
                Node::new(NodeState::Waiting, "the key is being derived")
            }
            State::Open => {
                Node::new(NodeState::Waiting, format!("open, /dev/mapper/{} is on its way", container.name))
            }
            State::Closing(_) | State::Closed => {
                Node::new(NodeState::Found, "held key files, which are not needed any more")
            }
            State::Failed(reason) | State::Broken(reason) => {
                Node::new(NodeState::Failed, format!("could not be opened: {reason}"))
            }
        })
    }

    /// What may help.
    pub(super) fn remedies_for(&self, view: View<'_>) -> Vec<String> {
        let mut remedies = Vec::new();
        for (name, container) in &self.containers {
            match &container.state {
                State::Locked if self.question.is_some() => {
                    remedies.push(format!("type the passphrase of {name} on the console"));
                }
                State::Failed(_) => {
                    remedies.push(format!("retry, and type the right passphrase of {name}"));
                }
                State::Broken(_) => {
                    remedies.push(format!("check {name} with cryptsetup luksDump from a rescue system"));
                }
                _ => {}
            }
        }
        let left_alone = view.table.iter().filter(|device| {
            view.plan.luks.enabled
                && choice::is_encrypted(device)
                && !self.containers.contains_key(&device.name)
                && choice::mapping_of(view.table, device).is_none()
        });
        for device in left_alone {
            let options = options::said(view, device).options;
            // What is made anew at each start holds no root.
            let uuid = device.signature().and_then(|signature| signature.uuid.as_ref());
            if let Some(uuid) = uuid.filter(|_| !options.scratch) {
                let auto =
                    if options.noauto { format!(" rd.luks.options={uuid}=auto") } else { String::new() };
                remedies.push(format!(
                    "if root lies in the container {}: rd.luks.uuid={uuid}{auto}",
                    device.name
                ));
            }
        }
        if !view.plan.luks.enabled && view.table.iter().any(choice::is_encrypted) {
            remedies.push("take rd.luks=0 off the command line if root lies in a LUKS container".to_owned());
        }
        remedies
    }
}
