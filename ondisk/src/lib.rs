//! The eyes: bytes of a block device to facts. No I/O beyond the `ReadAt` trait, no unsafe.
#![forbid(unsafe_code)]
