//! PID 1 of early userspace.
fn main() {}
