//! `/etc/crypttab` of the image, in the syntax of systemd's crypttab(5).

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Remarks, shorten};
use crate::luks::key_device;
use crate::plan::{KeyDevice, RootSpec};
use crate::root::device_spec;
use crate::source::digits;
use crate::time::{Span, span};

/// More entries than this are not read.
const MAX_ENTRIES: usize = 1024;

/// What is in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CryptKind {
    /// LUKS 1 or 2, also what holds when no option says otherwise.
    #[default]
    Luks,
    /// `plain`: no header.
    Plain,
    /// `tcrypt` and its variants.
    Tcrypt,
    /// `bitlk`.
    Bitlk,
}

/// Where a detached header lies (`header=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderPlace {
    /// A file of the initramfs.
    File(String),
    /// It is a device of its own.
    Device(KeyDevice),
    /// A file at this path of the file system on this device.
    FileOn(String, KeyDevice),
}

/// How a TrueCrypt or VeraCrypt volume is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcryptOptions {
    /// `tcrypt-hidden`: the hidden volume in it.
    pub hidden: bool,
    /// `tcrypt-system`: a partition of a disk that is encrypted as a whole system.
    pub system: bool,
    /// `tcrypt-veracrypt`: VeraCrypt's key derivations are tried as well.
    pub veracrypt: bool,
    /// `veracrypt-pim=`: VeraCrypt's personal iterations multiplier.
    pub pim: Option<u32>,
    /// `tcrypt-keyfile=`: files of the initramfs that are mixed into the passphrase.
    pub keyfiles: Vec<String>,
}

/// Options of a container, from crypttab or `rd.luks.options=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CryptOptions {
    /// What the container is.
    pub kind: CryptKind,
    /// `swap` or `tmp`: made anew at each start; never opened in the initramfs.
    pub scratch: bool,
    /// `noauto`: not opened unless root is its mapping.
    pub noauto: bool,
    /// `nofail`: the boot goes on without it.
    pub nofail: bool,
    /// `x-initrd.attach`, or Debian's `initramfs`: needed before the hand-off.
    pub initrd: bool,
    /// `read-only`.
    pub read_only: bool,
    /// `discard`.
    pub discard: bool,
    /// `same-cpu-crypt`.
    pub same_cpu_crypt: bool,
    /// `submit-from-crypt-cpus`.
    pub submit_from_crypt_cpus: bool,
    /// `no-read-workqueue`.
    pub no_read_workqueue: bool,
    /// `no-write-workqueue`.
    pub no_write_workqueue: bool,
    /// `header=`: where the detached header lies.
    pub header: Option<HeaderPlace>,
    /// `cipher=`: dm-crypt's specification of a plain mapping's cipher.
    pub cipher: Option<String>,
    /// `hash=`: how the passphrase of a plain mapping becomes its key; `plain` is not at all.
    pub hash: Option<String>,
    /// `size=`: length of a plain mapping's key, in bits.
    pub key_bits: Option<u32>,
    /// `sector-size=`: of a plain mapping, in bytes.
    pub sector_size: Option<u32>,
    /// `offset=`: where a plain mapping's data begins, in sectors of 512 bytes.
    pub offset: u64,
    /// `skip=`: sectors of 512 bytes by which a plain mapping's IVs are ahead.
    pub skip: u64,
    /// `tcrypt-*`.
    pub tcrypt: TcryptOptions,
    /// `key-slot=`.
    pub key_slot: Option<u32>,
    /// `keyfile-offset=`, in bytes.
    pub keyfile_offset: Option<u64>,
    /// `keyfile-size=`, in bytes.
    pub keyfile_size: Option<u64>,
    /// `keyfile-timeout=`: how long to wait for the device of the key file. 0 is without limit, as it is below.
    pub keyfile_timeout: Option<Span>,
    /// `timeout=`: limit of the passphrase prompt.
    pub timeout: Option<Span>,
    /// `tries=`: how often a passphrase is asked for; 0 is without limit, `None` is the default.
    pub tries: Option<u32>,
    /// `tpm2-device=`: a TPM 2.0 gives the key.
    pub tpm2: Option<TokenDevice>,
    /// `fido2-device=`: a security key gives the key.
    pub fido2: Option<TokenDevice>,
    /// `token-timeout=`: how long to wait for the device of a token; 0 is without limit, `None` is the default.
    pub token_timeout: Option<Duration>,
    /// Options that are known but that nothing acts on yet, as typed (`pkcs11-uri=auto`).
    pub other: Vec<String>,
}

