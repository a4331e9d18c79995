//! DDF: the input is the sections; headers, magics and checksums are put right.
#![no_main]

#[path = "../ondisk/device.rs"]
mod device;

use device::{Device, member, put, seal, sized};
use libfuzzer_sys::fuzz_target;
use ondisk::Kind;

fuzz_target!(|data: &[u8]| {
    let mut headers = [sized(&[], 512), sized(&[], 512)];
    let (anchor_at, primary_at) = (32767_u64, 20000_u64);
    for (header, kind) in headers.iter_mut().zip([0, 1]) {
        put(header, 0, &[0xde, 0x11, 0xde, 0x11]);
        put(header, 8, b"Linux-MD");
        put(header, 32, b"01.02.00");
        put(header, 96, &primary_at.to_be_bytes());
        put(header, 104, &[0xff; 8]);
        header[112] = kind;
        put(header, 134, &[0, 2, 0, 16]);
        // Disks, sets, configurations and this disk, one after the other.
        let sections: [(u32, u32); 4] = [(1, 8), (9, 8), (17, 8), (25, 1)];
        for (index, (offset, length)) in sections.into_iter().enumerate() {
            put(header, 200 + index * 8, &offset.to_be_bytes());
            put(header, 204 + index * 8, &length.to_be_bytes());
        }
        seal(header);
    }
    let mut sections = sized(data, 25 * 512);
    let parts: [(usize, usize, u32); 7] = [
        (0, 8, 0x2222_2222),
        (8, 8, 0xdddd_dddd),
        (16, 2, 0xeeee_eeee),
        (18, 2, 0xeeee_eeee),
        (20, 2, 0xeeee_eeee),
        (22, 2, 0x5555_5555),
        (24, 1, 0x3333_3333),
    ];
    for (at, length, magic) in parts {
        let part = &mut sections[at * 512..(at + length) * 512];
        put(part, 0, &magic.to_be_bytes());
        seal(part);
    }
    let [anchor, primary] = headers;
    let mut device = Device::with(anchor_at * 512, anchor);
    device.put(primary_at * 512, &primary);
    device.put((primary_at + 1) * 512, &sections);
    member(device, Kind::DdfMember);
});
