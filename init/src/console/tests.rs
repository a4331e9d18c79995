//! The consoles against pseudo-terminals.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

/// The other end of a terminal: what a person sees and types.
struct Person(File);

impl Person {
    fn types(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("type");
    }

    fn sees(&mut self) -> String {
        let mut seen = vec![0_u8; 8192];
        let length = self.0.read(&mut seen).unwrap_or(0);
        String::from_utf8_lossy(&seen[..length]).into_owned()
    }
}

fn person() -> (Person, String) {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("pty");
    grantpt(&master).expect("grant");
    unlockpt(&master).expect("unlock");
    let path = ptsname(&master, Vec::new()).expect("name").into_string().expect("text");
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).expect("flags");
    (Person(File::from(master)), path)
}

fn consoles(paths: &[&str]) -> Consoles {
    let terminals = paths.iter().map(|path| Terminal::open(path).expect("terminal")).collect();
    // The log level of the machine that runs the tests is left alone.
    Consoles { lowers_loglevel: false, ..Consoles::of(terminals).expect("consoles") }
}

/// What the event loop does: wait for the one descriptor, then take.
fn read(consoles: &mut Consoles) -> Option<Input> {
    while is_ready(consoles) {
        if let Some(input) = consoles.take_input() {
            return Some(input);
        }
    }
    None
}

/// A pseudo-terminal delivers through a kernel worker, hence the patience.
fn is_ready(consoles: &Consoles) -> bool {
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    let mut fds = [rustix::event::PollFd::new(consoles, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&now)).expect("poll") > 0
}

fn secret(input: Option<Input>) -> String {
    match input {
        Some(Input::Secret(secret)) => String::from_utf8(secret.bytes().to_vec()).expect("text"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_answer_wins_and_is_not_echoed() {
    let ((mut one, first), (mut two, second)) = (person(), person());
    let mut consoles = consoles(&[&first, &second]);
    consoles.ask_secret("Passphrase for vda2", Some("try 1"));
    assert_eq!(one.sees().replace('\r', ""), "try 1\nPassphrase for vda2: ");
    assert!(two.sees().ends_with("Passphrase for vda2: "));
    assert!(!is_ready(&consoles));
    two.types("hun\x7fnter2\r");
    assert_eq!(secret(read(&mut consoles)), "hunter2");
    assert!(read(&mut consoles).is_none());
    assert_eq!((one.sees().trim(), two.sees().trim()), ("", ""));
}

#[test]
fn typed_ahead_is_neither_shown_nor_lost() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    person.types("wrong\rright\rrest");
    assert!(!is_ready(&consoles), "nobody asked yet");
    assert_eq!(person.sees(), "");
    consoles.ask_secret("P", None);
    assert_eq!(secret(read(&mut consoles)), "wrong");
    assert!(read(&mut consoles).is_none(), "the next line is for the next question");
    consoles.ask_secret("P", Some("wrong passphrase"));
    assert_eq!(secret(read(&mut consoles)), "right");
    consoles.ask_secret("P", Some("wrong passphrase"));
    assert!(read(&mut consoles).is_none());
    person.types("\r");
    assert_eq!(secret(read(&mut consoles)), "rest");
    assert!(!person.sees().contains("right"));
}

#[test]
fn typed_before_the_program_opened_the_terminal() {
    let (mut person, path) = person();
    let before = Terminal::open(&path).expect("keeps the terminal alive");
    before.restore();
    person.types("early");
    let _ = person.sees();
    let mut consoles = consoles(&[&path]);
    person.types("bird\r");
    consoles.ask_secret("P", None);
    assert_eq!(secret(read(&mut consoles)), "earlybird");
}

#[test]
fn a_line_is_echoed_and_survives_a_message() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_line("rootward> ");
    person.types("he");
    assert!(read(&mut consoles).is_none());
    assert_eq!(person.sees(), "\rrootward> he");
    consoles.print("something\nhappened\n");
    assert_eq!(person.sees().replace('\r', ""), "\nsomething\nhappened\nrootward> he");
    person.types("lp\n");
    assert!(matches!(read(&mut consoles), Some(Input::Line(line)) if line == "help"));
}

#[test]
fn one_answer_closes_a_question_that_is_shown_once() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_secret("P", None);
    let _ = person.sees();
    consoles.ask_secret("P", None);
    assert_eq!(person.sees(), "");
    person.types("\rnext");
    assert_eq!(secret(read(&mut consoles)), "", "an empty passphrase is one");
    assert!(consoles.question.is_none());
    person.types("\r");
    assert!(!is_ready(&consoles), "typed keys wait until somebody asks");
    let _ = person.sees();
    consoles.ask_secret("P", None);
    assert_eq!(secret(read(&mut consoles)), "next");
    assert!(person.sees().contains("P: "));
}

#[test]
fn control_c_starts_the_answer_over() {
    let (mut person, path) = person();
    let mut consoles = consoles(&[&path]);
    consoles.ask_secret("P", None);
    person.types("abc\x03");
    assert!(matches!(read(&mut consoles), Some(Input::Interrupt)));
    assert!(person.sees().ends_with("^C\r\r\n\rP: "));
    person.types("half");
    assert!(read(&mut consoles).is_none());
    assert_eq!(consoles.terminals[0].editor.typed(), b"half");
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
        let length = person.sees().len();
        seen += length;
        if is_ready(&consoles) {
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
    consoles.ask_secret("P", None);
    drop(person);
    assert!(read(&mut consoles).is_none());
    assert!(consoles.is_empty());
    assert!(!is_ready(&consoles), "a closed terminal keeps nobody busy");
    consoles.ask_secret("Q", None);
    assert!(consoles.take_input().is_none(), "nobody is there to answer");
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
