//! What mdadm.conf says of containers and their volumes, and their names as mdadm gives them (Incremental.c:
//! `Incremental_container`).

use cmdline::mdadm_conf::{ArrayLine, MdadmConf, uuid};
use ondisk::ata_raid::Format;

use super::containers::{Container, colons};
use crate::assemble::md::naming::{Name, choose, is_permitted, is_this_host};
use crate::command::ContainerRequest;
use crate::image::ImageFacts;

/// Paths of containers that nobody has named, in the order in which they are given.
fn usual_paths(format: Format) -> impl Iterator<Item = String> {
    (0_u32..).map(move |number| format!("/dev/md/{}{number}", format.mdadm_name()))
}

/// The `ARRAY` line that means the container itself.
fn line_of<'a>(conf: &'a MdadmConf, container: &Container) -> Option<&'a ArrayLine> {
    conf.arrays.iter().find(|line| line.member.is_none() && line.uuid == Some(container.uuid))
}

/// The `ARRAY` line that means the volume with this number and UUID: it names its container, by UUID or path, and its number
/// there. Lines with the volume's UUID are taken in any case: mdadm starts what they mean when it is told to assemble
/// everything.
fn line_of_volume<'a>(
    conf: &'a MdadmConf,
    container: &Container,
    (index, id): (u32, &str),
) -> Option<&'a ArrayLine> {
    let path = line_of(conf, container).and_then(|line| line.device.as_deref());
    let usual = usual_paths(container.format).next().unwrap_or_default();
    let path = path.unwrap_or(&usual);
    let plain = |path: &str| {
        let path = path.strip_prefix("/dev/").unwrap_or(path);
        path.strip_prefix("md/").unwrap_or(path).to_owned()
    };
    conf.arrays.iter().find(|line| {
        let same = line.uuid.map(|uuid| colons(uuid) == id);
        match (&line.member, &line.container) {
            (Some(member), Some(text)) => {
                let inside = uuid(text) == Some(container.uuid) || plain(text) == plain(path);
                same.unwrap_or(inside) && member.parse() == Ok(index)
            }
            (None, None) => same == Some(true),
            _ => false,
        }
    })
}

/// Whether the metadata were written for this host: Intel's never say.
fn is_local(image: &ImageFacts, container: &Container) -> bool {
    container.host.as_deref().is_some_and(|host| is_this_host(image, |name| name == host))
}

/// Refuses the volumes that the image's mdadm.conf wants to be left alone.
pub fn heed(image: &ImageFacts, container: &mut Container) {
    let conf = &image.mdadm;
    let line = line_of(conf, container);
    let permitted =
        is_permitted(conf, |what| what == container.format.mdadm_name(), || is_local(image, container));
    let why = match line {
        Some(line) if line.ignore => Some("mdadm.conf ignores its container"),
        None if !permitted => Some("the AUTO line of mdadm.conf excludes its container"),
        _ => None,
    };
    let ignored: Vec<bool> = container
        .volumes
        .iter()
        .map(|volume| {
            let id = (volume.request.index, volume.request.uuid.as_str());
            line_of_volume(conf, container, id).is_some_and(|line| line.ignore)
        })
        .collect();
    for (volume, ignored) in container.volumes.iter_mut().zip(ignored) {
        let why = why.or(ignored.then_some("mdadm.conf ignores it"));
        volume.refused = why.map(str::to_owned).or(volume.refused.take());
    }
}

/// Gives a container and its volumes paths and numbers; `taken` tells paths that other arrays have.
pub fn name(
    image: &ImageFacts,
    container: &Container,
    request: &mut ContainerRequest,
    taken: impl Fn(&str) -> bool,
) {
    let line = line_of(&image.mdadm, container);
    let Name { path, number, .. } = choose(line.and_then(|line| line.device.as_deref()), None, false, &taken);
    let usual = || usual_paths(container.format).find(|path| !taken(path)).unwrap_or_default();
    request.path = path.unwrap_or_else(usual);
    request.number = number;
    let mut given: Vec<String> = Vec::new();
    // A line that means one volume vouches for those that come after it, too.
    let mut local = line.is_some() || is_local(image, container);
    for volume in &mut request.volumes {
        let own = container.volumes.iter().find(|one| one.request.index == volume.index);
        let own = own.map_or("", |one| one.name.as_str());
        let own = if own.is_empty() { container.format.mdadm_name() } else { own };
        // Neither lines of mdadm's map nor links elsewhere are to be made by a name.
        let own: String =
            own.chars().map(|c| if c.is_control() || c.is_whitespace() { '_' } else { c }).collect();
        let member = line_of_volume(&image.mdadm, container, (volume.index, &volume.uuid));
        local |= member.is_some();
        let device = member.and_then(|line| line.device.as_deref());
        let name =
            choose(device, Some(&own), local, |path| taken(path) || given.iter().any(|other| other == path));
        volume.number = name.number;
        volume.path = name.path.unwrap_or_default();
        given.push(volume.path.clone());
    }
}
