//! `/etc/mdadm/mdadm.conf` of the image, as far as it names arrays (mdadm.conf(5)).

use crate::diagnostic::{Diagnostic, Remarks, shorten};
use crate::source::digits;

/// More `ARRAY` lines than this are not read.
const MAX_ARRAYS: usize = 1024;

/// What belongs to this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HomeHost {
    /// `<system>`, also without a `HOMEHOST` line: the machine's host name.
    #[default]
    System,
    /// `<none>`: no array is local by its name.
    None,
    /// This name.
    Name(String),
}

/// One `ARRAY` line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArrayLine {
    /// Device: `/dev/md0`, `/dev/md/NAME`, `NAME`; `None` where the line gives none.
    pub device: Option<String>,
    /// `<ignore>` in place of a device: never assembled.
    pub ignore: bool,
    /// `UUID=`.
    pub uuid: Option<[u8; 16]>,
    /// `name=`; recent mdadm heeds it only where nothing else identifies the array.
    pub name: Option<String>,
    /// `super-minor=`.
    pub super_minor: Option<u32>,
    /// `devices=`: one of its members has one of these paths, as fnmatch(3) patterns.
    pub devices: Vec<String>,
    /// `container=`: the UUID or the path of the container with external metadata that the array lies in.
    pub container: Option<String>,
    /// `member=`: its number there.
    pub member: Option<String>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MdadmConf {
    /// `ARRAY` lines in order.
    pub arrays: Vec<ArrayLine>,
    /// `HOMEHOST`.
    pub homehost: HomeHost,
    /// `HOMEHOST <ignore>`: names of other hosts' arrays are taken as they are, too.
    pub any_host: bool,
    /// `DEVICE`: what may be a member, as fnmatch(3) patterns of paths, or `partitions`; everything if there is none.
    pub devices: Vec<String>,
    /// `AUTO` words in order, lower case: `+1.x`, `-all`, `homehost`.
    pub auto: Vec<String>,
}

/// Reads the file; what is not understood is said and left out.
#[must_use]
pub fn parse(text: &str) -> (MdadmConf, Vec<Diagnostic>) {
    let mut remarks = Remarks::default();
    let mut bad =
        |line: &str, reason| remarks.add(|| Diagnostic::BadMdadmLine { line: shorten(line), reason });
    let mut conf = MdadmConf::default();
    let mut homehost_seen = false;
    for words in lines(text) {
        let Some((keyword, words)) = words.split_first() else { continue };
        match keyword_of(keyword) {
            Some("array") if conf.arrays.len() >= MAX_ARRAYS => {
                bad(keyword, "there are 1024 ARRAY lines before it, and more are not read");
                break;
            }
            Some("array") => match array(words) {
                Ok(line) => conf.arrays.push(line),
                Err(reason) => bad(&format!("{keyword} {}", words.join(" ")), reason),
            },
            Some("homehost") => {
                for word in words {
                    if word.eq_ignore_ascii_case("<ignore>") {
                        conf.any_host = true;
                    } else if !homehost_seen {
                        homehost_seen = true;
                        conf.homehost = match word.to_ascii_lowercase().as_str() {
                            "<system>" => HomeHost::System,
                            "<none>" => HomeHost::None,
                            _ => HomeHost::Name(word.clone()),
                        };
                    }
                }
            }
            Some("devices") => conf.devices.extend(words.iter().cloned()),
            // The first line alone counts.
            Some("auto") if conf.auto.is_empty() => {
                conf.auto.extend(words.iter().map(|word| word.to_ascii_lowercase()));
            }
            // Mail, policies, programs: of no concern before the real root.
            Some(_) => {}
            None => bad(keyword, "not a keyword of mdadm.conf(5)"),
        }
    }
    (conf, remarks.finish())
}

/// A UUID in any notation: 32 hexadecimal digits, with colons, dashes, dots or blanks anywhere.
#[must_use]
pub fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut count = 0_usize;
    for character in text.chars() {
        if matches!(character, ':' | '-' | '.' | ' ') {
            continue;
        }
        let digit = u8::try_from(character.to_digit(16)?).ok()?;
        let byte = uuid.get_mut(count / 2)?;
        *byte = *byte << 4 | digit;
        count = count.saturating_add(1);
    }
    (count == 32).then_some(uuid)
}

/// Keywords may be cut down to three letters.
fn keyword_of(word: &str) -> Option<&'static str> {
    const KEYWORDS: [&str; 14] = [
        "devices",
        "array",
        "mailaddr",
        "mailfrom",
        "program",
        "create",
        "homehost",
        "homecluster",
        "auto",
        "policy",
        "part-policy",
        "sysfs",
        "monitordelay",
        "encryption_no_verify",
    ];
    let word = word.to_ascii_lowercase();
    KEYWORDS.into_iter().find(|keyword| word.len() >= 3 && keyword.starts_with(&word))
}

