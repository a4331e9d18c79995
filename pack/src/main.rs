//! The `rootward` command.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match pack::cli::run(&words) {
        Ok((out, err)) => {
            eprint!("{err}");
            // A reader that has seen enough, such as head, is no failure.
            let _ = std::io::stdout().write_all(out.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rootward: {error}");
            ExitCode::FAILURE
        }
    }
}
