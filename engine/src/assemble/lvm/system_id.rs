//! Whom this machine takes itself for, which decides whose groups are its own (lvmsystemid(7); lvm2:
//! lib/commands/toolcontext.c, _init_system_id and _system_id_from_source; lib/metadata/metadata.c, is_system_id_allowed).

use ondisk::machine_id;

use crate::image::MACHINE_ID;

/// lvm2's own number, from which and the machine's id `appmachineid` is made (lvm2: LVM_APPLICATION_ID).
const LVM: [u8; 16] =
    [0xf6, 0x44, 0x06, 0x83, 0x2c, 0x21, 0x40, 0xe8, 0xac, 0x54, 0x22, 0xd1, 0x08, 0x9a, 0xae, 0x03];
/// Longest system id (lvm2: NAME_LEN).
const LONGEST: usize = 128;

/// `global/system_id_source`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Source {
    /// This machine has no system id.
    #[default]
    Nobody,
    /// `lvmlocal`: `local/system_id`.
    Local,
    /// `uname`.
    Hostname,
    /// `machineid` and `file`: the first line of a file. Without a path there is none.
    File(Option<String>),
    /// `appmachineid`.
    Application,
    /// A word that means nothing.
    Unknown,
}

/// This machine's system id.
#[derive(Debug, Clone, Default)]
pub struct SystemId {
    word: String,
    source: Source,
    own: Option<String>,
    /// Others that are accepted as long as it has one of its own.
    extra: Vec<String>,
}

/// The settings that decide about it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `global/system_id_source`.
    pub source: Option<String>,
    /// `global/system_id_file`.
    pub file: Option<String>,
    /// `global/etc`.
    pub etc: Option<String>,
    /// `local/system_id`.
    pub own: Option<String>,
    /// `local/extra_system_ids`.
    pub extra: Vec<String>,
}

impl SystemId {
    /// A machine without.
    pub const NONE: SystemId =
        SystemId { word: String::new(), source: Source::Nobody, own: None, extra: Vec::new() };

    /// What the settings say by themselves; [`SystemId::resolve`] has to follow.
    pub fn new(settings: Settings) -> SystemId {
        // For lvm2 an empty text is as good as none.
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let word = filled(settings.source).unwrap_or_else(|| "none".to_owned());
        let source = match word.to_ascii_lowercase().as_str() {
            // The one word that counts as it is written.
            "none" if word == "none" => Source::Nobody,
            "lvmlocal" => Source::Local,
            "uname" => Source::Hostname,
            "appmachineid" => Source::Application,
            "machineid" | "machine-id" => {
                let etc = filled(settings.etc).unwrap_or_else(|| "/etc".to_owned());
                Source::File(Some(format!("{etc}/machine-id")))
            }
            "file" => Source::File(filled(settings.file)),
            _ => Source::Unknown,
        };
        let own = settings.own.filter(|_| source == Source::Local).and_then(|text| system_id(&text));
        SystemId { word, source, own, extra: settings.extra }
    }

    /// The file that has to be known.
    pub fn file(&self) -> Option<&str> {
        match &self.source {
            Source::File(path) => path.as_deref(),
            Source::Application => Some(MACHINE_ID),
            _ => None,
        }
    }

    /// Whether the host name has to be known.
    pub fn wants_hostname(&self) -> bool {
        self.source == Source::Hostname
    }

    /// Finds the id out; `file` is what [`SystemId::file`] holds.
    pub fn resolve(&mut self, hostname: &str, file: Option<&[u8]>) {
        match &self.source {
            Source::Hostname => self.own = system_id(hostname),
            Source::File(_) => self.own = file.and_then(from_file),
            Source::Application => {
                // With an id that it cannot read lvm2 goes on with zeros, which any such machine would have.
                let id = file.and_then(machine_id::read).map(|id| machine_id::for_application(id, LVM));
                self.own = id.as_deref().and_then(system_id);
            }
            Source::Nobody | Source::Local | Source::Unknown => {}
        }
    }

    /// Whether a group of the system `id` is this machine's.
    pub fn is_own(&self, id: &str) -> bool {
        self.own.as_ref().is_some_and(|own| own == id || self.extra.iter().any(|extra| extra == id))
    }

    /// Why a group of the system `id` is not this machine's, and what to do if it is.
    pub fn foreign(&self, id: &str) -> (String, String) {
        if let Some(own) = &self.own {
            return (
                format!("it belongs to the system {id}, and this machine is {own}"),
                format!(
                    "put extra_system_ids = [\"{id}\"] into the local section of lvmlocal.conf if this machine may use \
                     it, and build the image anew (lvmsystemid(7))"
                ),
            );
        }
        let word = &self.word;
        let anew = "and build the image anew (lvmsystemid(7))";
        let (why, fix) = match &self.source {
            Source::Nobody => {
                let fix = format!(
                    "put system_id_source = \"lvmlocal\" into the global section of lvm.conf and system_id = \"{id}\" \
                     into the local section of lvmlocal.conf, {anew}"
                );
                return (
                    format!("it belongs to the system {id}, and lvm.conf gives this machine no system id"),
                    format!("if that is this machine: {fix}"),
                );
            }
            Source::Local => (
                "local/system_id is not set".to_owned(),
                format!("put system_id = \"{id}\" into the local section of lvmlocal.conf, {anew}"),
            ),
            Source::Hostname => (
                "the host name is not known this early, or is localhost".to_owned(),
                format!("put its name into /etc/hostname, {anew}"),
            ),
            Source::File(None) => {
                ("global/system_id_file is not set".to_owned(), format!("set it in lvm.conf, {anew}"))
            }
            Source::File(Some(path)) => (
                format!("the image's {path} is missing or holds none"),
                format!("see to {path}, {anew}, host-only or with --add {path}"),
            ),
            Source::Application => (
                format!("the image's {MACHINE_ID} is missing or holds no machine id"),
                format!("see to {MACHINE_ID}, {anew}, host-only or with --add {MACHINE_ID}"),
            ),
            Source::Unknown => (
                "that is no source".to_owned(),
                format!("set global/system_id_source in lvm.conf to what it is to be, {anew}"),
            ),
        };
        (
            format!(
                "it belongs to the system {id}, and this machine's system id is unknown: system_id_source is {word}, and \
                 {why}"
            ),
            format!("if that is this machine: {fix}"),
        )
    }
}

