//! Tokens of a TPM and what it says: any JSON and any answers give a result, and each command that is sent says its own
//! length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokens::tpm2::Tpm2Token;

const TOKEN: &str = r#"{"tpm2-blob":"AAIBAgADBAUG","tpm2-pcrs":[7],"tpm2-policy-hash":"00","tpm2-pin":true}"#;

fuzz_target!(|data: &[u8]| {
    // A token, a line feed, answers with their lengths in front; without one a token that can be used.
    let split = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (json, answers) = data.split_at(split);
    let json = if json.is_empty() { TOKEN.as_bytes() } else { json };
    let Ok(object) = serde_json::from_slice(json) else { return };
    let Ok(token) = Tpm2Token::read(&object) else { return };
    let mut answers = answers.get(1..).unwrap_or_default();
    let mut transmit = |command: &[u8]| {
        assert_eq!(command.get(2..6), Some(&u32::try_from(command.len()).unwrap().to_be_bytes()[..]));
        let (length, rest) = answers.split_first().ok_or("no more answers")?;
        let (answer, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        answers = rest;
        Ok::<_, &str>(answer.to_vec())
    };
    let mut random = |buffer: &mut [u8]| buffer.fill(1);
    let _ = token.unseal(Some(b"1234"), &mut random, &mut |command| transmit(command).map_err(str::to_owned));
});
