//! Editing one line, byte by byte. No I/O.

use crate::secret::{PASSPHRASE_MAX, Secret};

/// What a byte led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing that the caller must act on; these bytes are to be echoed, if the line may be shown.
    Echo(Vec<u8>),
    /// The line is complete.
    Line,
    /// Control-C.
    Interrupt,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After `ESC [`: parameters, up to a final byte.
    Csi,
    /// After `ESC O`: one more byte.
    Ss3,
}

/// A line that is being typed.
#[derive(Debug)]
pub struct Editor {
    line: Secret,
    escape: Escape,
    /// The last byte was a carriage return, so that a line feed after it is no second line.
    after_return: bool,
}

impl Default for Editor {
    fn default() -> Editor {
        Editor { line: Secret::with_capacity(PASSPHRASE_MAX), escape: Escape::None, after_return: false }
    }
}

impl Editor {
    /// What was typed so far.
    pub fn typed(&self) -> &[u8] {
        self.line.bytes()
    }

    /// Takes the complete line.
    pub fn take(&mut self) -> Secret {
        self.escape = Escape::None;
        self.line.take()
    }

    /// Wipes what was typed.
    pub fn clear(&mut self) {
        self.escape = Escape::None;
        self.line.clear();
    }

    /// Takes one byte in: printable ones and UTF-8 are added; backspace, control-U, control-W edit; sequences of cursor
    /// keys and of bracketed paste vanish.
    pub fn feed(&mut self, byte: u8) -> Step {
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        match (self.escape, byte) {
            (Escape::Begun, b'[') => return self.escape(Escape::Csi),
            (Escape::Begun, b'O') => return self.escape(Escape::Ss3),
            (Escape::Csi, 0x20..=0x3f) => return Step::Echo(Vec::new()),
            (Escape::Csi, 0x40..=0x7e) | (Escape::Ss3, 0x20..=0x7e) => return self.escape(Escape::None),
            _ => self.escape = Escape::None,
        }
        match byte {
            b'\n' if after_return => Step::Echo(Vec::new()),
            b'\r' | b'\n' => Step::Line,
            0x03 => Step::Interrupt,
            0x1b => self.escape(Escape::Begun),
            0x08 | 0x7f => Step::Echo(self.erase(1)),
            0x15 => Step::Echo(self.erase(usize::MAX)),
            0x17 => Step::Echo(self.erase_word()),
            0x00..=0x1f => Step::Echo(Vec::new()),
            _ => Step::Echo(if self.line.push(&[byte]) { vec![byte] } else { Vec::new() }),
        }
    }

    fn escape(&mut self, state: Escape) -> Step {
        self.escape = state;
        Step::Echo(Vec::new())
    }

    /// Removes up to `count` characters; gives what removes them from a screen.
    fn erase(&mut self, count: usize) -> Vec<u8> {
        let mut echo = Vec::new();
        for _ in 0..count {
            // A character is its lead byte and the continuation bytes (10xxxxxx) after it.
            loop {
                match self.line.pop() {
                    None => return echo,
                    Some(byte) if byte & 0xc0 == 0x80 => {}
                    Some(_) => break,
                }
            }
            echo.extend_from_slice(b"\x08 \x08");
        }
        echo
    }

    fn erase_word(&mut self) -> Vec<u8> {
        let characters = |bytes: &[u8]| bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let line = self.line.bytes();
        let end = line.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at.saturating_add(1));
        let word = line.get(..end).unwrap_or_default();
        let start = word.iter().rposition(|byte| *byte == b' ').map_or(0, |at| at.saturating_add(1));
        let count = characters(line.get(start..).unwrap_or_default());
        self.erase(count)
    }
}

#[cfg(test)]
mod tests {
    use super::{Editor, Step};

    /// Feeds everything; gives what is in the line and the number of lines and interrupts seen.
    fn feed(bytes: &[u8]) -> (Vec<u8>, usize, usize) {
        let mut editor = Editor::default();
        let (mut lines, mut interrupts) = (0, 0);
        for &byte in bytes {
            match editor.feed(byte) {
                Step::Echo(_) => {}
                Step::Line => lines += 1,
                Step::Interrupt => interrupts += 1,
            }
        }
        (editor.typed().to_vec(), lines, interrupts)
    }

    fn line(bytes: &[u8]) -> String {
        String::from_utf8(feed(bytes).0).expect("UTF-8")
    }

    #[test]
    fn editing() {
        assert_eq!(line(b"abc\x7f\x08d"), "ad");
        assert_eq!(line("aä€\x7f".as_bytes()), "aä");
        assert_eq!(line("aä€\x7f\x7f\x7f\x7f".as_bytes()), "");
        assert_eq!(line(b"one two\x15three"), "three");
        assert_eq!(line(b"one two  \x17x"), "one x");
        assert_eq!(line("ä ö\x17\x17".as_bytes()), "");
        assert_eq!(line(b"\x17\x15\x7fa"), "a");
        assert_eq!(line(b"a\x01\x02\tb"), "ab");
    }

    #[test]
    fn escape_sequences_vanish() {
        assert_eq!(line(b"a\x1b[Ab\x1b[1;5Dc\x1bOHd"), "abcd");
        assert_eq!(line(b"\x1b[200~pasted\x1b[201~"), "pasted");
        assert_eq!(line(b"\x1bx\x1b\x1b[Cy"), "xy");
        assert_eq!(feed(b"\x1b\rab"), (b"ab".to_vec(), 1, 0));
    }

    #[test]
    fn ends() {
        assert_eq!(feed(b"a\rb\nc\r\nd").1, 3);
        assert_eq!(feed(b"\n\n").1, 2);
        assert_eq!(feed(b"a\x03"), (b"a".to_vec(), 0, 1));
    }

    #[test]
    fn the_line_is_bounded() {
        let long = vec![b'x'; 5000];
        assert_eq!(feed(&long).0.len(), crate::secret::PASSPHRASE_MAX);
    }

    #[test]
    fn echo_follows_the_line() {
        let mut editor = Editor::default();
        assert_eq!(editor.feed(b'a'), Step::Echo(b"a".to_vec()));
        assert_eq!(editor.feed(0x7f), Step::Echo(b"\x08 \x08".to_vec()));
        assert_eq!(editor.feed(0x7f), Step::Echo(Vec::new()));
    }
}
