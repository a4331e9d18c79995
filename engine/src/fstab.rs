//! Lines of `/etc/fstab` (fstab(5)).

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// First field: what is mounted, escapes undone.
    pub source: String,
    /// Second field: where, escapes undone.
    pub target: String,
    /// Third field.
    pub fstype: String,
    /// Fourth field; `defaults` when the line ends before it.
    pub options: String,
    /// Sixth field: order of checking, 0 for never.
    pub pass: u32,
}

/// Reads one line; `None` for comments, blank lines and lines of fewer than three fields.
#[must_use]
pub fn parse_line(line: &str) -> Option<Entry> {
    let line = line.trim_start_matches([' ', '\t']);
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split([' ', '\t', '\r', '\n']).filter(|field| !field.is_empty());
    let source = unescape(fields.next()?);
    let target = unescape(fields.next()?);
    let fstype = unescape(fields.next()?);
    let options = fields.next().map_or_else(|| "defaults".to_owned(), unescape);
    let pass = fields.nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    Some(Entry { source, target, fstype, options, pass })
}

/// The entry for `/`: the last one, as systemd's generator and mount(8) take it.
#[must_use]
pub fn root_entry(text: &str) -> Option<Entry> {
    text.lines().filter_map(parse_line).rfind(|entry| entry.target == "/")
}

/// The entry for `/usr`, unless it is not to be mounted by itself (`noauto`).
#[must_use]
pub fn usr_entry(text: &str) -> Option<Entry> {
    let entry =
        text.lines().filter_map(parse_line).rfind(|entry| entry.target.trim_end_matches('/') == "/usr");
    entry.filter(|entry| !entry.options.split(',').any(|option| option == "noauto"))
}

/// Undoes `\ooo` (three octal digits), the only escape that fstab(5) knows.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (first, tail) {
            bytes.push(((a & 3) << 6) | ((b & 7) << 3) | (c & 7));
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{parse_line, root_entry};

    #[test]
    fn a_full_line() {
        let entry = parse_line("UUID=1234-abcd  /\text4 errors=remount-ro,noatime 0 1").expect("entry");
        assert_eq!(entry.source, "UUID=1234-abcd");
        assert_eq!(entry.target, "/");
        assert_eq!(entry.fstype, "ext4");
        assert_eq!(entry.options, "errors=remount-ro,noatime");
        assert_eq!(entry.pass, 1);
    }

    #[test]
    fn short_lines() {
        assert_eq!(
            parse_line("/dev/vda1 / ext4").map(|entry| (entry.options, entry.pass)),
            Some(("defaults".to_owned(), 0))
        );
        for line in ["", "   ", "# a / ext4 defaults 0 1", "  # x / y", "/dev/vda1 /", "one"] {
            assert_eq!(parse_line(line), None, "{line:?}");
        }
    }

    #[test]
    fn escapes() {
        let entry = parse_line(r"LABEL=my\040disk /mnt/a\011b ext4 a\054b\\ 0 x").expect("entry");
        assert_eq!(entry.source, "LABEL=my disk");
        assert_eq!(entry.target, "/mnt/a\tb");
        assert_eq!(entry.options, r"a,b\\");
        assert_eq!(entry.pass, 0);
        assert_eq!(parse_line(r"a\04 b\8 c\").map(|entry| entry.source), Some(r"a\04".to_owned()));
        assert_eq!(parse_line(r"\377 / c").map(|entry| entry.source), Some("\u{fffd}".to_owned()));
    }

    #[test]
    fn the_last_entry_for_root_counts() {
        let text = "proc /proc proc defaults\n/dev/a / ext4 ro\n/dev/b /home ext4 rw\n/dev/c / xfs rw\r\n";
        assert_eq!(
            root_entry(text).map(|entry| (entry.source, entry.options)),
            Some(("/dev/c".to_owned(), "rw".to_owned()))
        );
        assert_eq!(root_entry("/dev/b /home ext4 rw\n"), None);
    }
}
