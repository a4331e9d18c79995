//! The stable one-line form of events and commands: a field log in it can be replayed as a test.
//!
//! A line is `SECONDS > EVENT` or `SECONDS < NUMBER COMMAND`. Words are separated by one space; a word is text with
//! everything but printable ASCII, and `%`, `,`, `;`, `=` too, written as `%NN`.

use std::fmt::Write as _;

use ondisk::{Content, Kind, Partition, PartitionTable, Signature};

use crate::command::{
    Action, ArrayMember, Command, CryptFormat, DmTarget, HeaderSource, MarkedVolume, Mountpoint, SealedKey,
    SecretSource, Token, TokenKind,
};
use crate::event::{
    CommandId, DevName, DeviceFacts, DmFacts, DriverFacts, Driverless, Event, Failure, MdFacts, Outcome,
    QuestionId, QueueFacts, ScsiFacts, SecretId,
};
use crate::fstab::Entry;
use crate::time::Moment;

mod read;
#[cfg(test)]
mod tests;

pub use read::{BadLine, Line, line};

/// All kinds with the words that stand for them; LUKS has one blkid name for two kinds.
const KINDS: &[(Kind, &str)] = &[
    (Kind::Ext2, "ext2"),
    (Kind::Ext3, "ext3"),
    (Kind::Ext4, "ext4"),
    (Kind::Jbd, "jbd"),
    (Kind::Xfs, "xfs"),
    (Kind::Btrfs, "btrfs"),
    (Kind::Vfat, "vfat"),
    (Kind::Squashfs, "squashfs"),
    (Kind::Erofs, "erofs"),
    (Kind::Iso9660, "iso9660"),
    (Kind::Swap, "swap"),
    (Kind::SwSuspend, "swsuspend"),
    (Kind::Luks1, "luks1"),
    (Kind::Luks2, "luks2"),
    (Kind::BitLocker, "BitLocker"),
    (Kind::Lvm2Pv, "LVM2_member"),
    (Kind::MdMember, "linux_raid_member"),
    (Kind::DmVerity, "DM_verity_hash"),
    (Kind::DmIntegrity, "DM_integrity"),
    (Kind::Bcache, "bcache"),
    (Kind::Bcachefs, "bcachefs"),
    (Kind::ZfsMember, "zfs_member"),
];

/// One event as a line.
#[must_use]
pub fn event(now: Moment, event: &Event) -> String {
    let mut out = Words(format!("{now} >"));
    match event {
        Event::Device(name, facts) => out.word("device").text(&name.0).facts(facts),
        Event::Gone(name) => out.word("gone").text(&name.0),
        Event::Coldplugged => out.word("coldplugged"),
        Event::Drivers(facts) => out.word("drivers").drivers(facts),
        Event::Identified(id, content) => out.word("identified").number(id.0).content(content),
        Event::Done(id, Outcome::Done) => out.word("done").number(id.0),
        Event::Done(id, Outcome::Secret(secret)) => {
            out.word("done").number(id.0).word("secret").number(secret.0)
        }
        Event::Done(id, Outcome::Length(sectors)) => {
            out.word("done").number(id.0).word("length").number(*sectors)
        }
        Event::Done(id, Outcome::Made { major, minor }) => {
            out.word("done").number(id.0).word("made").word(&format!("{major}:{minor}"))
        }
        Event::Done(id, Outcome::Member(member)) => {
            let member = serde_json::to_string(member).unwrap_or_default();
            out.word("done").number(id.0).word("member").text(&member)
        }
        Event::Done(id, Outcome::Usr(entry)) => {
            let Entry { source, target, fstype, options, pass } = &**entry;
            out.word("done").number(id.0).word("usr");
            [source, target, fstype, options].into_iter().fold(&mut out, |out, field| out.text(field));
            out.number((*pass).into())
        }
        Event::Failed(id, failure) => out.word("failed").number(id.0).failure(failure),
        Event::Typed(secret, question) => out.word("typed").number(secret.0).number(question.0),
        Event::Retry => out.word("retry"),
        Event::UseRoot(path) => out.word("use-root").text(path),
        Event::Continue => out.word("continue"),
        Event::Tick => out.word("tick"),
    };
    out.0
}

