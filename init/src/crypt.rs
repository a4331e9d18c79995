//! Opening encrypted containers through libcryptsetup.
//!
//! Names, UUIDs and the volume key's place in the kernel keyring are the library's own, so that the real root's crypttab
//! finds what cryptsetup would have made.

mod foreign;
mod mapping;
mod messages;
mod openpgp_key;
mod token;

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use engine::{CryptFormat, CryptOptions, Failure, HeaderSource, PlainFormat, SealedKey};
use libcryptsetup_rs::consts::flags::CryptActivate;
use libcryptsetup_rs::consts::vals::EncryptionFormat;
use libcryptsetup_rs::{CryptDevice, CryptInit, CryptParamsPlain, CryptParamsPlainRef, Either, LibcryptErr};
use rustix::fs::{major, minor};
use rustix::io::Errno;

use crate::external_md;
use crate::key_file;
use crate::secret::Secret;

/// A container that is to be opened.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// Its node, e.g. `/dev/vda2`.
    pub device: String,
    /// Name below `/dev/mapper`.
    pub name: String,
    /// How.
    pub options: CryptOptions,
}

/// One container at a time: the library is not made for concurrent use (libdevmapper keeps global lists), and key
/// derivations that each claim a gigabyte must not run side by side. Argon2 spreads over the CPUs by itself.
static LIBRARY: Mutex<()> = Mutex::new(());

/// Opens a container; blocks for as long as the key derivation takes.
///
/// A mapping of the same name that already sits on this device counts as done.
///
/// # Errors
///
/// [`Failure::WrongSecret`] when the secret does not open it; otherwise what the library said and what to do about it.
pub fn open(request: &OpenRequest, secret: &Secret) -> Result<(), Failure> {
    let _alone = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    let OpenRequest { device, name, options } = request;
    let node = fs::metadata(device).map_err(|error| gone_or(error, format!("open {device}")))?;
    if !node.file_type().is_block_device() {
        return Err(Failure::Other(format!("{device} is not a block device")));
    }
    if let Some(there) = mapping::find(name) {
        let number = (major(node.rdev()), minor(node.rdev()));
        if there.live && there.uuid.starts_with("CRYPT-") && there.below.contains(&number) {
            log::info!("{device} is already open as {name}");
            return Ok(());
        }
        return Err(Failure::Other(format!(
            "cannot open {device} as {name}: another device-mapper device (dm-{}, {}) has that name; choose another with rd.luks.name=",
            there.minor,
            if there.uuid.is_empty() { "without UUID" } else { &there.uuid },
        )));
    }
    if let CryptFormat::Plain(PlainFormat { hash: None, key_size, .. }) = &options.format
        && u64::try_from(secret.bytes().len()).is_ok_and(|length| length < u64::from(*key_size))
    {
        let length = secret.bytes().len();
        return Err(Failure::BadKey(format!(
            "the key for {device} has {length} bytes instead of {key_size} (see size= and keyfile-size=)"
        )));
    }
    external_md::open_for_writing(&options.volumes);
    messages::capture();
    messages::take();
    let opened =
        with_header(options.header.as_ref(), |header| Ok(activate(device, header, name, options, secret)))
            .map_err(header_failure)?;
    let said = messages::take();
    match opened {
        Ok(()) => {
            log::info!("{device} opened as {name}");
            link_node(name);
            Ok(())
        }
        Err(error) => {
            mapping::remove_half_made(name);
            Err(explain(device, options, &error, &said))
        }
    }
}

/// Unlocks a key with a passphrase or a PIN. Without one sees whether it is there: `None` if it wants one.
///
/// # Errors
///
/// [`Failure::WrongSecret`] when the secret is wrong, [`Failure::NoKeyFile`] when the key is not there; otherwise what the
/// library, the kernel or the token's device said.
pub fn unseal_key(key: &SealedKey, secret: Option<&Secret>) -> Result<Option<Secret>, Failure> {
    match key {
        SealedKey::File(place) if place.is_openpgp() => openpgp_key::unseal(place, secret),
        SealedKey::File(place) => unseal_image(place, secret),
        SealedKey::Token(token) => token::unseal(token, secret),
    }
}

