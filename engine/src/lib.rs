//! The mind: plan and event to new state and commands. No syscalls, no clock, no threads.
#![forbid(unsafe_code)]

pub mod assemble;
pub mod command;
pub mod crypto_modules;
pub mod diagnose;
pub mod engine;
pub mod event;
pub mod explain;
pub mod fstab;
pub mod image;
pub mod links;
pub mod matching;
pub mod modules;
pub mod mount_options;
pub mod record;
pub mod root;
#[cfg(test)]
mod script;
pub mod table;
pub mod time;
pub mod usr;
pub mod verb;

pub use command::{
    Action, ArrayMember, ArrayRequest, Command, ContainerRequest, CryptFormat, CryptOptions, DmDevice, DmKey,
    DmTarget, GiveUp, HeaderSource, KeySource, Loudness, MarkedVolume, MountRequest, Mountpoint, PlainFormat,
    ReadAhead, SealedKey, SecretSource, TcryptFormat, Token, TokenKind, VolumeRequest,
};
pub use engine::{Engine, StopReason};
pub use event::{
    CommandId, DevName, DeviceFacts, DmFacts, DriverFacts, Event, Failure, MdFacts, Outcome, QuestionId,
    QueueFacts, ScsiFacts, SecretId,
};
pub use explain::Explanation;
pub use image::ImageFacts;
pub use time::Moment;
