//! The part of CBOR that CTAP2 uses (RFC 8949; CTAP 2.1, section 8): definite lengths, no tags, no floating point.

/// Maps and arrays inside each other; CTAP2 itself allows four.
const MAX_DEPTH: usize = 6;

/// A data item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Integer(i64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    /// In the order in which it is sent.
    Map(Vec<(Value, Value)>),
    Bool(bool),
    /// Null and whatever else has no meaning here.
    Nothing,
}

impl Value {
    /// What a map has under this key.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What a map has under this number.
    pub fn at(&self, key: i64) -> Option<&Value> {
        self.get(&Value::Integer(key))
    }

    /// What a map has under this name.
    pub fn named(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(pairs) => {
                pairs.iter().find(|(known, _)| known.text() == Some(key)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// Encodes it; whoever makes a map puts its keys in CTAP2's order.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let length = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        match self {
            Value::Integer(number) if *number >= 0 => head(out, 0, number.unsigned_abs()),
            // -1 - n
            Value::Integer(number) => head(out, 1, number.unsigned_abs().saturating_sub(1)),
            Value::Bytes(bytes) => {
                head(out, 2, length(bytes.len()));
                out.extend_from_slice(bytes);
            }
            Value::Text(text) => {
                head(out, 3, length(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            Value::Array(items) => {
                head(out, 4, length(items.len()));
                items.iter().for_each(|item| item.write(out));
            }
            Value::Map(pairs) => {
                head(out, 5, length(pairs.len()));
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
            }
            Value::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
            Value::Nothing => out.push(0xf6),
        }
    }

    /// Decodes the first item and gives back what follows it; `None` if there is none.
    pub fn decode(bytes: &[u8]) -> Option<(Value, &[u8])> {
        let mut rest = bytes;
        let value = read(&mut rest, MAX_DEPTH)?;
        Some((value, rest))
    }
}

fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    match (u8::try_from(number), u16::try_from(number), u32::try_from(number)) {
        (Ok(small @ 0..24), _, _) => out.push(major | small),
        (Ok(byte), _, _) => out.extend([major | 24, byte]),
        (_, Ok(number), _) => {
            out.push(major | 25);
            out.extend(number.to_be_bytes());
        }
        (_, _, Ok(number)) => {
            out.push(major | 26);
            out.extend(number.to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(number.to_be_bytes());
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn read(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let first = *take(rest, 1)?.first()?;
    let (major, info) = (first >> 5, first & 31);
    let number = match info {
        0..24 => u64::from(info),
        24..28 => {
            let width = 1_usize << (info - 24);
            take(rest, width)?.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        }
        _ => return None,
    };
    // Of what is still there each item takes a byte at least, so that no length reserves more than was sent.
    let count = || usize::try_from(number).ok();
    match major {
        0 => i64::try_from(number).ok().map(Value::Integer),
        1 => i64::try_from(number).ok().map(|number| Value::Integer(-1 - number)),
        2 => Some(Value::Bytes(take(rest, count()?)?.to_vec())),
        3 => String::from_utf8(take(rest, count()?)?.to_vec()).ok().map(Value::Text),
        4 => {
            let depth = depth.checked_sub(1)?;
            let count = count().filter(|count| *count <= rest.len())?;
            (0..count).map(|_| read(rest, depth)).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        5 => {
            let depth = depth.checked_sub(1)?;
            let count = count().filter(|count| *count <= rest.len())?;
            let mut pair = || Some((read(rest, depth)?, read(rest, depth)?));
            (0..count).map(|_| pair()).collect::<Option<Vec<_>>>().map(Value::Map)
        }
        7 => Some(match info {
            20 => Value::Bool(false),
            21 => Value::Bool(true),
            _ => Value::Nothing,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of RFC 8949, appendix A.
    #[test]
    fn both_ways() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (bytes, value) in [
            (&[0x17][..], Value::Integer(23)),
            (&[0x18, 0x18], Value::Integer(24)),
            (&[0x19, 0x03, 0xe8], Value::Integer(1000)),
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], Value::Integer(1_000_000)),
            (&[0x1b, 0, 0, 0, 0xe8, 0xd4, 0xa5, 0x10, 0], Value::Integer(1_000_000_000_000)),
            (&[0x20], Value::Integer(-1)),
            (&[0x38, 0x63], Value::Integer(-100)),
            (&[0xf5], Value::Bool(true)),
            (&[0xf6], Value::Nothing),
            (&[0x44, 1, 2, 3, 4], Value::Bytes(vec![1, 2, 3, 4])),
            (&[0x64, 0x49, 0x45, 0x54, 0x46], text("IETF")),
            (
                &[0xa2, 0x61, 0x61, 0x01, 0x61, 0x62, 0x82, 0x02, 0x03],
                Value::Map(vec![
                    (text("a"), Value::Integer(1)),
                    (text("b"), Value::Array(vec![Value::Integer(2), Value::Integer(3)])),
                ]),
            ),
        ] {
            assert_eq!(value.encode(), bytes);
            assert_eq!(Value::decode(bytes), Some((value, &[][..])));
        }
    }

    #[test]
    fn what_is_none() {
        for bytes in [
            &[][..],
            &[0x44, 1],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5f, 0x41, 1, 0xff],
            &[0xc1, 0],
            &[0x61, 0xff],
            &[0x81; 32],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Value::decode(bytes), None, "{bytes:x?}");
        }
    }
}
