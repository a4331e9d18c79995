//! What lies between the disks and the root file system, and what each contestant is told of it.

use std::fs;
use std::path::{Path, PathBuf};

use tests_qemu::bed::Bed;
use tests_qemu::builder::Job;

use super::images;
use crate::Failure;

/// One kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// ext4 on the disk itself.
    Plain,
    /// ext4 on a logical volume in LUKS2.
    LuksLvm,
    /// ext4 on a logical volume on a mirror of two disks.
    RaidLvm,
}

/// UUID of the LUKS2 header.
const LUKS_UUID: &str = "2f9c4a1e-6a54-4f0e-9d1c-52f0b1a7c002";
/// UUID of the array, as the command line writes it.
const ARRAY_UUID: &str = "2f9c4a1e:6a544f0e:9d1c52f0:b1a7c003";
/// Opens the LUKS2 container.
pub const KEY: &str = "key file of the bench";

/// Cheap, and still argon2id: four passes over 32 MiB.
const LUKS_SCRIPT: &str = "\
cryptsetup luksFormat --batch-mode --type luks2 --uuid $LUKS_UUID --cipher aes-xts-plain64 --key-size 512 \
    --pbkdf argon2id --pbkdf-memory 32768 --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file key $DISK0
cryptsetup open --disable-keyring --key-file key $DISK0 opened
PV=/dev/mapper/opened
";
const RAID_SCRIPT: &str = "\
mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 --homehost=bench --name=0 \
    --uuid=$ARRAY_UUID --assume-clean $DISK0 $DISK1
PV=/dev/md0
";
/// The table goes to the floor, which has it compiled in.
const LVM_SCRIPT: &str = "\
vgcreate bench $PV
lvcreate --yes --wipesignatures n --name root --extents 100%FREE bench
dd if=$CONTENT of=/dev/bench/root bs=1M
sync
dmsetup table --showkeys >$DUMP
vgchange -an bench
";

