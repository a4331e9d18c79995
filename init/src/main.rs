//! PID 1 of early userspace.
mod clock;
mod early;
mod error;
mod kmsg;
mod uevent;

fn main() {}
