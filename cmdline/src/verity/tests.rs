use super::*;
use crate::{Sources, parse};

const HASH: &str = "36e3f740ad502e2c25e2a23d9c7c17bf0fdad2300b7580842d4b7ec1fb0fa263";

fn plan(words: &str) -> Plan {
    let (plan, remarks) = parse(&Sources { kernel: words.into(), ..Sources::default() });
    assert!(remarks.is_empty(), "{words}: {remarks:?}");
    plan
}

fn part(uuid: &str) -> RootSpec {
    RootSpec::PartUuid { uuid: uuid.into(), offset: 0 }
}

#[test]
fn the_halves_of_the_root_hash_name_the_partitions() {
    let plan = plan(&format!("roothash={}", HASH.to_uppercase()));
    let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
    assert_eq!((volume.name.as_str(), volume.root_hash.as_str()), ("root", HASH));
    assert_eq!(volume.data, part("36e3f740-ad50-2e2c-25e2-a23d9c7c17bf"));
    assert_eq!(volume.hash, part("0fdad230-0b75-8084-2d4b-7ec1fb0fa263"));
    assert_eq!(plan.root.spec, Some(RootSpec::Path("/dev/mapper/root".into())));
}

/// What the GPT would be asked for is what the hash names; nothing is left to it without a hash.
#[test]
fn words_of_discovery_mean_the_verified_device() {
    for word in ["gpt-auto", "gpt-auto-force", "dissect", "dissect-force"] {
        for words in [format!("root={word} roothash={HASH}"), format!("roothash={HASH} root={word}")] {
            let plan = plan(&words);
            assert_eq!(plan.root.spec, Some(RootSpec::Path("/dev/mapper/root".into())), "{words}");
            let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
            assert_eq!(volume.data, part("36e3f740-ad50-2e2c-25e2-a23d9c7c17bf"));
        }
        let usr = plan(&format!("root=UUID=x mount.usr={word} usrhash={HASH}"));
        assert_eq!(usr.usr.spec, Some(RootSpec::Path("/dev/mapper/usr".into())), "{word}");
        for hash in
            ["", "roothash=", &format!("roothash={HASH} systemd.verity=0"), &format!("usrhash={HASH}")]
        {
            let kernel = format!("root={word} {hash}");
            let (plan, remarks) = parse(&Sources { kernel, ..Sources::default() });
            assert_eq!(plan.root.spec, Some(RootSpec::Unsupported(word.into())), "{hash}");
            let said = remarks.last().map(ToString::to_string).unwrap_or_default();
            assert!(said.starts_with(&format!("root={word} cannot be used")), "{said}");
        }
        let kernel = format!("root=UUID=x roothash={HASH} mount.usr={word}");
        let (plan, remarks) = parse(&Sources { kernel, ..Sources::default() });
        assert_eq!(plan.usr.spec, None, "the root's fstab is asked");
        let said = remarks.last().map(ToString::to_string).unwrap_or_default();
        assert!(said.starts_with(&format!("mount.usr={word} cannot be used")), "{said}");
    }
}

#[test]
fn named_devices_and_usr() {
    let plan = plan(&format!(
        "root=UUID=x usrhash={HASH} systemd.verity_usr_data=/dev/sda1 systemd.verity_usr_options=ignore-corruption"
    ));
    let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
    assert_eq!((volume.name.as_str(), &volume.data), ("usr", &RootSpec::Path("/dev/sda1".into())));
    assert_eq!(volume.hash, part("0fdad230-0b75-8084-2d4b-7ec1fb0fa263"));
    assert_eq!(volume.options.corruption, Corruption::Ignore);
    assert_eq!(plan.root.spec, Some(RootSpec::Uuid("x".into())));
}

#[test]
fn switched_off() {
    for word in ["systemd.verity=0", "rd.systemd.verity=no", "systemd.verity=false"] {
        let plan = plan(&format!("roothash={HASH} {word}"));
        assert!(plan.verity.volumes().is_empty() && plan.root.spec.is_none(), "{word}");
    }
    assert!(!plan("root=/dev/sda veritytab=f").verity.tab && plan("rd.veritytab=1").verity.tab);
}

/// A typing error does not lead to a root that nothing verifies, nor to that of an earlier hash.
#[test]
fn a_hash_that_is_none_verifies_nothing() {
    for words in [
        "root=/dev/sda2 roothash=abc",
        "root=/dev/sda2 roothash=xx",
        &format!("root=/dev/sda2 roothash={HASH} roothash={HASH}0"),
        "root=/dev/sda2 roothash=abc systemd.verity_root_data=/dev/sda systemd.verity_root_hash=/dev/sdb",
    ] {
        let (plan, remarks) = parse(&Sources { kernel: words.to_owned(), ..Sources::default() });
        assert_eq!((plan.verity.verified_root(), plan.verity.volumes().len()), (Some("root"), 0), "{words}");
        assert!(matches!(remarks[..], [Diagnostic::BadRootHash { name: "roothash" }]), "{remarks:?}");
    }
}

