//! The consoles against pseudo-terminals.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

/// Longest wait for what must come; a pseudo-terminal delivers through a kernel worker.
const PATIENCE: i64 = 10_000;

/// Wait for what must not come, in milliseconds.
const MOMENT: i64 = 100;

fn is_ready(fd: impl AsFd, milliseconds: i64) -> bool {
    let wait =
        rustix::time::Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&wait)).expect("poll") > 0
}

/// The other end of a terminal: what a person sees and types.
struct Person {
    master: File,
    seen: String,
}

impl Person {
    fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("type");
    }

    /// Everything up to and with `end`, without carriage returns.
    fn sees(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(end) {
                let rest = self.seen.split_off(at + end.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(self.look(PATIENCE) > 0, "{end:?} does not come after {:?}", self.seen);
        }
    }

    fn sees_nothing(&mut self) {
        self.look(MOMENT);
        assert_eq!(self.seen, "");
    }

    /// Takes in what is there; gives its length.
    fn look(&mut self, milliseconds: i64) -> usize {
        if !is_ready(&self.master, milliseconds) {
            return 0;
        }
        let mut bytes = vec![0_u8; 8192];
        let length = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]).replace('\r', ""));
        length
    }
}

fn person() -> (Person, String) {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("pty");
    grantpt(&master).expect("grant");
    unlockpt(&master).expect("unlock");
    let path = ptsname(&master, Vec::new()).expect("name").into_string().expect("text");
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).expect("flags");
    (Person { master: File::from(master), seen: String::new() }, path)
}

fn consoles(paths: &[&str]) -> Consoles {
    let terminals = paths.iter().map(|path| Terminal::open(path).expect("terminal")).collect();
    // The log level of the machine that runs the tests is left alone.
    Consoles { follows_kernel: false, ..Consoles::of(terminals).expect("consoles") }
}

/// What the event loop does: wait for the one descriptor, then take.
fn input(consoles: &mut Consoles) -> Option<Input> {
    loop {
        if let Some(input) = consoles.take_input() {
            return Some(input);
        }
        if consoles.terminals.is_empty() || !is_ready(&*consoles, PATIENCE) {
            return None;
        }
    }
}

fn secret(consoles: &mut Consoles) -> String {
    match input(consoles) {
        Some(Input::Secret(secret)) => String::from_utf8(secret.bytes().to_vec()).expect("text"),
        other => panic!("{other:?}"),
    }
}

fn no_input(consoles: &mut Consoles) {
    while is_ready(&*consoles, MOMENT) {
        assert!(consoles.take_input().is_none());
    }
}

/// Waits until the line of the first terminal is this.
fn typed(consoles: &mut Consoles, line: &str) {
    while consoles.terminals[0].editor.typed() != line.as_bytes() {
        assert!(is_ready(&*consoles, PATIENCE), "{:?}", consoles.terminals[0].editor);
        assert!(consoles.take_input().is_none());
    }
}

#[test]
fn the_first_answer_wins_and_is_not_echoed() {
    let ((mut one, first), (mut two, second)) = (person(), person());
    let mut consoles = consoles(&[&first, &second]);
    consoles.ask_secret(1, "Passphrase for vda2", Some("try 1"));
    assert_eq!(one.sees(": "), "try 1\nPassphrase for vda2: ");
    two.sees("Passphrase for vda2: ");
    no_input(&mut consoles);
    two.types("hun\x7fnter2\r");
    assert_eq!(secret(&mut consoles), "hunter2");
    no_input(&mut consoles);
    assert_eq!((one.sees("\n"), two.sees("\n")), ("\n".to_owned(), "\n".to_owned()));
}

#[test]
fn typed_ahead_is_neither_shown_nor_lost() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    person.types("wrong\rright\rrest");
    no_input(&mut consoles);
    person.sees_nothing();
    consoles.ask_secret(1, "P", None);
    assert_eq!(secret(&mut consoles), "wrong");
    no_input(&mut consoles);
    consoles.ask_secret(1, "P", Some("wrong passphrase"));
    assert_eq!(secret(&mut consoles), "right");
    consoles.ask_secret(1, "Q", None);
    typed(&mut consoles, "rest");
    person.types("\r");
    assert_eq!(secret(&mut consoles), "rest");
    assert_eq!(person.sees("Q: \n"), "P: \nwrong passphrase\nP: \nQ: \n");
}

#[test]
fn what_was_typed_for_one_question_answers_no_other() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_secret(1, "Passphrase for vda2", None);
    person.types("half");
    typed(&mut consoles, "half");
    consoles.ask_secret(1, "Passphrase for vda2, vda3", None);
    typed(&mut consoles, "half");
    // Not even read yet.
    person.types("past\r");
    assert!(is_ready(&consoles, PATIENCE));
    consoles.ask_secret(2, "PIN", None);
    no_input(&mut consoles);
    assert!(consoles.terminals[0].editor.typed().is_empty());
    person.types("1234\r");
    assert_eq!(secret(&mut consoles), "1234");
    consoles.ask_secret(3, "Passphrase for vdb", None);
    person.types("hidden");
    typed(&mut consoles, "hidden");
    consoles.ask_line("rootward> ");
    assert!(!person.sees("rootward> ").contains("hidden"));
    person.sees_nothing();
}

