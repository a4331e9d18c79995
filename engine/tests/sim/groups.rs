//! Random volume groups: what lies where, in which version of the metadata, and what can be had of it.

use std::collections::{BTreeMap, BTreeSet};

use ondisk::lvm::PhysicalVolume;
use ondisk::md::Superblock;
use ondisk::{Content, Kind, Member, Signature};

use super::kernel::{DISK, Disk, World};
use super::rng::Rng;
use metadata::mirror;
pub use reach::opens;

mod metadata;
mod reach;

/// Sectors of an extent, and before the first one.
const EXTENT: u64 = 8192;
const FIRST: u64 = 2048;
/// Extents of a volume of each group on a PV: a later group may lie inside a volume of an earlier one.
const SPAN: [u64; 3] = [100_000, 1_000, 10];
/// Most volumes of a group.
const VOLUMES: u64 = 5;
/// Sectors of a chunk of striped volumes.
const CHUNK: u64 = 128;

/// UUID of the array that a PV may lie on.
pub const ARRAY: [u8; 16] = [7; 16];
/// UUID of the container that root may lie in.
pub const CONTAINER: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// On what a PV lies.
#[derive(Debug, Clone)]
pub enum Carrier {
    Disk(usize),
    /// In an encrypted container on a disk.
    Container(usize),
    /// On a mirror of two disks.
    Array([usize; 2]),
    /// On a volume of another group.
    Volume(usize, usize),
}

#[derive(Debug, Clone)]
pub struct Pv {
    pub id: String,
    pub carrier: Carrier,
    /// The version of the metadata on it.
    pub metadata: Option<usize>,
    /// A disk with a copy of it.
    copy: Option<usize>,
    /// The newest version counts it as lost.
    lost: bool,
    /// The newest version does not know it.
    removed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Linear,
    /// Two segments, one after the other.
    Joined,
    Striped,
    Raid1,
    Raid5,
    Thin,
}

#[derive(Debug, Clone)]
pub struct Lv {
    pub name: String,
    pub form: Form,
    /// Indices of the PVs that it lies on, image by image.
    pub pvs: Vec<usize>,
    /// Number in its group, from which identifiers and places follow.
    slot: usize,
    /// Extents on each of its PVs.
    span: u64,
    /// Whether its pool's metadata are sound.
    sound: bool,
}

/// Why a group is to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    Exported,
    Foreign,
    /// A PV is there twice.
    Copied,
    /// Another group has the same name.
    Twin,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub name: String,
    pub id: String,
    pub pvs: Vec<Pv>,
    pub lvs: Vec<Lv>,
    pub obstacle: Option<Obstacle>,
}

#[derive(Debug, Clone)]
pub struct Groups {
    pub disks: Vec<Disk>,
    pub groups: Vec<Group>,
    /// The volume that root lies on; `None` is a disk.
    pub root: Option<(usize, usize)>,
    /// It lies in a container on the volume.
    pub locked: bool,
    /// Name of a mapping that the kernel does not take.
    pub refused: Option<String>,
    pub typing: u64,
    /// The disk that root lies on, if it is none of the volumes.
    pub root_disk: String,
    contents: BTreeMap<String, Content>,
    unsound: Vec<String>,
    has_array: bool,
    /// Volumes that are PVs of another group.
    carriers: BTreeSet<(usize, usize)>,
}

/// UUID of the container that a PV may lie in.
pub fn container(disk: usize) -> String {
    format!("container-{disk:02}")
}

/// 32 characters.
fn identifier(text: &str) -> String {
    format!("{text:x>32}")
}

fn content(kind: Kind, uuid: &str) -> Content {
    let mut signature = Signature::new(kind);
    signature.uuid = Some(uuid.to_owned());
    Content { signatures: vec![signature], ..Content::default() }
}

impl Lv {
    fn extent(&self, version: usize) -> u64 {
        (version as u64 * VOLUMES + self.slot as u64) * 2 * self.span
    }
}

impl Group {
    fn newest(&self) -> usize {
        self.pvs.iter().filter_map(|pv| pv.metadata).max().unwrap_or(0)
    }

    /// Whether the newest metadata count one of its PVs as lost.
    pub fn has_lost(&self) -> bool {
        self.pvs.iter().any(|pv| pv.lost)
    }

    /// The volume that this identifier of 32 characters belongs to, itself or as a part.
    pub fn volume_of(&self, id: &str) -> Option<usize> {
        self.lvs.iter().position(|lv| lv.entries(0).iter().any(|entry| entry.id == id))
    }
}