/// What lvm2 makes of a text: letters, digits and some signs, from the first letter or digit (copy_systemid_chars).
/// `localhost` is the name of many.
fn system_id(text: &str) -> Option<String> {
    let letters = text.chars().skip_while(|letter| !letter.is_ascii_alphanumeric());
    let kept = letters.filter(|letter| letter.is_ascii_alphanumeric() || "._-+".contains(*letter));
    let id: String = kept.take(LONGEST).collect();
    (!id.is_empty() && !id.starts_with("localhost")).then_some(id)
}

/// The first line that holds an id; `#` begins a comment (_read_system_id_from_file).
fn from_file(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find_map(|line| system_id(line.split('#').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(source: &str) -> Settings {
        Settings { source: Some(source.into()), extra: vec!["other".into()], ..Settings::default() }
    }

    #[test]
    fn every_source() {
        let machine = b"51df0b4bc3b04c9780e299b98ca373b8\n";
        for (source, file, own) in [
            ("uname", None, "host.example"),
            ("UNAME", None, "host.example"),
            ("machineid", Some("/etc/machine-id"), "51df0b4bc3b04c9780e299b98ca373b8"),
            ("machine-id", Some("/etc/machine-id"), "51df0b4bc3b04c9780e299b98ca373b8"),
            ("appmachineid", Some("/etc/machine-id"), "eb898014e1b64159b088f384c2fc6d0d"),
            ("file", Some("/etc/lvm/id"), "51df0b4bc3b04c9780e299b98ca373b8"),
            ("lvmlocal", None, "local"),
        ] {
            let (file_setting, local) = (Some("/etc/lvm/id".into()), Some("lo cal".into()));
            let mut id = SystemId::new(Settings { file: file_setting, own: local, ..settings(source) });
            assert_eq!(id.file(), file, "{source}");
            assert_eq!(id.wants_hostname(), source.eq_ignore_ascii_case("uname"));
            id.resolve("host.example", Some(machine));
            assert!(id.is_own(own) && id.is_own("other") && !id.is_own("third"), "{source}: {id:?}");
            assert!(id.foreign("third").0.contains(&format!("this machine is {own}")));
        }
        let id = SystemId::new(Settings { etc: Some("/usr/etc".into()), ..settings("machineid") });
        assert_eq!(id.file(), Some("/usr/etc/machine-id"));
    }

    /// lvm2 then uses groups without a system id only, whatever extra_system_ids says.
    #[test]
    fn what_cannot_be_found_out_owns_nothing() {
        let zeros = "0".repeat(32);
        for (source, hostname, file, why) in [
            ("none", "host", None, "gives this machine no system id"),
            ("", "host", None, "gives this machine no system id"),
            ("NONE", "host", None, "system_id_source is NONE, and that is no source"),
            ("uname", "", None, "host name is not known"),
            ("uname", "localhost.localdomain", None, "is localhost"),
            ("machineid", "host", None, "/etc/machine-id is missing or holds none"),
            ("machineid", "host", Some("# nothing\n\n"), "/etc/machine-id is missing or holds none"),
            ("appmachineid", "host", None, "holds no machine id"),
            ("appmachineid", "host", Some("uninitialized\n"), "holds no machine id"),
            ("appmachineid", "host", Some(zeros.as_str()), "holds no machine id"),
            ("file", "host", Some("me"), "system_id_file is not set"),
            ("lvmlocal", "host", None, "local/system_id is not set"),
        ] {
            let mut id = SystemId::new(settings(source));
            id.resolve(hostname, id.file().is_some().then_some(file).flatten().map(str::as_bytes));
            for other in ["", "other", "host", "localhost.localdomain", zeros.as_str()] {
                assert!(!id.is_own(other), "{source} {other}");
            }
            let (said, advice) = id.foreign("other");
            assert!(said.contains(why), "{source}: {said}");
            assert!(advice.starts_with("if that is this machine: "), "{advice}");
        }
    }

    #[test]
    fn texts() {
        for (file, id) in [
            ("a1\n", Some("a1")),
            ("# c\n\n  ?\n \t_my host! # mine\nother\n", Some("myhost")),
            ("x.y_z-1+2", Some("x.y_z-1+2")),
            ("localhost\nreal\n", Some("real")),
            ("", None),
        ] {
            assert_eq!(from_file(file.as_bytes()).as_deref(), id, "{file:?}");
        }
        assert_eq!(system_id(&"a".repeat(200)).map(|id| id.len()), Some(128));
    }
}