impl Course {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::LuksLvm, Self::RaidLvm];

    /// Title of its table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain ext4 on virtio-blk",
            Self::LuksLvm => {
                "ext4 on LVM in LUKS2 (argon2id, four passes over 32 MiB; key file in the image)"
            }
            Self::RaidLvm => "ext4 on LVM on RAID1 of two disks",
        }
    }

    /// For file names and filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::LuksLvm => "luks-lvm",
            Self::RaidLvm => "raid-lvm",
        }
    }

    /// Ratios to the floor that our two images must hold.
    pub fn budgets(self) -> (f64, f64) {
        match self {
            Self::Plain => (1.15, 1.5),
            Self::LuksLvm => (1.12, 1.3),
            Self::RaidLvm => (1.15, 1.5),
        }
    }

    /// The drivers that it needs.
    pub fn modules(self) -> &'static str {
        match self {
            Self::Plain => "virtio_blk,ext4",
            Self::LuksLvm => "virtio_blk,dm_mod,dm_crypt,xts,aesni_intel,af_alg,algif_skcipher,ext4",
            Self::RaidLvm => "virtio_blk,md_mod,raid1,dm_mod,ext4",
        }
    }

    /// What an ordinary user would have on the command line.
    pub fn cmdline(self) -> String {
        match self {
            Self::Plain => format!("root=UUID={}", images::ROOT_UUID),
            Self::LuksLvm => format!(
                "root=/dev/mapper/bench-root rd.luks.uuid={LUKS_UUID} rd.luks.key=/etc/bench.key:/ rd.lvm.lv=bench/root"
            ),
            Self::RaidLvm => {
                format!("root=/dev/mapper/bench-root rd.md.uuid={ARRAY_UUID} rd.lvm.lv=bench/root")
            }
        }
    }

    /// Modules of the floor, in the order in which the kernel wants them.
    pub fn floor_modules(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["virtio_blk", "crc32c_generic", "ext4"],
            Self::LuksLvm => {
                &["virtio_blk", "dm_mod", "dm_crypt", "aes_generic", "xts", "crc32c_generic", "ext4"]
            }
            Self::RaidLvm => &["virtio_blk", "md_mod", "raid1", "dm_mod", "crc32c_generic", "ext4"],
        }
    }

    /// What the floor has compiled in besides its modules.
    pub fn floor_defines(self, dump: &str) -> Result<Vec<String>, Failure> {
        let root = |node: &str| format!("-DFLOOR_ROOT=\"{node}\"");
        let words = |device: &str| -> Result<Vec<String>, Failure> {
            let line = dump.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(':'));
            let line =
                line.ok_or_else(|| Failure(format!("the builder left no table of {device}: {dump:?}")))?;
            Ok(line.split_whitespace().map(str::to_owned).collect())
        };
        let linear = |below: &str| -> Result<String, Failure> {
            match &words("bench-root")?[..] {
                [start, length, kind, _, offset] if start == "0" && kind == "linear" => {
                    Ok(format!("-DFLOOR_VOLUME={{{length},\"linear\",\"{below} {offset}\"}}"))
                }
                other => Err(Failure(format!("the volume is not one linear segment: {other:?}"))),
            }
        };
        Ok(match self {
            Self::Plain => vec![root("/dev/vda")],
            Self::LuksLvm => match &words("opened")?[..] {
                [start, length, kind, cipher, key, iv, _, offset, ..] if start == "0" && kind == "crypt" => {
                    vec![
                        root("/dev/dm-1"),
                        "-DFLOOR_ARGON2".to_owned(),
                        format!("-DFLOOR_KEY=\"{KEY}\""),
                        format!(
                            "-DFLOOR_CRYPT={{{length},\"crypt\",\"{cipher} {key} {iv} /dev/vda {offset}\"}}"
                        ),
                        linear("/dev/dm-0")?,
                    ]
                }
                other => Err(Failure(format!("this is no dm-crypt table: {other:?}")))?,
            },
            Self::RaidLvm => {
                vec![
                    root("/dev/dm-0"),
                    "-DFLOOR_ARRAY=\"/dev/vda\",\"/dev/vdb\"".to_owned(),
                    linear("/dev/md0")?,
                ]
            }
        })
    }

    /// The disks, and what the builder VM said of the devices on them.
    pub fn disks(self, bed: &Bed, scratch: &Path) -> Result<(Vec<PathBuf>, String), Failure> {
        let plain = images::disk(scratch)?;
        let (count, below, packages) = match self {
            Self::Plain => return Ok((vec![plain], String::new())),
            Self::LuksLvm => (1, LUKS_SCRIPT, "LUKS_UUID"),
            Self::RaidLvm => (2, RAID_SCRIPT, "ARRAY_UUID"),
        };
        let uuid = if self == Self::LuksLvm { LUKS_UUID } else { ARRAY_UUID };
        let names = ["DISK0", "DISK1"];
        let mut targets: Vec<(&str, u64)> = names.iter().take(count).map(|name| (*name, 112)).collect();
        targets.push(("DUMP", 1));
        let content = tests_qemu::builder::fingerprint(&plain)?;
        let job = Job {
            name: &format!("bench-{}", self.name()),
            script: format!("# {content}\n{packages}={uuid}\n{below}{LVM_SCRIPT}"),
            files: vec![("key", KEY.as_bytes().to_vec())],
            inputs: vec![("CONTENT", plain)],
            targets,
            ..Job::default()
        };
        let directory = bed.builder().run(&job)?;
        let dump = fs::read(directory.join("DUMP"))?;
        let dump = String::from_utf8_lossy(&dump).trim_end_matches('\0').to_owned();
        Ok((names.iter().take(count).map(|name| directory.join(name)).collect(), dump))
    }

    /// Packages and script by which a dracut user makes an image for this.
    pub fn dracut_min(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Plain => (
                &["dracut", "systemd-sysv", "udev", "kmod", "e2fsprogs", "zstd", "util-linux"],
                "dracut --quiet --force --no-hostonly --no-hostonly-cmdline --zstd \
                 --modules 'base fs-lib kernel-modules rootfs-block udev-rules' --drivers 'virtio_blk ext4' /image KVER",
            ),
            Self::LuksLvm => (
                &[
                    "dracut",
                    "systemd-sysv",
                    "udev",
                    "kmod",
                    "e2fsprogs",
                    "zstd",
                    "util-linux",
                    "cryptsetup-bin",
                    "lvm2",
                    "dmsetup",
                ],
                "printf '%s' 'key file of the bench' >/etc/bench.key; \
                 dracut --quiet --force --no-hostonly --no-hostonly-cmdline --zstd --include /etc/bench.key /etc/bench.key \
                 --modules 'base fs-lib kernel-modules rootfs-block udev-rules crypt dm lvm' \
                 --drivers 'virtio_blk ext4 dm_mod dm_crypt xts aesni_intel' /image KVER",
            ),
            Self::RaidLvm => (
                &[
                    "dracut",
                    "systemd-sysv",
                    "udev",
                    "kmod",
                    "e2fsprogs",
                    "zstd",
                    "util-linux",
                    "mdadm",
                    "lvm2",
                    "dmsetup",
                ],
                "dracut --quiet --force --no-hostonly --no-hostonly-cmdline --zstd \
                 --modules 'base fs-lib kernel-modules rootfs-block udev-rules dm lvm mdraid' \
                 --drivers 'virtio_blk ext4 dm_mod md_mod raid1' /image KVER",
            ),
        }
    }

    /// Packages and script by which an initramfs-tools user makes an image for this.
    pub fn initramfs_tools_list(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Plain => (
                &[
                    "initramfs-tools",
                    "systemd-sysv",
                    "udev",
                    "kmod",
                    "e2fsprogs",
                    "zstd",
                    "util-linux",
                    "busybox",
                ],
                "sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf; \
                 printf 'virtio_pci\\nvirtio_blk\\next4\\n' >/etc/initramfs-tools/modules; mkinitramfs -o /image KVER",
            ),
            Self::LuksLvm => (
                &[
                    "initramfs-tools",
                    "systemd-sysv",
                    "udev",
                    "kmod",
                    "e2fsprogs",
                    "zstd",
                    "util-linux",
                    "busybox",
                    "cryptsetup-initramfs",
                    "lvm2",
                ],
                "sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf; \
                 printf 'virtio_pci\\nvirtio_blk\\next4\\naesni_intel\\n' >/etc/initramfs-tools/modules; \
                 mkdir -p /etc/keys; printf '%s' 'key file of the bench' >/etc/keys/bench.key; \
                 echo 'KEYFILE_PATTERN=/etc/keys/*.key' >>/etc/cryptsetup-initramfs/conf-hook; \
                 echo 'opened UUID=2f9c4a1e-6a54-4f0e-9d1c-52f0b1a7c002 /etc/keys/bench.key luks,initramfs' >/etc/crypttab; \
                 mkinitramfs -o /image KVER",
            ),
            Self::RaidLvm => (
                &[
                    "initramfs-tools",
                    "systemd-sysv",
                    "udev",
                    "kmod",
                    "e2fsprogs",
                    "zstd",
                    "util-linux",
                    "busybox",
                    "mdadm",
                    "lvm2",
                ],
                "sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf; \
                 printf 'virtio_pci\\nvirtio_blk\\next4\\nraid1\\n' >/etc/initramfs-tools/modules; mkinitramfs -o /image KVER",
            ),
        }
    }
}