/// The device of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenDevice {
    /// Whichever has the key.
    Auto,
    /// The one with this node.
    Node(String),
}

/// Where the key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CryptKey {
    /// A passphrase is asked for.
    Ask,
    /// A file.
    File {
        /// Absolute path on its device.
        path: String,
        /// Where it lies.
        device: KeyDevice,
    },
}

/// One line of a crypttab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrypttabEntry {
    /// Mapping name.
    pub name: String,
    /// The container.
    pub device: RootSpec,
    /// Its key.
    pub key: CryptKey,
    /// Its options.
    pub options: CryptOptions,
    /// The device as written.
    pub device_field: String,
    /// The key as written, unless a passphrase is asked for.
    pub key_field: Option<String>,
    /// The options as written, one by one.
    pub option_words: Vec<String>,
}

/// Options without which a container may not open as its owner expects, and that nothing acts on yet.
const NOT_IMPLEMENTED: &[&str] =
    &["tpm2-measure-pcr", "fido2-cid", "pkcs11-uri", "keyscript", "keyfile-erase", "try-empty-password"];

/// Reads a crypttab. Lines that cannot be used are left out and remarked on.
pub fn parse(text: &str) -> (Vec<CrypttabEntry>, Vec<Diagnostic>) {
    let mut entries: Vec<CrypttabEntry> = Vec::new();
    let mut remarks = Remarks::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = at.saturating_add(1);
        let mut unusable = |reason| remarks.add(|| Diagnostic::BadCrypttabLine { line: number, reason });
        match entry(line) {
            Err(reason) => unusable(reason),
            Ok((entry, _)) if entries.iter().any(|known| known.name == entry.name) => {
                unusable("its name stands in an earlier line");
            }
            Ok(_) if entries.len() >= MAX_ENTRIES => unusable("there are too many lines"),
            Ok((entry, ignored_key)) => {
                if let Some(key) = ignored_key {
                    remarks.add(|| Diagnostic::CryptKey { name: entry.name.clone(), key: shorten(&key) });
                }
                remark_on_options(&entry.name, &entry.option_words, &mut remarks);
                entries.push(entry);
            }
        }
    }
    (entries, remarks.finish())
}

/// One line, and its key if that is nothing that can be read.
fn entry(line: &str) -> Result<(CrypttabEntry, Option<String>), &'static str> {
    let mut fields = line.split_ascii_whitespace();
    let name = unoctal(fields.next().unwrap_or(""));
    let device_field = unoctal(fields.next().ok_or("it needs at least a name and a device")?);
    let key_field = unoctal(fields.next().unwrap_or("-"));
    let options = fields.next().unwrap_or("-");
    if name.contains('/') || name == "." || name == ".." || name.len() > 127 {
        return Err("the name cannot be that of a device-mapper node");
    }
    let device = match device_field.strip_prefix("ID=") {
        Some(id) if !id.is_empty() && !id.contains('/') => RootSpec::Path(format!("/dev/disk/by-id/{id}")),
        _ => device_spec(&device_field)
            .ok_or("the device is none of /dev/..., UUID=, LABEL=, PARTUUID=, PARTLABEL=, ID=")?,
    };
    // As systemd does: Debian's keyscripts put anything here, and a passphrase may still be known.
    let is_ignored = !matches!(key_field.as_str(), "-" | "none" | "") && !key_field.starts_with('/');
    let key = crypt_key(&key_field);
    let ignored = is_ignored.then(|| key_field.clone());
    let key_field = (key != CryptKey::Ask).then_some(key_field);
    let option_words = match options {
        "-" | "none" => Vec::new(),
        list => split_options(list),
    };
    let (options, _) = CryptOptions::read(&option_words);
    Ok((CrypttabEntry { name, device, key, options, device_field, key_field, option_words }, ignored))
}

