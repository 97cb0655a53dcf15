//! What a server says of itself: never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagsyncd::http::Sink as _;
use tagsyncd::wire::{Advertisement, Keep};

fuzz_target!(|bytes: &[u8]| {
    for piece in [bytes.len().max(1), 3] {
        let mut advertisement = Advertisement::new(Keep::Tags);
        advertisement.begin();
        for part in bytes.chunks(piece) {
            if !advertisement.take(part) {
                break;
            }
        }
    }
});
