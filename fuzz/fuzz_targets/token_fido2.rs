//! What a security key says, in reports of 64 bytes: any of them give an answer, and none a key that nothing was agreed on
//! for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tokens::fido2::{Fido2Token, Report, Wire, WireError};

struct Script<'a>(&'a [u8]);

impl Wire for Script<'_> {
    fn send(&mut self, _: &Report) -> Result<(), WireError> {
        Ok(())
    }

    fn receive(&mut self) -> Result<Report, WireError> {
        let (report, rest) = self.0.split_first_chunk::<64>().ok_or(WireError::TimedOut)?;
        self.0 = rest;
        Ok(*report)
    }

    fn touch_wanted(&mut self) {}
}

fuzz_target!(|data: &[u8]| {
    let Some((flags, reports)) = data.split_first() else { return };
    let token = json!({
        "fido2-credential": "AAAA",
        "fido2-salt": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        "fido2-clientPin-required": flags & 1 != 0,
        "fido2-uv-required": flags & 2 != 0,
    });
    let token = Fido2Token::read(&token).expect("a token");
    // The channel's answer to random bytes that are all one.
    let mut random = |buffer: &mut [u8]| buffer.fill(1);
    let pin = (flags & 4 != 0).then_some(&b"1234"[..]);
    if let Ok(key) = token.unseal(pin, &mut Script(reports), &mut random) {
        assert_eq!(key.len(), 44);
    }
});