/// Remarks on options that are not understood or that nothing acts on.
pub(crate) fn remark_on_options(name: &str, words: &[String], remarks: &mut Remarks) {
    let (_, unknown) = CryptOptions::read(words);
    for option in &unknown {
        remarks.add(|| Diagnostic::CryptOption { name: name.to_owned(), option: shorten(option) });
    }
    let acted_on = |word: &str| !NOT_IMPLEMENTED.contains(&word.split('=').next().unwrap_or(word));
    for option in words.iter().filter(|word| !acted_on(word) && !unknown.contains(word)) {
        remarks
            .add(|| Diagnostic::CryptOptionNotImplemented { name: name.to_owned(), option: shorten(option) });
    }
}

fn crypt_key(text: &str) -> CryptKey {
    if !text.starts_with('/') {
        return CryptKey::Ask;
    }
    // A colon may belong to the path itself, so that only what is a device makes it a separator.
    let split = text.rsplit_once(':').and_then(|(path, device)| Some((path, key_device(device)?)));
    let (path, device) = split.unwrap_or((text, KeyDevice::Initramfs));
    CryptKey::File { path: path.to_owned(), device }
}

/// Splits a list of options at commas; `\,` is a comma within an option.
pub(crate) fn split_options(list: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut current = String::new();
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&',') => current.extend(chars.next()),
            ',' => options.push(std::mem::take(&mut current)),
            _ => current.push(c),
        }
    }
    options.push(current);
    options.retain(|option| !option.is_empty());
    options
}

