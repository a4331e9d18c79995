//! What is asked of the load queue, and what it answers.

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The plan or the engine: root's file system, `rd.driver.pre=`. Goes before everything else.
    Explicit,
    /// The builder of the image expects that root needs it. Goes with the drivers of storage.
    Hint,
    /// The device with this path below `/sys` has this modalias.
    Device(String),
    /// A module's softdep.
    SoftDep,
}

/// A module to load now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name with underscores; to be given back to [`super::LoadQueue::finished`].
    pub name: String,
    /// Path below `/lib/modules/VERSION`, or absolute.
    pub path: String,
    /// Parameters for finit_module(2).
    pub params: String,
}

/// Where a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Wanted by somebody; it may still have to wait for others.
    Wanted,
    /// Handed out.
    Running,
    /// In the kernel.
    Loaded,
    /// Refused, or a module that it needs was (Linux errno).
    Failed(i32),
}

impl State {
    pub(super) fn is_settled(self) -> bool {
        matches!(self, State::Loaded | State::Failed(_))
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Still to be done, or its class is not allowed yet.
    Pending,
    /// Loaded or built in.
    Ready,
    /// No module of that name or alias could be loaded.
    Failed(Reason),
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Neither in the image nor built in.
    Absent,
    /// Only blacklisted modules answer to it.
    Blacklisted(Vec<String>),
    /// The kernel refused this module (Linux errno).
    Refused(String, i32),
}

/// A request that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Name or modalias as asked for.
    pub want: String,
    /// Path below `/sys` of the device that asked, if one did.
    pub device: Option<String>,
    /// Why.
    pub reason: Reason,
}
