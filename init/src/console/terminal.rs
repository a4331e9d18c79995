//! One terminal: its settings, what is typed on it, and what waits to be shown.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};

use super::editor::Editor;
use crate::secret::Secret;

/// Most bytes that wait for a terminal which does not take them; more are dropped.
const WAITING_MAX: usize = 64 << 10;

/// As much as the kernel's line discipline keeps of typed-ahead input (`N_TTY_BUF_SIZE`).
const AHEAD_MAX: usize = 4096;

/// A terminal that is open.
#[derive(Debug)]
pub struct Terminal {
    fd: OwnedFd,
    /// Its node, e.g. `/dev/ttyS0`.
    pub path: String,
    saved: Termios,
    waiting: VecDeque<u8>,
    /// The line being typed.
    pub editor: Editor,
    /// Read, but not yet part of a line.
    pub ahead: Secret,
    /// What an epoll descriptor watches it for.
    watched: EventFlags,
    /// It was opened again after a hang-up, and nothing has come from it since.
    pub renewed: bool,
}

impl Terminal {
    /// Opens a terminal without making it ours, and switches its echo off.
    ///
    /// # Errors
    ///
    /// open(2)'s, or `ENOTTY`.
    pub fn open(path: &str) -> Result<Terminal, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let saved = tcgetattr(&fd)?;
        let terminal = Terminal {
            fd,
            path: path.to_owned(),
            saved,
            waiting: VecDeque::new(),
            editor: Editor::default(),
            ahead: Secret::with_capacity(AHEAD_MAX),
            watched: EventFlags::empty(),
            renewed: false,
        };
        terminal.quiet()?;
        Ok(terminal)
    }

    /// Opens it anew, since a descriptor that was hung up stays dead; half-typed lines are wiped.
    ///
    /// # Errors
    ///
    /// As [`Terminal::open`].
    pub fn reopen(self) -> Result<Terminal, Errno> {
        let mut terminal = Terminal::open(&self.path)?;
        // Whoever had it meanwhile may have left other settings behind than those to go back to.
        terminal.saved = self.saved;
        terminal.waiting = self.waiting;
        terminal.quiet()?;
        Ok(terminal)
    }

    /// No echo, no line editing and no signals by the kernel. What was typed before stays readable: the settings change
    /// at once (`TCSANOW`) and flush nothing.
    pub fn quiet(&self) -> Result<(), Errno> {
        let mut settings = self.saved.clone();
        settings.local_modes.remove(
            LocalModes::ICANON
                | LocalModes::ECHO
                | LocalModes::ECHONL
                | LocalModes::ISIG
                | LocalModes::IEXTEN,
        );
        settings
            .input_modes
            .remove(InputModes::IXON | InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR);
        // A read gives what is there, and 0 only after a hang-up.
        settings.special_codes[SpecialCodeIndex::VMIN] = 1;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&self.fd, OptionalActions::Now, &settings)
    }

    #[cfg(test)]
    pub fn settings(&self) -> Result<Termios, Errno> {
        tcgetattr(&self.fd)
    }

    /// The settings that it had.
    pub fn restore(&self) {
        if let Err(errno) = tcsetattr(&self.fd, OptionalActions::Now, &self.saved) {
            log::debug!("cannot restore the settings of {}: {errno}", self.path);
        }
    }

    /// Reads what is there into `ahead`; says whether there was anything.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn read(&mut self) -> Result<bool, Errno> {
        let mut typed = Secret::from(vec![0_u8; 256]);
        match rustix::io::read(&self.fd, typed.bytes_mut()) {
            Ok(0) => Err(Errno::IO),
            Ok(length) => {
                self.renewed = false;
                Ok(self.ahead.push(typed.bytes().get(..length).unwrap_or_default()))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Wipes what was typed, down to what the kernel still holds.
    pub fn forget_typed(&mut self) {
        self.editor.clear();
        self.ahead.clear();
        if let Err(errno) = tcflush(&self.fd, QueueSelector::IFlush) {
            log::debug!("cannot wipe what was typed on {}: {errno}", self.path);
        }
    }

    /// Has `epoll` watch for input, if wanted, and for room to write, if something waits.
    ///
    /// # Errors
    ///
    /// epoll_ctl(2)'s.
    pub fn watch_with(&mut self, epoll: &OwnedFd, input: bool) -> Result<(), Errno> {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, input);
        wanted.set(EventFlags::OUT, !self.waiting.is_empty());
        if wanted == self.watched {
            return Ok(());
        }
        let data = EventData::new_u64(1);
        // Without any flag epoll still reports a hang-up, so an idle terminal is taken out.
        if self.watched.is_empty() {
            epoll::add(epoll, &self.fd, data, wanted)?;
        } else if wanted.is_empty() {
            epoll::delete(epoll, &self.fd)?;
        } else {
            epoll::modify(epoll, &self.fd, data, wanted)?;
        }
        self.watched = wanted;
        Ok(())
    }

    /// Shows bytes now or, as far as they fit the queue, later.
    pub fn show(&mut self, bytes: &[u8]) {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        self.waiting.extend(bytes.iter().take(room));
        self.flush();
    }

    /// Shows what waits, as far as the terminal takes it without blocking.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match rustix::io::write(&self.fd, front) {
                Ok(length @ 1..) => drop(self.waiting.drain(..length)),
                Err(Errno::INTR) => {}
                // A terminal that is gone takes nothing ever.
                Ok(_) | Err(Errno::IO | Errno::NXIO | Errno::NODEV) => self.waiting.clear(),
                Err(_) => return,
            }
        }
    }
}
