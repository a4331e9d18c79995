//! Which LUKS containers are wanted, under what name, with which keys.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use cmdline::plan::{Discards, KeyDevice, KeyTarget, LuksIdKind, LuksSelector, RootSpec};
use ondisk::{Kind, Signature};

use super::{Container, DEFAULT_TRIES, Key, State};
use crate::assemble::View;
use crate::command::CryptOptions;
use crate::event::DevName;
use crate::image::Entry;
use crate::matching;
use crate::table::{Device, Table};

/// Whether the device holds a LUKS container and nothing else.
pub fn is_luks(device: &Device) -> bool {
    device.signature().is_some_and(|signature| matches!(signature.kind, Kind::Luks1 | Kind::Luks2))
}

/// The mapping of an opened container, whoever opened it.
pub fn mapping_of<'a>(table: &'a Table, device: &'a Device) -> Option<&'a DevName> {
    table
        .holders(&device.name)
        .find(|holder| holder.facts.dm.as_ref().is_some_and(|dm| dm.uuid.starts_with("CRYPT-LUKS")))
        .map(|holder| &holder.name)
}

/// Modules without which the container cannot be opened or mapped.
pub fn modules_for(device: &Device) -> Vec<String> {
    let mut modules: Vec<String> = ["dm_mod", "dm_crypt"].map(str::to_owned).to_vec();
    let cipher = device
        .signature()
        .and_then(|signature| None::<&str>.filter(|_| signature.uuid.is_some()))
        .unwrap_or("aes-xts-plain64");
    modules.extend(crate::crypto_modules::modules_for(cipher));
    modules
}

/// The container to open, if this device is wanted now.
pub fn wanted(view: View<'_>, device: &Device) -> Option<Container> {
    let luks = &view.plan.luks;
    let signature = device.signature()?;
    let uuid = signature.uuid.clone().unwrap_or_default();
    let row =
        view.image.crypttab.iter().filter(|_| luks.crypttab).find(|row| is_row_of(row, device, view.table));
    let selector = luks.selectors.iter().find(|selector| selects(selector, device, view.table));
    let name = match selector {
        Some(selector) => selector
            .name
            .clone()
            .or_else(|| row.map(|row| row.name.clone()))
            .unwrap_or_else(|| format!("luks-{}", selector.id)),
        None => row.map_or_else(|| format!("luks-{uuid}"), |row| row.name.clone()),
    };
    let skipped =
        row.is_some_and(|row| ["noauto", "swap", "tmp"].iter().any(|option| has_option(row, option)));
    let is_root = matches!(&view.plan.root.spec, Some(RootSpec::Path(path))
        if path.strip_prefix("/dev/mapper/") == Some(name.as_str()));
    let yes = match (selector, view.plan.auto) {
        (Some(_), _) => true,
        (None, _) if !luks.selectors.is_empty() => false,
        (None, Some(auto)) => auto && !skipped,
        (None, None) => is_root || (view.stuck && !skipped),
    };
    yes.then(|| container(view, device, signature, name, uuid, row))
}

fn container(
    view: View<'_>,
    device: &Device,
    signature: &Signature,
    name: String,
    uuid: String,
    row: Option<&Entry>,
) -> Container {
    let luks = &view.plan.luks;
    let mut keys: VecDeque<Key> = luks
        .keys
        .iter()
        .filter(|key| match &key.target {
            KeyTarget::All => true,
            KeyTarget::Uuid(prefix) => plain(&uuid).starts_with(&plain(prefix)),
            KeyTarget::Label(label) => signature.label.as_deref() == Some(label.as_bytes()),
            KeyTarget::Path(path) => matching::is_path_of(path, device, view.table),
        })
        .map(|key| Key {
            path: key.path.clone(),
            device: key.device.clone(),
            looked_on: BTreeSet::new(),
            offset: 0,
            size: None,
        })
        .collect();
    let from_row = |option: &str| row.and_then(|row| option_value(row, option));
    if let Some(path) = row.and_then(|row| row.key_file.clone()) {
        keys.push_back(Key {
            path,
            device: KeyDevice::Initramfs,
            looked_on: BTreeSet::new(),
            offset: from_row("keyfile-offset").and_then(|text| text.parse().ok()).unwrap_or(0),
            size: from_row("keyfile-size").and_then(|text| text.parse().ok()),
        });
    }
    let words = words(view, row, &uuid);
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    let value = |wanted: &str| {
        words.iter().rev().find_map(|word| word.strip_prefix(wanted).and_then(|rest| rest.strip_prefix('=')))
    };
    let tries = match value("tries").and_then(|text| text.parse::<u32>().ok()) {
        Some(0) => None,
        Some(tries) => Some(tries),
        None => Some(DEFAULT_TRIES),
    };
    let elsewhere = keys.iter().any(|key| key.device != KeyDevice::Initramfs);
    let patience = if elsewhere { luks.key_timeout } else { Duration::ZERO };
    Container {
        name,
        order: device.order,
        options: CryptOptions {
            discard: has("discard") || has("allow-discards") || may_discard(&luks.discards, &uuid),
            read_only: has("read-only") || has("readonly") || device.facts.read_only,
            no_read_workqueue: has("no-read-workqueue"),
            no_write_workqueue: has("no-write-workqueue"),
            same_cpu_crypt: has("same-cpu-crypt"),
            submit_from_crypt_cpus: has("submit-from-crypt-cpus"),
            keyslot: value("key-slot").and_then(|text| text.parse().ok()),
        },
        uuid,
        tries,
        keys,
        keys_until: view.now.after(patience),
        tried: BTreeSet::new(),
        read: Vec::new(),
        state: State::Locked,
        note: None,
    }
}

