//! `/etc/integritytab` of the image, in the syntax of systemd's integritytab(5): standalone dm-integrity.

use crate::crypttab::split_options;
use crate::diagnostic::{Diagnostic, Remarks};
use crate::plan::RootSpec;
use crate::root::device_spec;
use crate::time::{Span, span};
use crate::verity::{dm_name, filled, lines, remark};

/// How writes are made safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntegrityMode {
    /// Data and tags go through the journal.
    #[default]
    Journal,
    /// `mode=bitmap`: a bitmap says what is to be recalculated after a crash.
    Bitmap,
    /// `mode=direct`: neither.
    Direct,
    /// `mode=recovery`: read-only, tags unchecked, the journal left alone (integritysetup's recovery mode).
    Recovery,
}

/// One line of an integritytab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityVolume {
    /// Name below `/dev/mapper`.
    pub name: String,
    /// The device with the tags.
    pub device: RootSpec,
    /// `data-device=`: data that lie elsewhere.
    pub data: Option<RootSpec>,
    /// Key file of the initramfs, for keyed algorithms.
    pub key: Option<String>,
    /// The algorithm as the kernel names it.
    pub algorithm: String,
    /// `mode=`
    pub mode: IntegrityMode,
    /// `allow-discards`
    pub discard: bool,
    /// `journal-watermark=` in percent; 0 is the kernel's default.
    pub watermark: u32,
    /// `journal-commit-time=` as dm-integrity takes it; 0 is the kernel's default.
    pub commit_time: u64,
}

/// Reads an integritytab. Lines that cannot be used are left out and remarked on.
pub fn parse(text: &str) -> (Vec<IntegrityVolume>, Vec<Diagnostic>) {
    let mut remarks = Remarks::default();
    let entries = lines(text, &mut remarks, entry);
    (entries, remarks.finish())
}

fn entry(fields: &[&str], remarks: &mut Remarks) -> Result<IntegrityVolume, &'static str> {
    let (Some(name), Some(device)) = (fields.first(), fields.get(1)) else {
        return Err("it needs at least a name and a device");
    };
    let key = filled(fields.get(2).copied());
    // Before systemd 250 the third field was that of the options.
    let (key, list) = if key.is_empty() || key.starts_with('/') {
        (key, filled(fields.get(3).copied()))
    } else {
        ("", key)
    };
    let mut volume = IntegrityVolume {
        name: dm_name(name)?,
        device: device_spec(device)
            .ok_or("the device is none of /dev/..., UUID=, LABEL=, PARTUUID=, PARTLABEL=")?,
        data: None,
        key: (!key.is_empty()).then(|| key.to_owned()),
        algorithm: if key.is_empty() { "crc32c" } else { "hmac(sha256)" }.to_owned(),
        mode: IntegrityMode::Journal,
        discard: false,
        watermark: 0,
        commit_time: 0,
    };
    let unknown: Vec<String> =
        split_options(list).into_iter().filter(|option| volume.set(option).is_none()).collect();
    remark(name, unknown, remarks);
    if volume.algorithm.contains("hmac") && volume.key.is_none() {
        return Err("its algorithm needs a key file");
    }
    Ok(volume)
}

impl IntegrityVolume {
    fn set(&mut self, option: &str) -> Option<()> {
        match option.split_once('=').unwrap_or((option, "")) {
            ("allow-discards", "") => self.discard = true,
            ("mode", "journal") => self.mode = IntegrityMode::Journal,
            ("mode", "bitmap") => self.mode = IntegrityMode::Bitmap,
            ("mode", "direct") => self.mode = IntegrityMode::Direct,
            ("mode", "recovery") => self.mode = IntegrityMode::Recovery,
            ("journal-watermark", value) => {
                let percent = value.strip_suffix('%').unwrap_or(value).parse().ok();
                self.watermark = percent.filter(|percent| *percent <= 100)?;
            }
            // systemd rounds up to seconds and passes that number on.
            ("journal-commit-time", value) => {
                let time = span(value).and_then(Span::finite)?;
                self.commit_time = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
            }
            ("data-device", value) => self.data = Some(device_spec(value)?),
            ("integrity-algorithm", value) => {
                let known = match value {
                    "crc32" | "crc32c" | "xxhash64" | "sha1" | "sha256" => value,
                    "hmac-sha256" => "hmac(sha256)",
                    "hmac-sha512" => "hmac(sha512)",
                    _ => return None,
                };
                known.clone_into(&mut self.algorithm);
            }
            _ if option.starts_with("x-") => {}
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_manual_page() {
        let (volumes, remarks) = parse(
            "home PARTUUID=4973d0b8 - journal-commit-time=10,allow-discards,data-device=/dev/sdb,integrity-algorithm=sha256\n\
             data PARTUUID=5d4b1808 /etc/keys/data.key mode=bitmap,journal-watermark=50%\nplain /dev/sda1\n\
             old /dev/sda2 allow-discards,mode=direct\n",
        );
        assert!(remarks.is_empty(), "{remarks:?}");
        let [home, data, plain, old] = &volumes[..] else { panic!("four lines: {volumes:?}") };
        assert_eq!((home.algorithm.as_str(), home.commit_time, home.discard), ("sha256", 10, true));
        assert_eq!(home.data, Some(RootSpec::Path("/dev/sdb".into())));
        assert_eq!(
            (data.algorithm.as_str(), data.key.as_deref()),
            ("hmac(sha256)", Some("/etc/keys/data.key"))
        );
        assert_eq!((data.mode, data.watermark), (IntegrityMode::Bitmap, 50));
        assert_eq!((plain.algorithm.as_str(), plain.mode), ("crc32c", IntegrityMode::Journal));
        assert_eq!((old.discard, old.mode), (true, IntegrityMode::Direct));
    }

    #[test]
    fn lines_that_cannot_be_used() {
        for (line, kept) in [
            ("alone", 0),
            ("a/b /dev/sda", 0),
            ("a sda", 0),
            ("a /dev/sda - integrity-algorithm=hmac-sha256", 0),
            ("a /dev/sda - integrity-algorithm=md5", 1),
            ("a /dev/sda - journal-watermark=101", 1),
            ("a /dev/sda - mode=fast", 1),
        ] {
            let (volumes, remarks) = parse(line);
            assert_eq!((volumes.len(), remarks.len()), (kept, 1), "{line}");
        }
    }
}
