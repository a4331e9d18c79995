//! The files of a machine that decide about its storage, as far as `/init` reads them (`engine::image`).
//!
//! Keys are the delicate ones. One is taken along only if the row that names it says that it is for the initramfs, nobody
//! but its owner may read it, it lies on the root file system, and the image goes to an encrypted one: on a `/boot` that
//! anybody can read it would open the disk that it lies beside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use cmdline::crypttab::{CryptKey, CryptKind, CryptOptions, CrypttabEntry, HeaderPlace};
use cmdline::integritytab::IntegrityVolume;
use cmdline::plan::KeyDevice;
use cmdline::verity::{RootHashSignature, VerityVolume};
use engine::assemble::lvm::LvmConf;
use engine::{crypto_modules, image};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::kernel;
use crate::tree::{Node, Tree};

/// The most that is taken for a key, a header or a signature.
const LARGEST: u64 = 64 << 20;
/// What marks a row of a table as one for the initramfs; the second is Debian's.
const MARKS: [&str; 2] = ["x-initrd.attach", "initramfs"];
/// A cipher that is most likely that of a container which is not open now.
const USUAL_CIPHER: &str = "aes-xts-plain64";

/// What the configuration asks for besides itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Modules, by name or alias.
    pub modules: Vec<String>,
    /// Files that are named and do not come along, and why.
    pub refused: Vec<(String, String)>,
}

/// Where the files come from and where the image goes.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Its root directory.
    pub root: &'a Path,
    /// What it shows.
    pub host: &'a Host,
    /// The image.
    pub output: &'a Path,
}

/// Puts the configuration of this machine into its image.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn add(tree: &mut Tree, machine: &Machine<'_>) -> Result<Needs> {
    let mut gathering = Gathering { tree, machine, needs: Needs::default(), unsafe_place: None };
    gathering.crypttab()?;
    gathering.veritytab()?;
    gathering.integritytab()?;
    let host = machine.host;
    if host.has_lvm {
        for name in image::LVM_CONFS {
            gathering.copy(name, 0o644)?;
        }
        gathering.system_id()?;
    }
    let mut arrays = !host.md_levels.is_empty();
    for name in image::MDADM_CONFS {
        arrays |= gathering.copy(name, 0o644)?;
    }
    for directory in image::MDADM_DIRECTORIES {
        arrays |= gathering.copy_drop_ins(directory, 0o644)?;
    }
    if arrays {
        gathering.copy(image::HOSTNAME, 0o644)?;
    }
    if host.dm_uuids.iter().any(|uuid| uuid.starts_with("mpath-")) {
        for name in [image::MULTIPATH_CONF, image::MULTIPATH_BINDINGS, image::MULTIPATH_WWIDS] {
            gathering.copy(name, 0o600)?;
        }
        gathering.copy_drop_ins(image::MULTIPATH_DIRECTORY, 0o600)?;
    }
    Ok(gathering.needs)
}

struct Gathering<'a> {
    tree: &'a mut Tree,
    machine: &'a Machine<'a>,
    needs: Needs,
    /// Whether the image can be read without a passphrase, once that had to be known.
    unsafe_place: Option<bool>,
}

/// What a file is, which decides what is expected of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It opens something.
    Key,
    /// It tells no more than a container does by itself, but nobody may change it.
    Open,
}

