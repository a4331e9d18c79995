//! What a device holds, in the terms that the rest of the program decides with.

use crate::Member;

/// The kind of a signature, named as blkid's `TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// ext2 (no journal, no ext3/ext4 features).
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// External journal of ext3 or ext4.
    Jbd,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// FAT12/16/32.
    Vfat,
    /// SquashFS 4.
    Squashfs,
    /// EROFS.
    Erofs,
    /// ISO 9660.
    Iso9660,
    /// Swap space.
    Swap,
    /// Swap space that holds a hibernation image.
    SwSuspend,
    /// LUKS version 1.
    Luks1,
    /// LUKS version 2.
    Luks2,
    /// BitLocker volume.
    BitLocker,
    /// LVM2 physical volume.
    Lvm2Pv,
    /// Linux MD member (any metadata version).
    MdMember,
    /// SNIA DDF member.
    DdfMember,
    /// Intel Matrix Storage (RST) member.
    ImsmMember,
    /// LSI MegaRAID member.
    LsiMember,
    /// VIA RAID member.
    ViaMember,
    /// Silicon Image Medley member.
    SiliconMember,
    /// NVIDIA RAID member.
    NvidiaMember,
    /// Promise FastTrak member.
    PromiseMember,
    /// HighPoint 45x member.
    Hpt45xMember,
    /// HighPoint 37x member.
    Hpt37xMember,
    /// Adaptec HostRAID member.
    AdaptecMember,
    /// JMicron RAID member.
    JmicronMember,
    /// dm-verity's hash device.
    DmVerity,
    /// Device with dm-integrity's tags.
    DmIntegrity,
    /// bcache, cache or backing device.
    Bcache,
    /// bcachefs.
    Bcachefs,
    /// Member of a ZFS pool.
    ZfsMember,
}

impl Kind {
    /// blkid's `TYPE` for this kind; for file systems also the name that mount(2) takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext2 => "ext2",
            Kind::Ext3 => "ext3",
            Kind::Ext4 => "ext4",
            Kind::Jbd => "jbd",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
            Kind::Vfat => "vfat",
            Kind::Squashfs => "squashfs",
            Kind::Erofs => "erofs",
            Kind::Iso9660 => "iso9660",
            Kind::Swap => "swap",
            Kind::SwSuspend => "swsuspend",
            Kind::Luks1 | Kind::Luks2 => "crypto_LUKS",
            Kind::BitLocker => "BitLocker",
            Kind::Lvm2Pv => "LVM2_member",
            Kind::MdMember => "linux_raid_member",
            Kind::DdfMember => "ddf_raid_member",
            Kind::ImsmMember => "isw_raid_member",
            Kind::LsiMember => "lsi_mega_raid_member",
            Kind::ViaMember => "via_raid_member",
            Kind::SiliconMember => "silicon_medley_raid_member",
            Kind::NvidiaMember => "nvidia_raid_member",
            Kind::PromiseMember => "promise_fasttrack_raid_member",
            Kind::Hpt45xMember => "hpt45x_raid_member",
            Kind::Hpt37xMember => "hpt37x_raid_member",
            Kind::AdaptecMember => "adaptec_raid_member",
            Kind::JmicronMember => "jmicron_raid_member",
            Kind::DmVerity => "DM_verity_hash",
            Kind::DmIntegrity => "DM_integrity",
            Kind::Bcache => "bcache",
            Kind::Bcachefs => "bcachefs",
            Kind::ZfsMember => "zfs_member",
        }
    }

    /// Whether it can be mounted.
    #[must_use]
    pub fn is_filesystem(self) -> bool {
        matches!(
            self,
            Kind::Ext2
                | Kind::Ext3
                | Kind::Ext4
                | Kind::Xfs
                | Kind::Btrfs
                | Kind::Vfat
                | Kind::Squashfs
                | Kind::Erofs
                | Kind::Iso9660
                | Kind::Bcachefs
        )
    }

    /// Whether it hides another block device.
    #[must_use]
    pub fn is_container(self) -> bool {
        matches!(
            self,
            Kind::Luks1
                | Kind::Luks2
                | Kind::BitLocker
                | Kind::Lvm2Pv
                | Kind::MdMember
                | Kind::DmIntegrity
                | Kind::Bcache
        ) || self.is_bios_raid()
    }

    /// Whether it is a member of a BIOS RAID set.
    #[must_use]
    pub fn is_bios_raid(self) -> bool {
        matches!(
            self,
            Kind::DdfMember
                | Kind::ImsmMember
                | Kind::LsiMember
                | Kind::ViaMember
                | Kind::SiliconMember
                | Kind::NvidiaMember
                | Kind::PromiseMember
                | Kind::Hpt45xMember
                | Kind::Hpt37xMember
                | Kind::AdaptecMember
                | Kind::JmicronMember
        )
    }
}

