//! Superblocks that mdadm and the kernel wrote, compared with what `mdadm --examine` says of them.

use std::fs;
use std::path::Path;

use ondisk::md::{Role, Superblock, Version};
use ondisk::{ReadAt, ReadError, identify};

/// Zeroes, except for one superblock.
struct Device {
    size: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl ReadAt for Device {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let count = usize::try_from(self.size.saturating_sub(offset)).unwrap().min(buf.len());
        buf[..count].fill(0);
        let end = offset + count as u64;
        let (from, to) = (offset.max(self.at), end.min(self.at + self.bytes.len() as u64));
        if from < to {
            let place = |at: u64, base: u64| usize::try_from(at - base).unwrap();
            buf[place(from, offset)..place(to, offset)]
                .copy_from_slice(&self.bytes[place(from, self.at)..place(to, self.at)]);
        }
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// One fixture: name, device, what mdadm says.
fn fixtures() -> Vec<(String, Device, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/md");
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "txt") {
            let text = fs::read_to_string(&path).unwrap();
            let first: Vec<&str> = text.lines().next().unwrap().split(' ').collect();
            let device = Device {
                size: first[1].parse().unwrap(),
                at: first[3].parse().unwrap(),
                bytes: fs::read(path.with_extension("bin")).unwrap(),
            };
            fixtures.push((path.file_stem().unwrap().to_string_lossy().into_owned(), device, text));
        }
    }
    assert_eq!(fixtures.len(), 19);
    fixtures
}

fn superblock(device: &Device) -> Superblock {
    let content = identify(device).unwrap();
    assert_eq!(content.only().unwrap().doubt, None);
    content.member.unwrap().md().unwrap().clone()
}

/// The value of a line of mdadm's.
fn says<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix(": "))
}

/// The number that a value begins with.
fn number(text: &str, key: &str) -> Option<u64> {
    says(text, key)?.split_whitespace().next()?.parse().ok()
}

