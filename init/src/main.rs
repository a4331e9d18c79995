//! PID 1 of early userspace.
mod clock;
mod error;
mod kmsg;

fn main() {}
