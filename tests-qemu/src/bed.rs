//! Everything that scenarios share: kernels, guest programs, disks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::accel::Accel;
use crate::builder::{Builder, Job};
use crate::cache::Cache;
use crate::disk::{self, Filesystem, PLAIN_UUID};
use crate::guest::GuestPrograms;
use crate::image::{self, UnderTest};
use crate::kernel::{Kernel, Series};
use crate::rootfs::{self, Release};
use crate::samples::Sample;

/// Passphrase of every LUKS container of the bed.
pub const PASSPHRASE: &str = "correct horse";
/// Content of the key file that opens them too.
pub const KEY: &str = "0f7d3b1e9a4c5d68key-file-of-the-test-bed";
/// UUID of the LUKS2 header.
pub const LUKS_UUID: &str = "c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701";

/// What is copied onto the root file system of a [`Recipe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tree {
    /// The probe root: its init is the checker.
    #[default]
    Probe,
    /// A full Debian.
    Debian(Release),
    /// The same with more packages.
    DebianWith(Release, &'static [&'static str]),
}

/// Disks that the builder VM makes in one go with the real tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipe {
    /// Names the cached result.
    pub name: String,
    /// Bash script; every disk is a variable that holds its node (see [`Job`]). The files `passphrase` ([`PASSPHRASE`])
    /// and `key` ([`KEY`]) are there, and these functions: `fill DEVICE [COMMAND]` makes an ext4 with [`PLAIN_UUID`] on
    /// the device and copies the tree there, then runs the command with the new tree at `/new`; what is written to
    /// `$DUMP` is given to the checks ([`Seen::dump`](crate::scenario::Seen)).
    pub script: String,
    /// What `fill` copies.
    pub tree: Tree,
    /// Disks to make: variable and size in MiB.
    pub disks: Vec<(String, u64)>,
    /// Kernel that makes them, where it matters; otherwise the newest.
    pub kernel: Option<Series>,
    /// Release whose tools make them, where it matters; otherwise the newest.
    pub release: Option<Release>,
    /// They are made on a machine with a TPM 2.0 and a security key, which boots may have too
    /// ([`Boot::tpm`](crate::scenario::Boot::tpm), [`Boot::usb_key`](crate::scenario::Boot::usb_key)).
    pub tokens: bool,
}

impl Recipe {
    /// The disk that this variable stands for.
    #[must_use]
    pub fn disk(self: &Arc<Self>, variable: &str) -> Disk {
        Disk::Built(Arc::clone(self), variable.to_owned())
    }
}

/// Text that the script of a recipe leaves, in MiB.
const DUMP_SIZE: u64 = 1;

/// A disk that scenarios attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disk {
    /// One that the builder VM makes: the recipe and the disk's variable in its script.
    Built(Arc<Recipe>, String),
    /// The same, with volumes of other systems as further variables of the script; they can be attached themselves.
    BuiltFrom(Arc<Recipe>, &'static [Sample], String),
    /// GPT with one partition that holds a probe root.
    Probe(Filesystem),
    /// The whole disk is ext4 with a probe root.
    Plain,
    /// As [`Self::Plain`], but without /sbin/init; the checker is /bin/checker.
    NoInit,
    /// The whole disk is LUKS2 with an ext4 probe root in it.
    Luks,
    /// A full Debian on ext4, on the whole disk.
    Debian(Release),
    /// A full Debian on ext4 in LUKS2, with fstab and crypttab naming it.
    DebianLuks(Release),
}

/// What the bed has prepared.
#[derive(Debug)]
pub struct Bed {
    /// Kernels.
    pub kernels: Vec<Kernel>,
    /// Programs that run inside guests.
    pub guest: GuestPrograms,
    /// Programs under test.
    pub under_test: UnderTest,
    /// Where prepared things are kept.
    pub cache: Cache,
    /// How guests are executed.
    pub accel: Accel,
}

impl Bed {
    /// Fetches kernels, builds the guest programs and tries KVM; `scratch` is for temporary files.
    pub fn prepare(checkout: &Path, under_test: UnderTest, scratch: &Path) -> Result<Self, Error> {
        let cache = Cache::of_user();
        let kernels =
            Series::ALL.into_iter().map(|series| Kernel::fetch(series, &cache)).collect::<Result<_, _>>()?;
        let guest = GuestPrograms::build(checkout, &cache)?;
        let accel = Accel::detect(scratch)?;
        Ok(Self { kernels, guest, under_test, cache, accel })
    }

    /// The kernel of a series.
    pub fn kernel(&self, series: Series) -> Result<&Kernel, Error> {
        image::of_series(&self.kernels, series)
    }

