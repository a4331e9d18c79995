//! What device-mapper knows of a name before and after an activation.

use devicemapper::{DM, DevId, Device, DmFlags, DmName, DmOptions};

/// A device-mapper device that has the wanted name.
#[derive(Debug)]
pub struct Mapping {
    /// `CRYPT-LUKS2-...`; empty when none.
    pub uuid: String,
    /// Whether it has a live table.
    pub live: bool,
    /// Minor number: the `N` of `dm-N`.
    pub minor: u32,
    /// Device numbers below it.
    pub below: Vec<(u32, u32)>,
}

/// The mapping of this name; `None` if the name is free, or if device-mapper is not there to be asked.
///
/// devicemapper's calls only read here: a udev cookie, which would wait for a daemon, belongs to state changes.
pub fn find(name: &str) -> Option<Mapping> {
    let dm = DM::new().ok()?;
    let name = DmName::new(name).ok()?;
    let id = DevId::Name(name);
    let info = dm.device_info(&id).ok()?;
    let below = dm.table_deps(&id, DmOptions::default()).unwrap_or_default();
    Some(Mapping {
        uuid: info.uuid().map(ToString::to_string).unwrap_or_default(),
        live: info.flags().contains(DmFlags::DM_ACTIVE_PRESENT),
        minor: info.device().minor,
        below: below.iter().map(|Device { major, minor }| (*major, *minor)).collect(),
    })
}

/// Removes a mapping that was made for a moment. Whoever else looks at the new device just then keeps it for as long as
/// that takes.
pub fn close(name: &str) {
    if let Ok(dm) = DM::new()
        && let Ok(named) = DmName::new(name)
    {
        let later = DmOptions::default().set_flags(DmFlags::DM_DEFERRED_REMOVE);
        if let Err(error) = dm.device_remove(&DevId::Name(named), later) {
            log::warn!("cannot close {name}: {error}");
        }
    }
    // libdevmapper made it. Where the kernel's report has turned it into a link, that goes with the device.
    let _ = std::fs::remove_file(format!("/dev/mapper/{name}"));
}

/// Removes what a failed activation left: a mapping of this name without a live table.
pub fn remove_half_made(name: &str) {
    if find(name).is_some_and(|mapping| !mapping.live)
        && let Ok(dm) = DM::new()
        && let Ok(name) = DmName::new(name)
        && let Err(error) = dm.device_remove(&DevId::Name(name), DmOptions::default())
    {
        log::warn!("cannot remove the unfinished mapping {name}: {error}");
    }
}
