//! The suitcase: builds the initramfs.
#![forbid(unsafe_code)]