impl Groups {
    pub fn invent(rng: &mut Rng) -> Groups {
        let mut world = Groups {
            disks: Vec::new(),
            groups: Vec::new(),
            root: None,
            locked: false,
            refused: None,
            typing: *rng.pick(&[300, 3_000, 14_000]),
            root_disk: String::new(),
            contents: BTreeMap::new(),
            unsound: Vec::new(),
            has_array: false,
            carriers: BTreeSet::new(),
        };
        let count = *rng.pick(&[1, 1, 2, 2, 3]);
        for number in 0..count {
            world.add_group(rng, number);
        }
        if count > 1 && rng.percent(5) {
            world.make_twins();
        }
        world.root = Some(rng.index(count)).map(|group| (group, rng.index(world.groups[group].lvs.len())));
        if rng.percent(15) || world.root.is_some_and(|root| world.carriers.contains(&root)) {
            world.root = None;
            world.add_disk(rng, true);
        }
        world.locked = world.root.is_some() && rng.percent(20);
        if rng.percent(5) {
            let group = &world.groups[rng.index(count)];
            world.refused = Some(format!("{}-{}", group.name, rng.pick(&group.lvs).name));
        }
        world.write();
        world
    }

    fn add_disk(&mut self, rng: &mut Rng, reliable: bool) -> usize {
        let number = self.disks.len();
        let name = format!("sd{}", char::from(b'a' + number as u8));
        let arrival = match rng.below(10) {
            0 if !reliable => None,
            1 if !reliable => Some(rng.between(1_000, 7_000)),
            _ => Some(0),
        };
        self.disks.push(Disk { store: name.clone(), name, arrival, ..Disk::default() });
        number
    }

    fn add_group(&mut self, rng: &mut Rng, number: usize) {
        let obstacle = match rng.below(30) {
            0 => Some(Obstacle::Exported),
            1 => Some(Obstacle::Foreign),
            2 => Some(Obstacle::Copied),
            _ => None,
        };
        let mut group = Group {
            name: (*rng.pick(&["vg", "my-vg", "data"])).to_owned() + &number.to_string(),
            id: identifier(&format!("group{number}")),
            pvs: Vec::new(),
            lvs: Vec::new(),
            obstacle,
        };
        let reliable = rng.percent(30) || obstacle.is_some();
        for pv in 0..rng.between(1, 4) {
            let carrier = self.add_carrier(rng, reliable);
            let id = identifier(&format!("g{number}pv{pv}"));
            group.pvs.push(Pv { id, carrier, metadata: Some(0), copy: None, lost: false, removed: false });
        }
        for lv in 0..rng.between(1, 4) as usize {
            let known: Vec<usize> = (0..group.pvs.len()).collect();
            let forms: &[Form] = match known.len() {
                1 => &[Form::Linear, Form::Thin],
                2 => &[Form::Linear, Form::Joined, Form::Striped, Form::Raid1, Form::Raid1, Form::Thin],
                _ => &[Form::Linear, Form::Joined, Form::Striped, Form::Raid1, Form::Raid5, Form::Thin],
            };
            let form = *rng.pick(forms);
            let wanted = match form {
                Form::Linear | Form::Thin => 1,
                Form::Joined | Form::Striped | Form::Raid1 => 2,
                Form::Raid5 => 3,
            };
            let mut pvs = known;
            while pvs.len() > wanted {
                pvs.remove(rng.index(pvs.len()));
            }
            let (name, span, sound) = (format!("lv-{lv}"), SPAN[number], !rng.percent(15));
            group.lvs.push(Lv { name, form, pvs, slot: lv, span, sound });
        }
        if obstacle != Some(Obstacle::Copied) {
            self.age(rng, &mut group);
        }
        if obstacle == Some(Obstacle::Copied) {
            let copied = rng.index(group.pvs.len());
            group.pvs[copied].carrier = Carrier::Disk(self.add_disk(rng, true));
            group.pvs[copied].copy = Some(self.add_disk(rng, true));
        }
        self.groups.push(group);
    }

