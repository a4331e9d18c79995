//! dm-verity: `roothash=` and its companions, and the image's `/etc/veritytab` (systemd's veritytab(5)).

use crate::crypttab::split_options;
use crate::diagnostic::{Diagnostic, Remarks, shorten};
use crate::plan::{Plan, RootSpec};
use crate::root::{device_spec, is_discovery};
use crate::table::Expected;

#[cfg(test)]
mod tests;

/// More entries than this are not read.
const MAX_ENTRIES: usize = 256;
/// No digest is longer.
const MAX_HASH: usize = 128;

/// What the kernel does when a block is not what its hash says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Corruption {
    /// The read fails.
    #[default]
    Fail,
    /// `ignore-corruption`: it is only logged.
    Ignore,
    /// `restart-on-corruption`
    Restart,
    /// `panic-on-corruption`
    Panic,
}

/// Where the signature of a root hash comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootHashSignature {
    /// A file of the initramfs (PKCS#7, DER).
    File(String),
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// One was given that cannot be used. Without it nobody wants the volume.
    Unusable,
}

/// Options of a verity device, as systemd-veritysetup knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerityOptions {
    /// `superblock=`: whether the hash device says how it was formatted; without, what follows up to `salt` does.
    pub superblock: bool,
    /// `format=`: 0 or 1.
    pub format: u32,
    /// `data-block-size=` in bytes.
    pub data_block: u32,
    /// `hash-block-size=` in bytes.
    pub hash_block: u32,
    /// `data-blocks=`; 0 is all of the data device.
    pub data_blocks: u64,
    /// `hash=`: the algorithm.
    pub algorithm: String,
    /// `salt=` in hexadecimal; empty is none.
    pub salt: String,
    /// `uuid=`
    pub uuid: Option<String>,
    /// `hash-offset=` in bytes: where superblock or hash area begins.
    pub hash_offset: u64,
    /// What happens on corruption.
    pub corruption: Corruption,
    /// `ignore-zero-blocks`
    pub ignore_zero_blocks: bool,
    /// `check-at-most-once`
    pub check_at_most_once: bool,
    /// `try-verify-in-tasklet` (veritysetup's `--use-tasklets`).
    pub tasklets: bool,
    /// `fec-device=`
    pub fec: Option<RootSpec>,
    /// `fec-offset=` in bytes.
    pub fec_offset: u64,
    /// `fec-roots=`, 2 to 24.
    pub fec_roots: u32,
    /// `root-hash-signature=`
    pub signature: Option<RootHashSignature>,
    /// `noauto`: made only if root is on it.
    pub noauto: bool,
}

impl Default for VerityOptions {
    fn default() -> Self {
        VerityOptions {
            superblock: true,
            format: 1,
            data_block: 4096,
            hash_block: 4096,
            data_blocks: 0,
            algorithm: "sha256".to_owned(),
            salt: String::new(),
            uuid: None,
            hash_offset: 0,
            corruption: Corruption::Fail,
            ignore_zero_blocks: false,
            check_at_most_once: false,
            tasklets: false,
            fec: None,
            fec_offset: 0,
            fec_roots: 2,
            signature: None,
            noauto: false,
        }
    }
}

/// One verity device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerityVolume {
    /// Name below `/dev/mapper`.
    pub name: String,
    /// The data.
    pub data: RootSpec,
    /// The hashes.
    pub hash: RootSpec,
    /// Root hash in lower-case hexadecimal.
    pub root_hash: String,
    /// The rest.
    pub options: VerityOptions,
}

/// What the command line says of one of the two volumes that it can describe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerityWords {
    /// `roothash=`, `usrhash=`; empty if it is none, so that nothing can be verified by it.
    pub root_hash: Option<String>,
    /// `systemd.verity_*_data=`
    pub data: Option<RootSpec>,
    /// `systemd.verity_*_hash=`
    pub hash: Option<RootSpec>,
    /// `systemd.verity_*_options=`
    pub options: VerityOptions,
    /// `roothashsig=`, `usrhashsig=`; goes before the option.
    pub signature: Option<RootHashSignature>,
}

/// `roothash=` and its companions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerityPlan {
    /// `systemd.verity`
    pub enabled: bool,
    /// `veritytab`: whether the image's file is used.
    pub tab: bool,
    /// The root.
    pub root: VerityWords,
    /// `/usr`.
    pub usr: VerityWords,
}

