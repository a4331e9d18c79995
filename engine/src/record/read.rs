//! Lines back to events.

use super::{
    CommandId, Content, DevName, DeviceFacts, DmFacts, DriverFacts, Driverless, Entry, Event, Failure, KINDS,
    MdFacts, Moment, Outcome, Partition, PartitionTable, QuestionId, QueueFacts, ScsiFacts, SecretId,
    Signature,
};

/// What a line says.
#[expect(clippy::large_enum_variant, reason = "one exists at a time, on the stack of whoever reads lines")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Something happened.
    Event(Moment, Event),
    /// Something was asked for: the number it had, and the text of [`super::action`].
    Command(Moment, CommandId, String),
}

/// A line that is neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine(pub String);

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a recorded event or command: {}", self.0)
    }
}

/// Reads one line.
///
/// # Errors
///
/// [`BadLine`] with the line.
pub fn line(line: &str) -> Result<Line, BadLine> {
    read(line).ok_or_else(|| BadLine(line.to_owned()))
}

fn read(line: &str) -> Option<Line> {
    let mut words = line.trim_end().split(' ');
    let (seconds, milliseconds) = words.next()?.split_once('.')?;
    let milliseconds: u64 = (milliseconds.len() == 3).then_some(milliseconds)?.parse().ok()?;
    let now = Moment(seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(milliseconds)?);
    match words.next()? {
        ">" => Some(Line::Event(now, event(words)?)),
        "<" => {
            let id = CommandId(words.next()?.parse().ok()?);
            let rest: Vec<&str> = words.collect();
            (!rest.is_empty()).then(|| Line::Command(now, id, rest.join(" ")))
        }
        _ => None,
    }
}

fn event<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Event> {
    let kind = words.next()?;
    let event = match kind {
        "device" => Event::Device(DevName(text(words.next()?)?), facts(&mut words)?),
        "gone" => Event::Gone(DevName(text(words.next()?)?)),
        "coldplugged" => Event::Coldplugged,
        "drivers" => Event::Drivers(drivers(&mut words)?),
        "identified" => Event::Identified(id(words.next()?)?, content(&mut words)?),
        "done" => {
            let id = id(words.next()?)?;
            match words.next() {
                None => Event::Done(id, Outcome::Done),
                Some("made") => {
                    let (major, minor) = words.next()?.split_once(':')?;
                    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
                    Event::Done(id, Outcome::Made { major, minor })
                }
                Some("member") => {
                    let member = serde_json::from_str(&text(words.next()?)?).ok()?;
                    Event::Done(id, Outcome::Member(Box::new(member)))
                }
                Some("usr") => {
                    let mut field = || text(words.next()?);
                    let (source, target, fstype, options) = (field()?, field()?, field()?, field()?);
                    let pass = words.next()?.parse().ok()?;
                    Event::Done(id, Outcome::Usr(Box::new(Entry { source, target, fstype, options, pass })))
                }
                Some("length") => Event::Done(id, Outcome::Length(words.next()?.parse().ok()?)),
                Some("secret") => Event::Done(id, Outcome::Secret(SecretId(words.next()?.parse().ok()?))),
                Some(_) => return None,
            }
        }
        "failed" => Event::Failed(id(words.next()?)?, failure(&mut words)?),
        "typed" => {
            let secret = SecretId(words.next()?.parse().ok()?);
            Event::Typed(secret, QuestionId(words.next()?.parse().ok()?))
        }
        "retry" => Event::Retry,
        "use-root" => Event::UseRoot(text(words.next()?)?),
        "continue" => Event::Continue,
        "tick" => Event::Tick,
        _ => return None,
    };
    words.next().is_none().then_some(event)
}

fn id(word: &str) -> Option<CommandId> {
    Some(CommandId(word.parse().ok()?))
}

fn facts<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<DeviceFacts> {
    let (major, minor) = words.next()?.split_once(':')?;
    let mut facts =
        DeviceFacts { major: major.parse().ok()?, minor: minor.parse().ok()?, ..DeviceFacts::default() };
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "size" => facts.size = value.parse().ok()?,
            "sector" => facts.sector_size = value.parse().ok()?,
            "parent" => facts.parent = Some(DevName(text(value)?)),
            "partn" => facts.partn = Some(value.parse().ok()?),
            "ro" => facts.read_only = value == "1",
            "diskseq" => facts.diskseq = value.parse().ok()?,
            "dm" => {
                let [name, uuid] = fields(value)?;
                facts.dm = Some(DmFacts { name, uuid });
            }
            "md" => facts.md = Some(MdFacts { path: text(value)?, ..MdFacts::default() }),
            "md-uuid" => facts.md.get_or_insert_default().uuid = text(value)?,
            "slave" => facts.slaves.push(DevName(text(value)?)),
            "serial" => facts.serial = Some(text(value)?),
            "id" => facts.ids.push(text(value)?),
            "path" => facts.path = Some(text(value)?),
            "scsi" => {
                let [wwid, vendor, product, revision, place, protocol, handler, access, flags] =
                    fields(value)?;
                let (handler, access) = (filled(handler), filled(access));
                let [preferred, alua, running, wwn] = ['p', 'a', 'r', 'w'].map(|flag| flags.contains(flag));
                let scsi = ScsiFacts {
                    wwid,
                    wwn,
                    vendor,
                    product,
                    revision,
                    place,
                    protocol,
                    handler,
                    access,
                    preferred,
                    alua,
                    running,
                };
                facts.scsi = Some(Box::new(scsi));
            }
            "queue" => {
                let [read_ahead, dax] = fields(value)?;
                facts.queue = Some(QueueFacts { read_ahead: read_ahead.parse().ok()?, dax: dax == "dax" });
            }
            _ => return None,
        }
    }
    Some(facts)
}