/// One command as a line. Explanations and remarks are cut to what they are: their text is in the log itself.
#[must_use]
pub fn command(now: Moment, command: &Command) -> String {
    format!("{now} < {} {}", command.id.0, action(&command.action))
}

/// What a command does, without its number.
#[must_use]
pub fn action(action: &Action) -> String {
    let mut out = Words(String::new());
    match action {
        Action::Coldplug => out.word("coldplug"),
        Action::Identify(device) => out.word("identify").text(&device.0),
        Action::LoadModules(names) => out.word("modules").list(names),
        Action::LoadInputDrivers => out.word("input-drivers"),
        Action::LoadOtherDrivers => out.word("other-drivers"),
        Action::Link(device, links) => out.word("link").text(&device.0).list(links),
        Action::UnsealKey(place, secret) => {
            let out = out.word("unseal-key").sealed(place);
            secret.iter().fold(out, |out, secret| out.word("held").number(secret.0))
        }
        Action::OpenCrypt { device, name, secret, options } => {
            out.word("open").text(&device.0).text(name);
            match secret {
                SecretSource::Held(id) => out.word("held").number(id.0),
                SecretSource::File { path, .. } => out.word("file").text(path),
            };
            match &options.format {
                CryptFormat::Luks => &mut out,
                CryptFormat::Plain(_) => out.word("plain"),
                CryptFormat::BitLocker => out.word("bitlocker"),
                CryptFormat::Tcrypt(_) => out.word("tcrypt"),
            };
            if let Some(place) = &options.header {
                out.place(place);
            }
            out.volumes(&options.volumes)
        }
        Action::CreateDm(device) | Action::CreateKeyedDm(device, _) | Action::ReloadDm(device) => {
            let verb = match action {
                Action::ReloadDm(_) => "reload-dm",
                _ if device.held => "create-dm-held",
                _ => "create-dm",
            };
            out.word(verb).text(&device.name).text(&device.uuid);
            if let Some(minor) = device.minor {
                out.value("minor", &minor.to_string());
            }
            for DmTarget { start, length, kind, params } in &device.targets {
                out.word(&format!("{start},{length},{kind},{}", escape(params.as_bytes())));
            }
            out.volumes(&device.volumes)
        }
        Action::MessageDm(name, message) => out.word("message-dm").text(name).text(message),
        Action::ResumeDm(name, _) => out.word("resume-dm").text(name),
        Action::CheckPool((major, minor), _) => out.word("check-pool").word(&format!("{major}:{minor}")),
        Action::StartBcache(device, alone, volumes) => {
            out.word("start-bcache").text(&device.0).word(if *alone { "alone" } else { "register" });
            out.volumes(volumes)
        }
        Action::ReadVerity(device, offset) => out.word("read-verity").text(&device.0).number(*offset),
        Action::StartContainer(request) => {
            let out = out.word("start-container").text(&request.uuid);
            for volume in &request.volumes {
                let legs: Vec<&str> = volume.legs.iter().map(|(device, ..)| device.0.as_str()).collect();
                out.word(&format!("{},{}", volume.index, escape(legs.join("+").as_bytes())));
            }
            out
        }
        Action::RemoveDm(name) => out.word("remove-dm").text(name),
        Action::AssembleArray(array) => {
            let number = array.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            out.word("assemble-array").text(&array.metadata).text(&array.map_uuid).word(&number);
            out.text(array.path.as_deref().unwrap_or("-"));
            if array.read_auto {
                out.word("read-auto");
            }
            for ArrayMember { device, number, slot, state } in &array.members {
                out.word(&format!("{},{number},{slot},{state:#x}", escape(device.0.as_bytes())));
            }
            out.volumes(&array.volumes)
        }
        Action::AddSpare(array, spare) => out.word("add-spare").text(&array.0).text(&spare.device.0),
        Action::StopArray(array) => out.word("stop-array").text(&array.0),
        Action::WaitClean => out.word("wait-clean"),
        Action::RemovePartitions(disk) => out.word("remove-partitions").text(&disk.0),
        Action::MakeWritable(volumes) => {
            let volumes: Vec<String> = volumes.iter().map(|one| one.array.0.clone()).collect();
            out.word("make-writable").list(&volumes)
        }
        Action::ReadKey { device, path, .. } => out.word("read-key").text(&device.0).text(path),
        Action::AskPassphrase { .. } => out.word("ask"),
        Action::StopAsking => out.word("stop-asking"),
        Action::Mount(request) => {
            out.word("mount").text(&request.device.0).list(&request.fstypes);
            if request.mountpoint == Mountpoint::Usr {
                out.value("at", "/usr");
            }
            fn names(devices: &[DevName]) -> Vec<&str> {
                devices.iter().map(|device| device.0.as_str()).collect()
            }
            if !request.members.is_empty() {
                out.values("members", &names(&request.members))
                    .value("missing", &request.missing.to_string());
            }
            out.volumes(&request.volumes)
        }
        Action::SwitchRoot { .. } => out.word("switch-root"),
        Action::Break(point) => out.word("break").word(&format!("{point:?}")),
        Action::Say(loudness, _) => out.word("say").word(&format!("{loudness:?}")),
        Action::Explain(loudness, _) => out.word("explain").word(&format!("{loudness:?}")),
        Action::Rescue => out.word("rescue"),
        Action::GiveUp(end) => out.word("give-up").text(&format!("{end:?}")),
    };
    out.0
}