impl Gathering<'_> {
    /// Copies a file as it is; says whether there is one.
    fn copy(&mut self, name: &str, mode: u32) -> Result<bool> {
        let content = kernel::optional(&self.machine.root.join(name))?;
        let found = content.is_some();
        if let Some(content) = content {
            self.tree.insert(name, Node::File(mode, content));
        }
        Ok(found)
    }

    /// What lvm.conf goes by to tell this machine's volume groups from others'; it is no secret.
    fn system_id(&mut self) -> Result<()> {
        let [main, local] = image::LVM_CONFS.map(|name| kernel::optional(&self.machine.root.join(name)));
        let conf = LvmConf::read(main?.as_deref(), local?.as_deref());
        if conf.wants_hostname() {
            self.copy(image::HOSTNAME, 0o644)?;
        }
        if let Some(path) = conf.system_id_file() {
            let file = self.below(path).and_then(|file| fs::metadata(file).ok());
            match file.filter(|file| file.is_file() && file.size() <= LARGEST) {
                Some(_) => drop(self.copy(path.trim_start_matches('/'), 0o644)?),
                None => self.refuse(path, "lvm.conf's system_id_source", "it is no file that can be found"),
            }
        }
        Ok(())
    }

    /// Brings a directory's files in `.conf`; says whether there were any.
    fn copy_drop_ins(&mut self, directory: &str, mode: u32) -> Result<bool> {
        let mut any = false;
        for name in self.names_in(directory).iter().filter(|name| name.ends_with(".conf")) {
            any |= self.copy(&format!("{directory}/{name}"), mode)?;
        }
        Ok(any)
    }

    fn names_in(&self, directory: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.machine.root.join(directory));
        entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The lines of a table that concern the initramfs, with what they say; lines that say nothing to `/init` are left.
    fn rows<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> (Vec<T>, Vec<cmdline::Diagnostic>),
        own_name: fn(&T) -> &str,
    ) -> Result<Vec<(T, bool)>> {
        let Some(table) = kernel::optional(&self.machine.root.join(name))? else { return Ok(Vec::new()) };
        let table = String::from_utf8_lossy(&table).into_owned();
        let (mut rows, mut text) = (Vec::new(), String::new());
        for line in table.lines() {
            let Some(row) = parse(line).0.into_iter().next() else { continue };
            let marked = is_marked(line);
            if marked || self.machine.host.crypt_names.iter().any(|below| below == own_name(&row)) {
                text.push_str(line.trim());
                text.push('\n');
                rows.push((row, marked));
            }
        }
        if !rows.is_empty() {
            self.tree.insert(name, Node::File(0o600, text.into_bytes()));
        }
        Ok(rows)
    }

    fn crypttab(&mut self) -> Result<()> {
        let rows = self.rows(image::CRYPTTAB, cmdline::crypttab::parse, |row: &CrypttabEntry| &row.name)?;
        for (row, marked) in rows {
            self.needs.modules.extend(modules_of(&row.options));
            if let Some(HeaderPlace::File(path)) = &row.options.header {
                self.bring(path, Kind::Open, &row.name)?;
            }
            let own = match &row.key {
                CryptKey::File { path, device: KeyDevice::Initramfs } => Some((path.clone(), true)),
                CryptKey::File { .. } => None,
                CryptKey::Ask => Some((format!("/{}/{}.key", image::KEY_DIRECTORY, row.name), false)),
            };
            let more = row.options.tcrypt.keyfiles.iter().map(|path| (path.clone(), true));
            for (path, named) in own.into_iter().chain(more) {
                if path.starts_with("/dev/") || !named && !self.exists(&path) {
                    continue;
                }
                if marked {
                    self.bring(&path, Kind::Key, &row.name)?;
                } else {
                    self.refuse(&path, &row.name, "its row in crypttab is not marked x-initrd.attach");
                }
            }
        }
        Ok(())
    }

    fn veritytab(&mut self) -> Result<()> {
        let rows = self.rows(image::VERITYTAB, cmdline::verity::parse_tab, |row: &VerityVolume| &row.name)?;
        for (row, _) in rows {
            self.needs.modules.push("dm-verity".to_owned());
            self.needs.modules.push(format!("crypto-{}", row.options.algorithm));
            if let Some(RootHashSignature::File(path)) = &row.options.signature {
                self.bring(path, Kind::Open, &row.name)?;
            }
        }
        Ok(())
    }

    fn integritytab(&mut self) -> Result<()> {
        let rows =
            self.rows(image::INTEGRITYTAB, cmdline::integritytab::parse, |row: &IntegrityVolume| &row.name)?;
        for (row, marked) in rows {
            self.needs.modules.push("dm-integrity".to_owned());
            let parts = row.algorithm.split(['(', ')']).filter(|part| !part.is_empty());
            self.needs.modules.extend(parts.map(|part| format!("crypto-{part}")));
            if let Some(path) = &row.key {
                if marked {
                    self.bring(path, Kind::Key, &row.name)?;
                } else {
                    self.refuse(path, &row.name, "its row in integritytab is not marked x-initrd.attach");
                }
            }
        }
        Ok(())
    }

    fn exists(&self, path: &str) -> bool {
        self.below(path).is_some_and(|file| fs::symlink_metadata(file).is_ok())
    }

    /// Where a file of the machine is; `None` for a path that leaves its root or that has another form in the image.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let rest = path.strip_prefix('/')?;
        let normal = Path::new(rest).components().all(|part| matches!(part, Component::Normal(_)));
        normal.then(|| self.machine.root.join(rest))
    }

    /// Brings a file that a row names, or says why it does not come along.
    fn bring(&mut self, path: &str, kind: Kind, row: &str) -> Result<()> {
        if let Some(reason) = self.objection(path, kind) {
            self.refuse(path, row, reason);
            return Ok(());
        }
        let file = self.below(path).unwrap_or_default();
        let content = fs::read(&file).map_err(Error::io("read", &file))?;
        self.tree.insert(path, Node::File(0o600, content));
        Ok(())
    }

    /// What speaks against a file.
    fn objection(&mut self, path: &str, kind: Kind) -> Option<&'static str> {
        let host = self.machine.host;
        let Some(file) = self.below(path) else { return Some("its path has dots in it") };
        let about = match fs::symlink_metadata(file) {
            Ok(about) if about.is_file() => about,
            Ok(_) => return Some("it is no plain file"),
            Err(_) => return Some("it cannot be found"),
        };
        let mode = about.permissions().mode();
        if about.size() > LARGEST {
            return Some("it is larger than any key or header");
        }
        if mode & 0o022 != 0 {
            return Some("others than its owner may change it; chmod 0600 it");
        }
        if !host.is_on_root(Path::new(path)) {
            return Some("it is not on the root file system");
        }
        if kind == Kind::Open {
            return None;
        }
        if mode & 0o077 != 0 {
            return Some("others than its owner may read it; chmod 0600 it");
        }
        let output = self.machine.output;
        let bare = *self.unsafe_place.get_or_insert_with(|| !host.is_encrypted(output));
        bare.then_some(
            "the image goes to a place that is not known to be encrypted, where anybody could read it",
        )
    }

    fn refuse(&mut self, path: &str, row: &str, reason: &str) {
        let text = format!("{path} of {row} is not in the image: {reason} (or --add it)");
        self.needs.refused.push((path.to_owned(), text));
    }
}

