//! How soon a module is needed, judged by where it lies in the kernel tree.

/// When modules that a device asked for are handed out; explicit requests come before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// On the way to a block device or a file system.
    Urgent,
    /// Keyboards: needed once somebody is to type something.
    Input,
    /// Everything else: sound, sensors, graphics; needed only if root stays missing.
    Rest,
}

/// Directories below `kernel/` whose modules lead to block devices.
const STORAGE: [&str; 32] = [
    "drivers/ata/",
    "drivers/block/",
    "drivers/cdrom/",
    "drivers/cxl/",
    "drivers/dax/",
    "drivers/firewire/",
    "drivers/hv/",
    "drivers/md/",
    "drivers/memstick/",
    "drivers/message/fusion/",
    "drivers/mmc/",
    "drivers/mtd/",
    "drivers/nvdimm/",
    "drivers/nvme/",
    "drivers/pci/",
    "drivers/phy/",
    "drivers/s390/block/",
    "drivers/s390/cio/",
    "drivers/s390/scsi/",
    "drivers/scsi/",
    "drivers/staging/rts5208/",
    "drivers/thunderbolt/",
    "drivers/ufs/",
    "drivers/usb/common/",
    "drivers/usb/core/",
    "drivers/usb/dwc2/",
    "drivers/usb/dwc3/",
    "drivers/usb/host/",
    "drivers/usb/storage/",
    "drivers/virtio/",
    "drivers/xen/",
    "fs/",
];

/// Directories whose modules lead to somebody who types, serial lines included; laptops hang their keyboards on I2C.
const INPUT: [&str; 7] = [
    "drivers/hid/",
    "drivers/i2c/busses/",
    "drivers/input/",
    "drivers/mfd/intel-lpss",
    "drivers/pinctrl/",
    "drivers/platform/surface/",
    "drivers/tty/serial/",
];

/// Directories below those that hold no keyboards; some of their drivers probe slowly.
const NOT_INPUT: [&str; 6] = [
    "drivers/input/gameport/",
    "drivers/input/joystick/",
    "drivers/input/misc/",
    "drivers/input/mouse/",
    "drivers/input/tablet/",
    "drivers/input/touchscreen/",
];

/// Modules in storage directories that never lead to root: slow probes and memory games.
const NOT_STORAGE: [&str; 7] =
    ["floppy", "hv_balloon", "hv_utils", "virtio_balloon", "virtio_dma_buf", "virtio_input", "virtio_mem"];

impl Class {
    /// The class of the module with this path below `/lib/modules/VERSION`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let inner = path.strip_prefix("kernel/").unwrap_or(path);
        let name = ondisk::kmod::name_of_path(path);
        let below = |directories: &[&str]| directories.iter().any(|directory| inner.starts_with(directory));
        if name == "virtio_input" || below(&INPUT) && !below(&NOT_INPUT) {
            Class::Input
        } else if !NOT_STORAGE.contains(&name.as_str()) && below(&STORAGE) {
            Class::Urgent
        } else {
            Class::Rest
        }
    }
}

/// Whether a modalias is that of a device which can hold or lead to a disk, so that its missing driver is worth a word.
///
/// PCI class codes are those of the PCI Code and ID Assignment Specification: 01 mass storage, 0C03 USB, 0C00
/// FireWire; USB interface class 08 is mass storage; virtio ids 2 and 8 are block and SCSI, 26 file system.
#[must_use]
pub fn is_storage_modalias(modalias: &str) -> bool {
    let Some((bus, rest)) = modalias.split_once(':') else { return false };
    match bus {
        "pci" => ["bc01", "bc0Csc03", "bc0Csc00"].iter().any(|class| rest.contains(class)),
        "usb" => rest.contains("ic08"),
        "virtio" => ["d00000002v", "d00000008v", "d0000001Av"].iter().any(|id| rest.starts_with(id)),
        "scsi" | "nvme" | "mmc" | "sdio" | "nd" | "ccw" | "ide" => true,
        "xen" => rest == "vbd",
        // Hyper-V: SCSI and fast SCSI, IDE.
        "vmbus" => ["ba6163d9", "32412632"].iter().any(|id| rest.starts_with(id)),
        _ => false,
    }
}

/// How good an implementation of a crypto algorithm is, lower is better; `None` for modules of another kind.
#[must_use]
pub fn implementation_rank(path: &str) -> Option<u8> {
    let inner = path.strip_prefix("kernel/").unwrap_or(path);
    match inner.split('/').collect::<Vec<_>>().as_slice() {
        ["arch", _, "crypto" | "lib", ..] => Some(0),
        ["crypto" | "lib", ..] => Some(1),
        // Engines behind a bus; they need their own driver and are slow for what a boot asks.
        ["drivers", "crypto", ..] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_directory() {
        for (path, class) in [
            ("kernel/drivers/block/virtio_blk.ko.xz", Class::Urgent),
            ("kernel/drivers/block/floppy.ko", Class::Rest),
            ("kernel/fs/ext4/ext4.ko", Class::Urgent),
            ("kernel/drivers/usb/host/xhci-pci.ko", Class::Urgent),
            ("kernel/drivers/usb/misc/yurex.ko", Class::Rest),
            ("kernel/drivers/virtio/virtio_pci.ko", Class::Urgent),
            ("kernel/drivers/virtio/virtio_balloon.ko", Class::Rest),
            ("kernel/drivers/virtio/virtio_input.ko", Class::Input),
            ("kernel/drivers/hid/usbhid/usbhid.ko", Class::Input),
            ("kernel/drivers/input/serio/i8042.ko", Class::Input),
            ("kernel/drivers/input/mouse/psmouse.ko", Class::Rest),
            ("kernel/sound/pci/hda/snd-hda-intel.ko", Class::Rest),
            ("kernel/arch/x86/crypto/aesni-intel.ko", Class::Rest),
            ("updates/dkms/zfs.ko", Class::Rest),
        ] {
            assert_eq!(Class::of_path(path), class, "{path}");
        }
    }

    #[test]
    fn storage_by_modalias() {
        assert!(is_storage_modalias("pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"));
        assert!(!is_storage_modalias("pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00"));
        assert!(is_storage_modalias("virtio:d00000002v00001AF4"));
        assert!(!is_storage_modalias("virtio:d00000001v00001AF4"));
        assert!(!is_storage_modalias("nonsense"));
    }
}