impl Default for VerityPlan {
    fn default() -> Self {
        VerityPlan { enabled: true, tab: true, root: VerityWords::default(), usr: VerityWords::default() }
    }
}

/// The mapping of the root's data, as systemd calls it.
const ROOT: &str = "root";
/// The name of the volume that is `/usr`.
const USR: &str = "usr";

impl VerityPlan {
    /// The mapping that the root must lie on, if a root hash was given.
    #[must_use]
    pub fn verified_root(&self) -> Option<&'static str> {
        (self.enabled && self.root.root_hash.is_some()).then_some(ROOT)
    }

    /// The mapping that `/usr` must lie on, if a hash was given for it.
    #[must_use]
    pub fn verified_usr(&self) -> Option<&'static str> {
        (self.enabled && self.usr.root_hash.is_some()).then_some(USR)
    }

    /// The volumes that the command line describes.
    #[must_use]
    pub fn volumes(&self) -> Vec<VerityVolume> {
        [(ROOT, &self.root), (USR, &self.usr)]
            .into_iter()
            .filter(|_| self.enabled)
            .filter_map(|(name, words)| words.volume(name))
            .collect()
    }
}

impl VerityWords {
    /// Devices that are not named are partitions: the data's UUID is the first half of the root hash, the hashes' one
    /// the last (Discoverable Partitions Specification).
    fn volume(&self, name: &str) -> Option<VerityVolume> {
        let root_hash = self.root_hash.clone().filter(|hash| !hash.is_empty())?;
        let (first, last) =
            (root_hash.get(..32), root_hash.len().checked_sub(32).and_then(|at| root_hash.get(at..)));
        let data = self.data.clone().or_else(|| partition(first?))?;
        let hash = self.hash.clone().or_else(|| partition(last?))?;
        let mut options = self.options.clone();
        options.signature = self.signature.clone().or(options.signature);
        Some(VerityVolume { name: name.to_owned(), data, hash, root_hash, options })
    }
}

/// 32 hexadecimal digits as a partition's UUID.
fn partition(digits: &str) -> Option<RootSpec> {
    let part = |from, to| digits.get(from..to);
    let uuid =
        format!("{}-{}-{}-{}-{}", part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?);
    Some(RootSpec::PartUuid { uuid, offset: 0 })
}

/// With a hash and no device, root and `/usr` are the verity devices (systemd-fstab-generator). So they are where the
/// device is left to the GPT: the hash tells which partitions are meant, by their UUIDs and nothing else
/// (systemd-veritysetup-generator asks for no partition type). systemd 257 has no other root for `root=gpt-auto` with
/// `roothash=` either, but mounts none: each of fstab- and gpt-auto-generator leaves it to the other.
pub(crate) fn settle(plan: &mut Plan) {
    let open = |spec: &Option<RootSpec>| match spec {
        None => true,
        Some(RootSpec::Unsupported(word)) => is_discovery(word),
        Some(_) => false,
    };
    let mapping = |name: &str| Some(RootSpec::Path(format!("/dev/mapper/{name}")));
    if let Some(name) = plan.verity.verified_usr().filter(|_| open(&plan.usr.spec)) {
        plan.usr.spec = mapping(name);
    }
    if let Some(name) = plan.verity.verified_root().filter(|_| open(&plan.root.spec)) {
        plan.root.spec = mapping(name);
    }
}

/// Hashes that are none, and those that name no partitions where the command line does not name the devices either.
pub(crate) fn remark_on_hashes(plan: &VerityPlan, remarks: &mut Remarks) {
    let both = [
        (&plan.root, "roothash", ROOT, "systemd.verity_root"),
        (&plan.usr, "usrhash", USR, "systemd.verity_usr"),
    ];
    for (words, name, volume, devices) in both {
        match &words.root_hash {
            Some(hash) if plan.enabled && hash.is_empty() => {
                remarks.add(|| Diagnostic::BadRootHash { name });
            }
            Some(_) if plan.enabled && words.volume(volume).is_none() => {
                remarks.add(|| Diagnostic::ShortRootHash { name, devices });
            }
            _ => {}
        }
    }
}

/// A switch in systemd's words (`proc_cmdline_get_bool`): more of them are false than dracut's.
pub(crate) fn switch(value: &str) -> Result<bool, Expected> {
    match value.to_ascii_lowercase().as_str() {
        "" | "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err("yes or no"),
    }
}

