//! Questions to whoever sits at one of the machine's consoles.
//!
//! Every console is asked at once and the first answer counts. Echo is switched off when the program starts, so that a
//! passphrase typed ahead is neither shown nor lost: it stays in the kernel's buffer until a question is open. Nothing
//! here blocks: what a terminal does not take waits in a bounded queue, and a machine without any terminal is one on
//! which nobody answers.
//!
//! While a question is open, kernel messages below warning are kept off the consoles (they stay in the log), since the
//! cursor stands behind the question; warnings and errors still come through, because they may be the reason for it.
//! [`Consoles::refresh`] puts the question back below them.

mod editor;
mod terminal;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use editor::Step;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use terminal::Terminal;

use crate::error::{Context, Result};
use crate::secret::Secret;

/// Console log level while a question is open: warnings (4) and worse are shown.
const QUESTION_LOGLEVEL: u32 = 5;

const PRINTK: &str = "/proc/sys/kernel/printk";

/// What came from a console.
#[derive(Debug)]
pub enum Input {
    /// An answer to [`Consoles::ask_secret`].
    Secret(Secret),
    /// An answer to [`Consoles::ask_line`].
    Line(String),
    /// Control-C.
    Interrupt,
}

#[derive(Debug, PartialEq, Eq)]
struct Question {
    /// Of what it is: what was typed in answer to another is none to this one.
    number: Option<u64>,
    /// As it is shown.
    prompt: String,
    note: Option<String>,
    /// Whether what is typed may be seen.
    shown: bool,
}

/// All consoles.
#[derive(Debug)]
pub struct Consoles {
    terminals: Vec<Terminal>,
    question: Option<Question>,
    /// Whether these are the kernel's consoles: a question takes new ones in and lowers the console log level.
    follows_kernel: bool,
    /// The console log level to go back to.
    loglevel: Option<u32>,
    /// Watches the terminals while a question is open, or something waits to be shown.
    watch: OwnedFd,
    /// Makes `watch` readable when a line was typed before the question was asked.
    bell: OwnedFd,
}

impl AsFd for Consoles {
    /// Readable when [`Consoles::take_input`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Consoles {
    /// Opens every console that is a terminal; call it as soon as `/dev` and `/proc` are there.
    ///
    /// # Errors
    ///
    /// If the kernel gives no descriptor to wait with. A machine without a console is no error.
    pub fn open() -> Result<Consoles> {
        let mut consoles = Consoles::of(Vec::new())?;
        consoles.take_all();
        Ok(consoles)
    }

    /// Opens what the kernel lists or, if that gives nothing, whatever stands behind `/dev/console`.
    fn take_all(&mut self) {
        self.take_new();
        if self.follows_kernel && self.terminals.is_empty() {
            match Terminal::open("/dev/console") {
                Ok(terminal) => self.terminals.push(terminal),
                Err(errno) => log::info!("no console to ask questions on: {errno}"),
            }
        }
    }

    /// Opens what the kernel lists and is not open yet: some consoles appear with the driver of their device.
    fn take_new(&mut self) {
        if !self.follows_kernel {
            return;
        }
        let listed = fs::read_to_string("/proc/consoles").unwrap_or_default();
        for (name, _) in listed_terminals(&listed) {
            let path = format!("/dev/{name}");
            if self.terminals.iter().any(|terminal| terminal.path == path) {
                continue;
            }
            match Terminal::open(&path) {
                Ok(terminal) => self.terminals.push(terminal),
                Err(errno) => log::debug!("console {name} cannot be used for input: {errno}"),
            }
        }
    }

    fn of(terminals: Vec<Terminal>) -> Result<Consoles> {
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC).context(|| "watch the consoles".to_owned())?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .context(|| "make an event descriptor".to_owned())?;
        epoll::add(&watch, &bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
            .context(|| "watch an event descriptor".to_owned())?;
        Ok(Consoles { terminals, question: None, follows_kernel: true, loglevel: None, watch, bell })
    }

    /// Asks for a secret on every console; `: ` is appended to the prompt, and the note stands in a line before
    /// it. One answer closes the question; asking the same while it is open changes nothing. In place of an open question
    /// of another number it wipes what was typed for that one.
    pub fn ask_secret(&mut self, number: u64, prompt: &str, note: Option<&str>) {
        let note = note.map(str::to_owned);
        self.ask(Question { number: Some(number), prompt: format!("{prompt}: "), note, shown: false });
    }

