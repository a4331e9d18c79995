//! Device-mapper tables that need bytes of a file: the signature of a verity root hash, the key of dm-integrity.

use std::ffi::{CStr, CString};

use engine::{DmDevice, DmKey, Failure, KeySource, Outcome};
use nix::libc;
use zeroize::Zeroize;

use crate::dm;
use crate::key_file;
use crate::secret::Secret;

/// `KEY_SPEC_THREAD_KEYRING` (linux/keyctl.h): dm-verity looks for the key as the thread that loads the table.
const THREAD_KEYRING: libc::c_long = -1;

/// Makes a device whose table needs a key.
///
/// # Errors
///
/// If the key cannot be had, else as [`dm::create`].
pub fn create(device: &DmDevice, key: &DmKey) -> Result<Outcome, Failure> {
    match key {
        DmKey::Keyring { description, source } => {
            let payload = match source {
                KeySource::Bytes(bytes) => Secret::from(bytes.clone()),
                KeySource::File(path) => key_file::read(path, 0, None)?,
            };
            let description = CString::new(description.as_str())
                .map_err(|_| Failure::Other(format!("no key can be called {description}")))?;
            add_key(c"user", &description, payload.bytes())?;
            dm::create(device)
        }
        DmKey::Hex(path) => {
            let key = key_file::read(path, 0, None)?;
            let mut hex = String::with_capacity(key.bytes().len().saturating_mul(2));
            for byte in key.bytes() {
                for nibble in [byte >> 4, byte & 0xf] {
                    hex.extend(char::from_digit(u32::from(nibble), 16));
                }
            }
            let mut keyed = device.clone();
            for target in &mut keyed.targets {
                target.params = target.params.replace(DmKey::PLACE, &hex);
            }
            let outcome = dm::create_with_key(&keyed);
            hex.zeroize();
            keyed.targets.iter_mut().for_each(|target| target.params.zeroize());
            outcome
        }
    }
}

/// Puts a key into the keyring of this thread, which goes away with it.
fn add_key(kind: &CStr, description: &CStr, payload: &[u8]) -> Result<(), Failure> {
    // SAFETY: add_key(2) reads two strings with a final NUL and `payload.len()` bytes, all of which outlive the call.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            kind.as_ptr(),
            description.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            THREAD_KEYRING,
        )
    };
    if serial < 0 {
        let errno = nix::errno::Errno::last_raw();
        return Err(Failure::Os { what: "give the kernel the signature of the root hash".to_owned(), errno });
    }
    Ok(())
}
