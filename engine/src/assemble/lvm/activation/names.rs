//! Names and UUIDs of LVM's device-mapper devices (lvm2: libdm/libdm-string.c, lib/misc/lvm-string.c).

/// Doubles the dashes of a name, so that a single one separates.
fn quoted(out: &mut String, name: &str) {
    for character in name.chars() {
        if character == '-' {
            out.push('-');
        }
        out.push(character);
    }
}

/// Device-mapper name of a logical volume: `vg0-root`, with a layer `vg0-pool-tpool`.
#[must_use]
pub fn dm_name(vg: &str, lv: &str, layer: Option<&str>) -> String {
    let mut name = String::with_capacity(vg.len() + lv.len() + 8);
    quoted(&mut name, vg);
    name.push('-');
    quoted(&mut name, lv);
    if let Some(layer) = layer {
        name.push('-');
        name.push_str(layer);
    }
    name
}

/// Device-mapper UUID of a logical volume from the identifiers of group and volume (32 characters each).
#[must_use]
pub fn dm_uuid(vg_id: &str, lv_id: &str, layer: Option<&str>) -> String {
    let mut uuid = String::with_capacity(80);
    uuid.push_str("LVM-");
    uuid.push_str(vg_id);
    uuid.push_str(lv_id);
    if let Some(layer) = layer {
        uuid.push('-');
        uuid.push_str(layer);
    }
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_are_doubled() {
        assert_eq!(dm_name("my-vg", "a-b--c", None), "my--vg-a--b----c");
        assert_eq!(dm_name("vg", "pool", Some("tpool")), "vg-pool-tpool");
        assert_eq!(dm_uuid("G", "L", Some("real")), "LVM-GL-real");
    }
}
