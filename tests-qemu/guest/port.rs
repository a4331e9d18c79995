//! The virtio-serial port that carries results to the host.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests_qemu::verdict::PORT;

use crate::{modules, procfs};

/// A guest without the port within this time has a broken test bed, not a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the verdict port. Loads its driver, and virtio's PCI transport, when the kernel has them as modules;
/// returns what had to be loaded.
pub fn open() -> Result<(File, Vec<String>), String> {
    let mut loaded = Vec::new();
    for module in ["virtio_pci", "virtio_console"] {
        loaded.extend(modules::load(module)?);
    }
    let start = Instant::now();
    loop {
        if let Some(path) = find() {
            let port = OpenOptions::new().write(true).open(&path);
            return port.map(|port| (port, loaded)).map_err(|error| format!("{}: {error}", path.display()));
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("no virtio-serial port named {PORT}"));
        }
        // The name of a port arrives by a control message some time after the driver's probe.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Without udev there is no /dev/virtio-ports: the name is in sysfs.
fn find() -> Option<PathBuf> {
    let class = "/sys/class/virtio-ports";
    let name =
        procfs::names(class).into_iter().find(|port| procfs::text(format!("{class}/{port}/name")) == PORT)?;
    let path = PathBuf::from("/dev").join(name);
    fs::metadata(&path).ok().filter(|data| data.file_type().is_char_device()).map(|_| path)
}