    /// The builder VM.
    #[must_use]
    pub fn builder(&self) -> Builder<'_> {
        Builder { kernels: &self.kernels, guest: &self.guest, cache: &self.cache, accel: self.accel }
    }

    /// Image of a disk, made unless the cache has it.
    pub fn disk(&self, disk: &Disk) -> Result<PathBuf, Error> {
        match disk {
            Disk::Built(recipe, variable) => Ok(self.build(recipe, &[])?.join(variable)),
            Disk::BuiltFrom(recipe, samples, variable) => {
                match samples.iter().find(|sample| sample.variable == variable) {
                    Some(sample) => sample.fetch(&self.cache),
                    None => Ok(self.build(recipe, samples)?.join(variable)),
                }
            }
            Disk::Probe(filesystem) => {
                let filesystem = *filesystem;
                let tree = self.probe_root(filesystem.name(), "sbin/init")?;
                disk::partitioned(filesystem, &tree, &self.cache)
            }
            Disk::Plain => disk::plain_ext4(&self.probe_root("plain", "sbin/init")?, "plain", &self.cache),
            Disk::NoInit => {
                disk::plain_ext4(&self.probe_root("no-init", "bin/checker")?, "no-init", &self.cache)
            }
            Disk::Luks => self.encrypted("luks", Tree::Probe, 192, ""),
            Disk::Debian(release) => self.debian(*release, &[]),
            Disk::DebianLuks(release) => {
                let change = format!(
                    "echo '/dev/mapper/{DEBIAN_LUKS_NAME} / ext4 defaults 0 1' >/new/etc/fstab\n\
                     echo '{DEBIAN_LUKS_NAME} UUID={LUKS_UUID} none luks' >/new/etc/crypttab\n"
                );
                let name = format!("debian{}-luks", release.number());
                self.encrypted(&name, Tree::Debian(*release), 1280, &change)
            }
        }
    }

    /// What the script that made the disk has left for the checks; empty for other disks.
    pub fn dump(&self, disk: &Disk) -> Result<String, Error> {
        let built = match disk {
            Disk::Built(recipe, _) => self.build(recipe, &[])?,
            Disk::BuiltFrom(recipe, samples, _) => self.build(recipe, samples)?,
            _ => return Ok(String::new()),
        };
        let path = built.join("DUMP");
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }

    /// State of the TPM with which a recipe made its disks.
    pub fn tpm(&self, recipe: &Recipe) -> Result<PathBuf, Error> {
        Ok(self.build(recipe, &[])?.join("tpm"))
    }

    fn build(&self, recipe: &Recipe, samples: &[Sample]) -> Result<PathBuf, Error> {
        let content = match recipe.tree {
            Tree::Probe => {
                disk::plain_ext4(&self.probe_root("built", "sbin/init")?, "built-content", &self.cache)?
            }
            Tree::Debian(release) => self.debian(release, &[])?,
            Tree::DebianWith(release, more) => self.debian(release, more)?,
        };
        let clone = if recipe.tree == Tree::Probe { "no" } else { "yes" };
        let script = format!("PLAIN_UUID={PLAIN_UUID}\nCLONE={clone}\n{FILL}{}", recipe.script);
        let mut targets: Vec<(&str, u64)> =
            recipe.disks.iter().map(|(variable, size)| (variable.as_str(), *size)).collect();
        targets.push(("DUMP", DUMP_SIZE));
        let mut inputs = vec![("CONTENT", content)];
        for sample in samples {
            inputs.push((sample.variable, sample.fetch(&self.cache)?));
        }
        let job = Job {
            name: &recipe.name,
            script,
            files: vec![("passphrase", PASSPHRASE.as_bytes().to_vec()), ("key", KEY.as_bytes().to_vec())],
            inputs,
            targets,
            kernel: recipe.kernel,
            release: recipe.release,
            tokens: recipe.tokens,
        };
        self.builder().run(&job)
    }

    fn probe_root(&self, marker: &str, init: &str) -> Result<PathBuf, Error> {
        rootfs::probe_root(marker, init, &self.kernels, &self.guest, &self.cache)
    }

    fn debian(&self, release: Release, more: &[&'static str]) -> Result<PathBuf, Error> {
        let fstab = format!("UUID={PLAIN_UUID}");
        let kernel = self.kernel(release.kernel())?;
        let tree = rootfs::debian_root(release, more, kernel, &fstab, &self.guest, &self.cache)?;
        let name = [&[release.number()], more].concat().join("-");
        disk::plain_ext4(&tree, &format!("debian{name}"), &self.cache)
    }

    /// A LUKS2 disk of `size` MiB with a copy of `tree`, after `change` was run on it.
    fn encrypted(&self, name: &str, tree: Tree, size: u64, change: &str) -> Result<PathBuf, Error> {
        // The cheapest key derivation that still is argon2id: guests are slow, and its strength is not what
        // is tested.
        let script = format!(
            "cryptsetup luksFormat --batch-mode --type luks2 --uuid {LUKS_UUID} --pbkdf argon2id \
             --pbkdf-memory 32768 --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file passphrase $DISK\n\
             cryptsetup luksAddKey --batch-mode --pbkdf argon2id --pbkdf-memory 32768 \
             --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file passphrase $DISK key\n\
             cryptsetup open --key-file key $DISK opened\n\
             change() {{\n:\n{change}}}\n\
             fill /dev/mapper/opened change\n\
             cryptsetup close opened\n\
             cryptsetup luksDump $DISK\n"
        );
        let recipe = Recipe {
            name: name.to_owned(),
            script,
            tree,
            disks: vec![("DISK".to_owned(), size)],
            ..Recipe::default()
        };
        Ok(self.build(&recipe, &[])?.join("DISK"))
    }
}

/// dm name of the encrypted Debian root, in crypttab and fstab.
pub const DEBIAN_LUKS_NAME: &str = "cryptroot";

/// The functions of a recipe's script. The content has [`PLAIN_UUID`] already, so where a big tree is wanted with that, its
/// blocks are copied instead of its files: an emulated CPU is many times faster at it.
const FILL: &str = "\
fill() {
    if [ $CLONE = yes ] && [ $PLAIN_UUID = $(blkid -o value -s UUID $CONTENT) ]; then
        e2image -ra $CONTENT $1
        tune2fs -L '' $1
    else
        mke2fs -q -t ext4 -m 0 -U $PLAIN_UUID $1
    fi
    mkdir -p /old /new
    mount $1 /new
    if ! [ -e /new/etc ]; then
        mount -o ro $CONTENT /old
        cp -a /old/. /new/
        umount /old
    fi
    shift
    \"$@\"
    umount /new
}
";
