//! Which containers are wanted, under what name, as what, with which keys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cmdline::crypttab::{CryptKey, CryptKind, CryptOptions as RowOptions, CrypttabEntry, HeaderPlace};
use cmdline::plan::{Discards, KeyDevice, KeyTarget, LuksIdKind, LuksKey, LuksPlan, LuksSelector, RootSpec};
use cmdline::time::Span;
use ondisk::Kind;

use super::container::{Container, Key, State};
use super::header::{self, Header};
use super::options::{self, Said, may_lack};
use super::tokens;
use crate::assemble::View;
use crate::assemble::ata_raid::external::volumes_below;
use crate::command::{CryptFormat, CryptOptions, HeaderSource, PlainFormat, TcryptFormat};
use crate::crypto_modules;
use crate::event::DevName;
use crate::image::KEY_DIRECTORY;
use crate::matching;
use crate::modules::kernel_requests;
use crate::table::{Device, Table};

/// Wrong passphrases until a container is given up, unless crypttab's `tries=` says otherwise (dracut's number).
const DEFAULT_TRIES: u32 = 5;

/// systemd's cipher of plain mappings (cryptsetup.c, the same as cryptsetup's before 2.7).
const PLAIN_CIPHER: &str = "aes-cbc-essiv:sha256";

/// cryptsetup's own default since 1.6, for a header that was not looked at.
pub const USUAL_CIPHER: &str = "aes-xts-plain64";

/// Whether the device holds a LUKS header and nothing else.
pub fn is_luks(device: &Device) -> bool {
    device.is_free()
        && device.signature().is_some_and(|signature| matches!(signature.kind, Kind::Luks1 | Kind::Luks2))
}

/// Whether the device says by itself that it is encrypted.
pub fn is_encrypted(device: &Device) -> bool {
    is_luks(device)
        || device.is_free() && device.signature().is_some_and(|signature| signature.kind == Kind::BitLocker)
}

/// Whether it may be a container, by its content or because somebody says so.
pub fn may_be_one(view: View<'_>, device: &Device) -> bool {
    is_encrypted(device) || device.content().is_some() && device.is_free() && knows_more(view)
}

/// Whether anybody speaks of containers that have no header of their own.
fn knows_more(view: View<'_>) -> bool {
    let luks = &view.plan.luks;
    !luks.data.is_empty()
        || !luks.options.is_empty() && luks.selectors.iter().any(|one| one.kind != LuksIdKind::Uuid)
        || rows(view).any(|row| row.options.kind != CryptKind::Luks || row.options.header.is_some())
}

/// The rows of crypttab that are used.
pub fn rows<'a>(view: View<'a>) -> impl Iterator<Item = &'a CrypttabEntry> {
    view.image.crypttab.iter().filter(move |_| view.plan.luks.crypttab)
}

/// Whether a device-mapper device is an opened container; verity's devices are not.
fn is_mapping(device: &Device) -> bool {
    let uuid = device.facts.dm.as_ref().map_or("", |dm| dm.uuid.as_str());
    uuid.starts_with("CRYPT-") && !uuid.starts_with("CRYPT-VERITY")
}

/// The mapping of an opened container, whoever opened it.
pub fn mapping_of<'a>(table: &'a Table, device: &'a Device) -> Option<&'a DevName> {
    table.holders(&device.name).find(|holder| is_mapping(holder)).map(|holder| &holder.name)
}

/// Containers that are open, whoever opened them.
pub fn mapped(table: &Table) -> BTreeSet<&DevName> {
    table.iter().filter(|device| is_mapping(device)).flat_map(|device| &device.facts.slaves).collect()
}

/// Whether any container at all may be wanted now: spares a look at each of them at every event.
pub fn may_want_any(view: View<'_>) -> bool {
    let luks = &view.plan.luks;
    let names_a_mapping = matches!(&view.plan.root.spec, Some(RootSpec::Path(path))
        if path.starts_with("/dev/mapper/"));
    luks.enabled
        && (view.stuck
            || names_a_mapping
            || !luks.selectors.is_empty()
            || view.plan.auto == Some(true)
            || rows(view).any(|row| row.options.initrd))
}

