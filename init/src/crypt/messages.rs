//! libcryptsetup's messages, which it would otherwise print on standard output and error.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, Once, PoisonError};

/// Most lines kept of one call.
const LINES_MAX: usize = 32;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static REGISTERED: Once = Once::new();

/// Sends the library's messages here from now on; repeated calls do nothing.
pub fn capture() {
    REGISTERED.call_once(|| libcryptsetup_rs::set_log_callback::<()>(Some(receive), None));
}

/// What was said since the last call, in order.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The library's log callback; must neither panic nor call back into the library.
extern "C" fn receive(level: c_int, message: *const c_char, _: *mut c_void) {
    if message.is_null() {
        return;
    }
    // SAFETY: the library passes a NUL-terminated string that stays valid during the call (crypt_set_log_callback in
    // libcryptsetup.h); null was excluded above.
    let text = unsafe { CStr::from_ptr(message) };
    let text = text.to_string_lossy();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    log::debug!("libcryptsetup: {text}");
    // Levels: NORMAL 0, ERROR 1, VERBOSE 2, DEBUG -1. Only errors explain a failure.
    if level == 1 {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(text.to_owned());
        }
    }
}