/// crypttab options that hold for a container: its row's, then those of the command line, which win.
fn words(view: View<'_>, row: Option<&Entry>, uuid: &str) -> Vec<String> {
    let mut words: Vec<String> = row.map(|row| row.options.clone()).unwrap_or_default();
    for (target, options) in &view.plan.luks.options {
        if target.as_ref().is_none_or(|target| plain(uuid).contains(&plain(target))) {
            words.extend(options.iter().cloned());
        }
    }
    words
}

fn may_discard(discards: &Discards, uuid: &str) -> bool {
    match discards {
        Discards::None => false,
        Discards::All => true,
        Discards::Some(ids) => ids.iter().any(|id| plain(uuid).contains(&plain(id))),
    }
}

fn has_option(row: &Entry, option: &str) -> bool {
    row.options.iter().any(|word| word == option)
}

fn option_value<'a>(row: &'a Entry, option: &str) -> Option<&'a str> {
    row.options.iter().find_map(|word| word.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')))
}

/// An id without dashes and in lower case: how dracut compares them.
fn plain(id: &str) -> String {
    id.chars().filter(|letter| *letter != '-').flat_map(char::to_lowercase).collect()
}

fn selects(selector: &LuksSelector, device: &Device, table: &Table) -> bool {
    let id = plain(&selector.id);
    if id.is_empty() {
        return false;
    }
    let seen = match selector.kind {
        LuksIdKind::Uuid => device.signature().and_then(|signature| signature.uuid.clone()),
        LuksIdKind::PartUuid => table.partition_entry(device).map(|entry| entry.uuid.clone()),
        LuksIdKind::Serial => {
            let whole = device.facts.parent.as_ref().and_then(|parent| table.get(parent)).unwrap_or(device);
            whole.facts.serial.clone()
        }
    };
    seen.is_some_and(|seen| plain(&seen).contains(&id))
}

/// Whether a crypttab row is about this device.
fn is_row_of(row: &Entry, device: &Device, table: &Table) -> bool {
    let signature = device.signature();
    let (tag, value) = row.device.split_once('=').unwrap_or(("", row.device.as_str()));
    let value = value.trim_matches('"');
    match tag {
        "UUID" => signature
            .and_then(|signature| signature.uuid.as_deref())
            .is_some_and(|uuid| plain(uuid) == plain(value)),
        "LABEL" => signature.and_then(|signature| signature.label.as_deref()) == Some(value.as_bytes()),
        "PARTUUID" => {
            table.partition_entry(device).is_some_and(|entry| entry.uuid.eq_ignore_ascii_case(value))
        }
        "PARTLABEL" => {
            table.partition_entry(device).is_some_and(|entry| entry.name.as_deref() == Some(value))
        }
        _ => matching::is_path_of(&row.device, device, table),
    }
}

/// A device that may hold a key file and was not looked at for it yet, with its file-system type.
pub fn key_device(
    view: View<'_>,
    wanted: &KeyDevice,
    looked_on: &BTreeSet<DevName>,
) -> Option<(DevName, String)> {
    view.table
        .iter()
        .filter(|device| !looked_on.contains(&device.name))
        .filter(|device| view.table.holders(&device.name).next().is_none())
        .find_map(|device| {
            let signature = device.signature().filter(|signature| signature.kind.is_filesystem())?;
            let matches = match wanted {
                KeyDevice::Initramfs => false,
                KeyDevice::Any => true,
                KeyDevice::Path(path) => {
                    path == &device.name.0 || matching::is_path_of(path, device, view.table)
                }
                KeyDevice::Uuid(prefix) => {
                    signature.uuid.as_deref().is_some_and(|uuid| plain(uuid).starts_with(&plain(prefix)))
                }
                KeyDevice::Label(label) => signature.label.as_deref() == Some(label.as_bytes()),
            };
            matches.then(|| (device.name.clone(), signature.kind.name().to_owned()))
        })
}

/// Ids of explicit containers that no device matches.
pub fn unseen_selectors<'a>(view: View<'a>) -> impl Iterator<Item = &'a str> {
    view.plan
        .luks
        .selectors
        .iter()
        .filter(move |selector| {
            view.plan.luks.enabled
                && !view.table.iter().any(|device| is_luks(device) && selects(selector, device, view.table))
        })
        .map(|selector| selector.id.as_str())
}

/// Why a container is left alone, in the words of the command line.
pub fn why_not(view: View<'_>) -> &'static str {
    let luks = &view.plan.luks;
    match view.plan.auto {
        _ if !luks.enabled => "rd.luks=0",
        _ if !luks.selectors.is_empty() => "rd.luks.uuid (or its like) names others",
        Some(false) => "rd.auto=0",
        _ => "it is asked for only when nothing else is left",
    }
}
