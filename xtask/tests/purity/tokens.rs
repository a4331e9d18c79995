//! Rust sources as tokens: the paths into the standard library that a pure crate may not take.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Modules and items of `std` that touch the system, the clock or other threads.
const FORBIDDEN: [&[&str]; 9] = [
    &["std", "env"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "sync", "mpsc"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
];

/// Identifiers that are wrong wherever they stand.
const WORDS: [&str; 4] = ["unsafe", "stdin", "stdout", "stderr"];

/// Macros that write to the terminal.
const MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is forbidden, in words.
    pub offences: BTreeSet<String>,
    /// Modules in files of their own that exist in tests only.
    pub test_modules: BTreeSet<String>,
}

/// Reads one source file.
pub fn scan(text: &str) -> Result<Findings, String> {
    let tokens: TokenStream = text.parse().map_err(|error| format!("not Rust: {error}"))?;
    let mut findings = Findings::default();
    walk(&tokens.into_iter().collect::<Vec<_>>(), &mut findings);
    Ok(findings)
}

fn walk(tokens: &[TokenTree], findings: &mut Findings) {
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(tokens, at) {
            at = skip_item(tokens, at + 2, findings);
            continue;
        }
        match &tokens[at] {
            TokenTree::Group(group) => walk(&group.stream().into_iter().collect::<Vec<_>>(), findings),
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                if WORDS.contains(&word.as_str()) {
                    findings.offences.insert(word.clone());
                }
                if MACROS.contains(&word.as_str()) && is_punct(tokens.get(at + 1), '!') {
                    findings.offences.insert(format!("{word}!"));
                }
                if word == "std" && !is_path_before(tokens, at) {
                    path(vec![word], tokens, at + 1, findings);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Follows `std::a::{b, c::d}` from the token after `std` and judges every path that it spells.
fn path(so_far: Vec<String>, tokens: &[TokenTree], at: usize, findings: &mut Findings) {
    if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
        return judge(&so_far, findings);
    }
    match tokens.get(at + 2) {
        Some(TokenTree::Ident(ident)) => {
            let longer = so_far.into_iter().chain([ident.to_string()]).collect();
            path(longer, tokens, at + 3, findings);
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            for branch in inner.split(|token| is_punct(Some(token), ',')) {
                match branch.first() {
                    Some(TokenTree::Ident(ident)) if ident == "self" => judge(&so_far, findings),
                    Some(TokenTree::Ident(ident)) => {
                        let longer = so_far.iter().cloned().chain([ident.to_string()]).collect();
                        path(longer, branch, 1, findings);
                    }
                    Some(_) => judge(&so_far, findings),
                    None => {}
                }
            }
        }
        // A glob, or generic arguments after the path.
        _ => judge(&so_far, findings),
    }
}

/// A path offends if it goes through a forbidden module, or if it ends above one: who holds `std::time`
/// has its clocks too.
fn judge(path: &[String], findings: &mut Findings) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if FORBIDDEN.iter().any(|forbidden| path.starts_with(forbidden) || forbidden.starts_with(&path)) {
        findings.offences.insert(path.join("::"));
    }
}

/// `#[cfg(test)]` and `#[test]`.
fn is_test_attribute(tokens: &[TokenTree], at: usize) -> bool {
    let Some(TokenTree::Group(group)) = tokens.get(at + 1) else { return false };
    let text: String = group.stream().to_string().split_whitespace().collect();
    is_punct(tokens.get(at), '#') && matches!(text.as_str(), "cfg(test)" | "test")
}

/// The place after the item that starts at `at`, noting the module if the item is one in another file.
fn skip_item(tokens: &[TokenTree], mut at: usize, findings: &mut Findings) -> usize {
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return at + 1,
            TokenTree::Punct(punct) if punct.as_char() == ';' => {
                if let [TokenTree::Ident(keyword), TokenTree::Ident(name)] = &tokens[at - 2..at]
                    && keyword == "mod"
                {
                    findings.test_modules.insert(name.to_string());
                }
                return at + 1;
            }
            _ => at += 1,
        }
    }
    at
}

/// Whether the identifier at `at` continues a path, as in `crate::std`.
fn is_path_before(tokens: &[TokenTree], at: usize) -> bool {
    // A leading `::std` is the standard library still; `a::std` is not.
    at >= 3 && is_punct(tokens.get(at - 1), ':') && matches!(tokens[at - 3], TokenTree::Ident(_))
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

#[test]
fn what_is_forbidden_is_found() {
    for (text, offence) in [
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, fs::File};", "std::fs::File"),
        ("use std::{collections::{BTreeMap}, time::{Duration, Instant}};", "std::time::Instant"),
        ("use std::time;", "std::time"),
        ("use std::time::{self, Duration};", "std::time"),
        ("use std::*;", "std"),
        ("use std as s;", "std"),
        ("fn f() { ::std::thread::spawn(|| ()); }", "std::thread::spawn"),
        ("fn f() -> Option<std::process::Command> { None }", "std::process::Command"),
        ("mod a { impl B { fn c() { vec![std::env::args()]; } } }", "std::env::args"),
        ("fn f() { unsafe { g() } }", "unsafe"),
        ("fn f() { println!(\"x\"); }", "println!"),
        ("use std::io; fn f() { io::stdout(); }", "stdout"),
        ("#[cfg(test)] mod tests { } use std::net::IpAddr;", "std::net::IpAddr"),
    ] {
        let findings = scan(text).unwrap();
        assert!(findings.offences.contains(offence), "{text}: {findings:?}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for text in [
        "use std::fmt; use std::time::Duration; use std::collections::{BTreeMap, BTreeSet};",
        "#![forbid(unsafe_code)]\n//! std::fs is not used\n/* unsafe */ const A: &str = \"std::net unsafe\";",
        "#[cfg(test)] mod tests { use std::fs; #[test] fn t() { unsafe {} } }",
        "#[test] fn t() { println!(\"{}\", std::env::args().count()); }",
        "struct Instant; fn f(now: Instant) { crate::std::fs(); }",
        "impl std::error::Error for E {} fn f() -> std::io::Result<()> { Ok(()) }",
    ] {
        assert_eq!(scan(text).unwrap().offences, BTreeSet::new(), "{text}");
    }
    let findings = scan("#[cfg(test)]\npub(crate) mod simulator;\nmod engine;").unwrap();
    assert_eq!(findings.test_modules, BTreeSet::from(["simulator".to_owned()]));
}