/// Modules without which the container cannot be opened or mapped.
pub fn modules_for(
    view: View<'_>,
    data: &DevName,
    container: &Container,
    header: Option<&HeaderSource>,
) -> Vec<String> {
    let signature_of = |name: &DevName| view.table.get(name)?.signature();
    let own = signature_of(data).and_then(|signature| signature.cipher.as_deref());
    match &container.options.format {
        CryptFormat::Plain(plain) => crypto_modules::modules_for(&plain.cipher),
        CryptFormat::BitLocker => crypto_modules::for_bitlocker(own),
        CryptFormat::Tcrypt(_) => crypto_modules::for_tcrypt(),
        CryptFormat::Luks => {
            let seen = match header {
                Some(HeaderSource::Device(name)) => signature_of(name),
                Some(_) => None,
                None => signature_of(data),
            };
            let cipher =
                seen.and_then(|signature| signature.cipher.as_deref()).or(container.cipher.as_deref());
            // A file is not looked into before it is used.
            let mut names = cipher.map_or_else(crypto_modules::for_unknown, crypto_modules::modules_for);
            if let Some(integrity) = seen.and_then(|signature| signature.integrity.as_deref()) {
                names.extend(crypto_modules::for_integrity(integrity));
                // A cipher that proves its data is none for key slots.
                names.extend(crypto_modules::modules_for(USUAL_CIPHER));
            }
            if let Some(HeaderSource::FileOn { fstype, .. }) = header {
                names.extend(kernel_requests::for_filesystem(fstype));
            }
            names
        }
    }
}

/// The container to open, if this device is wanted now.
pub fn wanted(view: View<'_>, device: &Device) -> Option<Container> {
    let luks = &view.plan.luks;
    let Said { uuid, data, row, selector, options } = options::said(view, device);
    let header = match (&options.header, data) {
        (Some(place), _) => Some(Header::Named(place.clone())),
        (None, Some(id)) if options.kind == CryptKind::Luks => Some(Header::WithUuid(id.to_owned())),
        _ => None,
    };
    let told = row.is_some() || data.is_some() || selector.is_some_and(|one| may_be_bare(one, device));
    let format = format_of(view, device, &options, header.is_some(), told)?;
    let name = match selector {
        Some(selector) => selector
            .name
            .clone()
            .or_else(|| named(luks, &uuid))
            .or_else(|| row.map(|row| row.name.clone()))
            .unwrap_or_else(|| format!("luks-{}", selector.id)),
        None => row.map_or_else(|| default_name(&uuid, &device.name), |row| row.name.clone()),
    };
    let is_root = matches!(&view.plan.root.spec, Some(RootSpec::Path(path))
        if path.strip_prefix("/dev/mapper/") == Some(name.as_str()));
    if options.scratch || options.noauto && !is_root {
        return None;
    }
    let attached = row.is_some_and(|row| row.options.initrd);
    let yes = match (selector, view.plan.auto) {
        (Some(_), _) => true,
        (None, _) if !luks.selectors.is_empty() => false,
        (None, _) if attached => true,
        (None, Some(auto)) => auto,
        (None, None) => is_root || view.stuck,
    };
    if !yes {
        return None;
    }
    let keysource = selector.is_some_and(|selector| selector.keysource);
    let may_fail = options.nofail;
    let mut container = container(view, device, Named { name, uuid, row, keysource }, options, format);
    container.header = header;
    container.holds_root = (selector.is_some() || attached) && !keysource && !may_fail;
    Some(container)
}

/// The name that `rd.luks.name=` has for this UUID where the containers are named by something else.
fn named(luks: &LuksPlan, uuid: &str) -> Option<String> {
    let uuid = plain(uuid);
    let (_, name) = luks.names.iter().find(|(id, _)| uuid.contains(&plain(id)))?;
    Some(name.clone())
}

/// As what the device is to be opened; `None` if nothing says that it is a container.
fn format_of(
    view: View<'_>,
    device: &Device,
    options: &RowOptions,
    detached: bool,
    told: bool,
) -> Option<CryptFormat> {
    if !device.is_free() {
        return None;
    }
    match options.kind {
        CryptKind::Plain if told => Some(CryptFormat::Plain(PlainFormat {
            cipher: options.cipher.clone().unwrap_or_else(|| PLAIN_CIPHER.to_owned()),
            hash: options.hash.clone(),
            key_size: options.key_bits.unwrap_or(256) / 8,
            sector_size: options.sector_size.unwrap_or(512),
            offset: options.offset,
            skip: options.skip,
        })),
        CryptKind::Tcrypt if told => Some(CryptFormat::Tcrypt(TcryptFormat {
            hidden: options.tcrypt.hidden,
            system: options.tcrypt.system,
            veracrypt: options.tcrypt.veracrypt,
            pim: options.tcrypt.pim,
            keyfiles: options.tcrypt.keyfiles.clone(),
        })),
        CryptKind::Bitlk if told => Some(CryptFormat::BitLocker),
        CryptKind::Luks if detached && told => Some(CryptFormat::Luks),
        _ if is_luks(device) => (!is_header(view, device)).then_some(CryptFormat::Luks),
        _ => is_encrypted(device).then_some(CryptFormat::BitLocker),
    }
}

