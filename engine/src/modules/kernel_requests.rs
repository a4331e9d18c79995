//! What the kernel would ask modprobe for by itself, had it a modprobe to call.
//!
//! `request_module()` runs a program; in the initramfs there is none. So whoever gives the kernel an order that leads
//! to such a request loads the answer first. Ciphers are in [`crate::crypto_modules`].

/// Aliases to load before mounting a file system of this type (`fs/filesystems.c`, `get_fs_type`).
///
/// Softdeps cover the checksums; the code pages of FAT come from its own mount options, here for Linux' defaults.
#[must_use]
pub fn for_filesystem(fstype: &str) -> Vec<String> {
    let mut wanted = vec![format!("fs-{fstype}")];
    let more: &[&str] = match fstype {
        "vfat" | "msdos" => &["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"],
        "iso9660" | "udf" => &["nls_utf8", "nls_iso8859_1"],
        _ => &[],
    };
    wanted.extend(more.iter().map(|name| (*name).to_owned()));
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filesystems() {
        assert_eq!(for_filesystem("ext4"), ["fs-ext4"]);
        assert!(for_filesystem("vfat").contains(&"nls_cp437".to_owned()));
    }
}
