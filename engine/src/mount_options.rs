//! Mount option strings: which words are the mount's, which are the file system's, which are nobody's.

/// What an option string says, sorted by who is to be told.
///
/// The kernel takes three kinds apart (mount(2), fsmount(2)): flags of the mount, flags of the superblock, and options
/// of the file system, which are passed on word by word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// `ro` (true) or `rw` (false), whichever came last; `None` when neither was named.
    pub read_only: Option<bool>,
    /// `nosuid`
    pub nosuid: bool,
    /// `nodev`
    pub nodev: bool,
    /// `noexec`
    pub noexec: bool,
    /// `nodiratime`
    pub nodiratime: bool,
    /// `nosymfollow`
    pub nosymfollow: bool,
    /// `relatime`, `noatime` or `strictatime`; the kernel's default is `relatime`.
    pub atime: Atime,
    /// `sync`
    pub sync: bool,
    /// `dirsync`
    pub dirsync: bool,
    /// `lazytime`
    pub lazytime: bool,
    /// What is left for the file system, in order: `KEY` or `KEY=VALUE` with outer quotes removed.
    pub data: Vec<(String, Option<String>)>,
}

/// When reading updates access times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Atime {
    /// The kernel's default.
    #[default]
    Relative,
    /// `noatime`
    Never,
    /// `strictatime`
    Always,
}

impl MountOptions {
    /// Reads a comma-separated option string as mount(8) understands it.
    ///
    /// Commas inside double quotes do not separate. Words that only mount(8), systemd or network scripts read
    /// (`defaults`, `auto`, `user`, `_netdev`, `nofail`, `comment=`, `x-*`, `X-*`) are dropped. Later words win.
    #[must_use]
    pub fn parse(text: &str) -> MountOptions {
        let mut options = MountOptions::default();
        options.extend(text);
        options
    }

    /// Adds the words of another string, which win over those before.
    pub fn extend(&mut self, text: &str) {
        for word in split(text) {
            self.word(word);
        }
    }

    fn word(&mut self, word: &str) {
        match word {
            "" | "defaults" | "auto" | "noauto" | "nouser" | "nofail" | "_netdev" | "nostrictatime"
            | "silent" | "loud" | "norelatime" | "noiversion" | "mand" | "nomand" => {}
            "user" | "users" | "owner" | "group" => {
                // mount(8): these imply the safe flags unless later words take them back.
                self.nosuid = true;
                self.nodev = true;
                self.noexec |= matches!(word, "user" | "users");
            }
            "ro" => self.read_only = Some(true),
            "rw" => self.read_only = Some(false),
            "nosuid" => self.nosuid = true,
            "suid" => self.nosuid = false,
            "nodev" => self.nodev = true,
            "dev" => self.nodev = false,
            "noexec" => self.noexec = true,
            "exec" => self.noexec = false,
            "nodiratime" => self.nodiratime = true,
            "diratime" => self.nodiratime = false,
            "nosymfollow" => self.nosymfollow = true,
            "symfollow" => self.nosymfollow = false,
            "relatime" | "atime" => self.atime = Atime::Relative,
            "noatime" => self.atime = Atime::Never,
            "strictatime" => self.atime = Atime::Always,
            "sync" => self.sync = true,
            "async" => self.sync = false,
            "dirsync" => self.dirsync = true,
            "lazytime" => self.lazytime = true,
            "nolazytime" => self.lazytime = false,
            _ => self.data_word(word),
        }
    }

    fn data_word(&mut self, word: &str) {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(unquote(value).to_owned())),
            None => (word, None),
        };
        if key.is_empty() || key == "comment" || key.starts_with("x-") || key.starts_with("X-") {
            return;
        }
        self.data.push((key.to_owned(), value));
    }

    /// Words that keep a read-only mount from writing to the disk by replaying its journal; each is to be tried until the
    /// kernel takes one. Empty: none is needed.
    #[must_use]
    pub fn without_replay(fstype: &str) -> &'static [&'static str] {
        match fstype {
            "ext3" | "ext4" => &["noload"],
            "xfs" => &["norecovery"],
            // The first since 5.9, the second until it goes away.
            "btrfs" => &["rescue=nologreplay", "nologreplay"],
            "bcachefs" => &["nochanges"],
            _ => &[],
        }
    }

    /// The file system's options as the single string of mount(2).
    #[must_use]
    pub fn data_string(&self) -> String {
        let words = self.data.iter().map(|(key, value)| {
            let Some(value) = value else { return key.clone() };
            let word = format!("{key}={value}");
            // Quotes that stand within the value go on keeping its commas together.
            if split(&word).nth(1).is_some() { format!("{key}=\"{value}\"") } else { word }
        });
        words.collect::<Vec<_>>().join(",")
    }

    /// Drops options that name what is mounted rather than how: they cannot change on a remount, and some file systems
    /// refuse them there (btrfs `subvol`, `subvolid`, `device`).
    #[must_use]
    pub fn for_remount(mut self) -> MountOptions {
        self.data.retain(|(key, _)| {
            !matches!(key.as_str(), "subvol" | "subvolid" | "device" | "logdev" | "rtdev")
        });
        self
    }
}

