//! LVM's configuration format, in which metadata and `lvm.conf` are written (lvm2: libdm/libdm-config.c,
//! lvm.conf(5)).
//!
//! The tokens are lvm2's, oddities included: what may follow `=`, `[` and `,` is a value, everything else a key, and
//! the text ends at the first NUL. Only the bounds are ours.

use super::MetadataError;
use super::model::{Section, Value};
use crate::text::is_space;

/// Nested sections; metadata has four levels.
const MAX_DEPTH: u32 = 16;
/// Keys and values in all. A megabyte of metadata has some 50 000.
const MAX_NODES: u32 = 400_000;

/// Reads a whole text.
///
/// # Errors
/// [`MetadataError::Syntax`] with the line, [`MetadataError::TooLarge`].
pub fn parse(text: &[u8]) -> Result<Section, MetadataError> {
    let mut parser = Parser { rest: text, line: 1, token: Token::End, nodes: 0 };
    parser.advance(false)?;
    let root = parser.entries(0)?;
    if parser.token == Token::End {
        Ok(root)
    } else {
        Err(parser.error("a section is closed that was not opened"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    End,
    Open,
    Close,
    ListOpen,
    ListClose,
    Comma,
    Equals,
    /// In double quotes, escapes still in it.
    Escaped(&'a [u8]),
    /// In single quotes.
    Quoted(&'a [u8]),
    /// A key, or a value without quotes.
    Bare(&'a [u8]),
    Number(&'a [u8]),
    Fraction(&'a [u8]),
}

struct Parser<'a> {
    rest: &'a [u8],
    line: u32,
    token: Token<'a>,
    nodes: u32,
}

impl<'a> Parser<'a> {
    fn error(&self, what: &'static str) -> MetadataError {
        MetadataError::Syntax { line: self.line, what }
    }

    fn count(&mut self) -> Result<(), MetadataError> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES { Err(MetadataError::TooLarge) } else { Ok(()) }
    }

    /// Entries up to the end of the section, which is left as the current token.
    fn entries(&mut self, depth: u32) -> Result<Section, MetadataError> {
        let mut section = Section::default();
        while !matches!(self.token, Token::End | Token::Close) {
            self.count()?;
            let key = match self.token {
                Token::Escaped(raw) => unescape(raw),
                Token::Quoted(raw) | Token::Bare(raw) => text(raw),
                _ => return Err(self.error("a key is missing")),
            };
            if key.is_empty() {
                return Err(self.error("a key is empty"));
            }
            self.advance(false)?;
            let value = match self.token {
                Token::Open if depth < MAX_DEPTH => {
                    self.advance(false)?;
                    let inner = self.entries(depth.saturating_add(1))?;
                    if self.token != Token::Close {
                        return Err(self.error("the text ends inside a section"));
                    }
                    self.advance(false)?;
                    Value::Section(inner)
                }
                Token::Open => return Err(self.error("sections are nested too deeply")),
                Token::Equals => {
                    self.advance(true)?;
                    self.value()?
                }
                _ => return Err(self.error("neither a value nor a section follows a key")),
            };
            section.0.push((key, value));
        }
        Ok(section)
    }

    /// A value or a list; afterwards the token behind it is current.
    fn value(&mut self) -> Result<Value, MetadataError> {
        if self.token != Token::ListOpen {
            return self.single();
        }
        self.advance(true)?;
        let mut list = Vec::new();
        while self.token != Token::ListClose {
            list.push(self.single()?);
            if self.token == Token::Comma {
                self.advance(true)?;
            }
        }
        self.advance(false)?;
        Ok(Value::List(list))
    }

    fn single(&mut self) -> Result<Value, MetadataError> {
        self.count()?;
        let value = match self.token {
            Token::Escaped(raw) => Value::Text(unescape(raw)),
            Token::Quoted(raw) | Token::Bare(raw) => Value::Text(text(raw)),
            Token::Number(raw) => Value::Number(number(raw)),
            Token::Fraction(raw) => Value::Fraction(text(raw)),
            _ => return Err(self.error("a value is missing")),
        };
        self.advance(false)?;
        Ok(value)
    }

    /// Reads the next token; numbers and bare words are values only where one may stand.
    fn advance(&mut self, value: bool) -> Result<(), MetadataError> {
        self.skip_blank();
        let Some((&first, tail)) = self.rest.split_first().filter(|(first, _)| **first != 0) else {
            self.token = Token::End;
            return Ok(());
        };
        let mark = match first {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'[' => Token::ListOpen,
            b']' => Token::ListClose,
            b',' => Token::Comma,
            b'=' => Token::Equals,
            b'"' | b'\'' => return self.string(first, tail),
            _ => {
                self.word(first, value);
                return Ok(());
            }
        };
        self.token = mark;
        self.rest = tail;
        Ok(())
    }

    fn skip_blank(&mut self) {
        while let Some((&first, tail)) = self.rest.split_first() {
            if first == b'#' {
                let end = tail.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(tail.len());
                self.rest = tail.get(end..).unwrap_or_default();
            } else if is_space(first) {
                if first == b'\n' {
                    self.line = self.line.saturating_add(1);
                }
                self.rest = tail;
            } else {
                return;
            }
        }
    }

    fn string(&mut self, quote: u8, tail: &'a [u8]) -> Result<(), MetadataError> {
        let mut escaped = false;
        let end = tail.iter().position(|&byte| {
            if std::mem::take(&mut escaped) {
                return false;
            }
            escaped = quote == b'"' && byte == b'\\';
            byte == quote
        });
        let Some((inner, after)) =
            end.and_then(|end| Some((tail.get(..end)?, tail.get(end.checked_add(1)?..)?)))
        else {
            return Err(self.error("a quoted text has no end"));
        };
        self.token = if quote == b'"' { Token::Escaped(inner) } else { Token::Quoted(inner) };
        self.rest = after;
        Ok(())
    }

    fn word(&mut self, first: u8, value: bool) {
        if value && (first.is_ascii_digit() || matches!(first, b'.' | b'+' | b'-')) {
            let mut points = u32::from(first == b'.');
            let end = self.rest.iter().skip(1).position(|byte| {
                points = points.saturating_add(u32::from(*byte == b'.'));
                !byte.is_ascii_digit() && (*byte != b'.' || points > 1)
            });
            let raw = self.take(end.map_or(self.rest.len(), |end| end.saturating_add(1)));
            self.token = if raw.contains(&b'.') { Token::Fraction(raw) } else { Token::Number(raw) };
            return;
        }
        let end = self
            .rest
            .iter()
            .position(|byte| is_space(*byte) || matches!(byte, b'#' | b'=' | b'{' | b'}' | 0))
            .unwrap_or(self.rest.len());
        self.token = Token::Bare(self.take(end));
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }
}

fn text(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

/// A backslash protects itself and the double quote; before anything else it stands for itself.
fn unescape(raw: &[u8]) -> String {
    let mut plain = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(&next @ (b'\\' | b'"'))) => {
                plain.push(next);
                bytes.next();
            }
            _ => plain.push(byte),
        }
    }
    text(&plain)
}

/// As `strtoll` with base 0: a leading zero makes it octal. What does not fit is cut to the nearest number: lvm2
/// refuses it, except in a creation time that old versions wrote wrongly, which nothing here needs.
fn number(raw: &[u8]) -> i64 {
    let (sign, digits) = match raw.split_first() {
        Some((b'-', digits)) => (-1, digits),
        Some((b'+', digits)) => (1, digits),
        _ => (1, raw),
    };
    let base = if digits.len() > 1 && digits.first() == Some(&b'0') { 8_i64 } else { 10 };
    digits
        .iter()
        .map(|digit| i64::from(digit.wrapping_sub(b'0')))
        .take_while(|digit| *digit < base)
        .fold(0_i64, |sum, digit| sum.saturating_mul(base).saturating_add(digit.saturating_mul(sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Value, MetadataError> {
        parse(text.as_bytes()).map(|root| root.get("k").cloned().unwrap_or(Value::List(Vec::new())))
    }

    #[test]
    fn values() {
        let word = |text: &str| Value::Text(text.into());
        for (text, want) in [
            ("k=1", Value::Number(1)),
            ("k = -1 # none", Value::Number(-1)),
            ("k=+7", Value::Number(7)),
            ("k=077", Value::Number(63)),
            ("k=08", Value::Number(0)),
            ("k=-", Value::Number(0)),
            ("k=99999999999999999999", Value::Number(i64::MAX)),
            ("k=-99999999999999999999", Value::Number(i64::MIN)),
            ("k=1.5", Value::Fraction("1.5".into())),
            ("k=.5", Value::Fraction(".5".into())),
            ("k=\"a\\\"b\\\\c\\n\"", word("a\"b\\c\\n")),
            ("k='a\\'", word("a\\")),
            ("k=bare,word]", word("bare,word]")),
            ("k=[]", Value::List(Vec::new())),
            ("k=[1,-2,\"x\",]", Value::List(vec![Value::Number(1), Value::Number(-2), word("x")])),
            ("k=[\"a\" \"b\"]", Value::List(vec![word("a"), word("b")])),
            ("\"k\" { a=1 b { } }\0junk {", {
                let b = ("b".into(), Value::Section(Section::default()));
                Value::Section(Section(vec![("a".into(), Value::Number(1)), b]))
            }),
            ("k=1\nk=2", Value::Number(1)),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line) in [
            ("a {\n", 2),
            ("\n\n}", 3),
            ("a", 1),
            ("a =\n\n", 3),
            ("a = [1 2]", 1),
            ("a = [1, {", 1),
            ("a = \"x", 1),
            ("\"\" = 1", 1),
            ("= 1", 1),
            ("a = 1.2.3", 1),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, MetadataError::Syntax { line: at, .. } if at == line), "{text}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert!(parse("a {".repeat(16).as_bytes()).unwrap_err().to_string().contains("ends inside"));
        assert!(parse("a {".repeat(100_000).as_bytes()).unwrap_err().to_string().contains("too deeply"));
        let long = format!("k=[{}]", "1,".repeat(1_000_000));
        assert_eq!(parse(long.as_bytes()), Err(MetadataError::TooLarge));
    }
}
