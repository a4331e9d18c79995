//! Keys that gpg has encrypted with a passphrase.

use engine::{Failure, HeaderSource};
use ondisk::openpgp::{self, OpenPgpError};

use crate::key_file::{self, Place};
use crate::secret::{KEY_FILE_MAX, Secret};

/// Decrypts a key; without a passphrase only sees whether there is one that a passphrase may decrypt.
///
/// # Errors
///
/// [`Failure::WrongSecret`] for the wrong passphrase, [`Failure::NoKeyFile`] when there is no such file, otherwise
/// [`Failure::BadKey`] or a mount's refusal.
pub fn unseal(place: &HeaderSource, passphrase: Option<&Secret>) -> Result<Option<Secret>, Failure> {
    let (path, file) = match place {
        HeaderSource::File(path) => (path, key_file::read(path, 0, None)?),
        HeaderSource::FileOn { device, fstype, path, named } => {
            let place = Place { device: &format!("/dev/{device}"), fstype, path, named: *named };
            (path, key_file::read_from_device(place, 0, None)?)
        }
        HeaderSource::Device(device) => return Err(Failure::BadKey(format!("{device} is no key file"))),
    };
    let failed = |error| match error {
        OpenPgpError::WrongPassphrase => Failure::WrongSecret,
        error => Failure::BadKey(format!("key file {path}: {error}")),
    };
    let Some(passphrase) = passphrase else {
        return openpgp::check(file.bytes()).map(|()| None).map_err(failed);
    };
    let mut key = openpgp::decrypt(file.bytes(), passphrase.bytes(), KEY_FILE_MAX).map_err(failed)?;
    if key.is_empty() {
        return Err(failed(OpenPgpError::Damaged("the key in it is empty")));
    }
    Ok(Some(Secret::from(std::mem::take(&mut *key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_a_bad_key() {
        let path = std::env::temp_dir().join(format!("rootward-{}.gpg", std::process::id()));
        let place = HeaderSource::File(path.to_string_lossy().into_owned());
        assert!(matches!(unseal(&place, None), Err(Failure::NoKeyFile(_))));
        std::fs::write(&path, "plain text").expect("write");
        for passphrase in [None, Some(Secret::from(b"x".to_vec()))] {
            let told = unseal(&place, passphrase.as_ref());
            assert!(
                matches!(&told, Err(Failure::BadKey(why)) if why.contains("not encrypted by gpg")),
                "{told:?}"
            );
        }
        std::fs::remove_file(path).expect("clean");
    }
}
