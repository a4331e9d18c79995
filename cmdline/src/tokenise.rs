//! The kernel's tokeniser: how one line of text becomes words (`next_arg` in the kernel's `lib/cmdline.c`).

/// One word of a command line, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The name: what stands before the first `=` that is not the word's first character.
    pub key: &'a str,
    /// The value; `None` when the word has no `=`.
    pub value: Option<&'a str>,
    /// The word as it stands in the text, quotes included.
    pub raw: &'a str,
    /// A quote was opened in this word and never closed.
    pub unterminated: bool,
}

impl Word<'_> {
    /// The word without the quotes that the tokeniser removes: what the kernel would hand to a program.
    pub fn text(&self) -> String {
        match self.value {
            Some(value) => format!("{}={value}", self.key),
            None => self.key.to_owned(),
        }
    }
}

/// Splits a line into words.
///
/// White space separates words, a double quote switches a mode in which it does not, and nothing escapes a
/// quote. A quote that opens the word or its value goes, together with a quote that ends the word; all other
/// quotes stay. An open quote reaches to the end of the text.
///
/// Only ASCII white space separates: the kernel's table also lists byte 0xA0, which would cut UTF-8
/// characters such as `à` in two.
pub fn words(text: &str) -> Words<'_> {
    Words { rest: text }
}

/// The iterator that [`words`] returns.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a str,
}

/// White space as C's `isspace` knows it in ASCII; Rust's own predicate lacks the vertical tab.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let start = self.rest.trim_start_matches(|c: char| c.is_ascii() && is_space(c as u8));
        if start.is_empty() {
            self.rest = start;
            return None;
        }
        let (quoted, body) = match start.strip_prefix('"') {
            Some(body) => (true, body),
            None => (false, start),
        };
        let mut in_quote = quoted;
        let mut equals = None;
        let mut end = body.len();
        for (at, byte) in body.bytes().enumerate() {
            if is_space(byte) && !in_quote {
                end = at;
                break;
            }
            match byte {
                b'=' if at > 0 && equals.is_none() => equals = Some(at),
                b'"' => in_quote = !in_quote,
                _ => {}
            }
        }
        let (token, rest) = body.split_at_checked(end).unwrap_or((body, ""));
        self.rest = rest;
        let raw = start.get(..start.len() - rest.len()).unwrap_or(start);
        let (key, value) = match equals.and_then(|at| token.split_at_checked(at)) {
            None => (token, None),
            Some((key, value)) => (key, value.strip_prefix('=')),
        };
        let unquote_end = |text: &'a str| text.strip_suffix('"').unwrap_or(text);
        let (key, value) = match value {
            Some(value) => {
                let value = match value.strip_prefix('"') {
                    Some(inner) => unquote_end(inner),
                    None if quoted => unquote_end(value),
                    None => value,
                };
                (key, Some(value))
            }
            None if quoted => (unquote_end(key), None),
            None => (key, None),
        };
        Some(Word { key, value, raw, unterminated: in_quote })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(&str, Option<&str>)> {
        words(text).map(|w| (w.key, w.value)).collect()
    }

    #[test]
    fn quotes_as_the_kernel_reads_them() {
        for (text, expected) in [
            (r#"key3="  val  3  ""#, vec![("key3", Some("  val  3  "))]),
            (r#""  key 4  ="val4"#, vec![("  key 4  ", Some("val4"))]),
            (r#""key 6=""val  6""#, vec![("key 6", Some(r#""val  6"#))]),
            (r#"key7="foo"bar" baz="end ""#, vec![("key7", Some(r#"foo"bar" baz="end"#)), ("", None)]),
            (r#"root=UUID="a b" ro"#, vec![("root", Some(r#"UUID="a b""#)), ("ro", None)]),
            (r#""single word" next"#, vec![("single word", None), ("next", None)]),
            (r#"open="never closed ro"#, vec![("open", Some("never closed ro"))]),
            (r#"a=" b"#, vec![("a", Some(" b"))]),
            (r#"a=""#, vec![("a", Some(""))]),
            (r#"a="""#, vec![("a", Some(""))]),
            (r#""""#, vec![("", None)]),
            (r#"""#, vec![("", None)]),
            ("a=b=c", vec![("a", Some("b=c"))]),
            ("=a", vec![("=a", None)]),
            ("=a=b", vec![("=a", Some("b"))]),
            ("a= b", vec![("a", Some("")), ("b", None)]),
            (" \t\n a\x0bb\x0cc\r", vec![("a", None), ("b", None), ("c", None)]),
            ("na\u{ef}ve=\u{e0} x", vec![("na\u{ef}ve", Some("\u{e0}")), ("x", None)]),
            ("", vec![]),
            ("   ", vec![]),
        ] {
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_open_quote_is_noticed() {
        let flags: Vec<bool> = words(r#"a="b" "c d" e="f g"#).map(|w| w.unterminated).collect();
        assert_eq!(flags, [false, false, true]);
    }

    #[test]
    fn text_is_what_a_program_would_get() {
        let text: Vec<String> = words(r#"a="b c" "d e" f"#).map(|w| w.text()).collect();
        assert_eq!(text, ["a=b c", "d e", "f"]);
    }

    proptest! {
        #[test]
        fn raw_words_cover_the_text_in_order(text in "[a-c=\" \\t\u{e0}]{0,40}|\\PC{0,40}") {
            let mut rest = text.as_str();
            for word in words(&text) {
                let at = rest.find(word.raw).expect("a word is a part of the text");
                prop_assert!(rest[..at].bytes().all(is_space), "only white space lies between words");
                rest = &rest[at + word.raw.len()..];
                prop_assert!(!word.raw.is_empty());
            }
            prop_assert!(rest.bytes().all(is_space));
        }

        #[test]
        fn words_joined_again_are_the_same_words(text in "[a-c=\" \\t\u{e0}]{0,40}|\\PC{0,40}") {
            let first: Vec<Word<'_>> = words(&text).collect();
            let joined = first.iter().map(|w| w.raw).collect::<Vec<_>>().join(" ");
            let second: Vec<Word<'_>> = words(&joined).collect();
            prop_assert_eq!(&first, &second);
        }

        #[test]
        fn plain_pairs_survive(pairs_in in prop::collection::vec(("[a-z._]{1,8}", "[a-z0-9:/,]{0,8}"), 0..8)) {
            let line = pairs_in.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("  ");
            let expected: Vec<_> = pairs_in.iter().map(|(k, v)| (k.as_str(), Some(v.as_str()))).collect();
            prop_assert_eq!(pairs(&line), expected);
        }

        #[test]
        fn a_quoted_value_keeps_its_spaces(value in "[a-z =]{0,20}") {
            let line = format!("k=\"{value}\" next");
            prop_assert_eq!(pairs(&line), vec![("k", Some(value.as_str())), ("next", None)]);
        }
    }
}