/// Whether the options of a row say that it is for the initramfs.
fn is_marked(line: &str) -> bool {
    let options = line.split_ascii_whitespace().skip(2);
    options.flat_map(|field| field.split(',')).any(|option| MARKS.contains(&option))
}

fn modules_of(options: &CryptOptions) -> Vec<String> {
    match options.kind {
        CryptKind::Tcrypt => crypto_modules::for_tcrypt(),
        CryptKind::Bitlk => crypto_modules::for_bitlocker(None),
        CryptKind::Luks | CryptKind::Plain => {
            let mut names = match (&options.cipher, &options.header) {
                (Some(cipher), _) => crypto_modules::modules_for(cipher),
                (None, Some(_)) => crypto_modules::for_unknown(),
                (None, None) => crypto_modules::modules_for(USUAL_CIPHER),
            };
            // Many kernels have the TPM's drivers built in; a security key may be new to the machine.
            let tpm2 = options.tpm2.iter().flat_map(|_| ["tpm_crb", "tpm_tis"]);
            let fido2 = options.fido2.iter().flat_map(|_| ["xhci_pci", "usbhid"]);
            names.extend(tpm2.chain(fido2).map(str::to_owned));
            names
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn write(scratch: &Scratch, name: &str, mode: u32, content: &str) {
        let file = scratch.file(name, content.as_bytes());
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A machine whose root, mapping `cr_root`, is the only mount.
    fn host(encrypted: bool) -> Host {
        let mut host = Host { crypt_names: vec!["cr_root".to_owned()], ..Host::default() };
        host.see_mounts(
            "22 1 254:0 / / rw - ext4 /dev/mapper/cr_root rw\n23 22 8:1 / /boot rw - ext4 /dev/sda1 rw\n",
        );
        host.encrypted_mounts.extend(encrypted.then(|| PathBuf::from("/")));
        host
    }

    fn gather(scratch: &Scratch, host: &Host) -> (Tree, Needs) {
        let mut tree = Tree::default();
        let output = Path::new("/var/image");
        let needs = add(&mut tree, &Machine { root: scratch.path(), host, output }).unwrap();
        (tree, needs)
    }

    fn text(tree: &Tree, path: &str) -> Option<(u32, String)> {
        tree.iter().find(|(name, _)| *name == path).and_then(|(_, node)| match node {
            Node::File(mode, content) => Some((*mode, String::from_utf8_lossy(content).into_owned())),
            _ => None,
        })
    }

    #[test]
    fn only_rows_for_the_initramfs() {
        let s = Scratch::new("rows");
        let mine =
            "cr_root UUID=1 none luks\nhome UUID=3 none luks,x-initrd.attach\nold UUID=4 none initramfs\n";
        s.file(
            "etc/crypttab",
            format!("# c\nswap /dev/x /dev/urandom swap\n{mine} cr_root2 UUID=2\n").as_bytes(),
        );
        s.file("etc/veritytab", b"usr /dev/a /dev/b aa\ntools /dev/c /dev/d bb x-initrd.attach\n");
        s.file("etc/integritytab", b"a /dev/a\nb /dev/b - x-initrd.attach,integrity-algorithm=sha256\n");
        let (tree, needs) = gather(&s, &host(true));
        assert_eq!(text(&tree, "etc/crypttab"), Some((0o600, mine.to_owned())));
        assert_eq!(text(&tree, "etc/veritytab").unwrap().1, "tools /dev/c /dev/d bb x-initrd.attach\n");
        assert!(text(&tree, "etc/integritytab").unwrap().1.starts_with("b "));
        for module in ["dm-crypt", "dm-verity", "dm-integrity", "crypto-sha256"] {
            assert!(needs.modules.iter().any(|one| one == module), "{module}");
        }
        assert!(needs.refused.is_empty(), "{:?}", needs.refused);
        assert_eq!(gather(&Scratch::new("none"), &host(true)).0, Tree::default());
    }

    #[test]
    fn keys_come_along_only_where_that_is_safe() {
        let marked = "cr_root UUID=1 /etc/k luks,x-initrd.attach\n";
        // (row, mode of the key, encrypted place, what is said)
        for (name, row, mode, encrypted, said) in [
            ("good", marked, 0o400, true, None),
            ("unmarked", "cr_root UUID=1 /etc/k luks\n", 0o400, true, Some("not marked")),
            ("readable", marked, 0o640, true, Some("may read it")),
            ("writable", marked, 0o620, true, Some("may change it")),
            ("bare", marked, 0o400, false, Some("not known to be encrypted")),
            (
                "elsewhere",
                "cr_root UUID=1 /boot/k luks,x-initrd.attach\n",
                0o400,
                true,
                Some("not on the root"),
            ),
            ("missing", "cr_root UUID=1 /etc/m luks,x-initrd.attach\n", 0o400, true, Some("cannot be found")),
            ("dots", "cr_root UUID=1 /etc/../k luks,x-initrd.attach\n", 0o400, true, Some("dots")),
            ("device", "cr_root UUID=1 /dev/sdb luks,x-initrd.attach\n", 0o400, true, None),
            ("stick", "cr_root UUID=1 /k:LABEL=x luks,x-initrd.attach\n", 0o400, true, None),
        ] {
            let s = Scratch::new(name);
            s.file("etc/crypttab", row.as_bytes());
            write(&s, "etc/k", mode, "key");
            write(&s, "boot/k", mode, "key");
            let (tree, needs) = gather(&s, &host(encrypted));
            let key = text(&tree, "etc/k");
            assert_eq!(key.is_some(), name == "good", "{name}");
            assert!(key.is_none_or(|(mode, _)| mode == 0o600));
            let warnings: String = needs.refused.into_iter().map(|(_, text)| text).collect();
            assert_eq!(warnings.is_empty(), said.is_none(), "{name}: {warnings}");
            assert!(said.is_none_or(|said| warnings.contains(said)), "{name}: {warnings}");
        }
        let s = Scratch::new("linked");
        s.file("etc/crypttab", marked.as_bytes());
        s.link("etc/k", "/dev/zero");
        let warnings = gather(&s, &host(true)).1.refused;
        assert!(
            warnings.iter().any(|(path, text)| path == "/etc/k" && text.contains("no plain file")),
            "{warnings:?}"
        );
    }

    #[test]
    fn headers_signatures_and_keys_that_nobody_names() {
        let s = Scratch::new("headers");
        s.file(
            "etc/crypttab",
            b"cr_root UUID=1 none header=/etc/h\nx UUID=2 - tcrypt-keyfile=/etc/t,x-initrd.attach\n",
        );
        s.file("etc/veritytab", b"v /dev/a /dev/b aa x-initrd.attach,root-hash-signature=/etc/s\n");
        s.file("etc/integritytab", b"i /dev/a /etc/i x-initrd.attach\nj /dev/b - x-initrd.attach\n");
        write(&s, "etc/h", 0o644, "header");
        write(&s, "etc/s", 0o644, "signature");
        for name in ["etc/t", "etc/i", "etc/cryptsetup-keys.d/x.key", "etc/cryptsetup-keys.d/cr_root.key"] {
            write(&s, name, 0o400, "key");
        }
        let (tree, needs) = gather(&s, &host(true));
        for name in ["etc/h", "etc/s", "etc/t", "etc/i", "etc/cryptsetup-keys.d/x.key"] {
            assert!(tree.contains(name), "{name}");
        }
        // Its row does not say that it is for the initramfs.
        assert!(!tree.contains("etc/cryptsetup-keys.d/cr_root.key"));
        assert_eq!(needs.refused.len(), 1, "{:?}", needs.refused);
        // What tells nothing needs no encrypted place.
        let (tree, needs) = gather(&s, &host(false));
        assert!(tree.contains("etc/h") && tree.contains("etc/s") && !tree.contains("etc/t"));
        assert_eq!(needs.refused.len(), 4, "{:?}", needs.refused);
    }

    /// What the image is to know for `global/system_id_source`.
    #[test]
    fn what_the_system_id_comes_from() {
        for (conf, comes) in [
            ("", &[][..]),
            ("global { system_id_source = \"lvmlocal\" }", &[]),
            ("global { system_id_source = \"uname\" }", &["etc/hostname"]),
            ("global { system_id_source = \"machineid\" }", &["etc/machine-id"]),
            ("global { system_id_source = \"appmachineid\" }", &["etc/machine-id"]),
            ("global { system_id_source = \"file\" system_id_file = \"/etc/lvm/id\" }", &["etc/lvm/id"]),
        ] {
            let s = Scratch::new("system-id");
            s.file("etc/lvm/lvm.conf", conf.as_bytes());
            for name in ["etc/hostname", "etc/lvm/id", "usr/machine-id"] {
                s.file(name, b"me\n");
            }
            s.link("etc/machine-id", "../usr/machine-id");
            let (tree, needs) = gather(&s, &Host { has_lvm: true, ..host(true) });
            for name in ["etc/hostname", "etc/machine-id", "etc/lvm/id"] {
                assert_eq!(
                    text(&tree, name).is_some_and(|file| file.1 == "me\n"),
                    comes.contains(&name),
                    "{conf} {name}"
                );
            }
            assert!(needs.refused.is_empty(), "{:?}", needs.refused);
            let (tree, _) = gather(&s, &host(true));
            assert!(!tree.contains("etc/machine-id"), "nothing here is a volume");
        }
        for path in ["/etc/none", "/etc", "/etc/../x", "id"] {
            let s = Scratch::new("system-id-none");
            let conf = format!("global {{ system_id_source = \"file\" system_id_file = \"{path}\" }}");
            s.file("etc/lvm/lvm.conf", conf.as_bytes());
            let refused = gather(&s, &Host { has_lvm: true, ..host(true) }).1.refused;
            assert!(
                refused.iter().any(|(name, text)| name == path && text.contains("lvm.conf")),
                "{refused:?}"
            );
        }
    }

    /// The counterpart of `engine::image`: all that the machine has and uses.
    #[test]
    fn every_file_that_init_reads() {
        let s = Scratch::new("every");
        let drop_in = format!("{}/a.conf", image::MULTIPATH_DIRECTORY);
        let arrays = image::MDADM_DIRECTORIES.map(|directory| format!("{directory}/a.conf"));
        let ignored = format!("{}/a.conf.bak", image::MULTIPATH_DIRECTORY);
        let key = format!("{}/cr_root.key", image::KEY_DIRECTORY);
        let mut files = vec![
            image::CRYPTTAB,
            image::VERITYTAB,
            image::INTEGRITYTAB,
            image::HOSTNAME,
            image::MULTIPATH_CONF,
            image::MULTIPATH_BINDINGS,
            image::MULTIPATH_WWIDS,
            &drop_in,
            &key,
        ];
        files.extend(image::LVM_CONFS);
        files.extend(image::MDADM_CONFS);
        files.extend(arrays.iter().map(String::as_str));
        let rows = "cr_root /dev/a - x-initrd.attach\nv /dev/a /dev/b aa x-initrd.attach\n";
        for name in files.iter().chain([&ignored.as_str()]) {
            write(&s, name, 0o600, rows);
        }
        let mut host = host(true);
        assert!(!gather(&s, &host).0.contains("etc/lvm/lvm.conf"), "nothing here is a volume");
        host.has_lvm = true;
        host.dm_uuids.push("mpath-x".to_owned());
        let (tree, _) = gather(&s, &host);
        for name in files {
            assert!(tree.contains(name), "{name}");
        }
        assert!(!tree.contains(&ignored));
    }
}
