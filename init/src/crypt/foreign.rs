//! Containers for which the bindings have no type: BitLocker, and TrueCrypt with a passphrase that is not copied.

use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::ptr;

use engine::TcryptFormat;
use libcryptsetup_rs::{CryptDevice, LibcryptErr};
use libcryptsetup_rs_sys as sys;

use crate::secret::Secret;

/// A BitLocker volume with its metadata read.
pub fn bitlocker(device: &str) -> Result<CryptDevice, LibcryptErr> {
    let kind = CStr::from_bytes_with_nul(sys::CRYPT_BITLK).unwrap_or_default();
    load(device, None, kind, ptr::null_mut())
}

/// A TrueCrypt or VeraCrypt volume, whose header is opened with the passphrase right here.
pub fn tcrypt(
    device: &str,
    header: Option<&str>,
    format: &TcryptFormat,
    secret: &Secret,
) -> Result<CryptDevice, LibcryptErr> {
    let names: Vec<CString> =
        format.keyfiles.iter().filter_map(|path| CString::new(path.as_str()).ok()).collect();
    let mut keyfiles: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let wanted = [
        (format.hidden, sys::CRYPT_TCRYPT_HIDDEN_HEADER),
        (format.system, sys::CRYPT_TCRYPT_SYSTEM_HEADER),
        (format.veracrypt, sys::CRYPT_TCRYPT_VERA_MODES),
    ];
    let flags = wanted
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(sys::CRYPT_TCRYPT_LEGACY_MODES, |all, (_, flag)| all | flag);
    // A passphrase in a file ends with its first line, as systemd reads it.
    let passphrase = secret.bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut params = sys::crypt_params_tcrypt {
        passphrase: passphrase.as_ptr().cast(),
        passphrase_size: passphrase.len(),
        keyfiles: keyfiles.as_mut_ptr(),
        keyfiles_count: u32::try_from(keyfiles.len()).unwrap_or(0),
        hash_name: ptr::null(),
        cipher: ptr::null(),
        mode: ptr::null(),
        key_size: 0,
        flags,
        veracrypt_pim: format.pim.unwrap_or(0),
    };
    let kind = CStr::from_bytes_with_nul(sys::CRYPT_TCRYPT).unwrap_or_default();
    // What `params` points to outlives this call, and the library keeps none of the pointers that it was given: it reads
    // the header with them and forgets them (lib/setup.c, _crypt_load_tcrypt).
    load(device, header, kind, (&raw mut params).cast())
}

/// The caller holds the lock on the library.
fn load(
    device: &str,
    header: Option<&str>,
    kind: &CStr,
    params: *mut c_void,
) -> Result<CryptDevice, LibcryptErr> {
    let path = |path: &str| CString::new(path).map_err(|error| LibcryptErr::IOError(error.into()));
    let data = path(device)?;
    let header = header.map(path).transpose()?;
    let mut handle: *mut sys::crypt_device = ptr::null_mut();
    let (first, second) = match &header {
        Some(header) => (header.as_ptr(), data.as_ptr()),
        None => (data.as_ptr(), ptr::null()),
    };
    // SAFETY: both paths are NUL-terminated and outlive the call, a null data device means none, and `handle` is a place
    // for the result (crypt_init_data_device in libcryptsetup.h).
    let code = unsafe { sys::crypt_init_data_device(&raw mut handle, first, second) };
    if code < 0 || handle.is_null() {
        return Err(failed(code));
    }
    let container = CryptDevice::from_ptr(handle);
    // SAFETY: `handle` is the context made above, which `container` keeps alive; `kind` is NUL-terminated; `params` is null
    // or what this type wants (crypt_load in libcryptsetup.h).
    let code = unsafe { sys::crypt_load(handle, kind.as_ptr(), params) };
    if code < 0 { Err(failed(code)) } else { Ok(container) }
}

fn failed(code: i32) -> LibcryptErr {
    LibcryptErr::IOError(io::Error::from_raw_os_error(code.saturating_neg()))
}
