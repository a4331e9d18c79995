//! dm-verity: `roothash=` and its companions, and the image's `/etc/veritytab` (systemd's veritytab(5)).

use crate::crypttab::split_options;
use crate::diagnostic::{Diagnostic, Remarks, shorten};
use crate::plan::{Plan, RootSpec};
use crate::root::{device_spec, is_discovery};
use crate::table::Expected;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sources, parse};

    const HASH: &str = "36e3f740ad502e2c25e2a23d9c7c17bf0fdad2300b7580842d4b7ec1fb0fa263";

    fn plan(words: &str) -> Plan {
        let (plan, remarks) = parse(&Sources { kernel: words.into(), ..Sources::default() });
        assert!(remarks.is_empty(), "{words}: {remarks:?}");
        plan
    }

    fn part(uuid: &str) -> RootSpec {
        RootSpec::PartUuid { uuid: uuid.into(), offset: 0 }
    }

    #[test]
    fn the_halves_of_the_root_hash_name_the_partitions() {
        let plan = plan(&format!("roothash={}", HASH.to_uppercase()));
        let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
        assert_eq!((volume.name.as_str(), volume.root_hash.as_str()), ("root", HASH));
        assert_eq!(volume.data, part("36e3f740-ad50-2e2c-25e2-a23d9c7c17bf"));
        assert_eq!(volume.hash, part("0fdad230-0b75-8084-2d4b-7ec1fb0fa263"));
        assert_eq!(plan.root.spec, Some(RootSpec::Path("/dev/mapper/root".into())));
    }

    /// What the GPT would be asked for is what the hash names; nothing is left to it without a hash.
    #[test]
    fn words_of_discovery_mean_the_verified_device() {
        for word in ["gpt-auto", "gpt-auto-force", "dissect", "dissect-force"] {
            for words in [format!("root={word} roothash={HASH}"), format!("roothash={HASH} root={word}")] {
                let plan = plan(&words);
                assert_eq!(plan.root.spec, Some(RootSpec::Path("/dev/mapper/root".into())), "{words}");
                let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
                assert_eq!(volume.data, part("36e3f740-ad50-2e2c-25e2-a23d9c7c17bf"));
            }
            let usr = plan(&format!("root=UUID=x mount.usr={word} usrhash={HASH}"));
            assert_eq!(usr.usr.spec, Some(RootSpec::Path("/dev/mapper/usr".into())), "{word}");
            for hash in
                ["", "roothash=", &format!("roothash={HASH} systemd.verity=0"), &format!("usrhash={HASH}")]
            {
                let kernel = format!("root={word} {hash}");
                let (plan, remarks) = parse(&Sources { kernel, ..Sources::default() });
                assert_eq!(plan.root.spec, Some(RootSpec::Unsupported(word.into())), "{hash}");
                let said = remarks.last().map(ToString::to_string).unwrap_or_default();
                assert!(said.starts_with(&format!("root={word} cannot be used")), "{said}");
            }
            let kernel = format!("root=UUID=x roothash={HASH} mount.usr={word}");
            let (plan, remarks) = parse(&Sources { kernel, ..Sources::default() });
            assert_eq!(plan.usr.spec, None, "the root's fstab is asked");
            let said = remarks.last().map(ToString::to_string).unwrap_or_default();
            assert!(said.starts_with(&format!("mount.usr={word} cannot be used")), "{said}");
        }
    }

    #[test]
    fn named_devices_and_usr() {
        let plan = plan(&format!(
            "root=UUID=x usrhash={HASH} systemd.verity_usr_data=/dev/sda1 systemd.verity_usr_options=ignore-corruption"
        ));
        let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
        assert_eq!((volume.name.as_str(), &volume.data), ("usr", &RootSpec::Path("/dev/sda1".into())));
        assert_eq!(volume.hash, part("0fdad230-0b75-8084-2d4b-7ec1fb0fa263"));
        assert_eq!(volume.options.corruption, Corruption::Ignore);
        assert_eq!(plan.root.spec, Some(RootSpec::Uuid("x".into())));
    }

    #[test]
    fn switched_off() {
        for word in ["systemd.verity=0", "rd.systemd.verity=no", "systemd.verity=false"] {
            let plan = plan(&format!("roothash={HASH} {word}"));
            assert!(plan.verity.volumes().is_empty() && plan.root.spec.is_none(), "{word}");
        }
        assert!(!plan("root=/dev/sda veritytab=f").verity.tab && plan("rd.veritytab=1").verity.tab);
    }

    /// A typing error does not lead to a root that nothing verifies, nor to that of an earlier hash.
    #[test]
    fn a_hash_that_is_none_verifies_nothing() {
        for words in [
            "root=/dev/sda2 roothash=abc",
            "root=/dev/sda2 roothash=xx",
            &format!("root=/dev/sda2 roothash={HASH} roothash={HASH}0"),
            "root=/dev/sda2 roothash=abc systemd.verity_root_data=/dev/sda systemd.verity_root_hash=/dev/sdb",
        ] {
            let (plan, remarks) = parse(&Sources { kernel: words.to_owned(), ..Sources::default() });
            assert_eq!(
                (plan.verity.verified_root(), plan.verity.volumes().len()),
                (Some("root"), 0),
                "{words}"
            );
            assert!(matches!(remarks[..], [Diagnostic::BadRootHash { name: "roothash" }]), "{remarks:?}");
        }
    }

    #[test]
    fn a_signature_that_is_none() {
        for words in ["roothashsig=base64:@@", "systemd.verity_root_options=root-hash-signature=sig"] {
            let kernel = format!("roothash={HASH} {words}");
            let (plan, remarks) = parse(&Sources { kernel, ..Sources::default() });
            let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
            assert_eq!(
                (volume.options.signature.clone(), remarks.len()),
                (Some(RootHashSignature::Unusable), 1)
            );
        }
        let (options, unknown) = VerityOptions::read("root-hash-signature=auto");
        assert_eq!((options.signature, unknown.len()), (None, 1));
    }

    /// Too short for two UUIDs, and nothing else named.
    #[test]
    fn a_short_hash_without_devices_is_remarked_on() {
        let said = |words: &str| {
            let (plan, remarks) = parse(&Sources { kernel: words.into(), ..Sources::default() });
            (plan.verity.volumes().len(), remarks.iter().map(Diagnostic::to_string).collect::<String>())
        };
        for (words, volumes, expected) in [
            (
                "root=/dev/sda roothash=aabb",
                0,
                "roothash= is too short to name its partitions (32 digits): name the devices with systemd.verity_root_data= and systemd.verity_root_hash=",
            ),
            (
                "usrhash=aabb systemd.verity_usr_data=/dev/sda",
                0,
                "usrhash= is too short to name its partitions (32 digits): name the devices with systemd.verity_usr_data= and systemd.verity_usr_hash=",
            ),
            ("usrhash=aabb systemd.verity_usr_data=/dev/sda systemd.verity_usr_hash=/dev/sdb", 1, ""),
            ("roothash=aabb systemd.verity=no", 0, ""),
            ("roothash=xyz systemd.verity=no", 0, ""),
        ] {
            assert_eq!(said(words), (volumes, expected.to_owned()), "{words}");
        }
    }

    #[test]
    fn every_option() {
        let list = "superblock=no,format=0,data-block-size=1K,hash-block-size=512,data-blocks=7,hash-offset=4K,\
            salt=AABB,uuid=C1F3A2B4-6d7e-4f80-91a2-b3c4d5e6f701,hash=sha512,ignore-zero-blocks,check-at-most-once,\
            try-verify-in-tasklet,fec-device=/dev/sdb,fec-offset=1M,fec-roots=4,root-hash-signature=base64:AAEC/w==,\
            noauto,nofail,x-initrd.attach,_netdev,restart-on-corruption";
        let (options, unknown) = VerityOptions::read(list);
        assert!(unknown.is_empty(), "{unknown:?}");
        let expected = VerityOptions {
            superblock: false,
            format: 0,
            data_block: 1024,
            hash_block: 512,
            data_blocks: 7,
            algorithm: "sha512".into(),
            salt: "aabb".into(),
            uuid: Some("c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701".into()),
            hash_offset: 4096,
            corruption: Corruption::Restart,
            ignore_zero_blocks: true,
            check_at_most_once: true,
            tasklets: true,
            fec: Some(RootSpec::Path("/dev/sdb".into())),
            fec_offset: 1 << 20,
            fec_roots: 4,
            signature: Some(RootHashSignature::Bytes(vec![0, 1, 2, 255])),
            noauto: true,
        };
        assert_eq!(options, expected);
        for bad in [
            "format=2",
            "data-block-size=3000",
            "hash-block-size=1M",
            "hash-offset=100",
            "salt=abc",
            "salt=x y",
            "uuid=x",
            "hash=sha 1",
            "fec-roots=25",
            "fec-roots=1",
            "root-hash-signature=relative",
            "root-hash-signature=base64:*",
            "typo",
            "panic-on-corruption=1",
            "data-blocks=18446744073709551616",
            "fec-offset=99999999999T",
        ] {
            assert_eq!(VerityOptions::read(bad).1, [bad], "{bad}");
        }
        let both = VerityOptions::read("panic-on-corruption,ignore-corruption,restart-on-corruption").0;
        assert_eq!(both.corruption, Corruption::Panic);
        let old = VerityOptions::read("/run/sig").0;
        assert_eq!(old.signature, Some(RootHashSignature::File("/run/sig".into())));
    }

    #[test]
    fn veritytab() {
        let (volumes, remarks) = parse_tab(&format!(
            "# a comment\n\nusr PARTUUID=783e45ae UUID=21dc {HASH} auto,ignore-zero-blocks\ndata /dev/a /dev/b aabb -\n\
             short /dev/a /dev/b\nfile /etc/data /etc/hash aabb auto\nbad/name /dev/a /dev/b aabb\nodd /dev/a /dev/b abc\n\
             opt /dev/a /dev/b aabb typo\n"
        ));
        let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(names, ["usr", "data", "opt"]);
        assert!(volumes.first().is_some_and(|usr| usr.options.ignore_zero_blocks));
        assert_eq!(remarks.len(), 5, "{remarks:?}");
    }
}
