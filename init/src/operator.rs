//! The operator at the console: passphrases, the rescue prompt, the image's shell.

use std::fmt::Write;

use engine::verb::{self, VERBS, Verb};
use engine::{DevName, Engine, Event, QuestionId};

use crate::ask_password;
use crate::clock;
use crate::console::{self, Input};
use crate::event_loop::Boot;
use crate::kernel_log;
use crate::keymap;
use crate::power::{self, Ending};
use crate::shell::Shell;
use crate::signals::{self, Signal};

/// What the rescue prompt looks like.
const PROMPT: &str = "rootward> ";

/// Lines of the kernel log that `log` shows without a number.
const LOG_LINES: usize = 60;

/// Where words of the `try` verb are kept; sorts behind everything else of its kind.
const TRIED: &str = "/run/initramfs/cmdline.d/zz-try.conf";

/// What the operator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Nothing: the boot runs by itself.
    Absent,
    /// Is asked for a passphrase or a PIN.
    Passphrase(QuestionId),
    /// Sits at the rescue prompt.
    Prompt,
    /// Works in a shell of the image.
    Shell(rustix::process::Pid),
}

impl Boot {
    /// Starts the image's shell, or the built-in prompt if it has none.
    pub(crate) fn serve_operator(&mut self) {
        if matches!(self.operator, Operator::Shell(_) | Operator::Prompt) {
            return;
        }
        if !self.start_shell() {
            self.consoles.print("Rescue prompt. `why` says what is missing, `help` lists all verbs.\n");
            self.open_prompt();
        }
    }

    pub(crate) fn ask_passphrase(
        &mut self,
        question: QuestionId,
        prompt: &str,
        note: Option<&str>,
        device: Option<&DevName>,
    ) {
        self.operator = Operator::Passphrase(question);
        self.consoles.ask_secret(question.0, prompt, note);
        match note {
            Some(note) => self.ask_agents(&format!("{prompt} ({note})"), device),
            None => self.ask_agents(prompt, device),
        }
    }

    /// Takes the answer of a password agent.
    pub(crate) fn read_agents(&mut self) {
        let Some(answer) = self.asked.0.as_ref().and_then(ask_password::Question::answer) else { return };
        match answer {
            Some(secret) => {
                self.asked.0 = None;
                self.consoles.stop();
                if let Operator::Passphrase(question) = self.operator {
                    let id = self.vault.keep(secret);
                    self.events.push(Event::Typed(id, question));
                }
            }
            // Somebody at a console may still know better.
            None => log::info!("a password agent has given up"),
        }
    }

    pub(crate) fn stop_asking(&mut self) {
        if matches!(self.operator, Operator::Passphrase(_)) {
            self.operator = Operator::Absent;
            self.asked.0 = None;
            self.consoles.stop();
        }
    }

    fn open_prompt(&mut self) {
        self.operator = Operator::Prompt;
        self.consoles.ask_line(PROMPT);
    }

    /// True once a shell runs; false when the image has none or it cannot be started.
    fn start_shell(&mut self) -> bool {
        let Some(shell) = Shell::find() else { return false };
        self.consoles.suspend();
        match shell.spawn(&console::preferred()) {
            Ok(pid) => {
                self.operator = Operator::Shell(pid);
                true
            }
            Err(failure) => {
                log::warn!("{failure}");
                self.consoles.resume();
                false
            }
        }
    }

    pub(crate) fn read_consoles(&mut self) {
        while let Some(input) = self.consoles.take_input() {
            match (input, self.operator) {
                (Input::Secret(secret), Operator::Passphrase(question)) => {
                    self.asked.0 = None;
                    let id = self.vault.keep(secret);
                    self.events.push(Event::Typed(id, question));
                }
                (Input::Line(line), Operator::Prompt) => {
                    self.obey(&line);
                    if self.operator == Operator::Prompt {
                        self.open_prompt();
                    }
                }
                (Input::Interrupt, Operator::Prompt) => self.open_prompt(),
                _ => {}
            }
        }
    }

