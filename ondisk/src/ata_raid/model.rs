//! What all BIOS RAID formats have in common, in dmraid's terms.

use serde::{Deserialize, Serialize};

use crate::Kind;

use super::{ddf, imsm};

/// Whose metadata it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// SNIA DDF 1.
    Ddf,
    /// Intel Matrix Storage, RST.
    Imsm,
    /// LSI MegaRAID (IDE and SATA).
    Lsi,
    /// VIA.
    Via,
    /// Silicon Image Medley.
    Silicon,
    /// NVIDIA.
    Nvidia,
    /// Promise FastTrak.
    Promise,
    /// HighPoint 45x.
    Hpt45x,
    /// HighPoint 37x.
    Hpt37x,
    /// Adaptec HostRAID.
    Adaptec,
    /// JMicron.
    Jmicron,
}

impl Format {
    const ALL: [Format; 11] = [
        Format::Ddf,
        Format::Imsm,
        Format::Lsi,
        Format::Via,
        Format::Silicon,
        Format::Nvidia,
        Format::Promise,
        Format::Hpt45x,
        Format::Hpt37x,
        Format::Adaptec,
        Format::Jmicron,
    ];

    /// The format whose signature is of this kind.
    #[must_use]
    pub fn of(kind: Kind) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.kind() == kind)
    }

    /// dmraid's name, with which the names of its sets begin.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Ddf => "ddf1",
            Format::Imsm => "isw",
            Format::Lsi => "lsi",
            Format::Via => "via",
            Format::Silicon => "sil",
            Format::Nvidia => "nvidia",
            Format::Promise => "pdc",
            Format::Hpt45x => "hpt45x",
            Format::Hpt37x => "hpt37x",
            Format::Adaptec => "asr",
            Format::Jmicron => "jmicron",
        }
    }

    /// mdadm's name where it knows the format, else dmraid's.
    #[must_use]
    pub fn mdadm_name(self) -> &'static str {
        match self {
            Format::Imsm => "imsm",
            Format::Ddf => "ddf",
            other => other.name(),
        }
    }

    /// The signature's kind.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Format::Ddf => Kind::DdfMember,
            Format::Imsm => Kind::ImsmMember,
            Format::Lsi => Kind::LsiMember,
            Format::Via => Kind::ViaMember,
            Format::Silicon => Kind::SiliconMember,
            Format::Nvidia => Kind::NvidiaMember,
            Format::Promise => Kind::PromiseMember,
            Format::Hpt45x => Kind::Hpt45xMember,
            Format::Hpt37x => Kind::Hpt37xMember,
            Format::Adaptec => Kind::AdaptecMember,
            Format::Jmicron => Kind::JmicronMember,
        }
    }
}

/// How the members of a set hold its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level {
    /// One after the other.
    Linear,
    /// Striped.
    Raid0,
    /// Mirrored.
    Raid1,
    /// Parity on the last member.
    Raid4,
    /// Rotating parity.
    Raid5(Parity),
    /// Not a member of a set: stands by.
    Spare,
    /// A code that dmraid does not know, or does not know how to map.
    Unsupported(u32),
}

/// Where RAID 5 puts its parity (Linux md's names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Parity {
    /// `raid5_la`
    LeftAsymmetric,
    /// `raid5_ra`
    RightAsymmetric,
    /// `raid5_ls`
    LeftSymmetric,
    /// `raid5_rs`
    RightSymmetric,
}

/// What the firmware says of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// In use and current.
    Ok,
    /// The set's redundancy is still being built.
    Unsynced,
    /// The set is being rebuilt or reshaped: this disk's data may be old.
    Rebuilding,
    /// Failed.
    Broken,
}

/// The upper of two levels: a set whose members are sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Above {
    /// Its name.
    pub set: String,
    /// How it joins the sets below.
    pub level: Level,
    /// Stripe in sectors, where striped.
    pub stride: u32,
    /// Position of the lower set in it.
    pub order: u32,
    /// How many sets it joins.
    pub members: u32,
}

/// One disk's part in one set. All sizes are in sectors of 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The set that the disk is directly part of, named as dmraid does.
    pub set: String,
    /// The set that this one is part of, if two levels are stacked.
    pub above: Option<Above>,
    /// Level of `set`.
    pub level: Level,
    /// Stripe of one member; 0 where the format has none.
    pub stride: u32,
    /// Members of `set`, spares not counted.
    pub members: u32,
    /// Position in `set`: members are ordered by it.
    pub order: u32,
    /// Where the data begin on this disk.
    pub offset: u64,
    /// How much of this disk belongs to the set.
    pub sectors: u64,
    /// The firmware's opinion.
    pub state: State,
    /// How much concatenated disks hold together, where the format says it: their shares have to add up to that.
    pub total: Option<u64>,
    /// Counts the changes of the set, where the format does: one that was away has an older count.
    pub generation: Option<u32>,
}

/// Everything that one disk says of the sets that it is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    /// A format in which each disk speaks for itself, with its parts (at least one).
    Parts(Format, Vec<Part>),
    /// Intel's: every disk describes all disks, which are told apart by their serial numbers.
    Imsm(imsm::Anchor),
    /// DDF: every disk describes all disks, and its own part of the sets.
    Ddf(ddf::Group),
}

impl Disk {
    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Disk::Parts(format, _) => *format,
            Disk::Imsm(_) => Format::Imsm,
            Disk::Ddf(_) => Format::Ddf,
        }
    }
}
