//! Kernel modules that tables need.

use super::Piece;
use super::Planned;

/// Modules and aliases for the targets of `devices`, each once.
pub(super) fn needed(devices: &[Planned], version: (u32, u32)) -> Vec<String> {
    let mut modules = Vec::new();
    let mut need = |name: &str| {
        if !modules.iter().any(|module| module == name) {
            modules.push(name.to_owned());
        }
    };
    for target in devices.iter().flat_map(|device| &device.targets) {
        let text = target.params.iter().find_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let text = text.unwrap_or_default();
        match target.kind {
            "mirror" => need("dm-mirror"),
            "raid" => {
                need("dm-raid");
                // dm-raid asks for the personality when the array starts, and then there is no modprobe to answer.
                need(match text.split(' ').next().unwrap_or_default() {
                    "raid0" => "raid0",
                    "raid1" => "raid1",
                    "raid10" => "raid10",
                    _ => "raid456",
                });
            }
            "thin" | "thin-pool" => need("dm-thin-pool"),
            "snapshot" | "snapshot-origin" | "snapshot-merge" => need("dm-snapshot"),
            "cache" => {
                need("dm-cache");
                for piece in &target.params {
                    if let Piece::Text(text) = piece {
                        for policy in ["smq", "mq", "cleaner"] {
                            if text.split(' ').any(|word| word == policy) {
                                need(&format!("dm-cache-{policy}"));
                            }
                        }
                    }
                }
            }
            "writecache" => need("dm-writecache"),
            "integrity" => {
                need("dm-integrity");
                for piece in &target.params {
                    if let Piece::Text(text) = piece
                        && let Some(hash) =
                            text.split(' ').find_map(|word| word.strip_prefix("internal_hash:"))
                    {
                        need(&format!("crypto-{hash}"));
                    }
                }
            }
            // In the kernel since 6.9, before that a module of its own project.
            "vdo" => need(if version >= (6, 9) { "dm-vdo" } else { "kvdo" }),
            "zero" => need("dm-zero"),
            _ => {}
        }
    }
    modules
}