#[test]
fn a_signature_that_is_none() {
    for words in ["roothashsig=base64:@@", "systemd.verity_root_options=root-hash-signature=sig"] {
        let kernel = format!("roothash={HASH} {words}");
        let (plan, remarks) = parse(&Sources { kernel, ..Sources::default() });
        let [volume] = &plan.verity.volumes()[..] else { panic!("one volume") };
        assert_eq!((volume.options.signature.clone(), remarks.len()), (Some(RootHashSignature::Unusable), 1));
    }
    let (options, unknown) = VerityOptions::read("root-hash-signature=auto");
    assert_eq!((options.signature, unknown.len()), (None, 1));
}

/// Too short for two UUIDs, and nothing else named.
#[test]
fn a_short_hash_without_devices_is_remarked_on() {
    let said = |words: &str| {
        let (plan, remarks) = parse(&Sources { kernel: words.into(), ..Sources::default() });
        (plan.verity.volumes().len(), remarks.iter().map(Diagnostic::to_string).collect::<String>())
    };
    for (words, volumes, expected) in [
        (
            "root=/dev/sda roothash=aabb",
            0,
            "roothash= is too short to name its partitions (32 digits): name the devices with systemd.verity_root_data= and systemd.verity_root_hash=",
        ),
        (
            "usrhash=aabb systemd.verity_usr_data=/dev/sda",
            0,
            "usrhash= is too short to name its partitions (32 digits): name the devices with systemd.verity_usr_data= and systemd.verity_usr_hash=",
        ),
        ("usrhash=aabb systemd.verity_usr_data=/dev/sda systemd.verity_usr_hash=/dev/sdb", 1, ""),
        ("roothash=aabb systemd.verity=no", 0, ""),
        ("roothash=xyz systemd.verity=no", 0, ""),
    ] {
        assert_eq!(said(words), (volumes, expected.to_owned()), "{words}");
    }
}

#[test]
fn every_option() {
    let list = "superblock=no,format=0,data-block-size=1K,hash-block-size=512,data-blocks=7,hash-offset=4K,\
        salt=AABB,uuid=C1F3A2B4-6d7e-4f80-91a2-b3c4d5e6f701,hash=sha512,ignore-zero-blocks,check-at-most-once,\
        try-verify-in-tasklet,fec-device=/dev/sdb,fec-offset=1M,fec-roots=4,root-hash-signature=base64:AAEC/w==,\
        noauto,nofail,x-initrd.attach,_netdev,restart-on-corruption";
    let (options, unknown) = VerityOptions::read(list);
    assert!(unknown.is_empty(), "{unknown:?}");
    let expected = VerityOptions {
        superblock: false,
        format: 0,
        data_block: 1024,
        hash_block: 512,
        data_blocks: 7,
        algorithm: "sha512".into(),
        salt: "aabb".into(),
        uuid: Some("c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701".into()),
        hash_offset: 4096,
        corruption: Corruption::Restart,
        ignore_zero_blocks: true,
        check_at_most_once: true,
        tasklets: true,
        fec: Some(RootSpec::Path("/dev/sdb".into())),
        fec_offset: 1 << 20,
        fec_roots: 4,
        signature: Some(RootHashSignature::Bytes(vec![0, 1, 2, 255])),
        noauto: true,
    };
    assert_eq!(options, expected);
    for bad in [
        "format=2",
        "data-block-size=3000",
        "hash-block-size=1M",
        "hash-offset=100",
        "salt=abc",
        "salt=x y",
        "uuid=x",
        "hash=sha 1",
        "fec-roots=25",
        "fec-roots=1",
        "root-hash-signature=relative",
        "root-hash-signature=base64:*",
        "typo",
        "panic-on-corruption=1",
        "data-blocks=18446744073709551616",
        "fec-offset=99999999999T",
    ] {
        assert_eq!(VerityOptions::read(bad).1, [bad], "{bad}");
    }
    let both = VerityOptions::read("panic-on-corruption,ignore-corruption,restart-on-corruption").0;
    assert_eq!(both.corruption, Corruption::Panic);
    let old = VerityOptions::read("/run/sig").0;
    assert_eq!(old.signature, Some(RootHashSignature::File("/run/sig".into())));
}

#[test]
fn veritytab() {
    let (volumes, remarks) = parse_tab(&format!(
        "# a comment\n\nusr PARTUUID=783e45ae UUID=21dc {HASH} auto,ignore-zero-blocks\ndata /dev/a /dev/b aabb -\n\
         short /dev/a /dev/b\nfile /etc/data /etc/hash aabb auto\nbad/name /dev/a /dev/b aabb\nodd /dev/a /dev/b abc\n\
         opt /dev/a /dev/b aabb typo\n"
    ));
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["usr", "data", "opt"]);
    assert!(volumes.first().is_some_and(|usr| usr.options.ignore_zero_blocks));
    assert_eq!(remarks.len(), 5, "{remarks:?}");
}
