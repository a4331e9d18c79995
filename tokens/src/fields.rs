//! Fields of a token's JSON object.

use serde_json::Value;

use crate::base64;

/// A text in base64, decoded; an array of one such text too, as newer versions write it for one shard.
pub fn bytes(token: &Value, name: &str) -> Option<Vec<u8>> {
    base64::decode(one(token.get(name)?)?.as_str()?)
}

/// A text in hexadecimal digits, decoded; an array of one too.
pub fn hex(token: &Value, name: &str) -> Option<Vec<u8>> {
    let digits = one(token.get(name)?)?.as_str()?.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |letter: u8| char::from(letter).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

fn one(value: &Value) -> Option<&Value> {
    match value.as_array() {
        Some(list) => list.first().filter(|_| list.len() == 1),
        None => Some(value),
    }
}

/// A truth value, `None` if it is not there.
pub fn flag(token: &Value, name: &str) -> Option<bool> {
    token.get(name)?.as_bool()
}

/// A text.
pub fn text<'a>(token: &'a Value, name: &str) -> Option<&'a str> {
    token.get(name)?.as_str()
}
