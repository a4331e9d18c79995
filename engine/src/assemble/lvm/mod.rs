//! LVM2 volume groups and logical volumes.

pub mod activation;
