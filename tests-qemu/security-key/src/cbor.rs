//! CBOR as CTAP2 uses it (CTAP 2.1 section 8): maps with integers or short texts as keys. The order of keys in what
//! is encoded is that of the caller, who has to write it down canonically: integers ascending, shorter texts first.

use ciborium::Value;

use crate::status::Status;

/// A map.
pub(crate) fn map<K: Into<Value>, const N: usize>(entries: [(K, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// A byte string.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

/// The encoding of a value.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut encoded = Vec::new();
    // Writing to memory does not fail.
    let _ = ciborium::into_writer(value, &mut encoded);
    encoded
}

/// The map that is a command's parameters.
pub(crate) fn decode(encoded: &[u8]) -> Result<Value, Status> {
    match ciborium::from_reader(encoded) {
        Ok(value @ Value::Map(_)) => Ok(value),
        Ok(_) => Err(Status::CborUnexpectedType),
        Err(_) => Err(Status::InvalidCbor),
    }
}

/// The value with this key in a map.
pub(crate) fn field(map: &Value, key: impl Into<Value>) -> Option<&Value> {
    let key = key.into();
    map.as_map()?.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The byte string with this key, if there is anything with it.
pub(crate) fn optional_bytes(map: &Value, key: impl Into<Value>) -> Result<Option<&[u8]>, Status> {
    let Some(value) = field(map, key) else {
        return Ok(None);
    };
    value.as_bytes().map(|bytes| Some(bytes.as_slice())).ok_or(Status::CborUnexpectedType)
}

/// The byte string with this key.
pub(crate) fn required_bytes(map: &Value, key: impl Into<Value>) -> Result<&[u8], Status> {
    optional_bytes(map, key)?.ok_or(Status::MissingParameter)
}

/// The integer with this key, if there is anything with it.
pub(crate) fn optional_integer(map: &Value, key: impl Into<Value>) -> Result<Option<i64>, Status> {
    let Some(value) = field(map, key) else {
        return Ok(None);
    };
    let integer = value.as_integer().ok_or(Status::CborUnexpectedType)?;
    i64::try_from(integer).map(Some).map_err(|_| Status::InvalidParameter)
}

/// The text with this key.
pub(crate) fn required_text(map: &Value, key: impl Into<Value>) -> Result<&str, Status> {
    field(map, key).ok_or(Status::MissingParameter)?.as_text().ok_or(Status::CborUnexpectedType)
}

/// An entry of the map `options`, if the caller gave it.
pub(crate) fn option(options: Option<&Value>, name: &str) -> Result<Option<bool>, Status> {
    let Some(value) = options.and_then(|options| field(options, name)) else {
        return Ok(None);
    };
    value.as_bool().map(Some).ok_or(Status::CborUnexpectedType)
}
