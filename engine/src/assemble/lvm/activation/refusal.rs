//! Why a logical volume is not activated.

use std::fmt;

/// Why a logical volume is not activated; as text, with advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The group has no such logical volume.
    NoSuchLv(String),
    /// A part of another volume, not one that is used by itself.
    Internal(String),
    /// The group was exported.
    Exported(String),
    /// The group belongs to a cluster or is shared through a lock manager.
    Shared(String),
    /// A physical volume is missing, and the redundancy does not cover it.
    MissingPv {
        /// The volume that lies on it.
        lv: String,
        /// Identifier of the physical volume.
        pv: String,
        /// Where it was last seen.
        device: Option<String>,
        /// Whether a degraded start would cover it.
        covered: bool,
    },
    /// A segment type that this version does not know, with its flags.
    UnknownSegment {
        /// The volume.
        lv: String,
        /// The type as written.
        kind: String,
    },
    /// A cache on persistent memory and on something else.
    MixedMemory(String),
    /// Something that lvm2 can do and this version cannot.
    Unsupported {
        /// The volume.
        lv: String,
        /// What it is.
        what: &'static str,
    },
    /// Metadata that no lvm2 would have written.
    Broken {
        /// The volume.
        lv: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLv(lv) => write!(f, "there is no logical volume {lv}; look at what `lvs` lists"),
            Self::Internal(lv) => write!(f, "{lv} is a part of another logical volume; name that one"),
            Self::Exported(vg) => write!(f, "volume group {vg} is exported; try vgimport {vg}"),
            Self::Shared(vg) => write!(
                f,
                "volume group {vg} is shared through a lock manager, which does not run here; try vgchange --lock-type none"
            ),
            Self::MissingPv { lv, pv, device, covered } => {
                write!(f, "{lv} lies on physical volume {pv}, which is missing")?;
                if let Some(device) = device {
                    write!(f, " (last seen as {device})")?;
                }
                if *covered {
                    write!(
                        f,
                        "; its redundancy covers that once degraded start is allowed (rootward.degraded=)"
                    )
                } else {
                    write!(f, "; attach the disk, there is no redundancy that covers it")
                }
            }
            Self::UnknownSegment { lv, kind } => {
                write!(f, "{lv} has segments of the unknown type {kind}; a newer lvm2 must have made it")
            }
            Self::MixedMemory(lv) => write!(
                f,
                "{lv} caches writes partly on persistent memory, which lvm2 does not activate either; pvmove one part"
            ),
            Self::Unsupported { lv, what } => {
                write!(f, "{lv}: {what} is not supported before the real root runs")
            }
            Self::Broken { lv, what } => {
                write!(f, "{lv}: {what} in the metadata; try vgcfgrestore with an older version")
            }
        }
    }
}

impl std::error::Error for Refusal {}