/// Whether a selector that is not about the header may mean this device although it has none.
///
/// A drive's serial number is that of its partitions too: there only a device without any content can be meant.
fn may_be_bare(selector: &LuksSelector, device: &Device) -> bool {
    match selector.kind {
        LuksIdKind::Uuid => false,
        LuksIdKind::PartUuid => true,
        LuksIdKind::Serial => {
            device.content().is_some_and(|content| content.signatures.is_empty() && content.table.is_none())
        }
    }
}

/// Whether the LUKS header on this device belongs to data elsewhere.
fn is_header(view: View<'_>, device: &Device) -> bool {
    let luks = &view.plan.luks;
    let is_at = |place: Option<&HeaderPlace>| matches!(place, Some(HeaderPlace::Device(place)) if header::is_place(place, device));
    luks.data
        .iter()
        .any(|(id, spec)| header::has_uuid(device, id) && !matching::is_named_by(spec, device, view.table))
        || rows(view).any(|row| is_at(row.options.header.as_ref()))
        || luks.options.iter().any(|(_, words)| is_at(RowOptions::read(words).0.header.as_ref()))
}

/// The mapping's name when nobody gave one. The UUID field of a header holds any text: only harmless letters are taken.
/// Volumes without UUID are named after their device, as udisks does.
pub fn default_name(uuid: &str, device: &DevName) -> String {
    let harmless = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let id = if uuid.is_empty() { device.0.as_str() } else { uuid };
    format!("luks-{}", id.chars().map(harmless).collect::<String>())
}

/// What a container is called, and who says so.
struct Named<'a> {
    name: String,
    uuid: String,
    row: Option<&'a CrypttabEntry>,
    keysource: bool,
}

