//! Where words come from, which of them win, and how a name is looked up among them.

use std::fmt;

use crate::tokenise::{self, Word};

/// More text than this from one source is not read: no architecture's kernel command line exceeds 4 KiB by
/// default, and lists are searched item by item.
pub const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// The texts that make up the command line; the caller has read them, nothing is read here.
///
/// A file is given as (path, contents). Text that is not UTF-8 is handed in through [`text`], which replaces
/// the bytes in question: no name and no separator is lost, only the odd character of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `/etc/cmdline.d/*.conf` and `/etc/cmdline` of the image, in any order.
    pub image: Vec<(String, String)>,
    /// `/proc/cmdline`.
    pub kernel: String,
    /// `/run/initramfs/cmdline.d/*.conf`, in any order.
    pub run: Vec<(String, String)>,
    /// Parameters found out while running (firmware tables, credentials); named like files of
    /// `/etc/cmdline.d`, among which they are sorted.
    pub derived: Vec<(String, String)>,
    /// What the kernel gave `/init` as arguments, without the program's own name. Only the kernel knows which
    /// bare words it took for itself, so with `None` only run-level words reach the real init.
    pub argv: Option<Vec<String>>,
}

/// The text of a source from its bytes.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Which kind of source a word comes from, lowest precedence first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Baked into the image.
    Image,
    /// Found out while running.
    Derived,
    /// Passed by the boot loader.
    Kernel,
    /// Written below `/run`.
    Run,
}

/// One source, ready to be tokenised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its kind.
    pub layer: Layer,
    /// Its path, or a name for it.
    pub name: String,
    /// Its text on one line: the lines of a file are joined with spaces, even inside quotes.
    pub text: String,
    /// It was longer than [`MAX_SOURCE_BYTES`] and its end was left out.
    pub truncated: bool,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Source {
    fn new(layer: Layer, name: &str, text: &str) -> Self {
        let mut kept = text;
        let mut end = MAX_SOURCE_BYTES;
        if text.len() > end {
            while !text.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            kept = text.get(..end).unwrap_or("");
            // The last word is cut in the middle; half a device name is worse than none.
            kept = kept.rsplit_once(|c: char| c.is_ascii_whitespace()).map_or("", |(whole, _)| whole);
        }
        Source {
            layer,
            name: name.to_owned(),
            text: kept.replace(['\n', '\0'], " "),
            truncated: kept.len() != text.len(),
        }
    }
}

/// The last part of a path, by which files of one directory are sorted.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Sources {
    /// All sources, lowest precedence first: `cmdline.d` files of the image and derived ones by name,
    /// `/etc/cmdline`, the kernel's own line, files below `/run` by name.
    pub fn ordered(&self) -> Vec<Source> {
        let file = |layer| move |(name, text): &(String, String)| Source::new(layer, name, text);
        let mut low: Vec<Source> = self.image.iter().map(file(Layer::Image)).collect();
        low.extend(self.derived.iter().map(file(Layer::Derived)));
        low.sort_by(|a, b| {
            let key = |source: &Source| (is_etc_cmdline(source), file_name(&source.name).to_owned());
            key(a).cmp(&key(b))
        });
        let mut run: Vec<Source> = self.run.iter().map(file(Layer::Run)).collect();
        run.sort_by(|a, b| file_name(&a.name).cmp(file_name(&b.name)));
        low.push(Source::new(Layer::Kernel, "the kernel command line", &self.kernel));
        low.extend(run);
        low
    }

    /// As [`Sources::ordered`], but without the image's own when `rd.hostonly=0` asks for that; the flag says
    /// whether they were kept.
    pub fn effective(&self) -> (Vec<Source>, bool) {
        let mut sources = self.ordered();
        let hostonly = Words::new(&sources).bool("rd.hostonly", true);
        if !hostonly {
            sources.retain(|source| source.layer != Layer::Image);
        }
        (sources, hostonly)
    }
}

fn is_etc_cmdline(source: &Source) -> bool {
    source.layer == Layer::Image && file_name(&source.name) == "cmdline"
}

/// A word and the source it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The word.
    pub word: Word<'a>,
    /// Its source.
    pub source: &'a Source,
}

