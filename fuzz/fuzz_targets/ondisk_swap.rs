//! Swap and hibernation images: the input is the header behind a first byte that chooses page size and magic.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, sized};
use libfuzzer_sys::fuzz_target;

const MAGICS: [&[u8]; 6] =
    [b"SWAPSPACE2", b"SWAP-SPACE", b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"];

fuzz_target!(|data: &[u8]| {
    let (choice, header) = data.split_first().unwrap_or((&0, &[]));
    let page = 4096_u64 << (choice & 7).min(4);
    let magic = MAGICS[usize::from(choice >> 3) % MAGICS.len()];
    let mut device = Device::with(1024, sized(header, 512));
    device.put(page - 10, magic);
    device.check();
});
