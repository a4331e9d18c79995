//! The log channel: the kernel's own log, where the real system's journal finds our lines again.

use std::fmt::{self, Write as _};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use cmdline::plan::LogPlan;
use engine::Loudness;
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// `log::info!(target: kmsg::NOTICE, ...)` is written as LOG_NOTICE, a priority that the `log` crate lacks.
pub const NOTICE: &str = "notice";

/// LOG_DAEMON: what systemd and dracut use too. A record of facility 0 would pass for the kernel's own, so that
/// journald would not take the `rootward` prefix for the identifier.
const FACILITY: u8 = 3 << 3;

/// Longest record that every kernel takes in one write: 1024 less the prefix that printk reserves
/// (`LOG_LINE_MAX` in kernel/printk/printk.c before 6.1: 976 with CONFIG_PRINTK_CALLER), and less the line feed.
const RECORD_MAX: usize = 975;

/// What every line begins with; journald makes it the identifier.
const NAME: &str = "rootward: ";

/// Rate limit of writers: `on` is none, `ratelimit` is ten lines in five seconds.
const DEVKMSG: &str = "/proc/sys/kernel/printk_devkmsg";

/// The first number is the console's log level: what is more urgent than it is shown there.
const PRINTK: &str = "/proc/sys/kernel/printk";

static SINK: OnceLock<Sink> = OnceLock::new();

struct Sink {
    kernel: OwnedFd,
    /// Settings of the kernel's that were changed, with what they were before.
    before: Mutex<Vec<(&'static str, Vec<u8>)>>,
}

/// Opens the log; called once `/dev` is there, later calls do nothing. Lines of level info and worse are written until
/// [`configure`] says otherwise.
///
/// # Errors
/// If the kernel log cannot be opened.
pub fn start() -> Result<()> {
    if SINK.get().is_some() {
        return Ok(());
    }
    let kernel = open().on("open", "/dev/kmsg")?;
    if SINK.set(Sink { kernel, before: Mutex::default() }).is_ok()
        && let Some(sink) = SINK.get()
        && log::set_logger(sink).is_ok()
    {
        log::set_max_level(LevelFilter::Info);
    }
    Ok(())
}

fn open() -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::open("/dev/kmsg", flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            // Character device 1:11 (Documentation/admin-guide/devices.txt).
            let device = rustix::fs::makedev(1, 11);
            rustix::fs::mknodat(
                CWD,
                "/dev/kmsg",
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o644),
                device,
            )?;
            rustix::fs::open("/dev/kmsg", flags, Mode::empty())
        }
        other => other,
    }
}

/// Lifts the kernel's limit for writers of /dev/kmsg; called once `/proc` is there.
/// The kernel itself refuses (EINVAL) when the command line has `printk.devkmsg=`: then the user's word stands.
pub fn lift_rate_limit() {
    change(DEVKMSG, "on\n", |before| before.starts_with(b"on"));
}

/// Puts back what [`lift_rate_limit`] and [`configure`] changed; called before the hand-off, while `/proc` is still
/// where it was.
pub fn restore_settings() {
    let Some(sink) = SINK.get() else { return };
    let before = std::mem::take(&mut *sink.before.lock().unwrap_or_else(PoisonError::into_inner));
    for (path, value) in before {
        if let Err(error) = std::fs::write(path, value) {
            log::debug!("cannot restore {path}: {error}");
        }
    }
}

fn change(path: &'static str, value: &str, is_right: impl Fn(&[u8]) -> bool) {
    let Some(sink) = SINK.get() else { return };
    let Ok(before) = std::fs::read(path) else { return };
    if !is_right(&before) && std::fs::write(path, value).is_ok() {
        sink.before.lock().unwrap_or_else(PoisonError::into_inner).push((path, before));
    }
}

/// Applies `rd.debug` and `rd.info`. `quiet` is the kernel's own: it keeps these lines from the console, not from the
/// log; with `rd.info` besides, the console shows them all the same.
pub fn configure(plan: &LogPlan) {
    log::set_max_level(if plan.debug { LevelFilter::Debug } else { LevelFilter::Info });
    if plan.info && plan.quiet {
        // Up to KERN_INFO; other fields keep their values when only one is written.
        change(PRINTK, "7\n", |_| false);
    }
}

/// Says a text at the engine's loudness; several lines become several records.
pub fn say(loudness: Loudness, text: impl fmt::Display) {
    if loudness == Loudness::Debug && log::max_level() < LevelFilter::Debug {
        return;
    }
    if let Some(sink) = SINK.get() {
        sink.write(priority_of(loudness), format_args!("{text}"));
    }
}

/// Writes to the kernel log from the panic hook: no lock is taken.
pub(crate) fn last_words(arguments: fmt::Arguments<'_>) {
    if let Some(sink) = SINK.get() {
        sink.write(priority_of(Loudness::Error), arguments);
    }
}

