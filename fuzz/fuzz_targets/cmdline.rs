//! The command line and crypttab: any bytes come to a plan, with bounded memory and valid contents.
//!
//! The input is cut at NUL bytes into the kernel's line, a file of the image, a derived file, a file below
//! `/run`, and a crypttab.
#![no_main]

use cmdline::plan::RootSpec;
use cmdline::{Diagnostic, Sources, crypttab, parse, source, tokenise};
use libfuzzer_sys::fuzz_target;

/// Remarks that are kept, and the one that counts the others.
const MAX_REMARKS: usize = 65;

fn check_remarks(remarks: &[Diagnostic]) {
    assert!(remarks.len() <= MAX_REMARKS);
    for remark in remarks {
        assert!(!remark.to_string().is_empty());
    }
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(5, |byte| *byte == 0).map(source::text);
    let mut next = || parts.next().unwrap_or_default();
    let sources = Sources {
        kernel: next(),
        image: vec![("/etc/cmdline.d/20-a.conf".to_owned(), next())],
        derived: vec![("10-derived".to_owned(), next())],
        run: vec![("/run/initramfs/cmdline.d/b.conf".to_owned(), next())],
        argv: None,
    };
    let table = next();

    let words: Vec<_> = tokenise::words(&sources.kernel).collect();
    let joined = words.iter().map(|word| word.raw).collect::<Vec<_>>().join(" ");
    assert!(tokenise::words(&joined).eq(words.iter().copied()), "words joined again are the same words");

    let (plan, remarks) = parse(&sources);
    check_remarks(&remarks);
    assert!(plan.failure.breaks.is_sorted());
    for selector in &plan.luks.selectors {
        assert!(
            selector.id.bytes().any(|b| b.is_ascii_alphanumeric()),
            "an empty id would match every container"
        );
        assert!(selector.name.as_deref().is_none_or(|name| !name.is_empty() && !name.contains('/')));
    }
    for key in &plan.luks.keys {
        assert!(key.path.starts_with('/') && !key.path.contains("/../"));
    }
    match &plan.root.spec {
        Some(RootSpec::Path(path)) => assert!(path.starts_with("/dev/") && !path.contains("/../")),
        Some(RootSpec::Uuid(text) | RootSpec::Label(text) | RootSpec::PartLabel(text)) => {
            assert!(!text.is_empty())
        }
        _ => {}
    }
    assert!(plan.root.init.as_deref().is_none_or(|init| init.starts_with('/')));
    assert_eq!(parse(&sources), (plan, remarks), "the same sources, the same plan");

    let (entries, remarks) = crypttab::parse(&table);
    check_remarks(&remarks);
    for entry in &entries {
        assert!(!entry.name.is_empty() && !entry.name.contains('/'));
    }
});