/// All words of all sources, lowest precedence first.
#[derive(Debug, Clone, Default)]
pub struct Words<'a> {
    entries: Vec<Entry<'a>>,
    after_dashes: Vec<Entry<'a>>,
}

impl<'a> Words<'a> {
    /// Tokenises each source on its own, so that an open quote in one cannot swallow the next.
    ///
    /// As in the kernel, `--` ends the parameters of its source; what follows is kept apart.
    pub fn new(sources: &'a [Source]) -> Self {
        let mut all = Words::default();
        for source in sources {
            let mut dashes = false;
            for word in tokenise::words(&source.text) {
                let entry = Entry { word, source };
                if dashes {
                    all.after_dashes.push(entry);
                } else if word.key == "--" && word.value.is_none() {
                    dashes = true;
                } else {
                    all.entries.push(entry);
                }
            }
        }
        all
    }

    /// The words that are parameters.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The words that stand after a `--`.
    pub fn after_dashes(&self) -> &[Entry<'a>] {
        &self.after_dashes
    }

    fn occurrences(&self, key: &str) -> impl DoubleEndedIterator<Item = &Word<'a>> {
        self.entries.iter().map(|entry| &entry.word).filter(move |word| word.key == key)
    }

    /// The value of the last occurrence; a bare word counts with an empty value and hides earlier ones.
    pub fn last(&self, key: &str) -> Option<&'a str> {
        self.occurrences(key).next_back().map(|word| word.value.unwrap_or(""))
    }

    /// Whether the last occurrence has exactly this value.
    pub fn last_equals(&self, key: &str, value: &str) -> bool {
        self.last(key) == Some(value)
    }

    /// The values of all occurrences in order; a bare word contributes its own name.
    pub fn repeat(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.occurrences(key).map(|word| word.value.unwrap_or(word.key)).collect::<Vec<_>>().into_iter()
    }

    /// Whether any occurrence has exactly this value.
    pub fn repeat_equals(&self, key: &str, value: &str) -> bool {
        self.occurrences(key).any(|word| word.value == Some(value))
    }

    /// The switch of this name: `0`, `no` and `off` are false, anything else is true, absent is the default.
    pub fn bool(&self, key: &str, default: bool) -> bool {
        self.last(key).map_or(default, is_on)
    }

    /// The number of this name; the default when it is absent, not all digits, or out of range.
    pub fn int(&self, key: &str, default: i64, min: i64, max: i64) -> i64 {
        self.last(key).and_then(|value| digits(value, min, max)).unwrap_or(default)
    }
}

/// What a switch's value says.
pub(crate) fn is_on(value: &str) -> bool {
    !matches!(value, "0" | "no" | "off")
}