fn drivers<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<DriverFacts> {
    let mut facts = DriverFacts::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "pending" => facts.pending = value.parse().ok()?,
            "driverless" => {
                let [devpath, modalias] = fields(value)?;
                facts.driverless.push(Driverless { devpath, modalias });
            }
            "failed" => {
                let [name, errno] = fields(value)?;
                facts.failed.push((name, errno.parse().ok()?));
            }
            _ => return None,
        }
    }
    Some(facts)
}

fn content<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Content> {
    let mut content = Content::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "is" => content.signatures.push(signature(value)?),
            "rejected" => content.rejected.push(signature(value)?),
            "table" => {
                let [kind, uuid, doubt] = fields(value)?;
                content.table = Some(PartitionTable {
                    gpt: kind == "gpt",
                    uuid,
                    partitions: Vec::new(),
                    doubt: filled(doubt),
                });
            }
            "part" => {
                let [number, start, length, uuid, name, kind, flags] = fields(value)?;
                content.table.as_mut()?.partitions.push(Partition {
                    number: number.parse().ok()?,
                    start: start.parse().ok()?,
                    length: length.parse().ok()?,
                    uuid,
                    name: filled(name),
                    kind,
                    flags: flags.parse().ok()?,
                });
            }
            "member" => content.member = Some(Box::new(serde_json::from_str(&text(value)?).ok()?)),
            _ => return None,
        }
    }
    Some(content)
}

fn signature(value: &str) -> Option<Signature> {
    let mut parts = value.splitn(4, ',');
    let word = parts.next()?;
    let (kind, _) = KINDS.iter().find(|(_, known)| *known == word)?;
    let label = unescape(parts.next()?)?;
    let kdf_memory = parts.next()?.parse().ok()?;
    let texts = parts.next()?;
    // Written only where there is any of it.
    let ([uuid, uuid_sub, version, cipher, doubt], integrity, tokens) = match fields::<7>(texts) {
        Some([a, b, c, d, e, integrity, tokens]) => ([a, b, c, d, e], integrity, tokens),
        None => (fields(texts)?, String::new(), String::new()),
    };
    let mut signature = Signature::new(*kind);
    signature.label = (!label.is_empty()).then_some(label);
    signature.kdf_memory = kdf_memory;
    signature.uuid = filled(uuid);
    signature.uuid_sub = filled(uuid_sub);
    signature.version = filled(version);
    signature.cipher = filled(cipher);
    signature.integrity = filled(integrity);
    signature.tokens = tokens.split_whitespace().map(str::to_owned).collect();
    signature.doubt = filled(doubt);
    Some(signature)
}

fn failure<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Failure> {
    Some(match words.next()? {
        "os" => Failure::Os { what: text(words.next()?)?, errno: words.next()?.parse().ok()? },
        "member" => Failure::Member {
            device: DevName(text(words.next()?)?),
            what: text(words.next()?)?,
            errno: words.next()?.parse().ok()?,
        },
        "wrong-secret" => Failure::WrongSecret,
        "gone" => Failure::Gone,
        "no-init" => {
            let tried = words.map(|word| {
                let [path, reason] = fields(word.strip_prefix("tried=")?)?;
                Some((path, reason))
            });
            Failure::NoInit(tried.collect::<Option<_>>()?)
        }
        "no-module" => Failure::NoModule(text(words.next()?)?),
        "no-pin" => Failure::NoPin,
        "no-key-file" => Failure::NoKeyFile(text(words.next()?)?),
        "bad-key" => Failure::BadKey(text(words.next()?)?),
        "other" => Failure::Other(text(words.next()?)?),
        _ => return None,
    })
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Exactly so many texts, separated by commas.
fn fields<const N: usize>(value: &str) -> Option<[String; N]> {
    let fields: Vec<String> = value.split(',').map(text).collect::<Option<_>>()?;
    fields.try_into().ok()
}

fn text(word: &str) -> Option<String> {
    String::from_utf8(unescape(word)?).ok()
}

fn unescape(word: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}
