//! Which modules go into an image, and which of them init may load before any device has spoken.

use std::collections::BTreeSet;

use engine::crypto_modules;
use engine::modules::class::implementation_rank;
use engine::modules::{Class, kernel_requests};

use crate::closure::{answers, closure};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::kernel::Kernel;
use crate::universal;

/// Where an image is to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modules {
    /// On this machine, as `/sys` shows it.
    HostOnly,
    /// Anywhere.
    Universal,
    /// Where these modules are enough; names or aliases.
    List(Vec<String>),
}

/// The choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// All modules, dependencies included.
    pub modules: BTreeSet<String>,
    /// Modules that init may load at once, in order.
    pub preload: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Chooses the modules of an image; `host` is looked at for [`Modules::HostOnly`] alone.
///
/// # Errors
/// A name in the list that the kernel does not have.
pub fn select(kernel: &Kernel, modules: &Modules, host: &Host) -> Result<Selection> {
    match modules {
        Modules::HostOnly => Ok(host_only(kernel, host)),
        Modules::Universal => {
            let modules = closure(kernel, universal::start(kernel), &|_| true);
            Ok(Selection { modules, ..Selection::default() })
        }
        Modules::List(names) => {
            let mut start = Vec::new();
            for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
                let lookup = kernel.catalog.lookup(name);
                if lookup.is_absent() {
                    return Err(Error::UnknownModule {
                        name: name.to_owned(),
                        version: kernel.version.clone(),
                    });
                }
                start.extend(answers(kernel, name, &|_| true));
            }
            let modules = closure(kernel, start.iter().cloned(), &|_| true);
            Ok(Selection { preload: with_bus(start, &modules), modules, warnings: Vec::new() })
        }
    }
}

/// A virtio device is found only after its bus has been; nobody names the bus.
fn with_bus(names: Vec<String>, modules: &BTreeSet<String>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for name in names {
        if name.starts_with("virtio_") && modules.contains("virtio_pci") {
            order.push("virtio_pci".to_owned());
        }
        order.push(name);
    }
    let mut seen = BTreeSet::new();
    order.retain(|name| seen.insert(name.clone()));
    order
}

fn host_only(kernel: &Kernel, host: &Host) -> Selection {
    let mut warnings = Vec::new();
    // Drivers of every device that is on the way to a disk or a keyboard, whether or not it is in use today.
    let matched = host.modaliases.iter().flat_map(|alias| kernel.catalog.lookup(alias).modules);
    let present: BTreeSet<String> = matched.chain(host.loaded.iter().cloned()).collect();
    let path =
        |name: &String| kernel.paths.get(name).map(|path| path.strip_prefix("kernel/").unwrap_or(path));
    let mut start: BTreeSet<String> = BTreeSet::new();
    for name in &present {
        let Some(path) = path(name) else { continue };
        // File systems and mappings are taken for root's sake, not because something uses them.
        if Class::of_path(path) != Class::Rest && !path.starts_with("fs/") && !path.starts_with("drivers/md/")
        {
            start.insert(name.clone());
        }
    }
    let drivers = host.root_drivers.iter().flat_map(|name| kernel.catalog.lookup(name).modules);
    let mut preload: Vec<String> =
        drivers.filter(|name| path(name).is_some_and(|path| Class::of_path(path) == Class::Urgent)).collect();
    let loaded_in = |directory: &str| -> Vec<String> {
        let inside = |name: &&String| path(name).is_some_and(|path| path.starts_with(directory));
        host.loaded.iter().filter(inside).cloned().collect()
    };
    for level in &host.md_levels {
        preload.extend(kernel.catalog.lookup(&format!("md-{level}")).modules);
    }
    if !host.dm_uuids.is_empty() {
        // Which targets are in use only the tables tell; what is loaded is what was needed.
        start.extend(loaded_in("drivers/md/"));
        preload.push("dm_mod".to_owned());
    }
    if host.dm_uuids.iter().any(|uuid| uuid.starts_with("CRYPT-")) {
        preload.push("dm_crypt".to_owned());
        // For a key in a LUKS image, which only the boot loader's command line may name.
        start.extend(kernel.catalog.lookup("loop").modules);
        for name in loaded_in("") {
            if path(&name).is_some_and(|path| implementation_rank(path).is_some()) {
                start.insert(name);
            }
        }
    }
    start.extend(host.configured.iter().flat_map(|name| kernel.catalog.lookup(name).modules));
    // cryptsetup on the running machine needs no help of the kernel with these headers; ours does.
    for (kind, names) in [
        ("CRYPT-BITLK-", crypto_modules::for_bitlocker(None)),
        ("CRYPT-TCRYPT-", crypto_modules::for_tcrypt()),
    ] {
        if host.dm_uuids.iter().any(|uuid| uuid.starts_with(kind)) {
            start.extend(names.iter().flat_map(|name| kernel.catalog.lookup(name).modules));
        }
    }
    match host.root_type.as_deref() {
        Some(fstype @ ("overlay" | "tmpfs" | "ramfs" | "rootfs")) => warnings.push(format!(
            "the root of this machine is a {fstype}, so its file system is unknown; name it with --modules"
        )),
        Some(fstype) => {
            for alias in kernel_requests::for_filesystem(fstype) {
                preload.extend(kernel.catalog.lookup(&alias).modules);
            }
        }
        None => warnings
            .push("what is mounted on / cannot be seen; name its file system with --modules".to_owned()),
    }
    if host.modaliases.is_empty() {
        warnings.push("no device shows itself in /sys; is this a container?".to_owned());
    }
    preload.retain(|name| kernel.paths.contains_key(name));
    start.extend(preload.iter().cloned());
    // A processor's own implementations of ciphers and checksums answer to its modalias.
    let fits = |name: &str| host.loaded.contains(name) || present.contains(name);
    let modules = closure(kernel, start, &fits);
    Selection { preload: with_bus(preload, &modules), modules, warnings }
}
