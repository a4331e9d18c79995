//! Everything that a set of modules needs in order to work.

use std::collections::BTreeSet;

use engine::crypto_modules;
use engine::modules::class::implementation_rank;
use engine::modules::kernel_requests;

use crate::kernel::Kernel;

/// Ciphers that cryptsetup has used by default: since 1.6, and before.
const DEFAULT_CIPHERS: [&str; 2] = ["aes-xts-plain64", "aes-cbc-essiv:sha256"];

/// Adds hard dependencies, softdeps, weakdeps and what the kernel would ask modprobe for.
///
/// `fits` says whether an accelerated crypto implementation can work where the image will run.
#[must_use]
pub fn closure(
    kernel: &Kernel,
    start: impl IntoIterator<Item = String>,
    fits: &dyn Fn(&str) -> bool,
) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open: Vec<String> = start.into_iter().collect();
    while let Some(name) = open.pop() {
        if all.contains(&name) {
            continue;
        }
        // Built-in, or absent from this kernel.
        let Some(module) = kernel.catalog.module(&name) else { continue };
        open.extend(module.deps);
        let soft = module.soft.pre.iter().chain(&module.soft.post).map(String::as_str);
        for want in soft.chain(kernel.catalog.config().weakdeps(&name)) {
            open.extend(answers(kernel, want, fits));
        }
        for want in unspoken(&name) {
            open.extend(answers(kernel, &want, fits));
        }
        all.insert(name);
    }
    all
}

/// The modules for a name or alias; drivers of crypto engines are left out where software does the same.
#[must_use]
pub fn answers(kernel: &Kernel, want: &str, fits: &dyn Fn(&str) -> bool) -> Vec<String> {
    let found = kernel.catalog.lookup(want).modules;
    let rank = |name: &String| kernel.paths.get(name).and_then(|path| implementation_rank(path));
    if found.len() > 1 && found.iter().all(|name| rank(name).is_some()) {
        let useful = |name: &String| match rank(name) {
            Some(0) => fits(name),
            Some(1) => true,
            _ => false,
        };
        let kept: Vec<String> = found.iter().filter(|name| useful(name)).cloned().collect();
        if !kept.is_empty() {
            return kept;
        }
    }
    found
}

/// What a module cannot say: needs that the kernel states by `request_module()`, and buses below a driver.
fn unspoken(name: &str) -> Vec<String> {
    let fixed: &[&str] = match name {
        // Disks behind any SCSI host, USB and SATA ones included.
        "scsi_mod" => &["sd_mod"],
        // The device sits on a bus of its own; PCI is how nearly all machines get to it.
        "virtio_blk" | "virtio_scsi" | "virtio_net" => &["virtio_pci"],
        "hv_storvsc" => &["hv_vmbus"],
        "usbhid" => &["hid_generic"],
        "usb_storage" => &["uas"],
        _ => &[],
    };
    let mut wanted: Vec<String> = fixed.iter().map(|name| (*name).to_owned()).collect();
    match name {
        "dm_crypt" => {
            wanted.extend(DEFAULT_CIPHERS.iter().flat_map(|spec| crypto_modules::modules_for(spec)));
        }
        "vfat" | "msdos" | "isofs" | "udf" => {
            let fstype = if name == "isofs" { "iso9660" } else { name };
            wanted.extend(kernel_requests::for_filesystem(fstype));
        }
        _ => {}
    }
    wanted
}
