//! What has to be true before Rust's runtime starts.
//!
//! The runtime opens `/dev/null` in place of each closed standard descriptor and aborts when it cannot. With
//! `console=null` the kernel gives its init no descriptor at all, and at that moment there is no `/dev/null` either.

use std::os::fd::{AsRawFd, IntoRawFd};

use rustix::fs::{Mode, OFlags};

// SAFETY: the C library calls every pointer of this section once, after its own start-up and before `main`; the function
// has the C ABI, takes none of the arguments that it is offered, and makes system calls only, without using the runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static HOLD: extern "C" fn() = hold_standard_descriptors;

/// Fills descriptors 0 to 2 with something that exists; `early::standard_descriptors` replaces it.
extern "C" fn hold_standard_descriptors() {
    // The kernel gives the lowest free number, so with all three open this is one open and one close.
    while let Ok(fd) = rustix::fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
        if fd.as_raw_fd() > 2 {
            return;
        }
        // Stays open.
        let _ = fd.into_raw_fd();
    }
}