/// Takes the key out of a LUKS image: its plaintext, whole. Without a secret only sees whether there is such an image.
///
/// The library attaches a loop device, which goes away with the mapping.
fn unseal_image(place: &HeaderSource, secret: Option<&Secret>) -> Result<Option<Secret>, Failure> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if let HeaderSource::File(path) = place
        && !fs::exists(path).unwrap_or(false)
    {
        return Err(Failure::NoKeyFile(path.clone()));
    }
    let name = format!("rootward-key-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let _alone = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    messages::capture();
    messages::take();
    with_header(Some(place), |path| {
        let path = path.unwrap_or_default();
        let options = CryptOptions { read_only: true, ..CryptOptions::default() };
        let opened = match secret {
            Some(secret) => activate(path, None, &name, &options, secret),
            None => luks(Path::new(path), None).map(drop),
        };
        if let Err(error) = opened {
            mapping::remove_half_made(&name);
            return Err(explain(path, &options, &error, &messages::take()));
        }
        let key = secret.map(|_| key_file::read(&format!("/dev/mapper/{name}"), 0, None)).transpose();
        if secret.is_some() {
            mapping::close(&name);
        }
        key
    })
}

/// A LUKS container with its metadata read.
fn luks(device: &Path, header: Option<&Path>) -> Result<CryptDevice, LibcryptErr> {
    let paths = match header {
        Some(header) => Either::Right((header, device)),
        None => Either::Left(device),
    };
    let mut container = CryptInit::init_with_data_device(paths)?;
    container.context_handle().load::<()>(None, None)?;
    Ok(container)
}

/// A header is read as a key is, but no other key makes up for one that cannot be had.
fn header_failure(failure: Failure) -> Failure {
    match failure {
        Failure::NoKeyFile(path) => Failure::Other(format!("the header {path} does not exist (see header=)")),
        Failure::BadKey(text) => Failure::Other(format!("the header cannot be read: {text}")),
        other => other,
    }
}