    pub(crate) fn read_signals(&mut self) {
        loop {
            match self.signals.next() {
                Ok(Some(Signal::Children)) => signals::reap(),
                Ok(Some(Signal::Reboot)) => {
                    log::warn!("asked by a signal to reboot");
                    log::error!("{}", power::end(Ending::Reboot));
                }
                Ok(None) => break,
                Err(error) => {
                    log::error!("{error}");
                    break;
                }
            }
        }
        if let Operator::Shell(pid) = self.operator
            && rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        {
            self.operator = Operator::Absent;
            self.consoles.resume();
            self.go_on();
        }
    }

    /// The shell was left, or `boot` typed: go on from where the boot stands.
    fn go_on(&mut self) {
        let event = if std::mem::take(&mut self.at_break) { Event::Continue } else { Event::Retry };
        self.events.push(event);
    }

    fn leave_prompt(&mut self) {
        self.operator = Operator::Absent;
        self.consoles.stop();
    }

    fn obey(&mut self, line: &str) {
        match verb::parse(line) {
            Ok(None) => {}
            Ok(Some(verb)) => self.perform(verb),
            Err(error) => self.consoles.print(&format!("{error}\n")),
        }
    }

    fn perform(&mut self, verb: Verb) {
        match verb {
            Verb::Why => {
                let explanation = self.engine.explain(clock::now());
                self.consoles.print(&explanation.to_string());
            }
            Verb::Devices => {
                let list = engine::diagnose::list_devices(&self.engine);
                self.consoles.print(&list);
            }
            Verb::Log(lines) => self.consoles.print(&kernel_log::tail(lines.unwrap_or(LOG_LINES))),
            Verb::CmdLine => {
                let mut text = String::new();
                for source in self.sources.ordered() {
                    let _ = writeln!(text, "{source}: {}", source.text);
                }
                self.consoles.print(&text);
            }
            Verb::Try(words) => {
                self.leave_prompt();
                self.start_over(&words);
            }
            Verb::Retry => {
                self.leave_prompt();
                self.events.push(Event::Retry);
            }
            Verb::Mount(device) => {
                self.leave_prompt();
                self.events.push(Event::UseRoot(device));
            }
            Verb::Boot => {
                self.leave_prompt();
                self.go_on();
            }
            Verb::Shell => {
                if !self.start_shell() {
                    self.consoles.print(
                        "no shell could be started; rootward build --add /bin/busybox:/bin/sh brings one\n",
                    );
                }
            }
            Verb::Reboot => self.end(Ending::Reboot),
            Verb::PowerOff => self.end(Ending::PowerOff),
            Verb::Halt => self.end(Ending::Halt),
            Verb::Help => {
                let mut text = String::new();
                for (name, argument, meaning) in VERBS {
                    let _ = writeln!(text, "  {:<18}{meaning}", format!("{name} {argument}"));
                }
                self.consoles.print(&text);
            }
        }
    }

    fn end(&mut self, how: Ending) {
        let failure = power::end(how);
        self.consoles.print(&format!("{failure}\n"));
    }

    /// Reads the command line again with more words, and begins from the first device.
    fn start_over(&mut self, words: &[String]) {
        self.sources.run.push((TRIED.to_owned(), words.join(" ")));
        log::info!("trying again with {}", words.join(" "));
        let plan = crate::read_plan(&self.sources);
        if plan.keymap.is_some() {
            keymap::set(plan.keymap.as_deref());
        }
        self.generation = self.generation.wrapping_add(1);
        self.waiting.clear();
        (self.mounting, self.departure) = (None, None);
        self.at_break = false;
        self.engine = Engine::new(plan, self.image.clone());
        let commands = self.engine.start(clock::now());
        self.carry_out(commands);
    }
}
