//! The mind: plan and event to new state and commands. No syscalls, no clock, no threads.
#![forbid(unsafe_code)]

pub mod command;
pub mod crypto_modules;
pub mod event;
pub mod explain;
pub mod fstab;
pub mod mount_options;
pub mod time;
pub mod verb;

pub use command::{Action, Command, CryptOptions, GiveUp, Loudness, MountRequest, SecretSource};
pub use event::{CommandId, DevName, DeviceFacts, DmFacts, DriverFacts, Event, Failure, Outcome, SecretId};
pub use explain::Explanation;
pub use time::Moment;