/// Calls `work` with a path under which the library finds the detached header.
fn with_header<T>(
    header: Option<&HeaderSource>,
    work: impl FnOnce(Option<&str>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match header {
        None => work(None),
        Some(HeaderSource::Device(device)) => work(Some(&format!("/dev/{device}"))),
        Some(HeaderSource::File(path)) => {
            fs::metadata(path)
                .map_err(|error| Failure::Other(format!("cannot read the header {path}: {error}")))?;
            work(Some(path))
        }
        Some(HeaderSource::FileOn { device, fstype, path, named }) => {
            // The file is open, so that its mount stays until the container has been opened.
            let place = key_file::Place { device: &format!("/dev/{device}"), fstype, path, named: *named };
            key_file::with_file(place, |file| work(Some(&format!("/proc/self/fd/{}", file.as_raw_fd()))))
        }
    }
}

/// The only key slot to try: a token's key is for that of its token, whatever `key-slot=` says of others (systemd's rule).
fn keyslot(options: &CryptOptions, secret: &Secret) -> Option<u32> {
    secret.keyslot().or(options.keyslot)
}

fn activate(
    device: &str,
    header: Option<&str>,
    name: &str,
    options: &CryptOptions,
    secret: &Secret,
) -> Result<(), LibcryptErr> {
    let flags = flags(options);
    let mut container = match &options.format {
        CryptFormat::Luks => luks(Path::new(device), header.map(Path::new))?,
        CryptFormat::Plain(format) => {
            let mut container = plain(device, format)?;
            if format.hash.is_none() {
                let length = usize::try_from(format.key_size).unwrap_or(usize::MAX);
                let key = secret.bytes().get(..length).ok_or_else(|| {
                    let text =
                        format!("the key has {} bytes instead of {length} (size=)", secret.bytes().len());
                    LibcryptErr::IOError(io::Error::other(text))
                })?;
                return container.activate_handle().activate_by_volume_key(Some(name), Some(key), flags);
            }
            container
        }
        CryptFormat::BitLocker => foreign::bitlocker(device)?,
        CryptFormat::Tcrypt(format) => {
            let mut container = foreign::tcrypt(device, header, format, secret)?;
            return container.activate_handle().activate_by_volume_key(Some(name), None, flags);
        }
    };
    let mut handle = container.activate_handle();
    let keyslot = keyslot(options, secret);
    let keyslot = handle.activate_by_passphrase(Some(name), keyslot, secret.bytes(), flags)?;
    log::debug!("{name}: keyslot {keyslot}");
    Ok(())
}

/// "Formatting" a plain container only tells the library its parameters.
fn plain(device: &str, format: &PlainFormat) -> Result<CryptDevice, LibcryptErr> {
    // As systemd splits it; a cipher without mode has the mode `plain`.
    let (cipher, mode) = format.cipher.split_once('-').unwrap_or((format.cipher.as_str(), "plain"));
    let params = CryptParamsPlain {
        hash: format.hash.clone().unwrap_or_else(|| "plain".to_owned()),
        offset: format.offset,
        sector_size: format.sector_size,
        size: 0,
        skip: format.skip,
    };
    let mut params: CryptParamsPlainRef<'_> = (&params).try_into()?;
    let mut container = CryptInit::init(Path::new(device))?;
    let length = usize::try_from(format.key_size).unwrap_or(usize::MAX);
    container.context_handle().format(
        EncryptionFormat::Plain,
        (cipher, mode),
        None,
        Either::Right(length),
        Some(&mut params),
    )?;
    Ok(container)
}

fn flags(options: &CryptOptions) -> CryptActivate {
    let wanted = [
        (options.discard, CryptActivate::ALLOW_DISCARDS),
        (options.read_only, CryptActivate::READONLY),
        (options.no_read_workqueue, CryptActivate::NO_READ_WORKQUEUE),
        (options.no_write_workqueue, CryptActivate::NO_WRITE_WORKQUEUE),
        (options.same_cpu_crypt, CryptActivate::SAME_CPU_CRYPT),
        (options.submit_from_crypt_cpus, CryptActivate::SUBMIT_FROM_CRYPT_CPUS),
    ];
    wanted.into_iter().filter(|(on, _)| *on).fold(CryptActivate::empty(), |all, (_, flag)| all | flag)
}

/// libdevmapper, built without udev, makes a block node; udevd expects the link that it would have made itself.
fn link_node(name: &str) {
    let Some(made) = mapping::find(name) else { return };
    let path = format!("/dev/mapper/{name}");
    if fs::symlink_metadata(&path).is_ok_and(|node| node.is_symlink()) {
        return;
    }
    let staged = format!("/dev/mapper/.{name}.new");
    let linked = symlink(format!("../dm-{}", made.minor), &staged).and_then(|()| fs::rename(&staged, &path));
    if let Err(error) = linked {
        log::warn!("cannot turn {path} into a link to dm-{}: {error}", made.minor);
        let _ = fs::remove_file(&staged);
    }
}

fn explain(device: &str, options: &CryptOptions, error: &LibcryptErr, said: &[String]) -> Failure {
    let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) };
    let LibcryptErr::IOError(error) = error else {
        return Failure::Other(format!("cannot open {device}: {error}{said}"));
    };
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let advice = match errno {
        Errno::PERM => return Failure::WrongSecret,
        Errno::NXIO | Errno::NODEV if fs::metadata(device).is_err() => return Failure::Gone,
        Errno::OPNOTSUPP if options.format == CryptFormat::BitLocker => {
            "the kernel lacks a cipher: the image needs af_alg, algif_skcipher, algif_aead, ccm, ctr and dm-crypt (rootward build adds them with --modules or --universal)"
        }
        Errno::OPNOTSUPP => {
            "the kernel lacks a cipher: the image needs af_alg, algif_skcipher, dm-crypt and the modules of the container's cipher (rootward build adds them with --modules or --universal)"
        }
        Errno::NOMEM => {
            "the keyslot's Argon2 parameters need more memory than this machine has free; give it more, or add a keyslot with less (cryptsetup luksConvertKey --pbkdf-memory)"
        }
        Errno::NOENT => "no keyslot is in use, or the chosen one (key-slot=) is empty",
        Errno::BUSY => "the device is in use, or /run is not writable for the metadata lock",
        Errno::INVAL => "it is no container that this build understands, or its header is damaged",
        Errno::NODEV | Errno::NXIO => "device-mapper is not there: the image needs dm-mod and dm-crypt",
        _ => "see the kernel log",
    };
    Failure::Other(format!("cannot open {device}: {error}{said}; {advice}"))
}