/// One valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What it is.
    pub kind: Kind,
    /// `UUID` exactly as blkid prints it; `None` where the format has none or it is all zero.
    pub uuid: Option<String>,
    /// `LABEL` as raw bytes, trimmed as blkid does; `None` when empty.
    pub label: Option<Vec<u8>>,
    /// `UUID_SUB` (btrfs device, MD member).
    pub uuid_sub: Option<String>,
    /// `VERSION` as blkid prints it.
    pub version: Option<String>,
    /// LUKS and BitLocker: dm-crypt's name for the cipher of the data (`aes-xts-plain64`).
    pub cipher: Option<String>,
    /// LUKS2: integrity protection of the data (`hmac(sha256)`, `aead`).
    pub integrity: Option<String>,
    /// LUKS2: types of its tokens, each once (`systemd-tpm2`).
    pub tokens: Vec<String>,
    /// LUKS: memory in KiB that the most expensive key slot needs to be tried; 0 where none needs much (PBKDF2).
    pub kdf_memory: u64,
    /// Why the signature should be met with doubt (bad checksum of one copy, truncated device), if so.
    pub doubt: Option<String>,
}

impl Signature {
    /// A signature of `kind` with nothing else known.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            uuid: None,
            label: None,
            uuid_sub: None,
            version: None,
            cipher: None,
            integrity: None,
            tokens: Vec::new(),
            kdf_memory: 0,
            doubt: None,
        }
    }
}

/// One entry of a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Number as the kernel gives it (1-based; logical MBR partitions from 5). An extended partition is listed too,
    /// with its full length.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
    /// `PARTUUID` as the kernel and blkid print it (lower case); empty on an MBR disk without a signature, for which
    /// blkid prints none.
    pub uuid: String,
    /// GPT name, UTF-8; `None` when empty or MBR.
    pub name: Option<String>,
    /// GPT type GUID in lower case, or the MBR type as blkid prints it (`0x83`, `0x5`).
    pub kind: String,
    /// GPT attribute bits, or the MBR boot flag.
    pub flags: u64,
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// `true` for GPT, `false` for MBR.
    pub gpt: bool,
    /// `PTUUID` as blkid prints it; empty where the disk has none.
    pub uuid: String,
    /// Entries in use, ascending by number.
    pub partitions: Vec<Partition>,
    /// Why the table should be met with doubt (primary header bad, backup used), if so.
    pub doubt: Option<String>,
}

/// Everything found on one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Valid signatures; more than one means that the content is ambiguous.
    pub signatures: Vec<Signature>,
    /// Partition table, if any.
    pub table: Option<PartitionTable>,
    /// Signatures whose checksum is wrong: neither blkid nor the kernel takes them, but they explain what is missing.
    pub rejected: Vec<Signature>,
    /// What the device says of the whole that it is a part of, where the only signature is that of a member.
    pub member: Option<Box<Member>>,
}

impl Content {
    /// The one signature, unless there is none or several.
    #[must_use]
    pub fn only(&self) -> Option<&Signature> {
        match self.signatures.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether two or more valid signatures contradict each other.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.signatures.len() > 1
    }
}