/// Decodes `\040` and the like, as fstab and Debian's crypttab write white space.
fn unoctal(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { after.get(3..).unwrap_or(&[]) } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl CryptOptions {
    /// Reads a list of options; gives back those that are not known or have an unusable value.
    pub fn read(list: &[String]) -> (CryptOptions, Vec<String>) {
        let mut options = CryptOptions::default();
        let mut unknown = Vec::new();
        for option in list {
            if options.set(option).is_none() {
                unknown.push(option.clone());
            }
        }
        (options, unknown)
    }

    fn set(&mut self, option: &str) -> Option<()> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let number = || value.and_then(|value| digits(value, 0, i64::MAX));
        let time = || value.and_then(span);
        match (name, value) {
            ("luks", None) => self.kind = CryptKind::Luks,
            ("plain", None) => self.kind = CryptKind::Plain,
            ("tcrypt", None) => self.kind = CryptKind::Tcrypt,
            ("tcrypt-hidden" | "tcrypthidden", None) => {
                self.kind = CryptKind::Tcrypt;
                self.tcrypt.hidden = true;
            }
            ("tcrypt-system", None) => {
                self.kind = CryptKind::Tcrypt;
                self.tcrypt.system = true;
            }
            ("tcrypt-veracrypt" | "veracrypt", None) => {
                self.kind = CryptKind::Tcrypt;
                self.tcrypt.veracrypt = true;
            }
            ("tcrypt-keyfile", Some(path)) if path.starts_with('/') => {
                self.kind = CryptKind::Tcrypt;
                self.tcrypt.keyfiles.push(path.to_owned());
            }
            ("veracrypt-pim", _) => {
                self.tcrypt.pim = Some(u32::try_from(number()?).ok()?);
                self.kind = CryptKind::Tcrypt;
            }
            ("bitlk", None) => self.kind = CryptKind::Bitlk,
            ("swap", None) | ("tmp", _) => self.scratch = true,
            // As in fstab(5), the later of two opposites counts.
            ("noauto" | "auto", None) => self.noauto = name == "noauto",
            ("nofail" | "fail", None) => self.nofail = name == "nofail",
            ("x-initrd.attach" | "initramfs", None) => self.initrd = true,
            ("read-only" | "readonly", None) => self.read_only = true,
            ("discard" | "allow-discards", None) => self.discard = true,
            // The second ones are Debian's.
            ("same-cpu-crypt" | "perf-same_cpu_crypt", None) => self.same_cpu_crypt = true,
            ("submit-from-crypt-cpus" | "perf-submit_from_crypt_cpus", None) => {
                self.submit_from_crypt_cpus = true;
            }
            ("no-read-workqueue" | "perf-no_read_workqueue", None) => self.no_read_workqueue = true,
            ("no-write-workqueue" | "perf-no_write_workqueue", None) => self.no_write_workqueue = true,
            ("header", Some(header)) => self.header = Some(header_place(header)?),
            ("cipher", Some(cipher)) if !cipher.is_empty() => self.cipher = Some(cipher.to_owned()),
            ("hash", Some(hash)) if !hash.is_empty() => self.hash = Some(hash.to_owned()),
            ("size", _) => self.key_bits = Some(key_bits(number()?)?),
            ("sector-size", _) => self.sector_size = Some(sector_size(number()?)?),
            ("offset", _) => self.offset = u64::try_from(number()?).ok()?,
            ("skip", _) => self.skip = u64::try_from(number()?).ok()?,
            ("key-slot" | "keyslot", _) => self.key_slot = Some(u32::try_from(number()?).ok()?),
            ("keyfile-offset", _) => self.keyfile_offset = Some(u64::try_from(number()?).ok()?),
            ("keyfile-size", _) => self.keyfile_size = Some(u64::try_from(number()?).ok()?),
            ("keyfile-timeout", _) => self.keyfile_timeout = Some(limit(time()?)),
            ("timeout", _) => self.timeout = Some(limit(time()?)),
            // As in systemd, nothing takes an earlier one back.
            ("tpm2-device", Some("")) => self.tpm2 = None,
            ("fido2-device", Some("")) => self.fido2 = None,
            ("tpm2-device", Some(device)) => self.tpm2 = Some(token_device(device)?),
            ("fido2-device", Some(device)) => self.fido2 = Some(token_device(device)?),
            ("token-timeout", _) => self.token_timeout = Some(time()?.finite().unwrap_or_default()),
            ("tries", _) => self.tries = Some(u32::try_from(number()?).ok()?),
            (
                "tpm2-pcrs"
                | "tpm2-pin"
                | "tpm2-signature"
                | "tpm2-pcrlock"
                | "tpm2-measure-pcr"
                | "tpm2-measure-bank"
                | "fido2-cid"
                | "fido2-rp"
                | "pkcs11-uri"
                | "try-empty-password"
                | "keyfile-erase"
                | "password-echo"
                | "password-cache"
                | "link-volume-key"
                | "headless"
                | "verify"
                | "integrity"
                | "x-systemd.device-timeout"
                | "_netdev"
                | "keyscript"
                | "loud"
                | "quiet"
                | "check"
                | "checkargs"
                | "precheck"
                | "noearly"
                | "loop"
                | "ckeyfile",
                _,
            ) => self.other.push(option.to_owned()),
            // systemd leaves options with this beginning to others.
            _ if name.starts_with("x-") => {}
            _ => return None,
        }
        Some(())
    }
}

/// `auto` or a device node.
fn token_device(text: &str) -> Option<TokenDevice> {
    match text {
        "auto" => Some(TokenDevice::Auto),
        node => {
            (node.starts_with("/dev/") && !node.contains("/../")).then(|| TokenDevice::Node(node.to_owned()))
        }
    }
}

