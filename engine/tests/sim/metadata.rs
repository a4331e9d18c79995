//! How volumes and groups look in LVM's metadata, and a mirror in MD's.

use ondisk::lvm::{LogicalVolume, PvEntry, Section, Segment, Value, VolumeGroup};
use ondisk::md::{Role, Superblock, Version};

use super::super::kernel::DISK;
use super::{ARRAY, CHUNK, EXTENT, FIRST, Form, Group, Lv, Obstacle, Pv, SPAN, VOLUMES, identifier};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Extents, type and settings of a segment.
type Run = (u64, &'static str, Vec<(&'static str, Value)>);

impl Lv {
    /// Names of the hidden volumes that it is made of.
    fn part(&self, what: &str) -> String {
        format!("{}_{what}", self.name)
    }

    /// It and its parts as the metadata of this version write them.
    pub(super) fn entries(&self, version: usize) -> Vec<LogicalVolume> {
        let mut lvs = Vec::new();
        let at = |pv: usize, more: u64| {
            [Value::Text(format!("pv{pv}")), Value::Number((self.extent(version) + more * self.span) as i64)]
        };
        let span = self.span;
        let mut add = |name: String, visible: bool, segments: Vec<Run>| {
            let number = self.slot * 10 + lvs.len();
            let mut start: u64 = 0;
            let segments = segments.into_iter().map(|(count, kind, config)| {
                let config = config.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                let segment = Segment {
                    start_extent: start,
                    extent_count: count * span,
                    kind: kind.into(),
                    config: Section(config),
                    ..Segment::default()
                };
                start += count * span;
                segment
            });
            let status = words(if visible { &["READ", "WRITE", "VISIBLE"] } else { &["READ", "WRITE"] });
            let id = identifier(&format!("lv{number}"));
            lvs.push(LogicalVolume {
                segments: segments.collect(),
                name,
                id,
                status,
                ..LogicalVolume::default()
            });
        };
        let stripes = |places: Vec<[Value; 2]>| {
            vec![
                ("stripe_count", Value::Number(places.len() as i64)),
                ("stripe_size", Value::Number(CHUNK as i64)),
                ("stripes", Value::List(places.into_iter().flatten().collect())),
            ]
        };
        let count = self.pvs.len() as u64;
        let text = |text: &str| Value::Text(text.to_owned());
        match self.form {
            Form::Linear | Form::Joined => {
                let segments = self.pvs.iter().map(|pv| (1, "striped", stripes(vec![at(*pv, 0)])));
                add(self.name.clone(), true, segments.collect());
            }
            Form::Striped => {
                let places = self.pvs.iter().map(|pv| at(*pv, 0)).collect();
                add(self.name.clone(), true, vec![(count, "striped", stripes(places))]);
            }
            Form::Raid1 | Form::Raid5 => {
                let mut images = Vec::new();
                for (image, _) in self.pvs.iter().enumerate() {
                    images.push(text(&self.part(&format!("rmeta_{image}"))));
                    images.push(text(&self.part(&format!("rimage_{image}"))));
                }
                let (kind, extents) =
                    if self.form == Form::Raid1 { ("raid1", 1) } else { ("raid5_ls", count - 1) };
                let config = vec![
                    ("device_count", Value::Number(count as i64)),
                    ("stripe_size", Value::Number(CHUNK as i64)),
                    ("region_size", Value::Number(4096)),
                    ("raids", Value::List(images)),
                ];
                add(self.name.clone(), true, vec![(extents, kind, config)]);
                for (image, pv) in self.pvs.iter().enumerate() {
                    for (more, what) in ["rimage", "rmeta"].iter().enumerate() {
                        let place = stripes(vec![at(*pv, more as u64)]);
                        add(self.part(&format!("{what}_{image}")), false, vec![(1, "striped", place)]);
                    }
                }
            }
            Form::Thin => {
                let pool = format!("{}pool", self.name);
                let thin = vec![
                    ("thin_pool", text(&pool)),
                    ("transaction_id", Value::Number(0)),
                    ("device_id", Value::Number(1)),
                ];
                add(self.name.clone(), true, vec![(1, "thin", thin)]);
                let config = vec![
                    ("metadata", text(&format!("{pool}_tmeta"))),
                    ("pool", text(&format!("{pool}_tdata"))),
                    ("transaction_id", Value::Number(1)),
                    ("chunk_size", Value::Number(128)),
                    ("zero_new_blocks", Value::Number(1)),
                ];
                add(pool.clone(), true, vec![(1, "thin-pool", config)]);
                for (more, what) in ["tdata", "tmeta"].iter().enumerate() {
                    let place = stripes(vec![at(self.pvs[0], more as u64)]);
                    add(format!("{pool}_{what}"), false, vec![(1, "striped", place)]);
                }
            }
        }
        lvs
    }
}

impl Group {
    /// The metadata of a version.
    pub(super) fn metadata(&self, version: usize, newest: usize) -> VolumeGroup {
        let known = |pv: &&Pv| version < newest || !pv.removed;
        let entry = |(at, pv): (usize, &Pv)| PvEntry {
            name: format!("pv{at}"),
            id: pv.id.clone(),
            device: Some(format!("/dev/was-{}", pv.id.trim_start_matches('x'))),
            status: words(&["ALLOCATABLE"]),
            flags: words(if pv.lost && version == newest { &["MISSING"] } else { &[] }),
            dev_size: DISK,
            pe_start: FIRST,
            pe_count: 4 * VOLUMES * SPAN[0],
            ..PvEntry::default()
        };
        let exported = self.obstacle == Some(Obstacle::Exported);
        VolumeGroup {
            name: self.name.clone(),
            id: self.id.clone(),
            seqno: version as u64 + 3,
            status: words(if exported { &["READ", "WRITE", "EXPORTED"] } else { &["READ", "WRITE"] }),
            system_id: (self.obstacle == Some(Obstacle::Foreign)).then(|| "elsewhere".into()),
            extent_size: EXTENT,
            pvs: self.pvs.iter().enumerate().filter(|(_, pv)| known(pv)).map(entry).collect(),
            lvs: self.lvs.iter().flat_map(|lv| lv.entries(version)).collect(),
            ..VolumeGroup::default()
        }
    }
}

/// A member of the mirror that a PV may lie on.
pub fn mirror(slot: u16) -> Superblock {
    Superblock {
        version: Version::V1_2,
        minor: 2,
        big_endian: false,
        uuid: ARRAY,
        name: "box:pv".into(),
        level: 1,
        layout: 0,
        chunk: 0,
        raid_disks: 2,
        size: DISK,
        created: 0,
        updated: 0,
        events: 10,
        clean: true,
        slots: "AA".into(),
        number: slot.into(),
        role: Role::Active(slot),
        replacement: false,
        write_mostly: false,
        failfast: false,
        device_uuid: Some([slot as u8; 16]),
        data_offset: 2048,
        data_size: DISK,
        recovery_offset: None,
        bitmap_offset: None,
        nodes: 0,
        journal: false,
        ppl: false,
        bad_block_log: 0,
        reshape: None,
    }
}