#[test]
fn typed_before_the_program_opened_the_terminal() {
    let (mut person, path) = person();
    let before = Terminal::open(&path).expect("keeps the terminal alive");
    before.restore();
    person.types("early");
    person.sees("early");
    let mut consoles = consoles(&[&path]);
    person.types("bird\r");
    consoles.ask_secret(1, "P", None);
    assert_eq!(secret(&mut consoles), "earlybird");
}

#[test]
fn a_line_is_echoed_and_survives_a_message() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_line("rootward> ");
    person.types("he");
    assert_eq!(person.sees("> "), "rootward> ");
    typed(&mut consoles, "he");
    assert_eq!(person.sees("he"), "he");
    consoles.print("something\nhappened\n");
    assert_eq!(person.sees("> he"), "\nsomething\nhappened\nrootward> he");
    person.types("lp\n");
    assert!(matches!(input(&mut consoles), Some(Input::Line(line)) if line == "help"));
}

#[test]
fn one_answer_closes_a_question_that_is_shown_once() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_secret(1, "P", None);
    person.sees("P: ");
    consoles.ask_secret(1, "P", None);
    person.sees_nothing();
    person.types("\rnext");
    assert_eq!(secret(&mut consoles), "", "an empty passphrase is one");
    assert!(consoles.question.is_none());
    person.types("\r");
    no_input(&mut consoles);
    person.sees("\n");
    consoles.ask_secret(1, "P", None);
    assert_eq!(secret(&mut consoles), "next");
    person.sees("P: ");
}

#[test]
fn control_c_starts_the_answer_over() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_secret(1, "P", None);
    person.types("abc\x03");
    assert!(matches!(input(&mut consoles), Some(Input::Interrupt)));
    person.sees("^C\nP: ");
    person.types("half");
    typed(&mut consoles, "half");
    consoles.stop();
    assert!(consoles.terminals[0].editor.typed().is_empty());
}

#[test]
fn a_stuck_terminal_blocks_nobody() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    let line = "x".repeat(1000);
    for _ in 0..200 {
        consoles.print(&line);
    }
    let mut seen = 0;
    loop {
        let length = person.look(MOMENT);
        seen += length;
        if is_ready(&consoles, 0) {
            assert!(consoles.take_input().is_none());
        } else if length == 0 {
            break;
        }
    }
    assert!((60_000..150_000).contains(&seen), "{seen} bytes came through");
}

#[test]
fn a_terminal_that_hangs_up_is_dropped() {
    let (person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_secret(1, "P", None);
    // Its name may become another test's as soon as it is free.
    consoles.terminals[0].path = "/dev/rootward-none".to_owned();
    drop(person);
    assert!(input(&mut consoles).is_none());
    assert!(consoles.terminals.is_empty());
    no_input(&mut consoles);
    consoles.ask_secret(1, "Q", None);
    assert!(consoles.take_input().is_none(), "nobody is there to answer");
}

/// A console that was hung up, while its node leads to a terminal that works.
fn hung_up(live: &str) -> Consoles {
    let (gone, path) = person();
    let mut consoles = consoles(&[&path]);
    drop(gone);
    consoles.terminals[0].path = live.to_owned();
    consoles
}

#[test]
fn a_shell_that_was_left_takes_no_console_along() {
    let (mut person, path) = person();
    let mut consoles = hung_up(&path);
    consoles.suspend();
    consoles.resume();
    consoles.ask_secret(1, "P", None);
    person.sees("P: ");
    person.types("x\r");
    assert_eq!(secret(&mut consoles), "x");
}

#[test]
fn a_hang_up_under_an_open_question_shows_it_again() {
    let (mut person, path) = person();
    let mut consoles = hung_up(&path);
    consoles.ask_secret(1, "P", Some("note"));
    assert!(is_ready(&consoles, PATIENCE));
    assert!(consoles.take_input().is_none());
    // Not before: until then the terminal echoes.
    assert_eq!(person.sees("P: "), "note\nP: ");
    person.types("x\r");
    assert_eq!(secret(&mut consoles), "x");
}

#[test]
fn a_console_that_hangs_up_at_once_is_tried_once() {
    let (gone, path) = person();
    let mut consoles = consoles(&[&path]);
    let live = person();
    consoles.terminals[0].path = live.1;
    consoles.terminals[0].renewed = true;
    drop(gone);
    consoles.ask_secret(1, "P", None);
    assert!(input(&mut consoles).is_none());
    assert!(consoles.terminals.is_empty());
}

#[test]
fn settings_come_back() {
    let (_person, path) = person();
    let probe = Terminal::open(&path).expect("terminal");
    probe.restore();
    let echo = || {
        let settings = probe.settings().expect("settings");
        settings.local_modes.contains(rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ICANON)
    };
    assert!(echo());
    let mut consoles = consoles(&[&path]);
    assert!(!echo());
    consoles.suspend();
    assert!(echo());
    consoles.resume();
    assert!(!echo());
}

#[test]
fn listed_consoles() {
    let listed = "tty0                 -WU (E   p  )    4:1\nttyS0                -W- (EC  p a)    4:64\n\
                  netcon0              -W- (E   p  )\nhvc0 -W- (E  p  ) 229:0\n";
    let expected = [("tty0", false), ("ttyS0", true), ("hvc0", false)];
    assert_eq!(listed_terminals(listed).collect::<Vec<_>>(), expected);
    assert_eq!(listed_terminals("").count(), 0);
}