/// `FILE`, `FILE:DEVICE` or the device itself.
fn header_place(text: &str) -> Option<HeaderPlace> {
    if let Some((path, device)) = text.rsplit_once(':')
        && path.starts_with('/')
        && let Some(device) = key_device(device)
    {
        return Some(match device {
            KeyDevice::Initramfs => HeaderPlace::File(path.to_owned()),
            device => HeaderPlace::FileOn(path.to_owned(), device),
        });
    }
    match key_device(text) {
        None | Some(KeyDevice::Initramfs) => {
            (text.len() > 1 && text.starts_with('/')).then(|| HeaderPlace::File(text.to_owned()))
        }
        Some(device) => Some(HeaderPlace::Device(device)),
    }
}

/// Keys are whole bytes; dm-crypt knows none longer than 64 of them for a cipher and its tweak each.
fn key_bits(bits: i64) -> Option<u32> {
    u32::try_from(bits).ok().filter(|bits| *bits > 0 && *bits <= 4096 && bits.is_multiple_of(8))
}

/// dm-crypt takes powers of two from 512 to 4096.
fn sector_size(bytes: i64) -> Option<u32> {
    u32::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two() && (512..=4096).contains(bytes))
}

/// 0 is "no limit" in crypttab.
fn limit(limit: Span) -> Span {
    if limit == Span::Finite(Duration::ZERO) { Span::Infinite } else { limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> CrypttabEntry {
        let (mut entries, remarks) = parse(line);
        assert!(remarks.is_empty(), "{line}: {remarks:?}");
        assert_eq!(entries.len(), 1, "{line}");
        entries.remove(0)
    }

    #[test]
    fn devices_and_keys() {
        let file = |path: &str, device| CryptKey::File { path: path.into(), device };
        for (line, name, device, key) in [
            ("root UUID=ab-cd", "root", RootSpec::Uuid("ab-cd".into()), CryptKey::Ask),
            ("  r\tLABEL=a\\040b none", "r", RootSpec::Label("a b".into()), CryptKey::Ask),
            ("r /dev/sda2 - luks", "r", RootSpec::Path("/dev/sda2".into()), CryptKey::Ask),
            ("r /dev/disk/by-uuid/x - -", "r", RootSpec::Uuid("x".into()), CryptKey::Ask),
            ("r ID=ata-x none", "r", RootSpec::Path("/dev/disk/by-id/ata-x".into()), CryptKey::Ask),
            (
                "r PARTLABEL=p /etc/k",
                "r",
                RootSpec::PartLabel("p".into()),
                file("/etc/k", KeyDevice::Initramfs),
            ),
            (
                "r UUID=x /k:LABEL=stick",
                "r",
                RootSpec::Uuid("x".into()),
                file("/k", KeyDevice::Label("stick".into())),
            ),
            ("r UUID=x /a:b", "r", RootSpec::Uuid("x".into()), file("/a:b", KeyDevice::Initramfs)),
            (
                "my\\040root PARTUUID=x-01 /k:/dev/sdb1",
                "my root",
                RootSpec::PartUuid { uuid: "x-01".into(), offset: 0 },
                file("/k", KeyDevice::Path("/dev/sdb1".into())),
            ),
        ] {
            let entry = one(line);
            assert_eq!((entry.name.as_str(), entry.device, entry.key), (name, device, key), "{line}");
        }
    }

    #[test]
    fn options() {
        let (entries, remarks) = parse(
            "r UUID=x none luks,discard,x-initrd.attach,tries=5,timeout=1min,keyfile-timeout=10s,key-slot=2,\
             keyfile-offset=512,keyfile-size=64,header=/h,no-read-workqueue,x-custom=1,tpm2-device=auto,nofail,\
             fido2-device=/dev/hidraw0,token-timeout=5,pkcs11-uri=auto",
        );
        let entry = &entries[0];
        let not_yet: Vec<_> = remarks
            .iter()
            .map(|remark| match remark {
                Diagnostic::CryptOptionNotImplemented { name, option } => (name.as_str(), option.as_str()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(not_yet, [("r", "pkcs11-uri=auto")]);
        assert_eq!((entry.device_field.as_str(), entry.key_field.as_deref()), ("UUID=x", None));
        assert_eq!(entry.option_words.len(), 17);
        let expected = CryptOptions {
            discard: true,
            initrd: true,
            nofail: true,
            no_read_workqueue: true,
            tries: Some(5),
            timeout: Some(Span::Finite(Duration::from_secs(60))),
            keyfile_timeout: Some(Span::Finite(Duration::from_secs(10))),
            key_slot: Some(2),
            keyfile_offset: Some(512),
            keyfile_size: Some(64),
            header: Some(HeaderPlace::File("/h".into())),
            tpm2: Some(TokenDevice::Auto),
            fido2: Some(TokenDevice::Node("/dev/hidraw0".into())),
            token_timeout: Some(Duration::from_secs(5)),
            other: vec!["pkcs11-uri=auto".into()],
            ..CryptOptions::default()
        };
        assert_eq!(entry.options, expected);
        assert!(one("s /dev/sda3 /dev/urandom swap,cipher=aes-xts-plain64,size=256").options.scratch);
        assert_eq!(one("p /dev/sda3 - plain").options.kind, CryptKind::Plain);
        let endless = one("p /dev/sda3 - timeout=0,keyfile-timeout=0").options;
        assert_eq!((endless.timeout, endless.keyfile_timeout), (Some(Span::Infinite), Some(Span::Infinite)));
        for (list, hidden, veracrypt) in [
            ("tcrypthidden", true, false),
            ("tcrypt,veracrypt", false, true),
            ("tcrypt-veracrypt", false, true),
        ] {
            let options = one(&format!("p /dev/sda3 - {list}")).options;
            assert_eq!(options.kind, CryptKind::Tcrypt, "{list}");
            assert_eq!((options.tcrypt.hidden, options.tcrypt.veracrypt), (hidden, veracrypt), "{list}");
        }
        let debians =
            "perf-same_cpu_crypt,perf-submit_from_crypt_cpus,perf-no_read_workqueue,perf-no_write_workqueue";
        let debians = one(&format!("p /dev/sda3 - {debians}")).options;
        assert!(debians.same_cpu_crypt && debians.submit_from_crypt_cpus);
        assert!(debians.no_read_workqueue && debians.no_write_workqueue && debians.other.is_empty());
        for (list, noauto, nofail) in [
            ("noauto,nofail", true, true),
            ("noauto,nofail,auto,fail", false, false),
            ("auto,fail,noauto", true, false),
        ] {
            let options = one(&format!("p /dev/sda3 - {list}")).options;
            assert_eq!((options.noauto, options.nofail), (noauto, nofail), "{list}");
        }
    }

    #[test]
    fn headers() {
        let uuid = || KeyDevice::Uuid("ab".into());
        for (text, expected) in [
            ("/h.img", Some(HeaderPlace::File("/h.img".into()))),
            ("/h:/", Some(HeaderPlace::File("/h".into()))),
            ("/d/h:UUID=ab", Some(HeaderPlace::FileOn("/d/h".into(), uuid()))),
            ("/d:x/h:UUID=ab", Some(HeaderPlace::FileOn("/d:x/h".into(), uuid()))),
            ("/h:/dev/sdb1", Some(HeaderPlace::FileOn("/h".into(), KeyDevice::Path("/dev/sdb1".into())))),
            ("/dev/disk/by-id/x", Some(HeaderPlace::Device(KeyDevice::Path("/dev/disk/by-id/x".into())))),
            ("UUID=ab", Some(HeaderPlace::Device(uuid()))),
            ("/a:b", Some(HeaderPlace::File("/a:b".into()))),
            ("", None),
            ("/", None),
            ("h", None),
        ] {
            assert_eq!(header_place(text), expected, "{text}");
        }
    }

    #[test]
    fn mappings_without_a_luks_header() {
        let plain = one(
            "p PARTLABEL=p /k plain,cipher=serpent-xts-plain64,size=512,hash=plain,offset=8,skip=16,sector-size=4096",
        );
        let expected = CryptOptions {
            kind: CryptKind::Plain,
            cipher: Some("serpent-xts-plain64".into()),
            hash: Some("plain".into()),
            key_bits: Some(512),
            sector_size: Some(4096),
            offset: 8,
            skip: 16,
            ..CryptOptions::default()
        };
        assert_eq!(plain.options, expected);
        let vera = one(
            "v /dev/sda3 - tcrypt-veracrypt,tcrypt-hidden,tcrypt-system,veracrypt-pim=3,tcrypt-keyfile=/a,tcrypt-keyfile=/b",
        );
        let expected = CryptOptions {
            kind: CryptKind::Tcrypt,
            tcrypt: TcryptOptions {
                hidden: true,
                system: true,
                veracrypt: true,
                pim: Some(3),
                keyfiles: vec!["/a".into(), "/b".into()],
            },
            ..CryptOptions::default()
        };
        assert_eq!(vera.options, expected);
        assert_eq!(one("b /dev/sda3 - bitlk").options.kind, CryptKind::Bitlk);
        for bad in [
            "size=7",
            "size=-8",
            "sector-size=1000",
            "sector-size=8192",
            "header=x",
            "tcrypt-keyfile=k",
            "offset=x",
        ] {
            let (_, unknown) = CryptOptions::read(&[bad.to_owned()]);
            assert_eq!(unknown, [bad]);
        }
    }

    #[test]
    fn a_comma_can_be_part_of_an_option() {
        assert_eq!(split_options("a,b=c\\,d,,e\\"), ["a", "b=c,d", "e\\"]);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let text = "# comment\n\nlonely\nr UUID=x\nr UUID=y\na/b UUID=x\nn UUID=\nf /srv/image none\nt UUID=x pkcs11:a\no UUID=z - tries=x,nonsense";
        let (entries, remarks) = parse(text);
        assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["r", "t", "o"]);
        let lines: Vec<_> = remarks
            .iter()
            .filter_map(|remark| match remark {
                Diagnostic::BadCrypttabLine { line, .. } => Some(*line),
                _ => None,
            })
            .collect();
        assert_eq!(lines, [3, 5, 6, 7, 8]);
        let options: Vec<_> = remarks
            .iter()
            .filter_map(|remark| match remark {
                Diagnostic::CryptOption { option, .. } => Some(option.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(options, ["tries=x", "nonsense"]);
    }

    #[test]
    fn a_key_that_is_no_path_leaves_the_passphrase() {
        let line = "cryptroot UUID=x mykeyid luks,initramfs,keyscript=decrypt_keyctl";
        let (entries, remarks) = parse(line);
        assert_eq!((&entries[0].key, entries[0].key_field.as_deref()), (&CryptKey::Ask, None));
        let ignored = Diagnostic::CryptKey { name: "cryptroot".into(), key: "mykeyid".into() };
        assert!(remarks.contains(&ignored), "{remarks:?}");
        assert!(parse("r UUID=x -\ns UUID=x none\nt UUID=x\nu UUID=x /k").1.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "([a-z/=\\\\0-7,:# ]{0,30}\n){0,5}|\\PC{0,60}") {
            let (entries, remarks) = parse(&text);
            prop_assert!(entries.len() <= text.lines().count());
            for remark in remarks {
                prop_assert!(!remark.to_string().is_empty());
            }
        }
    }
}