/// A line that grows.
struct Words(String);

impl Words {
    fn word(&mut self, word: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(word);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.word(&number.to_string())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.word(&escape(text.as_bytes()))
    }

    fn list(&mut self, list: &[String]) -> &mut Self {
        let escaped: Vec<String> = list.iter().map(|one| escape(one.as_bytes())).collect();
        self.word(&escaped.join(","))
    }

    /// A key that has to be unlocked.
    fn sealed(&mut self, key: &SealedKey) -> &mut Self {
        match key {
            SealedKey::File(place) => self.place(place),
            SealedKey::Token(Token { kind, node, container, header }) => {
                let word = match kind {
                    TokenKind::Tpm2 => "tpm2",
                    TokenKind::Fido2 => "fido2",
                };
                let out = self.value(word, &container.0);
                let out = header.iter().fold(out, |out, header| out.place(header));
                node.iter().fold(out, |out, node| out.value("node", node))
            }
        }
    }

    /// Where a header, or a key in the form of one, lies.
    fn place(&mut self, place: &HeaderSource) -> &mut Self {
        match place {
            HeaderSource::Device(device) => self.value("header", &device.0),
            HeaderSource::File(path) => self.value("header-file", path),
            HeaderSource::FileOn { device, path, .. } => self.values("header-on", &[&device.0, path]),
        }
    }

    fn value(&mut self, key: &str, value: &str) -> &mut Self {
        self.word(&format!("{key}={}", escape(value.as_bytes())))
    }

    fn values(&mut self, key: &str, values: &[&str]) -> &mut Self {
        let escaped: Vec<String> = values.iter().map(|one| escape(one.as_bytes())).collect();
        self.word(&format!("{key}={}", escaped.join(",")))
    }

    /// BIOS RAID volumes that are made writable first.
    fn volumes(&mut self, volumes: &[MarkedVolume]) -> &mut Self {
        let names: Vec<&str> = volumes.iter().map(|one| one.array.0.as_str()).collect();
        if names.is_empty() { self } else { self.values("volumes", &names) }
    }

    fn facts(&mut self, facts: &DeviceFacts) -> &mut Self {
        self.word(&format!("{}:{}", facts.major, facts.minor));
        self.value("size", &facts.size.to_string()).value("sector", &facts.sector_size.to_string());
        if let Some(parent) = &facts.parent {
            self.value("parent", &parent.0);
        }
        if let Some(number) = facts.partn {
            self.value("partn", &number.to_string());
        }
        if facts.read_only {
            self.value("ro", "1");
        }
        if facts.diskseq != 0 {
            self.value("diskseq", &facts.diskseq.to_string());
        }
        if let Some(dm) = &facts.dm {
            self.values("dm", &[&dm.name, &dm.uuid]);
        }
        if let Some(md) = &facts.md {
            self.value("md", &md.path);
            self.value("md-uuid", &md.uuid);
        }
        facts.slaves.iter().for_each(|slave| {
            self.value("slave", &slave.0);
        });
        if let Some(serial) = &facts.serial {
            self.value("serial", serial);
        }
        facts.ids.iter().for_each(|id| {
            self.value("id", id);
        });
        if let Some(path) = &facts.path {
            self.value("path", path);
        }
        if let Some(scsi) = &facts.scsi {
            self.scsi(scsi);
        }
        if let Some(queue) = &facts.queue {
            self.values("queue", &[&queue.read_ahead.to_string(), if queue.dax { "dax" } else { "" }]);
        }
        self
    }

