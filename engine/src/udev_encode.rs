//! Stand-in until `ondisk::udev_encode` is there.

/// Encodes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