    fn add_carrier(&mut self, rng: &mut Rng, reliable: bool) -> Carrier {
        match rng.below(12) {
            0 => Carrier::Container(self.add_disk(rng, reliable)),
            1 if !self.has_array => {
                self.has_array = true;
                Carrier::Array([self.add_disk(rng, reliable), self.add_disk(rng, reliable)])
            }
            2 | 3 => {
                // Inside a volume the places of one version are written down, not those of all.
                let young = self.groups.iter().enumerate().filter(|(_, group)| group.newest() == 0);
                let mut volumes = young.flat_map(|(at, group)| (0..group.lvs.len()).map(move |lv| (at, lv)));
                let fits = |at: &(usize, usize)| {
                    self.groups[at.0].lvs[at.1].form != Form::Raid5 && !self.carriers.contains(at)
                };
                match volumes.find(fits) {
                    Some((group, lv)) => {
                        self.carriers.insert((group, lv));
                        Carrier::Volume(group, lv)
                    }
                    None => Carrier::Disk(self.add_disk(rng, reliable)),
                }
            }
            _ => Carrier::Disk(self.add_disk(rng, reliable)),
        }
    }

    /// What has happened to a group's metadata.
    fn age(&mut self, rng: &mut Rng, group: &mut Group) {
        let at = rng.index(group.pvs.len());
        let several = group.pvs.len() > 1;
        match rng.below(10) {
            // Some PVs were not written the last time.
            0 | 1 if several => {
                for pv in &mut group.pvs {
                    pv.metadata = Some(rng.index(2));
                }
                group.pvs[at].metadata = Some(1);
            }
            2 if several => {
                for pv in &mut group.pvs {
                    pv.metadata = rng.percent(40).then_some(0);
                }
                group.pvs[at].metadata = Some(0);
            }
            // One was lost, and is back from the drawer.
            3 if several => {
                for (other, pv) in group.pvs.iter_mut().enumerate() {
                    pv.metadata = Some(usize::from(other != at));
                    pv.lost = other == at;
                }
            }
            // One was taken out while it was away.
            4 if several && group.lvs.iter().all(|lv| !lv.pvs.contains(&at)) => {
                for (other, pv) in group.pvs.iter_mut().enumerate() {
                    pv.metadata = Some(usize::from(other != at));
                    pv.removed = other == at;
                }
            }
            _ => {}
        }
    }

    fn make_twins(&mut self) {
        let name = self.groups[0].name.clone();
        self.groups[1].name = name;
        for group in &mut self.groups[..2] {
            group.obstacle = Some(Obstacle::Twin);
        }
        // Who comes late is not seen in time, whoever looks.
        for number in 0..self.disks.len() {
            self.disks[number].arrival = Some(0);
        }
        for at in 0..2 {
            for pv in 0..self.groups[at].pvs.len() {
                let disk = self.disks.len();
                if !matches!(self.groups[at].pvs[pv].carrier, Carrier::Disk(_)) {
                    let name = format!("sd{}", char::from(b'a' + disk as u8));
                    let arrival = Some(0);
                    self.disks.push(Disk { store: name.clone(), name, arrival, ..Disk::default() });
                    self.groups[at].pvs[pv].carrier = Carrier::Disk(disk);
                }
            }
        }
    }

    /// Takes a disk or two away while the boot goes on; some come back under another name.
    pub fn lose_disks(&mut self, rng: &mut Rng) {
        // Of two groups with one name one may be active while the other comes: the kernel refuses its volumes.
        if self.groups.iter().any(|group| group.obstacle == Some(Obstacle::Twin)) {
            return;
        }
        for _ in 0..rng.between(1, 2) {
            let at = rng.index(self.disks.len());
            if self.disks[at].arrival != Some(0) || self.disks[at].lost.is_some() || self.disks.len() > 20 {
                continue;
            }
            let latest = *rng.pick(&[200, 3_000, 12_000]);
            let lost = rng.between(1, latest);
            self.disks[at].lost = Some(lost);
            if rng.percent(60) {
                let name = format!("sd{}", char::from(b'a' + self.disks.len() as u8));
                let store = self.disks[at].store.clone();
                let arrival = Some(lost + 1_500);
                self.disks.push(Disk { name, store, arrival, ..Disk::default() });
            }
        }
    }

    /// Where a sector of a PV may lie.
    fn pv_places(&self, pv: &Pv, sector: u64) -> Vec<String> {
        match pv.carrier {
            Carrier::Disk(disk) => vec![format!("{}+{sector}", self.disks[disk].store)],
            Carrier::Container(disk) => vec![format!("crypt+{sector} in {}+0", self.disks[disk].store)],
            Carrier::Array(_) => {
                let uuid = Superblock { slots: String::new(), ..mirror(0) }.map_uuid();
                vec![format!("array {uuid}+{sector}")]
            }
            Carrier::Volume(group, lv) => self.places(group, lv, 0, sector),
        }
    }