fn priority_of(loudness: Loudness) -> u8 {
    match loudness {
        Loudness::Error => 3,
        Loudness::Warning => 4,
        Loudness::Notice => 5,
        Loudness::Info => 6,
        Loudness::Debug => 7,
    }
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let loudness = match record.level() {
                Level::Error => Loudness::Error,
                Level::Warn => Loudness::Warning,
                Level::Info if record.target() == NOTICE => Loudness::Notice,
                Level::Info => Loudness::Info,
                Level::Debug | Level::Trace => Loudness::Debug,
            };
            self.write(priority_of(loudness), *record.args());
        }
    }

    fn flush(&self) {}
}

impl Sink {
    fn write(&self, priority: u8, arguments: fmt::Arguments<'_>) {
        emit(priority, arguments, |record| send(&self.kernel, record));
    }
}

/// A lost log line is no reason to fail, and there is nobody to tell.
/// The line feed ends the record: without it printk keeps the record open for a continuation, and consoles show it only
/// when the next one comes (`vprintk_store` in kernel/printk/printk.c).
fn send(kernel: &OwnedFd, record: &[u8]) {
    let parts = [IoSlice::new(record), IoSlice::new(b"\n")];
    while rustix::io::writev(kernel, &parts) == Err(Errno::INTR) {}
}

/// Formats into records of one line each and hands each to `out`.
fn emit(priority: u8, arguments: fmt::Arguments<'_>, out: impl FnMut(&[u8])) {
    let mut records = Records::new(priority, out);
    // Formatting fails only if a Display implementation does: then what came so far is written.
    let _ = records.write_fmt(arguments);
    records.finish();
}

/// Cuts formatted text into records without allocating.
struct Records<F> {
    buffer: [u8; RECORD_MAX],
    prefix: usize,
    filled: usize,
    out: F,
}

impl<F: FnMut(&[u8])> Records<F> {
    fn new(priority: u8, out: F) -> Records<F> {
        let mut records = Records { buffer: [0; RECORD_MAX], prefix: 0, filled: 0, out };
        let code = FACILITY | (priority & 7);
        records.append(&[b'<', b'0' + code / 10, b'0' + code % 10, b'>']);
        records.append(NAME.as_bytes());
        records.prefix = records.filled;
        records
    }

    /// Takes as much as fits; returns how much that was.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.filled += count;
        count
    }

    fn flush(&mut self) {
        if self.filled > self.prefix {
            (self.out)(self.buffer.get(..self.filled).unwrap_or_default());
        }
        self.filled = self.prefix;
    }

    fn finish(mut self) {
        self.flush();
    }

    fn line(&mut self, mut text: &str) {
        while !text.is_empty() {
            let room = RECORD_MAX.saturating_sub(self.filled);
            let cut = floor_char_boundary(text, room);
            let (now, later) = text.split_at(cut);
            self.append(now.as_bytes());
            text = later;
            if !text.is_empty() {
                self.flush();
            }
        }
    }
}

impl<F: FnMut(&[u8])> fmt::Write for Records<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        if let Some(first) = lines.next() {
            self.line(first);
        }
        for line in lines {
            self.flush();
            self.line(line);
        }
        Ok(())
    }
}

/// The largest character boundary not above `limit`.
fn floor_char_boundary(text: &str, limit: usize) -> usize {
    if limit >= text.len() {
        return text.len();
    }
    (0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(priority: u8, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        emit(priority, format_args!("{text}"), |record| {
            seen.push(String::from_utf8(record.to_vec()).unwrap());
        });
        seen
    }

    #[test]
    fn a_line_is_one_record_with_facility_daemon() {
        assert_eq!(records(6, "hello"), ["<30>rootward: hello"]);
        assert_eq!(records(3, "hello"), ["<27>rootward: hello"]);
    }

    #[test]
    fn lines_are_split_and_empty_ones_dropped() {
        assert_eq!(records(4, "one\n\ntwo\n"), ["<28>rootward: one", "<28>rootward: two"]);
        assert!(records(4, "").is_empty());
    }

    #[test]
    fn a_message_in_pieces_is_still_one_record() {
        let mut seen = Vec::new();
        emit(6, format_args!("{} and {}: {:>4}", "a", "b", 7), |record| seen.push(record.to_vec()));
        assert_eq!(seen, [b"<30>rootward: a and b:    7"]);
    }

    #[test]
    fn long_text_is_split_at_character_boundaries_and_nothing_is_lost() {
        for fill in 940..1000 {
            let text = format!("{}{}", "x".repeat(fill), "€".repeat(700));
            let split = records(7, &text);
            assert!(split.len() >= 3);
            assert!(split.iter().all(|record| record.len() <= RECORD_MAX));
            let lines = split.iter().map(|record| record.strip_prefix("<31>rootward: ").unwrap());
            assert_eq!(lines.collect::<String>(), text);
        }
    }
}