fn array(words: &[String]) -> Result<ArrayLine, &'static str> {
    let mut line = ArrayLine::default();
    for word in words {
        let value = |key: &str| {
            word.get(..key.len()).filter(|start| start.eq_ignore_ascii_case(key))?;
            word.get(key.len()..)
        };
        if word.starts_with('/') || !word.contains('=') {
            if word.eq_ignore_ascii_case("<ignore>") {
                line.ignore = true;
            } else if line.device.is_none() {
                line.device = Some(word.clone());
            }
        } else if let Some(text) = value("uuid=") {
            line.uuid = Some(uuid(text).ok_or("UUID= wants 32 hexadecimal digits")?);
        } else if let Some(text) = value("name=") {
            line.name = Some(text.to_owned());
        } else if let Some(text) = value("container=") {
            line.container = Some(text.to_owned());
        } else if let Some(text) = value("member=") {
            line.member = Some(text.to_owned());
        } else if let Some(text) = value("devices=") {
            line.devices.extend(text.split(',').filter(|path| !path.is_empty()).map(str::to_owned));
        } else if let Some(text) = value("super-minor=") {
            line.super_minor = Some(
                digits(text, 0, 1 << 20)
                    .and_then(|number| u32::try_from(number).ok())
                    .ok_or("super-minor= wants a number")?,
            );
        }
    }
    let in_container = line.container.is_some() && line.member.is_some();
    let identified = line.uuid.is_some() || line.name.is_some() || line.super_minor.is_some();
    if !identified && line.devices.is_empty() && !in_container {
        return Err("neither UUID=, name=, super-minor=, devices= nor container= with member=");
    }
    Ok(line)
}

/// Lines as lists of words. A line that begins with a blank goes on with the one before; quotes keep blanks.
fn lines(text: &str) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        let words = words(line);
        if words.is_empty() {
            continue;
        }
        match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(before) => before.extend(words),
            None => lines.push(words),
        }
    }
    lines
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, ' ' | '\t' | '\r') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] = [0xc0, 0xff, 0xee, 0x01, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

    #[test]
    fn uuids_in_any_notation() {
        for text in [
            "c0ffee01:02030405:06070809:0a0b0c0d",
            "C0FFEE01-0203-0405-0607-08090A0B0C0D",
            "c0ffee0102030405060708090a0b0c0d",
            "c0ffee01.02030405.06070809.0a0b0c0d",
        ] {
            assert_eq!(uuid(text), Some(UUID), "{text}");
        }
        for text in ["", "c0ffee01:02030405:06070809:0a0b0c0", "c0ffee01:02030405:06070809:0a0b0c0d0", "xyz"]
        {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_as_mdadm_writes_it() {
        let (conf, diagnostics) = parse(
            "# mdadm.conf\n\
             #DEVICE partitions\n\
             HOMEHOST <system>\n\
             MAILADDR root\n\
             ARRAY /dev/md/0  metadata=1.2 UUID=c0ffee01:02030405:06070809:0a0b0c0d name=host:0 # the root\n\
             ARR <ignore>\n\tuuid=c0ffee0102030405060708090a0b0c0d\n\
             DEVICE /dev/sd* /dev/mapper/mpath?\n\
             ARRAY 'my data' name=\"other:my data\"\n\
             AUTO +1.x homehost -all\n",
        );
        assert_eq!(diagnostics, Vec::new());
        let first = ArrayLine {
            device: Some("/dev/md/0".into()),
            uuid: Some(UUID),
            name: Some("host:0".into()),
            ..ArrayLine::default()
        };
        let second = ArrayLine { ignore: true, uuid: Some(UUID), ..ArrayLine::default() };
        let third = ArrayLine {
            device: Some("my data".into()),
            name: Some("other:my data".into()),
            ..ArrayLine::default()
        };
        assert_eq!(conf.arrays, [first, second, third]);
        assert_eq!(conf.homehost, HomeHost::System);
        assert_eq!(conf.auto, ["+1.x", "homehost", "-all"]);
        assert_eq!(conf.devices, ["/dev/sd*", "/dev/mapper/mpath?"]);
    }

    #[test]
    fn home_hosts() {
        for (text, homehost, any_host) in [
            ("", HomeHost::System, false),
            ("HOMEHOST <none>", HomeHost::None, false),
            ("homehost box", HomeHost::Name("box".into()), false),
            ("HOMEHOST <ignore> box", HomeHost::Name("box".into()), true),
        ] {
            let (conf, _) = parse(text);
            assert_eq!((conf.homehost, conf.any_host), (homehost, any_host), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for text in ["ARRAY /dev/md0", "ARRAY /dev/md0 UUID=1", "NONSENSE x", "ARRAY x super-minor=a"] {
            let (conf, diagnostics) = parse(text);
            assert_eq!((conf.arrays.len(), diagnostics.len()), (0, 1), "{text}");
        }
    }
}