/// Splits at commas outside double quotes.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        character == ',' && !quoted
    })
    .map(str::trim)
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{Atime, MountOptions};

    fn data(text: &str) -> String {
        MountOptions::parse(text).data_string()
    }

    #[test]
    fn defaults_is_nothing() {
        assert_eq!(MountOptions::parse("defaults"), MountOptions::default());
        assert_eq!(MountOptions::parse(""), MountOptions::default());
        assert_eq!(MountOptions::parse(",,"), MountOptions::default());
    }

    #[test]
    fn the_last_of_ro_and_rw_wins() {
        assert_eq!(MountOptions::parse("ro,rw").read_only, Some(false));
        assert_eq!(MountOptions::parse("rw,ro").read_only, Some(true));
        let mut options = MountOptions::parse("ro,errors=remount-ro");
        options.extend("rw");
        assert_eq!((options.read_only, options.data_string().as_str()), (Some(false), "errors=remount-ro"));
    }

    #[test]
    fn flags_are_not_data() {
        let options = MountOptions::parse(
            "noatime,nodev,nosuid,noexec,nodiratime,sync,dirsync,lazytime,nosymfollow,rw",
        );
        assert!(options.data.is_empty(), "{:?}", options.data);
        assert!(options.nodev && options.nosuid && options.noexec && options.nodiratime);
        assert!(options.sync && options.dirsync && options.lazytime && options.nosymfollow);
        assert_eq!(options.atime, Atime::Never);
        assert_eq!(MountOptions::parse("noatime,strictatime").atime, Atime::Always);
        assert!(!MountOptions::parse("nosuid,suid").nosuid);
    }

    #[test]
    fn file_system_words_keep_their_order() {
        assert_eq!(data("subvol=@,compress=zstd:3,ro,degraded"), "subvol=@,compress=zstd:3,degraded");
        assert_eq!(
            data("errors=remount-ro,x-systemd.growfs,_netdev,nofail,X-mount.mkdir,comment=a"),
            "errors=remount-ro"
        );
        assert_eq!(data("=x,a="), "a=");
    }

    #[test]
    fn quotes_keep_commas() {
        let options = MountOptions::parse("context=\"system_u:object_r:root_t:s0:c1,c2\",ro");
        assert_eq!(
            options.data,
            [("context".to_owned(), Some("system_u:object_r:root_t:s0:c1,c2".to_owned()))]
        );
        assert_eq!(options.read_only, Some(true));
        assert_eq!(options.data_string(), "context=\"system_u:object_r:root_t:s0:c1,c2\"");
    }

    #[test]
    fn the_string_has_the_words_that_were_read() {
        for text in ["a=\"b,c\"", "a=x\"b,c\"", "a=\"x\"y\"b,c\"", "\"a=b,c\"", "a=\"b,c", "a,b=c"] {
            assert_eq!(data(text), text);
        }
    }

    #[test]
    fn journals_are_left_alone() {
        for (fstype, words) in [
            ("ext2", &[][..]),
            ("ext4", &["noload"]),
            ("xfs", &["norecovery"]),
            ("btrfs", &["rescue=nologreplay", "nologreplay"]),
            ("vfat", &[]),
        ] {
            assert_eq!(MountOptions::without_replay(fstype), words, "{fstype}");
        }
    }

    #[test]
    fn remount_drops_what_names_the_tree() {
        let options = MountOptions::parse("subvol=@,subvolid=256,compress=lzo").for_remount();
        assert_eq!(options.data_string(), "compress=lzo");
    }
}