    /// Asks for a line that may be seen while it is typed; the prompt is shown as it is.
    pub fn ask_line(&mut self, prompt: &str) {
        self.ask(Question { number: None, prompt: prompt.to_owned(), note: None, shown: true });
    }

    fn ask(&mut self, question: Question) {
        if self.question.as_ref() == Some(&question) {
            return;
        }
        // The rest of a passphrase must not be sent as a PIN, which a token counts, nor be shown as a line.
        if self.question.as_ref().is_some_and(|open| open.number != question.number) {
            self.terminals.iter_mut().for_each(Terminal::forget_typed);
        }
        self.question = Some(question);
        self.take_new();
        self.lower_loglevel();
        self.show_question(true);
        if self.terminals.iter().any(|terminal| !terminal.ahead.is_empty()) {
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
        self.rewatch();
    }

    /// Takes the question back; half-typed answers are wiped.
    pub fn stop(&mut self) {
        if self.question.is_some() {
            self.close(b"\r\n");
        }
    }

    fn close(&mut self, farewell: &[u8]) {
        self.question = None;
        self.raise_loglevel();
        for terminal in &mut self.terminals {
            terminal.editor.clear();
            terminal.show(farewell);
        }
        self.rewatch();
    }

    /// The next thing that was typed; call it until it gives nothing whenever the descriptor is readable.
    ///
    /// An answer closes the question: what is typed after it waits for the next one. Control-C does not.
    pub fn take_input(&mut self) -> Option<Input> {
        let mut rung = [0_u8; 8];
        let _ = rustix::io::read(&self.bell, &mut rung);
        let input = self.next_input();
        if input.is_none() {
            self.terminals.iter_mut().for_each(Terminal::flush);
            self.rewatch();
        }
        input
    }

    fn next_input(&mut self) -> Option<Input> {
        let mut at = 0_usize;
        while self.question.is_some() {
            let terminal = self.terminals.get_mut(at)?;
            if terminal.ahead.is_empty() {
                match terminal.read() {
                    Ok(true) => {}
                    Ok(false) => {
                        at = at.saturating_add(1);
                        continue;
                    }
                    Err(errno) => {
                        self.renew(at, errno);
                        continue;
                    }
                }
            }
            if let Some(input) = self.type_in(at) {
                return Some(input);
            }
        }
        None
    }

    /// Opens a terminal again that has hung up, and shows it the question; one that did not last is given up.
    fn renew(&mut self, at: usize, errno: Errno) {
        let gone = self.terminals.remove(at);
        let path = gone.path.clone();
        let renewed = if gone.renewed { Err(errno) } else { gone.reopen() };
        match renewed {
            Ok(mut terminal) => {
                log::debug!("console {path} has hung up ({errno}) and is open again");
                terminal.renewed = true;
                terminal.show(self.question_text(true).as_bytes());
                self.terminals.insert(at, terminal);
            }
            Err(errno) => log::info!("console {path} is gone ({errno})"),
        }
    }

    /// Feeds what was read from one terminal to its line, up to the end of a line.
    fn type_in(&mut self, at: usize) -> Option<Input> {
        let shown = self.question.as_ref()?.shown;
        let terminal = self.terminals.get_mut(at)?;
        let bytes = terminal.ahead.take();
        for (position, &byte) in bytes.bytes().iter().enumerate() {
            let step = terminal.editor.feed(byte);
            if let Step::Echo(echo) = step {
                if shown {
                    terminal.show(&echo);
                }
                continue;
            }
            terminal.ahead.push(bytes.bytes().get(position.saturating_add(1)..).unwrap_or_default());
            let line = terminal.editor.take();
            if step == Step::Interrupt {
                self.show(b"^C\r\n");
                self.show_question(false);
                return Some(Input::Interrupt);
            }
            self.close(b"\r\n");
            return Some(if shown {
                Input::Line(String::from_utf8_lossy(line.bytes()).into_owned())
            } else {
                Input::Secret(line)
            });
        }
        None
    }

    /// Shows a text on every console; lines end in a line feed. An open question comes back below it.
    pub fn print(&mut self, text: &str) {
        let mut shown = String::with_capacity(text.len().saturating_add(64));
        if self.question.is_some() {
            shown.push_str("\r\n");
        }
        for line in text.lines() {
            shown.push_str(line);
            shown.push_str("\r\n");
        }
        self.show(shown.as_bytes());
        self.refresh();
        self.rewatch();
    }

    /// Shows the open question again, after kernel messages may have covered it.
    pub fn refresh(&mut self) {
        if self.question.is_some() {
            self.show_question(false);
        }
    }

    /// Gives the terminals their settings back and takes back any question: for a shell, and for the hand-off.
    pub fn suspend(&mut self) {
        self.stop();
        for terminal in &mut self.terminals {
            terminal.ahead.clear();
            terminal.flush();
            terminal.restore();
        }
        self.rewatch();
    }

    /// Takes the terminals again after [`Consoles::suspend`].
    pub fn resume(&mut self) {
        // The end of a shell hangs up every descriptor of its controlling terminal, ours too.
        for terminal in std::mem::take(&mut self.terminals) {
            let path = terminal.path.clone();
            match terminal.reopen() {
                Ok(terminal) => self.terminals.push(terminal),
                Err(errno) => log::info!("console {path} cannot be opened again: {errno}"),
            }
        }
        self.take_all();
        self.rewatch();
    }

    fn show(&mut self, bytes: &[u8]) {
        self.terminals.iter_mut().for_each(|terminal| terminal.show(bytes));
    }

    fn show_question(&mut self, with_note: bool) {
        let text = self.question_text(with_note);
        let Some(question) = &self.question else { return };
        for terminal in &mut self.terminals {
            terminal.show(text.as_bytes());
            if question.shown {
                let typed = terminal.editor.typed().to_vec();
                terminal.show(&typed);
            }
        }
    }

    /// The open question as a terminal is to show it.
    fn question_text(&self, with_note: bool) -> String {
        let Some(question) = &self.question else { return String::new() };
        let mut text = String::from("\r");
        if let (true, Some(note)) = (with_note, &question.note) {
            text.push_str(note);
            text.push_str("\r\n");
        }
        text.push_str(&question.prompt);
        text
    }

    /// Typed keys are looked at only while a question is open, so that they wait in the kernel until then.
    fn rewatch(&mut self) {
        let asking = self.question.is_some();
        for terminal in &mut self.terminals {
            if let Err(errno) = terminal.watch_with(&self.watch, asking) {
                log::warn!("console {} cannot be watched: {errno}", terminal.path);
            }
        }
    }

    fn lower_loglevel(&mut self) {
        if !self.follows_kernel || self.loglevel.is_some() {
            return;
        }
        let current =
            fs::read_to_string(PRINTK).ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
        if let Some(current) = current
            && current > QUESTION_LOGLEVEL
            && fs::write(PRINTK, QUESTION_LOGLEVEL.to_string()).is_ok()
        {
            self.loglevel = Some(current);
        }
    }

    fn raise_loglevel(&mut self) {
        if let Some(level) = self.loglevel.take()
            && let Err(error) = fs::write(PRINTK, level.to_string())
        {
            log::warn!("cannot restore the console log level {level}: {error}");
        }
    }
}

/// Node of the terminal that `/dev/console` stands for; a shell needs the terminal itself for job control.
#[must_use]
pub fn preferred() -> String {
    let listed = fs::read_to_string("/proc/consoles").unwrap_or_default();
    let found = listed_terminals(&listed).find(|(_, preferred)| *preferred);
    found.map_or_else(|| "/dev/console".to_owned(), |(name, _)| format!("/dev/{name}"))
}

/// Names in `/proc/consoles` of consoles that have a terminal, with whether it is the preferred one: those whose last
/// field is a device number, and `C` among the flags (Documentation/filesystems/proc.rst).
fn listed_terminals(listed: &str) -> impl Iterator<Item = (&str, bool)> {
    listed.lines().filter_map(|line| {
        let name = line.split_whitespace().next()?;
        let (major, minor) = line.split_whitespace().next_back()?.split_once(':')?;
        let flags = line.split_once('(')?.1.split_once(')')?.0;
        (major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok()).then_some((name, flags.contains('C')))
    })
}

#[cfg(test)]
mod tests;