    /// Where a sector of a volume may lie by a version of the metadata.
    pub fn places(&self, group: usize, lv: usize, version: usize, sector: u64) -> Vec<String> {
        let pvs = &self.groups[group].pvs;
        let lv = &self.groups[group].lvs[lv];
        let on = |image: usize, sector: u64| {
            self.pv_places(&pvs[lv.pvs[image]], FIRST + lv.extent(version) * EXTENT + sector)
        };
        let count = lv.pvs.len() as u64;
        match lv.form {
            Form::Linear | Form::Joined if sector < lv.span * EXTENT => on(0, sector),
            Form::Linear | Form::Joined => on(1, sector - lv.span * EXTENT),
            Form::Striped => {
                let stripe = sector / CHUNK;
                on((stripe % count) as usize, stripe / count * CHUNK + sector % CHUNK)
            }
            Form::Raid1 | Form::Raid5 => (0..lv.pvs.len()).flat_map(|image| on(image, sector)).collect(),
            Form::Thin => on(0, 0).into_iter().map(|place| format!("thin 1+{sector} in {place}")).collect(),
        }
    }

    /// Writes everything down.
    fn write(&mut self) {
        let mut written = BTreeMap::new();
        for (number, group) in self.groups.iter().enumerate() {
            for version in 0..=group.newest() {
                for lv in 0..group.lvs.len() {
                    let is_root = self.root == Some((number, lv));
                    for place in self.places(number, lv, version, 0) {
                        let what = match (is_root, self.locked) {
                            (true, true) => {
                                written.insert(format!("crypt+0 in {place}"), content(Kind::Ext4, "root"));
                                content(Kind::Luks2, CONTAINER)
                            }
                            (true, false) => content(Kind::Ext4, "root"),
                            _ => content(Kind::Swap, "swap"),
                        };
                        written.insert(place, what);
                    }
                    if group.lvs[lv].form == Form::Thin && !group.lvs[lv].sound {
                        let extent = group.lvs[lv].extent(version) + group.lvs[lv].span;
                        let pv = &group.pvs[group.lvs[lv].pvs[0]];
                        self.unsound.extend(self.pv_places(pv, FIRST + extent * EXTENT));
                    }
                }
            }
        }
        for group in &self.groups {
            for pv in &group.pvs {
                let newest = group.newest();
                let label = PhysicalVolume {
                    id: pv.id.clone(),
                    device_size: DISK * 512,
                    data_areas: Vec::new(),
                    metadata_areas: Vec::new(),
                    vg: pv.metadata.map(|version| group.metadata(version, newest)),
                    doubts: Vec::new(),
                };
                let member = Some(Box::new(Member::Lvm(label)));
                let what = Content { member, ..content(Kind::Lvm2Pv, &pv.id) };
                let mut places = self.pv_places(pv, 0);
                places.extend(pv.copy.map(|disk| format!("{}+0", self.disks[disk].store)));
                written.extend(places.into_iter().map(|place| (place, what.clone())));
                match pv.carrier {
                    Carrier::Container(disk) => {
                        let uuid = container(disk);
                        written.insert(format!("{}+0", self.disks[disk].store), content(Kind::Luks2, &uuid));
                    }
                    Carrier::Array(disks) => {
                        for (slot, disk) in disks.into_iter().enumerate() {
                            let superblock = mirror(slot as u16);
                            let mut what = content(Kind::MdMember, &superblock.array_uuid());
                            what.member = Some(Box::new(Member::Md(superblock)));
                            written.insert(format!("{}+0", self.disks[disk].store), what);
                        }
                    }
                    _ => {}
                }
            }
        }
        if self.root.is_none() {
            let disk = self.disks.last().expect("root's disk");
            self.root_disk.clone_from(&disk.store);
            written.insert(format!("{}+0", disk.store), content(Kind::Ext4, "root"));
        }
        self.contents = written;
    }
}

/// Name of a volume's mapping.
pub fn dm_name(vg: &str, lv: &str) -> String {
    format!("{}-{}", vg.replace('-', "--"), lv.replace('-', "--"))
}

impl World for Groups {
    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn content(&self, place: &str) -> Content {
        self.contents.get(place).cloned().unwrap_or_default()
    }

    fn refuses(&self, name: &str) -> bool {
        self.refused.as_deref() == Some(name)
    }

    fn is_sound(&self, place: &str) -> bool {
        !self.unsound.iter().any(|unsound| unsound == place)
    }

    fn typing(&self) -> u64 {
        self.typing
    }
}