/// A number made of digits alone, within a range.
pub(crate) fn digits(value: &str, min: i64, max: i64) -> Option<i64> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    value.parse().ok().filter(|number| (min..=max).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(line: &str) -> Sources {
        Sources { kernel: line.to_owned(), ..Sources::default() }
    }

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn later_sources_win() {
        let sources = Sources {
            image: vec![
                file("/etc/cmdline", "v=cmdline a=1"),
                file("/etc/cmdline.d/20-b.conf", "v=b b=1"),
                file("/etc/cmdline.d/10-a.conf", "v=a\nc=1"),
            ],
            kernel: "v=kernel d=1".into(),
            run: vec![file("/run/initramfs/cmdline.d/z.conf", "v=z"), file("/run/x/a.conf", "v=run")],
            derived: vec![file("15-derived", "v=derived")],
            argv: None,
        };
        let ordered = sources.ordered();
        let words = Words::new(&ordered);
        let values: Vec<&str> = words.repeat("v").collect();
        assert_eq!(values, ["a", "derived", "b", "cmdline", "kernel", "run", "z"]);
        assert_eq!(words.last("v"), Some("z"));
    }

    #[test]
    fn hostonly_off_drops_the_image_only() {
        let mut sources = Sources {
            image: vec![file("/etc/cmdline.d/a.conf", "image=1")],
            kernel: "rd.hostonly=0".into(),
            run: vec![file("r", "run=1")],
            derived: vec![file("d", "derived=1")],
            argv: None,
        };
        let (kept, hostonly) = sources.effective();
        assert!(!hostonly);
        let words = Words::new(&kept);
        assert_eq!(
            (words.last("image"), words.last("run"), words.last("derived")),
            (None, Some("1"), Some("1"))
        );
        sources.kernel = "rd.hostonly".into();
        assert!(sources.effective().1);
        sources.run.push(file("s", "rd.hostonly=no"));
        assert!(!sources.effective().1, "the last one wins");
    }

    #[test]
    fn scalar_and_list_queries() {
        let ordered = kernel("a=1 a=2 b b=1 c=1 c d= e=x e=y rd.x=1").ordered();
        let words = Words::new(&ordered);
        assert_eq!(words.last("a"), Some("2"));
        assert_eq!(words.last("b"), Some("1"));
        assert_eq!(words.last("c"), Some(""), "a bare word hides the value before it");
        assert_eq!(words.last("d"), Some(""));
        assert_eq!(words.last("A"), None);
        assert!(words.last_equals("a", "2") && !words.last_equals("a", "1") && !words.last_equals("z", ""));
        assert_eq!(words.repeat("b").collect::<Vec<_>>(), ["b", "1"]);
        assert!(words.repeat_equals("e", "x") && words.repeat_equals("e", "y"));
        assert!(!words.repeat_equals("c", "c"), "a bare word has no value to compare");
        assert_eq!(words.last("rd_x"), None, "names match byte for byte");
    }

    #[test]
    fn switches() {
        for (line, default, expected) in [
            ("", true, true),
            ("", false, false),
            ("x", false, true),
            ("x=", false, true),
            ("x=0", true, false),
            ("x=no", true, false),
            ("x=off", true, false),
            ("x=false", false, true),
            ("x=NO", false, true),
            ("x=0 x", false, true),
            ("x x=0", true, false),
        ] {
            let ordered = kernel(line).ordered();
            assert_eq!(Words::new(&ordered).bool("x", default), expected, "{line:?}");
        }
    }

    #[test]
    fn numbers() {
        for (line, expected) in [
            ("", 7),
            ("n=3", 3),
            ("n=10", 10),
            ("n=11", 7),
            ("n=-1", 7),
            ("n=3x", 7),
            ("n=", 7),
            ("n=3 n", 7),
            ("n=99999999999999999999", 7),
        ] {
            let ordered = kernel(line).ordered();
            assert_eq!(Words::new(&ordered).int("n", 7, 0, 10), expected, "{line:?}");
        }
    }

    #[test]
    fn two_dashes_end_the_parameters_of_their_source_alone() {
        let sources =
            Sources { kernel: "a -- b c=1".into(), run: vec![file("r", "d")], ..Sources::default() };
        let ordered = sources.ordered();
        let words = Words::new(&ordered);
        assert_eq!(words.entries().iter().map(|e| e.word.key).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(words.after_dashes().iter().map(|e| e.word.text()).collect::<Vec<_>>(), ["b", "c=1"]);
    }

    #[test]
    fn an_open_quote_stays_in_its_source() {
        let sources = Sources {
            image: vec![file("/etc/cmdline.d/a.conf", "a=\"open")],
            kernel: "b=1".into(),
            ..Sources::default()
        };
        let ordered = sources.ordered();
        assert_eq!(Words::new(&ordered).last("b"), Some("1"));
    }

    #[test]
    fn long_texts_are_cut_at_a_word() {
        let long = format!("first=1 {} last=1", "x".repeat(MAX_SOURCE_BYTES));
        let ordered = kernel(&long).ordered();
        assert!(ordered[0].truncated);
        let words = Words::new(&ordered);
        assert_eq!(words.entries().len(), 1);
        assert_eq!(words.last("first"), Some("1"));
        let wide = "é".repeat(MAX_SOURCE_BYTES);
        assert_eq!(kernel(&wide).ordered()[0].text, "");
    }

    #[test]
    fn bytes_that_are_not_text_cost_only_themselves() {
        let ordered = kernel(&text(b"label=\xe9t\xe9 ro\0\n")).ordered();
        let words = Words::new(&ordered);
        assert_eq!(words.last("label"), Some("\u{fffd}t\u{fffd}"));
        assert_eq!(words.last("ro"), Some(""));
    }
}
