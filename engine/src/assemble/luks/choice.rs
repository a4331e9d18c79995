//! Which LUKS containers are wanted, under what name, with which keys.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use cmdline::crypttab::{CryptKey, CryptOptions as RowOptions, CrypttabEntry};
use cmdline::plan::{Discards, KeyDevice, KeyTarget, LuksIdKind, LuksSelector, RootSpec};
use ondisk::{Kind, Signature};

use super::{Container, DEFAULT_TRIES, Key, State};
use crate::assemble::View;
use crate::command::CryptOptions;
use crate::event::DevName;
use crate::matching;
use crate::table::{Device, Table};

/// Whether the device holds a LUKS container and nothing else, and nobody else has claimed it.
pub fn is_luks(device: &Device) -> bool {
    device.is_free()
        && device.signature().is_some_and(|signature| matches!(signature.kind, Kind::Luks1 | Kind::Luks2))
}

/// The mapping of an opened container, whoever opened it.
pub fn mapping_of<'a>(table: &'a Table, device: &'a Device) -> Option<&'a DevName> {
    table
        .holders(&device.name)
        .find(|holder| holder.facts.dm.as_ref().is_some_and(|dm| dm.uuid.starts_with("CRYPT-LUKS")))
        .map(|holder| &holder.name)
}

/// Containers that are open, whoever opened them.
pub fn mapped(table: &Table) -> BTreeSet<&DevName> {
    let is_mapping =
        |device: &&Device| device.facts.dm.as_ref().is_some_and(|dm| dm.uuid.starts_with("CRYPT-LUKS"));
    table.iter().filter(is_mapping).flat_map(|device| &device.facts.slaves).collect()
}

/// Whether any container at all may be wanted now: spares a look at each of them at every event.
pub fn may_want_any(view: View<'_>) -> bool {
    let luks = &view.plan.luks;
    let names_a_mapping = matches!(&view.plan.root.spec, Some(RootSpec::Path(path))
        if path.starts_with("/dev/mapper/"));
    luks.enabled
        && (view.stuck || names_a_mapping || !luks.selectors.is_empty() || view.plan.auto == Some(true))
}

/// Modules without which the container cannot be opened or mapped.
pub fn modules_for(device: &Device) -> Vec<String> {
    let cipher = device.signature().and_then(|signature| signature.cipher.as_deref());
    // cryptsetup's own default since 1.6, for a header that does not tell.
    crate::crypto_modules::modules_for(cipher.unwrap_or("aes-xts-plain64"))
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
        None => row.map_or_else(|| default_name(&uuid), |row| row.name.clone()),
    };
    let skipped = row.is_some_and(|row| row.options.noauto || row.options.scratch);
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

/// The mapping's name when nobody gave one. The UUID field of a header holds any text: only harmless letters are taken.
pub fn default_name(uuid: &str) -> String {
    let harmless = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    format!("luks-{}", uuid.chars().map(harmless).collect::<String>())
}

fn container(
    view: View<'_>,
    device: &Device,
    signature: &Signature,
    name: String,
    uuid: String,
    row: Option<&CrypttabEntry>,
) -> Container {
    let luks = &view.plan.luks;
    let options = options(view, row, &uuid);
    let key = |path: &str, device: &KeyDevice, offset, size| Key {
        path: path.to_owned(),
        device: device.clone(),
        looked_on: BTreeSet::new(),
        offset,
        size,
    };
    let mut keys: VecDeque<Key> = luks
        .keys
        .iter()
        .filter(|key| match &key.target {
            KeyTarget::All => true,
            KeyTarget::Uuid(prefix) => plain(&uuid).starts_with(&plain(prefix)),
            KeyTarget::Label(label) => signature.label.as_deref() == Some(label.as_bytes()),
            KeyTarget::Path(path) => matching::is_path_of(path, device),
        })
        .map(|wanted| key(&wanted.path, &wanted.device, 0, None))
        .collect();
    if let Some(CryptKey::File { path, device }) = row.map(|row| &row.key) {
        keys.push_back(key(path, device, options.keyfile_offset.unwrap_or(0), options.keyfile_size));
    }
    let tries = match options.tries {
        Some(0) => None,
        Some(tries) => Some(tries),
        None => Some(DEFAULT_TRIES),
    };
    let elsewhere = keys.iter().any(|key| key.device != KeyDevice::Initramfs);
    let patience = match options.keyfile_timeout {
        _ if !elsewhere => Duration::ZERO,
        Some(limit) => limit,
        None => luks.key_timeout,
    };
    Container {
        name,
        order: device.order,
        options: CryptOptions {
            discard: options.discard || may_discard(&luks.discards, &uuid),
            read_only: options.read_only || device.facts.read_only,
            no_read_workqueue: options.no_read_workqueue,
            no_write_workqueue: options.no_write_workqueue,
            same_cpu_crypt: options.same_cpu_crypt,
            submit_from_crypt_cpus: options.submit_from_crypt_cpus,
            keyslot: options.key_slot,
        },
        uuid,
        tries,
        prompt_limit: options.timeout.or(luks.prompt_timeout),
        keys,
        keys_until: view.now.after(patience),
        known_from: 0,
        tried: BTreeSet::new(),
        read: Vec::new(),
        state: State::Locked,
        note: None,
    }
}

/// crypttab options that hold for a container: its row's, then those of the command line, which win.
fn options(view: View<'_>, row: Option<&CrypttabEntry>, uuid: &str) -> RowOptions {
    let mut words = Vec::new();
    for (target, options) in &view.plan.luks.options {
        if target.as_ref().is_none_or(|target| plain(uuid).contains(&plain(target))) {
            words.extend(options.iter().cloned());
        }
    }
    let (typed, _) = RowOptions::read(&words);
    let row = row.map(|row| row.options.clone()).unwrap_or_default();
    RowOptions {
        read_only: typed.read_only || row.read_only,
        discard: typed.discard || row.discard,
        same_cpu_crypt: typed.same_cpu_crypt || row.same_cpu_crypt,
        submit_from_crypt_cpus: typed.submit_from_crypt_cpus || row.submit_from_crypt_cpus,
        no_read_workqueue: typed.no_read_workqueue || row.no_read_workqueue,
        no_write_workqueue: typed.no_write_workqueue || row.no_write_workqueue,
        key_slot: typed.key_slot.or(row.key_slot),
        keyfile_offset: typed.keyfile_offset.or(row.keyfile_offset),
        keyfile_size: typed.keyfile_size.or(row.keyfile_size),
        keyfile_timeout: typed.keyfile_timeout.or(row.keyfile_timeout),
        timeout: typed.timeout.or(row.timeout),
        tries: typed.tries.or(row.tries),
        ..row
    }
}

fn may_discard(discards: &Discards, uuid: &str) -> bool {
    match discards {
        Discards::None => false,
        Discards::All => true,
        Discards::Some(ids) => ids.iter().any(|id| plain(uuid).contains(&plain(id))),
    }
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
fn is_row_of(row: &CrypttabEntry, device: &Device, table: &Table) -> bool {
    let signature = device.signature();
    match &row.device {
        RootSpec::Uuid(uuid) => signature
            .and_then(|signature| signature.uuid.as_deref())
            .is_some_and(|seen| plain(seen) == plain(uuid)),
        RootSpec::Label(label) => {
            signature.and_then(|signature| signature.label.as_deref()) == Some(label.as_bytes())
        }
        other => matching::is_named_by(other, device, table),
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
                KeyDevice::Path(path) => path == &device.name.0 || matching::is_path_of(path, device),
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
