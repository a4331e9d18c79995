//! `ReadAt` of a byte slice: what is returned is what stands there, at any offset and length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::ReadAt;

fuzz_target!(|input: (u64, u16, &[u8])| {
    let (offset, length, device) = input;
    let mut buffer = vec![0; usize::from(length)];
    let count = device.read_at(offset, &mut buffer).expect("a slice has no read errors");
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(device.len());
    let available = &device[start..];
    assert_eq!(count, available.len().min(buffer.len()));
    assert_eq!(&buffer[..count], &available[..count]);
});
