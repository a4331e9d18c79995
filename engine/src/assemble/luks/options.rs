//! The options of a container: those of its row in crypttab, then those of the command line, of which the last word counts.
//!
//! systemd-cryptsetup-generator(8) has the list that the command line gives for a UUID take the place of the row's, and the
//! one for all hold where there is no row. Here one word changes one thing and all are all; with `auto` and `fail` nothing
//! of a row is beyond reach.

use cmdline::crypttab::{CryptOptions, CrypttabEntry};
use cmdline::plan::{LuksIdKind, LuksSelector, RootSpec};

use super::choice::{is_encrypted, is_row_of, plain, rows, selects};
use crate::assemble::View;
use crate::matching;
use crate::table::Device;

/// What is said of a device that may be a container, and by whom.
pub(super) struct Said<'a> {
    /// UUID of its LUKS header; empty if nobody knows one.
    pub(super) uuid: String,
    /// The UUID with which `rd.luks.data=` names it.
    pub(super) data: Option<&'a str>,
    pub(super) row: Option<&'a CrypttabEntry>,
    pub(super) selector: Option<&'a LuksSelector>,
    pub(super) options: CryptOptions,
}

/// Collects what is said of a device.
pub(super) fn said<'a>(view: View<'a>, device: &Device) -> Said<'a> {
    let luks = &view.plan.luks;
    let own =
        device.signature().and_then(|signature| signature.uuid.as_deref()).filter(|_| is_encrypted(device));
    let data = luks.data.iter().find(|(_, spec)| matching::is_named_by(spec, device, view.table));
    let data = data.map(|(id, _)| id.as_str());
    let uuid = data.or(own).unwrap_or_default().to_owned();
    let row = rows(view).find(|row| is_row_of(row, device, view.table));
    let selector = luks.selectors.iter().find(|selector| selects(selector, device, view));
    // A container without a UUID of its own is meant by the id that selects it.
    let id = if uuid.is_empty() { selector.map_or("", |selector| selector.id.as_str()) } else { &uuid };
    let options = merged(view, row, id);
    Said { uuid, data, row, selector, options }
}

/// The options of a selector that matches no device yet, as far as a row with such a UUID tells them.
pub(super) fn of_unseen(view: View<'_>, selector: &LuksSelector) -> CryptOptions {
    let id = plain(&selector.id);
    let is_meant =
        |row: &&CrypttabEntry| matches!(&row.device, RootSpec::Uuid(uuid) if plain(uuid).contains(&id));
    let row = rows(view).filter(|_| selector.kind == LuksIdKind::Uuid).find(is_meant);
    match row {
        Some(row) => of_row(view, row),
        None => merged(view, None, &selector.id),
    }
}

/// The options of a row whose device is not there yet.
pub(super) fn of_row(view: View<'_>, row: &CrypttabEntry) -> CryptOptions {
    let id = match &row.device {
        RootSpec::Uuid(uuid) => uuid,
        _ => "",
    };
    merged(view, Some(row), id)
}

/// Whether the boot goes on without the container.
pub(super) fn may_lack(options: &CryptOptions) -> bool {
    options.nofail || options.noauto || options.scratch
}

fn merged(view: View<'_>, row: Option<&CrypttabEntry>, id: &str) -> CryptOptions {
    let mut lists = view
        .plan
        .luks
        .options
        .iter()
        .filter(|(target, _)| target.as_ref().is_none_or(|target| plain(id).contains(&plain(target))));
    let Some((_, first)) = lists.next() else {
        return row.map(|row| row.options.clone()).unwrap_or_default();
    };
    let own = row.into_iter().flat_map(|row| &row.option_words);
    let words: Vec<String> = own.chain(first).chain(lists.flat_map(|(_, list)| list)).cloned().collect();
    CryptOptions::read(&words).0
}
