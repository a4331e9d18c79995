//! The committed page about the command line is the one that the table gives.

use std::path::Path;

#[test]
fn the_committed_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMMAND-LINE.md");
    let page = cmdline::document::command_line();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs/ can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/COMMAND-LINE.md is not what the table says; run UPDATE_DOCS=1 cargo test -p rootward-cmdline --test document"
    );
}

#[test]
fn every_row_is_on_the_page() {
    let page = cmdline::document::command_line();
    for row in cmdline::table::rows() {
        assert!(page.contains(&format!("`{}`", row.name)), "{} is missing", row.name);
        for alias in row.aliases {
            assert!(page.contains(&format!("`{}`", alias.name)), "{} is missing", alias.name);
        }
    }
}