pub(crate) fn root_hash(words: &mut VerityWords, value: &str) -> Result<(), Expected> {
    if value.is_empty() {
        return Err("the root hash in hexadecimal");
    }
    // Whoever mistypes a hash does not want a root that nothing verifies, nor that of an earlier one.
    words.root_hash = Some(hexadecimal(value, MAX_HASH).unwrap_or_default());
    Ok(())
}

pub(crate) fn device(value: &str) -> Result<Option<RootSpec>, Expected> {
    device_spec(value).map(Some).ok_or("/dev/..., UUID=, LABEL=, PARTUUID= or PARTLABEL=")
}

pub(crate) fn options(words: &mut VerityWords, value: &str) -> Result<(), Expected> {
    let (options, unknown) = VerityOptions::read(value);
    words.options = options;
    if unknown.is_empty() {
        Ok(())
    } else {
        Err("options of systemd-veritysetup; those that are known are used")
    }
}

pub(crate) fn signature(words: &mut VerityWords, value: &str) -> Result<(), Expected> {
    let place = signature_place(value);
    let usable = place.is_some();
    words.signature = Some(place.unwrap_or(RootHashSignature::Unusable));
    if usable { Ok(()) } else { Err("a path, or base64: and the signature") }
}

fn signature_place(value: &str) -> Option<RootHashSignature> {
    match value.strip_prefix("base64:") {
        Some(text) => base64(text).map(RootHashSignature::Bytes),
        None => {
            (value.len() > 1 && value.starts_with('/')).then(|| RootHashSignature::File(value.to_owned()))
        }
    }
}

/// Pairs of hexadecimal digits, in lower case.
fn hexadecimal(text: &str, most: usize) -> Option<String> {
    let usable = !text.is_empty()
        && text.len() <= most
        && text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    usable.then(|| text.to_ascii_lowercase())
}