    fn scsi(&mut self, facts: &ScsiFacts) {
        let ScsiFacts { wwid, vendor, product, revision, place, protocol, .. } = facts;
        let (handler, access) = (facts.handler.as_deref(), facts.access.as_deref());
        let flag = |on, word| if on { word } else { "" };
        let flags = [(facts.preferred, "p"), (facts.alua, "a"), (facts.running, "r"), (facts.wwn, "w")];
        let flags = flags.map(|(on, word)| flag(on, word)).concat();
        let (handler, access) = (handler.unwrap_or_default(), access.unwrap_or_default());
        let texts = [wwid, vendor, product, revision, place, protocol, handler, access, &flags];
        self.values("scsi", &texts);
    }

    fn drivers(&mut self, facts: &DriverFacts) -> &mut Self {
        self.value("pending", &facts.pending.to_string());
        for Driverless { devpath, modalias } in &facts.driverless {
            self.values("driverless", &[devpath, modalias]);
        }
        for (name, errno) in &facts.failed {
            self.values("failed", &[name, &errno.to_string()]);
        }
        self
    }

    fn content(&mut self, content: &Content) -> &mut Self {
        for signature in &content.signatures {
            self.signature("is", signature);
        }
        for signature in &content.rejected {
            self.signature("rejected", signature);
        }
        if let Some(table) = &content.table {
            let kind = if table.gpt { "gpt" } else { "mbr" };
            self.values("table", &[kind, &table.uuid, table.doubt.as_deref().unwrap_or("")]);
            for part in &table.partitions {
                let (number, start) = (part.number.to_string(), part.start.to_string());
                let (length, flags) = (part.length.to_string(), part.flags.to_string());
                let name = part.name.as_deref().unwrap_or("");
                self.values("part", &[&number, &start, &length, &part.uuid, name, &part.kind, &flags]);
            }
        }
        if let Some(member) = content.member.as_ref().and_then(|member| serde_json::to_string(member).ok()) {
            self.value("member", &member);
        }
        self
    }

    fn signature(&mut self, key: &str, signature: &Signature) {
        let kind = KINDS.iter().find(|(kind, _)| *kind == signature.kind).map_or("?", |(_, word)| *word);
        let label = escape(signature.label.as_deref().unwrap_or_default());
        let texts =
            [&signature.uuid, &signature.uuid_sub, &signature.version, &signature.cipher, &signature.doubt];
        let mut texts: Vec<String> =
            texts.into_iter().map(|text| escape(text.as_deref().unwrap_or("").as_bytes())).collect();
        if signature.integrity.is_some() || !signature.tokens.is_empty() {
            texts.push(escape(signature.integrity.as_deref().unwrap_or("").as_bytes()));
            texts.push(escape(signature.tokens.join(" ").as_bytes()));
        }
        self.word(&format!("{key}={kind},{label},{},{}", signature.kdf_memory, texts.join(",")));
    }

    fn failure(&mut self, failure: &Failure) -> &mut Self {
        match failure {
            Failure::Os { what, errno } => self.word("os").text(what).word(&errno.to_string()),
            Failure::Member { device, what, errno } => {
                self.word("member").text(&device.0).text(what).word(&errno.to_string())
            }
            Failure::WrongSecret => self.word("wrong-secret"),
            Failure::Gone => self.word("gone"),
            Failure::NoInit(tried) => {
                self.word("no-init");
                for (path, reason) in tried {
                    self.values("tried", &[path, reason]);
                }
                self
            }
            Failure::NoModule(name) => self.word("no-module").text(name),
            Failure::NoPin => self.word("no-pin"),
            Failure::NoKeyFile(path) => self.word("no-key-file").text(path),
            Failure::BadKey(text) => self.word("bad-key").text(text),
            Failure::Other(text) => self.word("other").text(text),
        }
    }
}

/// Text as one word.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && !b"%,;=".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}
