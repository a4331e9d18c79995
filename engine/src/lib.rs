//! The mind: plan and event to new state and commands. No syscalls, no clock, no threads.
#![forbid(unsafe_code)]