/// RFC 4648, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut held, mut bits) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter.wrapping_sub(b'A'),
            b'a'..=b'z' => letter.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => letter.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits = bits.wrapping_add(6);
        if bits >= 8 {
            bits = bits.wrapping_sub(8);
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// A number with systemd's binary suffixes.
fn size(text: &str) -> Option<u64> {
    let end = text.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
    let (digits, suffix) = text.split_at_checked(end)?;
    let shift = match suffix.trim() {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl VerityOptions {
    /// Reads a list of options; gives back those that are not known or have an unusable value.
    pub fn read(list: &str) -> (VerityOptions, Vec<String>) {
        let mut options = VerityOptions::default();
        // What systemd's generator once passed in this place.
        if let Some(signature) = signature_place(list) {
            options.signature = Some(signature);
            return (options, Vec::new());
        }
        let mut unknown = Vec::new();
        for option in split_options(list) {
            if options.set(&option).is_none() {
                unknown.push(option);
            }
        }
        (options, unknown)
    }

    /// Panicking goes before restarting, and both before ignoring (libcryptsetup's rule for contradictions).
    fn on_corruption(&mut self, what: Corruption) {
        let weight = |what| match what {
            Corruption::Fail => 0,
            Corruption::Ignore => 1,
            Corruption::Restart => 2,
            Corruption::Panic => 3,
        };
        if weight(what) > weight(self.corruption) {
            self.corruption = what;
        }
    }

    fn set(&mut self, option: &str) -> Option<()> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let block = || {
            size(value?)
                .filter(|size| size.is_power_of_two() && (512..=512 << 10).contains(size))
                .and_then(|size| u32::try_from(size).ok())
        };
        let offset = || size(value?).filter(|offset| offset.is_multiple_of(512));
        match (name, value) {
            ("ignore-corruption", None) => self.on_corruption(Corruption::Ignore),
            ("restart-on-corruption", None) => self.on_corruption(Corruption::Restart),
            ("panic-on-corruption", None) => self.on_corruption(Corruption::Panic),
            ("ignore-zero-blocks", None) => self.ignore_zero_blocks = true,
            ("check-at-most-once", None) => self.check_at_most_once = true,
            ("try-verify-in-tasklet" | "use-tasklets", None) => self.tasklets = true,
            ("superblock", Some(value)) => self.superblock = switch(value).ok()?,
            ("format", Some("0")) => self.format = 0,
            ("format", Some("1")) => self.format = 1,
            ("data-block-size", _) => self.data_block = block()?,
            ("hash-block-size", _) => self.hash_block = block()?,
            ("data-blocks", Some(value)) => self.data_blocks = value.parse().ok()?,
            ("hash-offset", _) => self.hash_offset = offset()?,
            ("salt", Some("" | "-")) => self.salt.clear(),
            ("salt", Some(value)) => self.salt = hexadecimal(value, 512)?,
            ("uuid", Some(value)) => {
                let digits = value.bytes().filter(u8::is_ascii_hexdigit).count();
                let well_formed = value.len() == 36 && digits == 32 && value.matches('-').count() == 4;
                self.uuid = Some(well_formed.then(|| value.to_ascii_lowercase())?);
            }
            ("hash", Some(value)) if is_algorithm(value) => self.algorithm = value.to_owned(),
            ("fec-device", Some(value)) => self.fec = Some(device_spec(value)?),
            ("fec-offset", _) => self.fec_offset = offset()?,
            ("fec-roots", Some(value)) => {
                self.fec_roots = value.parse().ok().filter(|roots| (2..=24).contains(roots))?;
            }
            // systemd's word for a signature among the partitions, which are not looked at for one.
            ("root-hash-signature", Some("auto")) => return None,
            ("root-hash-signature", Some(value)) => {
                let place = signature_place(value);
                let usable = place.is_some();
                self.signature = Some(place.unwrap_or(RootHashSignature::Unusable));
                return usable.then_some(());
            }
            ("noauto", None) => self.noauto = true,
            ("auto", None) => self.noauto = false,
            ("nofail" | "fail" | "_netdev", None) => {}
            _ if name.starts_with("x-") => {}
            _ => return None,
        }
        Some(())
    }
}

/// Whether a text may stand in a device-mapper table as the name of an algorithm.
pub(crate) fn is_algorithm(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_()".contains(&byte))
}

/// Reads a veritytab. Lines that cannot be used are left out and remarked on.
pub fn parse_tab(text: &str) -> (Vec<VerityVolume>, Vec<Diagnostic>) {
    let mut remarks = Remarks::default();
    let entries = lines(text, &mut remarks, |fields, remarks| {
        let [name, data, hash, root_hash] = fields
            .get(..4)
            .and_then(|fields| fields.try_into().ok())
            .ok_or("it needs a name, two devices and a root hash")?;
        let expected = "a device is none of /dev/..., UUID=, LABEL=, PARTUUID=, PARTLABEL=";
        let (options, unknown) = VerityOptions::read(filled(fields.get(4).copied()));
        remark(name, unknown, remarks);
        Ok(VerityVolume {
            name: dm_name(name)?,
            data: device_spec(data).ok_or(expected)?,
            hash: device_spec(hash).ok_or(expected)?,
            root_hash: hexadecimal(root_hash, MAX_HASH).ok_or("the root hash is not hexadecimal")?,
            options,
        })
    });
    (entries, remarks.finish())
}

/// An optional field, where `-` and `none` stand for nothing.
pub(crate) fn filled(field: Option<&str>) -> &str {
    field.filter(|field| !matches!(*field, "-" | "none")).unwrap_or("")
}

/// The fields of each line that is not a comment, turned into something.
pub(crate) fn lines<T>(
    text: &str,
    remarks: &mut Remarks,
    mut entry: impl FnMut(&[&str], &mut Remarks) -> Result<T, &'static str>,
) -> Vec<T> {
    let mut entries = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
        if fields.first().is_none_or(|first| first.starts_with('#')) {
            continue;
        }
        let read = if entries.len() < MAX_ENTRIES {
            entry(&fields, remarks)
        } else {
            Err("there are too many lines")
        };
        match read {
            Ok(entry) => entries.push(entry),
            Err(reason) => remarks.add(|| Diagnostic::BadCrypttabLine { line: at.saturating_add(1), reason }),
        }
    }
    entries
}

/// Remarks on options that were not understood.
pub(crate) fn remark(name: &str, unknown: Vec<String>, remarks: &mut Remarks) {
    for option in unknown {
        remarks.add(|| Diagnostic::CryptOption { name: shorten(name), option: shorten(&option) });
    }
}

/// A name that device-mapper takes and that is one node.
pub(crate) fn dm_name(name: &str) -> Result<String, &'static str> {
    let usable = !name.contains('/') && name != "." && name != ".." && name.len() <= 127;
    usable.then(|| name.to_owned()).ok_or("the name cannot be that of a device-mapper node")
}
