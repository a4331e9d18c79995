//! What sysfs says of a SCSI disk as a path to a logical unit.

/// Facts that decide whether the disk is a path of a multipath device, and which place it has in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScsiFacts {
    /// World-wide id as udev's `ID_SERIAL`; empty when the disk has none.
    pub wwid: String,
    /// It has a world-wide name (NAA).
    pub wwn: bool,
    /// INQUIRY's vendor, without white space at the end; the next two likewise.
    pub vendor: String,
    /// INQUIRY's product.
    pub product: String,
    /// INQUIRY's revision.
    pub revision: String,
    /// Path below `/sys`: multipathd takes paths in the order of these texts.
    pub place: String,
    /// `scsi:fcp`, `scsi:iscsi` and so on, as multipath.conf(5) names protocols.
    pub protocol: String,
    /// The device handler that the kernel has attached (`dh_state`).
    pub handler: Option<String>,
    /// Access state, once a handler knows it (`access_state`).
    pub access: Option<String>,
    /// The target port group prefers this path (`preferred_path`).
    pub preferred: bool,
    /// INQUIRY says that the unit has asymmetric access (TPGS).
    pub alua: bool,
    /// The device answers (`state` is `running`).
    pub running: bool,
}
