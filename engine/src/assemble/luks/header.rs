//! Headers that do not lie before their data.

use cmdline::crypttab::HeaderPlace;
use cmdline::plan::KeyDevice;

use super::choice::{is_luks, plain};
use super::container::Container;
use super::keys;
use crate::assemble::View;
use crate::command::HeaderSource;
use crate::event::DevName;
use crate::matching;
use crate::table::Device;

/// Where a header lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// Where `header=` says.
    Named(HeaderPlace),
    /// On the device with this LUKS UUID (`rd.luks.data=`).
    WithUuid(String),
}

impl Header {
    /// For an operator.
    pub(super) fn describe(&self) -> String {
        let device = |device: &KeyDevice| match device {
            KeyDevice::Path(path) => path.clone(),
            KeyDevice::Uuid(uuid) => format!("UUID={uuid}"),
            KeyDevice::Label(label) => format!("LABEL={label}"),
            KeyDevice::Initramfs | KeyDevice::Any => "any device".to_owned(),
        };
        match self {
            Header::Named(HeaderPlace::File(path)) => path.clone(),
            Header::Named(HeaderPlace::Device(place)) => device(place),
            Header::Named(HeaderPlace::FileOn(path, place)) => format!("{path} on {}", device(place)),
            Header::WithUuid(uuid) => format!("the device with the LUKS UUID {uuid}"),
        }
    }
}

impl Container {
    /// The header as it can be had now: `None` while its device is not there, `Some(None)` if the header lies before the
    /// data.
    pub(super) fn header(&self, view: View<'_>, data: &DevName) -> Option<Option<HeaderSource>> {
        let source = match &self.header {
            None => return Some(None),
            Some(Header::Named(HeaderPlace::File(path))) => HeaderSource::File(path.clone()),
            Some(Header::Named(HeaderPlace::FileOn(path, place))) => {
                let (device, fstype) = keys::filesystem_on(view, place, &Default::default())?;
                HeaderSource::FileOn { device, fstype, path: path.clone(), named: *place != KeyDevice::Any }
            }
            Some(Header::Named(HeaderPlace::Device(place))) => {
                let device =
                    view.table.iter().find(|device| is_place(place, device) && device.name != *data)?;
                HeaderSource::Device(device.name.clone())
            }
            Some(Header::WithUuid(uuid)) => {
                let device =
                    view.table.iter().find(|device| has_uuid(device, uuid) && device.name != *data)?;
                HeaderSource::Device(device.name.clone())
            }
        };
        Some(Some(source))
    }
}

/// Whether the device holds the LUKS header with this UUID.
pub(super) fn has_uuid(device: &Device, uuid: &str) -> bool {
    is_luks(device)
        && device
            .signature()
            .and_then(|signature| signature.uuid.as_deref())
            .is_some_and(|seen| plain(seen).contains(&plain(uuid)))
}

/// Whether this is the device on which a header is said to lie as such.
pub(super) fn is_place(place: &KeyDevice, device: &Device) -> bool {
    let signature = device.signature();
    match place {
        KeyDevice::Path(path) => matching::is_path_of(path, device),
        KeyDevice::Uuid(prefix) => signature
            .and_then(|signature| signature.uuid.as_deref())
            .is_some_and(|uuid| plain(uuid).starts_with(&plain(prefix))),
        KeyDevice::Label(label) => {
            signature.and_then(|signature| signature.label.as_deref()) == Some(label.as_bytes())
        }
        KeyDevice::Initramfs | KeyDevice::Any => false,
    }
}
