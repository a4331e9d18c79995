//! Key files: which one can be had now, and where.

use std::collections::{BTreeMap, BTreeSet};

use cmdline::plan::KeyDevice;

use super::choice::USUAL_CIPHER;
use super::container::{Container, Image, State};
use super::{Modules, header, ready};
use crate::assemble::{Requests, View};
use crate::command::{Action, HeaderSource, SealedKey, SecretSource};
use crate::crypto_modules;
use crate::event::DevName;
use crate::matching;
use crate::modules::kernel_requests;

/// What comes next of a container's key files.
pub(super) enum Next {
    /// This one can be tried.
    Try(String, SecretSource),
    /// One is being read.
    Reading,
    /// The key device's file system still needs its driver.
    Loading,
    /// Nothing, for now.
    Nothing,
}

/// The next key file of a container that can be had now.
///
/// A key that lies elsewhere stays in the list: another device may match, or the same one come again.
pub(super) fn next(
    view: View<'_>,
    container: &mut Container,
    modules: &mut BTreeMap<String, Modules>,
    requests: &mut Requests<'_>,
) -> Next {
    for (index, key) in container.keys.iter_mut().enumerate() {
        let path = key.path.clone();
        if !key.is_elsewhere() && key.sealed {
            let place = HeaderSource::File(path);
            let needed = image_modules(&place);
            if !needed.is_empty() && !ready(modules, needed, requests) {
                return Next::Loading;
            }
            container.keys.remove(index);
            return look(container, place, requests);
        }
        if !key.is_elsewhere() {
            let source = SecretSource::File { path: path.clone(), offset: key.offset, size: key.size };
            container.keys.remove(index);
            return Next::Try(path, source);
        }
        let found = match key.is_raw() {
            true => device_at(view, &path, &key.looked_on).map(|device| (device, None)),
            false => filesystem_on(view, &key.device, &key.looked_on)
                .map(|(device, fstype)| (device, Some(fstype))),
        };
        let Some((device, fstype)) = found else { continue };
        let named = key.device != KeyDevice::Any;
        let place = key.sealed.then(|| {
            let (device, path) = (device.clone(), path.clone());
            HeaderSource::FileOn { device, fstype: fstype.clone().unwrap_or_default(), path, named }
        });
        let mut needed: Vec<String> =
            fstype.as_deref().map(kernel_requests::for_filesystem).unwrap_or_default();
        needed.extend(place.iter().flat_map(image_modules));
        if !needed.is_empty() && !ready(modules, needed, requests) {
            return Next::Loading;
        }
        key.looked_on.insert(device.clone());
        if let Some(place) = place {
            return look(container, place, requests);
        }
        let (offset, size) = (key.offset, key.size);
        let action = Action::ReadKey { device, fstype, path: path.clone(), named, offset, size };
        container.state = State::ReadingKey(requests.ask(action), path);
        return Next::Reading;
    }
    Next::Nothing
}

/// Makes sure that there is an image before anybody is asked for its passphrase.
fn look(container: &mut Container, place: HeaderSource, requests: &mut Requests<'_>) -> Next {
    let key = SealedKey::File(place);
    let asked = requests.ask(Action::UnsealKey(key.clone(), None));
    container.state = State::Unsealing(asked, Image::new(key), None);
    Next::Reading
}

/// What the kernel needs for decrypting a key: the usual cipher for an image, nothing for what gpg has encrypted.
fn image_modules(place: &HeaderSource) -> Vec<String> {
    if place.is_openpgp() {
        return Vec::new();
    }
    let mut names = crypto_modules::modules_for(USUAL_CIPHER);
    names.push("loop".to_owned());
    names
}

/// The device that has this path, unless the key was looked for on it.
fn device_at(view: View<'_>, path: &str, looked_on: &BTreeSet<DevName>) -> Option<DevName> {
    let mut devices = view.table.iter().filter(|device| device.is_readable());
    let found =
        devices.find(|device| matching::is_path_of(path, device) && !looked_on.contains(&device.name));
    found.map(|device| device.name.clone())
}

/// A device that may hold a file and was not looked at for it yet, with its file-system type.
pub(super) fn filesystem_on(
    view: View<'_>,
    wanted: &KeyDevice,
    looked_on: &BTreeSet<DevName>,
) -> Option<(DevName, String)> {
    view.table
        .iter()
        .filter(|device| !looked_on.contains(&device.name) && device.is_free())
        .filter(|device| view.table.holders(&device.name).next().is_none())
        .find_map(|device| {
            let signature = device.signature().filter(|signature| signature.kind.is_filesystem())?;
            let matches = match wanted {
                KeyDevice::Any => true,
                KeyDevice::Path(path) => path == &device.name.0 || header::is_place(wanted, device),
                _ => header::is_place(wanted, device),
            };
            matches.then(|| (device.name.clone(), signature.kind.name().to_owned()))
        })
}
