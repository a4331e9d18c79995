//! Holds a security key at a socket until the QEMU that connects to it ends: `plug SOCKET [--pin PIN]
//! [--protocol 1|2] [--touch never|SECONDS]`.

use std::error::Error;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use security_key::{PinProtocol, SecurityKey, Touch, plug};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let listener = UnixListener::bind(words.next().ok_or("plug SOCKET")?)?;
    let (mut pin, mut protocols, mut touch) = (None, vec![PinProtocol::Two, PinProtocol::One], Touch::AtOnce);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match (word.as_str(), value.as_str()) {
            ("--pin", _) => pin = Some(value),
            ("--protocol", "1") => protocols = vec![PinProtocol::One],
            ("--protocol", "2") => protocols = vec![PinProtocol::Two],
            ("--touch", "never") => touch = Touch::Never,
            ("--touch", seconds) => touch = Touch::After(Duration::from_secs(seconds.parse()?)),
            _ => return Err(format!("{word} {value}?").into()),
        }
    }
    let key = SecurityKey::new(b"example", pin.as_deref()).pin_protocols(&protocols).touch(touch);
    match plug(listener, key).join() {
        Ok(result) => Ok(result?),
        Err(_) => Err("the key broke".into()),
    }
}