fn gone_or(error: io::Error, what: String) -> Failure {
    match error.raw_os_error() {
        Some(errno) if errno == Errno::NOENT.raw_os_error() || errno == Errno::NXIO.raw_os_error() => {
            Failure::Gone
        }
        Some(errno) => Failure::Os { what, errno },
        None => Failure::Other(format!("cannot {what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: Errno) -> Failure {
        explain(
            "/dev/null",
            &CryptOptions::default(),
            &LibcryptErr::IOError(errno.into()),
            &["the library's words".to_owned()],
        )
    }

    #[test]
    fn errors_become_advice() {
        assert_eq!(explained(Errno::PERM), Failure::WrongSecret);
        let table = [
            (Errno::OPNOTSUPP, "af_alg, algif_skcipher, dm-crypt"),
            (Errno::NOMEM, "memory"),
            (Errno::INVAL, "no container"),
            (Errno::NODEV, "dm-mod"),
        ];
        for (errno, word) in table {
            let text = explained(errno).to_string();
            assert!(text.contains(word) && text.contains("(the library's words)"), "{text}");
        }
    }

    #[test]
    fn only_block_devices_are_opened() {
        let request = |device: &str| OpenRequest {
            device: device.to_owned(),
            name: "rootward-test".to_owned(),
            options: CryptOptions::default(),
        };
        let secret = Secret::from(b"x".to_vec());
        let refused = open(&request("/dev/null"), &secret);
        assert!(matches!(refused, Err(Failure::Other(text)) if text.contains("not a block device")));
        assert_eq!(open(&request("/dev/none"), &secret), Err(Failure::Gone));
    }

    #[test]
    fn a_header_that_cannot_be_had_is_no_wrong_key() {
        for failure in [Failure::NoKeyFile("/h".into()), Failure::BadKey("cannot open /h".into())] {
            let told = header_failure(failure);
            assert!(matches!(&told, Failure::Other(text) if text.contains("/h")), "{told:?}");
        }
        assert_eq!(header_failure(Failure::Gone), Failure::Gone);
    }

    #[test]
    fn a_tokens_key_goes_to_its_own_slot() {
        let options = CryptOptions { keyslot: Some(0), ..CryptOptions::default() };
        let typed = Secret::from(b"x".to_vec());
        assert_eq!(keyslot(&options, &typed), Some(0));
        assert_eq!(keyslot(&options, &typed.for_keyslot(Some(1))), Some(1));
        assert_eq!(keyslot(&CryptOptions::default(), &Secret::from(b"x".to_vec())), None);
    }

    #[test]
    fn flags_follow_the_options() {
        assert!(flags(&CryptOptions::default()).is_empty());
        let options = CryptOptions { discard: true, no_read_workqueue: true, ..CryptOptions::default() };
        let expected = CryptActivate::ALLOW_DISCARDS | CryptActivate::NO_READ_WORKQUEUE;
        assert_eq!(flags(&options).bits(), expected.bits());
    }

    /// What the library has to say reaches us rather than standard error.
    #[test]
    fn the_library_talks_to_us() {
        let _alone = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
        messages::capture();
        messages::take();
        let nothing = Secret::from(b"x".to_vec());
        let refused =
            activate("/dev/rootward-none", None, "rootward-test", &CryptOptions::default(), &nothing);
        assert!(matches!(&refused, Err(LibcryptErr::IOError(_))), "{refused:?}");
        let said = messages::take().join("\n");
        assert!(said.contains("/dev/rootward-none"), "{said}");
    }
}