fn container(
    view: View<'_>,
    device: &Device,
    named: Named<'_>,
    options: RowOptions,
    format: CryptFormat,
) -> Container {
    let luks = &view.plan.luks;
    let Named { name, uuid, row, keysource } = named;
    let whole = match &format {
        // systemd reads as much as the cipher wants, whatever keyfile-size= says.
        CryptFormat::Plain(plain) => Some(u64::from(plain.key_size)),
        _ => None,
    };
    let key = |path: &str, device: &KeyDevice, offset, size: Option<u64>| Key {
        path: path.to_owned(),
        device: device.clone(),
        looked_on: BTreeSet::new(),
        offset,
        size: whole.or(size),
        sealed: false,
    };
    // Whoever names the key file.
    let part = (options.keyfile_offset.unwrap_or(0), options.keyfile_size);
    // dracut's meaning of the ending; in crypttab it has none.
    let ours = |wanted: &LuksKey, device| {
        let sealed = [".img", ".gpg"].iter().any(|end| wanted.path.ends_with(end));
        let (offset, size) = if sealed { (0, None) } else { part };
        Key { sealed, ..key(&wanted.path, device, offset, size) }
    };
    let mut keys = VecDeque::new();
    let label = device.signature().and_then(|signature| signature.label.as_deref());
    let meant = luks.keys.iter().filter(|key| match &key.target {
        _ if keysource => false,
        KeyTarget::All => true,
        KeyTarget::Uuid(prefix) => plain(&uuid).starts_with(&plain(prefix)),
        KeyTarget::Label(wanted) => label == Some(wanted.as_bytes()),
        KeyTarget::Path(path) => matching::is_path_of(path, device),
    });
    for wanted in meant {
        // "Anywhere" begins with the initramfs itself.
        if wanted.device == KeyDevice::Any && view.image.key_files.contains(&wanted.path) {
            keys.push_back(ours(wanted, &KeyDevice::Initramfs));
        }
        keys.push_back(ours(wanted, &wanted.device));
    }
    match row.map(|row| &row.key) {
        Some(CryptKey::File { path, device }) => {
            keys.push_back(key(path, device, part.0, part.1));
        }
        _ => {
            // systemd's place for keys that nobody names.
            let path = format!("/{KEY_DIRECTORY}/{name}.key");
            if view.image.key_files.contains(&path) {
                keys.push_back(key(&path, &KeyDevice::Initramfs, 0, None));
            }
        }
    }
    let tries = match options.tries {
        Some(0) => None,
        Some(tries) => Some(tries),
        None => Some(DEFAULT_TRIES),
    };
    let elsewhere = keys.iter().any(Key::is_elsewhere);
    let patience = match options.keyfile_timeout {
        _ if !elsewhere => Some(Duration::ZERO),
        Some(limit) => limit.finite(),
        None => Some(luks.key_timeout),
    };
    let tokens = match &format {
        CryptFormat::Luks => tokens::wanted(view.now, device, &options),
        _ => Vec::new(),
    };
    Container {
        name,
        order: device.order,
        options: CryptOptions {
            format,
            header: None,
            discard: options.discard || may_discard(&luks.discards, &uuid),
            read_only: options.read_only
                || (device.facts.read_only && volumes_below(view.plan, view.table, [device]).is_empty()),
            no_read_workqueue: options.no_read_workqueue,
            no_write_workqueue: options.no_write_workqueue,
            same_cpu_crypt: options.same_cpu_crypt,
            submit_from_crypt_cpus: options.submit_from_crypt_cpus,
            keyslot: options.key_slot,
            volumes: Vec::new(),
        },
        header: None,
        cipher: options.cipher,
        keysource,
        holds_root: false,
        uuid,
        tries,
        prompt_limit: options.timeout.map_or(luks.prompt_timeout, Span::finite),
        keys,
        images: Vec::new(),
        tokens,
        pin: None,
        wrong_pins: 0,
        keys_until: patience.map(|patience| view.now.after(patience)),
        known_from: 0,
        tried: BTreeSet::new(),
        read: Vec::new(),
        typed: Vec::new(),
        state: State::Locked,
        note: None,
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
pub fn plain(id: &str) -> String {
    id.chars().filter(|letter| *letter != '-').flat_map(char::to_lowercase).collect()
}

pub fn selects(selector: &LuksSelector, device: &Device, view: View<'_>) -> bool {
    let id = plain(&selector.id);
    if id.is_empty() {
        return false;
    }
    let table = view.table;
    let seen = match selector.kind {
        LuksIdKind::Uuid => {
            let named = |(data, spec): &&(String, RootSpec)| {
                (plain(data).contains(&id) || id.contains(&plain(data)))
                    && matching::is_named_by(spec, device, table)
            };
            if view.plan.luks.data.iter().any(|data| named(&data)) {
                return true;
            }
            device.signature().and_then(|signature| signature.uuid.clone()).filter(|_| is_encrypted(device))
        }
        LuksIdKind::PartUuid => table.partition_entry(device).map(|entry| entry.uuid.clone()),
        LuksIdKind::Serial => {
            let whole = device.facts.parent.as_ref().and_then(|parent| table.get(parent)).unwrap_or(device);
            whole.facts.serial.clone()
        }
    };
    seen.is_some_and(|seen| plain(&seen).contains(&id))
}

/// Whether a crypttab row is about this device.
pub fn is_row_of(row: &CrypttabEntry, device: &Device, table: &Table) -> bool {
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

/// Explicit containers that no device matches.
pub fn unseen_selectors<'a>(
    view: View<'a>,
    known: &'a BTreeMap<DevName, Container>,
) -> impl Iterator<Item = &'a LuksSelector> {
    let is_one = move |device: &Device| {
        known.contains_key(&device.name)
            || is_encrypted(device) && !is_header(view, device)
            || mapping_of(view.table, device).is_some()
    };
    view.plan.luks.selectors.iter().filter(move |selector| {
        view.plan.luks.enabled
            && !view.table.iter().any(|device| selects(selector, device, view) && is_one(device))
    })
}

/// Whether a container that the command line names is not there, or was not taken up yet: between its identification and
/// the next step of the assembler there is room for the search of the root.
pub fn is_one_wanting(view: View<'_>, known: &BTreeMap<DevName, Container>) -> bool {
    let taken =
        |device: &Device| known.contains_key(&device.name) || mapping_of(view.table, device).is_some();
    view.plan.luks.selectors.iter().filter(|selector| !selector.keysource).any(|selector| {
        let mut seen = view.table.iter().filter(|device| selects(selector, device, view)).peekable();
        if seen.peek().is_none() {
            return !may_lack(&options::of_unseen(view, selector));
        }
        !seen.any(|device| taken(device) || may_lack(&options::said(view, device).options))
    })
}

/// Rows of crypttab that are to be opened in the initramfs and whose device is not there.
pub fn unseen_rows<'a>(
    view: View<'a>,
    known: &'a BTreeMap<DevName, Container>,
) -> impl Iterator<Item = &'a CrypttabEntry> {
    rows(view).filter(move |row| {
        view.plan.luks.enabled
            && view.plan.luks.selectors.is_empty()
            && row.options.initrd
            && !may_lack(&options::of_row(view, row))
            && !view.table.iter().any(|device| {
                is_row_of(row, device, view.table)
                    && (known.contains_key(&device.name) || mapping_of(view.table, device).is_some())
            })
    })
}

/// Why a container is left alone, in the words of the command line.
pub fn why_not(view: View<'_>, device: &Device) -> &'static str {
    let luks = &view.plan.luks;
    let options = options::said(view, device).options;
    match view.plan.auto {
        _ if !luks.enabled => "rd.luks=0",
        _ if options.scratch => "its options have swap or tmp, which is for what is made anew at each start",
        _ if options.noauto => "its options have noauto, and root= does not name its mapping",
        _ if !luks.selectors.is_empty() => "rd.luks.uuid (or its like) names others",
        Some(false) => "rd.auto=0",
        _ => "it is asked for only when nothing else is left",
    }
}
