//! PID 1 of early userspace.
mod error;

fn main() {}
