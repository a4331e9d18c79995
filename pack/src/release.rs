//! Small texts of the image.

/// `/etc/initrd-release`: its presence tells systemd's components that they are in an initrd (os-release(5)).
#[must_use]
pub fn initrd_release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "NAME=\"Rootward\"\nID=rootward\nVERSION_ID={version}\nPRETTY_NAME=\"Rootward {version} (initramfs)\"\n"
    )
}