#[test]
fn everything_that_mdadm_says() {
    for (name, device, text) in fixtures() {
        let sb = superblock(&device);
        let old = sb.version == Version::V0_90;
        assert!(says(&text, "Version").unwrap().starts_with(sb.version.name()), "{name}");
        let uuid = says(&text, if old { "UUID" } else { "Array UUID" }).unwrap();
        assert!(uuid.starts_with(&sb.array_uuid()), "{name}: {uuid}");
        assert_eq!(says(&text, "Raid Level"), Some(sb.level_name()), "{name}");
        assert_eq!(number(&text, "Raid Devices"), Some(sb.raid_disks.into()), "{name}");
        assert_eq!(number(&text, "Events"), Some(sb.events), "{name}");
        assert_eq!(says(&text, "State").unwrap().starts_with("clean"), sb.clean, "{name}");
        let chunk = says(&text, "Chunk Size").and_then(|text| text.strip_suffix('K')?.parse::<u64>().ok());
        // Linear has no chunks; mdadm prints what it calls rounding instead.
        if sb.level != -1 {
            assert_eq!(chunk.unwrap_or(0) << 10, sb.chunk, "{name}");
        }
        let layout = match says(&text, "Layout") {
            Some("original") => 1,
            Some("left-symmetric") => 2,
            Some("near=2") => 0x102,
            Some("far=2") => 0x201,
            Some("offset=2") => 0x10201,
            Some("-unknown-") | None => sb.layout,
            Some(other) => panic!("{name}: {other}"),
        };
        assert_eq!(sb.layout, layout, "{name}");
        assert_eq!(text.contains("Internal Bitmap"), sb.bitmap_offset.is_some(), "{name}");
        if old {
            assert_eq!(says(&text, "Preferred Minor"), Some(sb.name.as_str()), "{name}");
            assert_eq!(number(&text, "Used Dev Size").map(|size| size * 2), Some(sb.size), "{name}");
            let this: Vec<&str> =
                text.lines().find(|line| line.starts_with("this")).unwrap().split_whitespace().collect();
            assert_eq!((this[1].parse(), this[5]), (Ok(sb.number), "active"), "{name}");
            assert_eq!(sb.role, Role::Active(this[4].parse().unwrap()), "{name}");
            assert_eq!(sb.working() as u64, number(&text, "Active Devices").unwrap(), "{name}");
            assert_eq!(uuid.contains("local to host probe"), sb.is_hash_of("probe"), "{name}");
            continue;
        }
        assert_eq!(says(&text, "Name").unwrap().split_whitespace().next(), Some(sb.name.as_str()), "{name}");
        assert_eq!(number(&text, "Avail Dev Size"), Some(sb.data_size), "{name}");
        assert_eq!(number(&text, "Data Offset").unwrap_or(0), sb.data_offset, "{name}");
        let offset =
            says(&text, "Internal Bitmap").map(|text| text.split(' ').next().unwrap().parse().unwrap());
        assert_eq!(sb.bitmap_offset, offset, "{name}");
        let state = says(&text, "Array State").unwrap();
        assert!(state.starts_with(&format!("{} ", sb.slots)), "{name}: {state} and {}", sb.slots);
        let role = match sb.role {
            Role::Active(slot) => format!("Active device {slot}"),
            Role::Spare => "spare".to_owned(),
            Role::Journal => "Journal".to_owned(),
            Role::Faulty => "faulty".to_owned(),
        };
        assert_eq!(says(&text, "Device Role"), Some(role.as_str()), "{name}");
        let features = u32::from_str_radix(&says(&text, "Feature Map").unwrap()[2..], 16).unwrap();
        assert_eq!((features & 0x200 != 0, features & 0xc00 != 0), (sb.journal, sb.ppl), "{name}");
        let log = says(&text, "Bad Block Log").map_or(0, |_| 8);
        assert_eq!(u64::from(sb.bad_block_log > 0) * 8, log, "{name}");
        let uuid: String = sb.device_uuid.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(says(&text, "Device UUID").unwrap().replace(':', ""), uuid, "{name}");
        match (&sb.reshape, number(&text, "Reshape pos'n")) {
            (None, None) => {}
            (Some(reshape), Some(kib)) => {
                assert_eq!((reshape.position / 2, reshape.new_offset), (kib, true), "{name}");
                assert_eq!(says(&text, "Delta Devices"), Some("1 (3->4)"), "{name}");
                assert_eq!(reshape.delta_disks, 1, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// The same superblock as a big-endian machine writes it.
#[test]
fn either_byte_order_says_the_same() {
    for (name, mut device, _) in fixtures() {
        let mut little = superblock(&device);
        if little.version != Version::V0_90 {
            continue;
        }
        device.bytes.resize(4096, 0);
        device.bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        // Words of two halves change places as a whole (md_p.h).
        for (low, high) in [(39, 40), (41, 42), (44, 45)] {
            for byte in 0..4 {
                device.bytes.swap(low * 4 + byte, high * 4 + byte);
            }
        }
        little.big_endian = true;
        assert_eq!(superblock(&device), little, "{name}");
    }
}

/// Version 0.91 calls a member that a reshape fills active and no more (drivers/md/md.c, `super_90_sync`).
#[test]
fn a_member_that_a_reshape_fills_is_no_spare() {
    let (_, mut device, _) = fixtures()
        .into_iter()
        .find(|(_, device, _)| {
            let sb = superblock(device);
            sb.version == Version::V0_90 && !sb.big_endian && matches!(sb.role, Role::Active(_))
        })
        .unwrap();
    let before = superblock(&device);
    device.bytes.resize(4096, 0);
    let get = |bytes: &[u8], word: usize| u32::from_le_bytes(bytes[word * 4..][..4].try_into().unwrap());
    let number = get(&device.bytes, 992) as usize;
    for minor in [91, 90] {
        let changes = [
            (2, minor),
            (44, 3072),
            (45, 0),
            (46, before.level.cast_unsigned()),
            (47, 1),
            (48, before.layout),
            (49, before.chunk as u32),
            (992 + 4, 2),
            (128 + number * 32 + 4, 2),
            (38, 0),
        ];
        for (word, value) in changes {
            device.bytes[word * 4..][..4].copy_from_slice(&u32::to_le_bytes(value));
        }
        let sum: u64 = (0..1024).map(|word| u64::from(get(&device.bytes, word))).sum();
        let folded = (sum & 0xffff_ffff) + (sum >> 32);
        device.bytes[38 * 4..][..4].copy_from_slice(&(folded as u32).to_le_bytes());
        let after = superblock(&device);
        if minor == 90 {
            assert_eq!((after.role, after.recovery_offset), (Role::Spare, None));
            continue;
        }
        assert_eq!((after.role, after.recovery_offset, &after.slots), (before.role, Some(0), &before.slots));
        let reshape = after.reshape.unwrap();
        assert_eq!((reshape.position, reshape.delta_disks, reshape.new_offset), (3072, 1, false));
    }
}

#[test]
fn no_prefix_and_no_changed_byte_makes_it_panic() {
    for (_, device, _) in fixtures() {
        for length in 0..device.bytes.len() {
            let cut = Device { bytes: device.bytes[..length].to_vec(), ..device };
            let _ = identify(&cut);
        }
        for at in 0..device.bytes.len() {
            let mut changed = Device { bytes: device.bytes.clone(), ..device };
            changed.bytes[at] ^= 0xff;
            let _ = identify(&changed);
        }
    }
}
