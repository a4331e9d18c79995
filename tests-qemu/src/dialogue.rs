//! What the runner does while a guest runs: expects text on the console, types answers, plugs devices.

use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Error;
use crate::monitor::Monitor;
use crate::qemu::{Guest, Said};

/// One step of the conversation.
#[derive(Debug, Clone)]
pub enum Step {
    /// Waits until the console has shown this text after the previous match.
    Expect(String),
    /// Types a line.
    Type(String),
    /// Types a line on the second console.
    TypeElsewhere(String),
    /// Lets guest time pass; for what is about lateness itself.
    Pause(Duration),
    /// Runs a QMP command.
    Monitor(&'static str, Value),
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, by powering off or rebooting.
    PowerOff,
    /// QEMU failed, with this status. A guest's own reset or crash ends QEMU without an error.
    Crash(String),
    /// The kernel panicked; QEMU was killed.
    Panic,
    /// The rescue prompt came and nobody was to answer it; QEMU was killed.
    Rescue,
    /// The deadline passed; QEMU was killed.
    Deadline,
    /// The emulator has lost a timer of the guest ([`LOST_TIMER`]); QEMU was killed.
    LostTimer,
    /// The kernel reports a task that is blocked for good; QEMU was killed.
    Blocked,
}

/// What came of a conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Everything the console showed.
    pub console: String,
    /// How it ended.
    pub end: End,
    /// First step that did not happen, if any.
    pub stuck: Option<String>,
    /// Wall time from start to end.
    pub took: Duration,
}

/// Holds the conversation until the guest ends, panics, or `patience` is over.
pub fn hold(mut guest: Guest, steps: &[Step], patience: Duration) -> Result<Conversation, Error> {
    let start = Instant::now();
    let deadline = start + patience;
    let mut console: Vec<u8> = Vec::new();
    let mut read_up_to = 0;
    let mut monitor = None;
    let mut console2 = None;
    let mut steps = steps.iter();
    let mut step = steps.next();
    let mut pause_over = None;
    let end = loop {
        // As many steps as what is on the console allows.
        while let Some(current) = step {
            match current {
                Step::Expect(text) => match find(console.get(read_up_to..).unwrap_or_default(), text) {
                    Some(end) => read_up_to += end,
                    None => break,
                },
                Step::Type(line) => guest
                    .keyboard
                    .write_all(format!("{line}\n").as_bytes())
                    .and_then(|()| guest.keyboard.flush())
                    .map_err(|error| Error::Bed(format!("typing {line:?}: {error}")))?,
                Step::TypeElsewhere(line) => {
                    if let (None, Some(listener)) = (&console2, &guest.console2) {
                        let (stream, _) = listener
                            .accept()
                            .map_err(|error| Error::Bed(format!("the second console: {error}")))?;
                        console2 = Some(stream);
                    }
                    let mut stream = console2
                        .as_ref()
                        .ok_or_else(|| Error::Bed("there is no second console".to_owned()))?;
                    stream
                        .write_all(format!("{line}\n").as_bytes())
                        .map_err(|error| Error::Bed(format!("typing {line:?}: {error}")))?;
                }
                Step::Pause(length) => {
                    let over = *pause_over.get_or_insert_with(|| Instant::now() + *length);
                    if Instant::now() < over {
                        break;
                    }
                    pause_over = None;
                }
                Step::Monitor(command, arguments) => {
                    if monitor.is_none() {
                        monitor = Some(Monitor::accept(&guest.monitor)?);
                    }
                    if let Some(monitor) = &mut monitor {
                        monitor.execute(command, arguments)?;
                    }
                }
            }
            step = steps.next();
        }
        // Nothing would happen any more until the deadline.
        if step.is_none() && find(console.get(read_up_to..).unwrap_or_default(), PROMPT).is_some() {
            break End::Rescue;
        }
        let until = pause_over.map_or(deadline, |over: Instant| over.min(deadline));
        match guest.console.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Said::Console(bytes)) => {
                let from = console.len().saturating_sub(LOST_TIMER.len());
                console.extend(bytes);
                let new = console.get(from..).unwrap_or_default();
                let ends = [(PANIC, End::Panic), (LOST_TIMER, End::LostTimer), (BLOCKED, End::Blocked)];
                if let Some((_, end)) = ends.into_iter().find(|(text, _)| find(new, text).is_some()) {
                    // The rest of the report is worth having in the log.
                    drain(&guest, &mut console);
                    break end;
                }
            }
            Ok(Said::End) | Err(RecvTimeoutError::Disconnected) => {
                break guest.failure().map_or(End::PowerOff, End::Crash);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => break End::Deadline,
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    let stuck = step.map(|step| match step {
        Step::Expect(text) => format!("the console never showed {text:?}"),
        other => format!("never came to {other:?}"),
    });
    Ok(Conversation {
        console: String::from_utf8_lossy(&console).into_owned(),
        end,
        stuck,
        took: start.elapsed(),
    })
}

/// The built-in rescue's prompt.
pub const PROMPT: &str = "rootward> ";

/// Begins the explanation of every final failure.
pub const STOP: &str = "rootward: cannot reach root:";

/// First words of the kernel's panic (kernel/panic.c).
const PANIC: &str = "Kernel panic - not syncing";

/// What the kernel says of a task that has not slept or run for two minutes (kernel/hung_task.c).
const BLOCKED: &str = "blocked for more than";

/// What the guest's kernel says (kernel/rcu/tree_stall.h) when the emulator has lost one of its timers, which happens on
/// busy hosts: then a CPU's clock is seconds behind and nothing sleeping there wakes up. No program in the guest can
/// bring that about.
pub const LOST_TIMER: &str = "kthread timer wakeup didn't happen";

fn drain(guest: &Guest, console: &mut Vec<u8>) {
    while let Ok(Said::Console(bytes)) = guest.console.recv_timeout(Duration::from_secs(2)) {
        console.extend(bytes);
    }
}

/// Offset just behind the first occurrence of `text`.
fn find(bytes: &[u8], text: &str) -> Option<usize> {
    let text = text.as_bytes();
    bytes.windows(text.len().max(1)).position(|window| window == text).map(|at| at + text.len())
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn text_is_found_once_and_past_its_end() {
        assert_eq!(find(b"abc Passphrase for x", "Passphrase for"), Some(18));
        assert_eq!(find(b"Passphrase", "Passphrase for"), None);
    }
}
