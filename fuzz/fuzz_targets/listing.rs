//! The answer of `ls-refs`: the same whole and in pieces, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagsyncd::http::Sink as _;
use tagsyncd::wire::{LsRefs, ObjectFormat};

fuzz_target!(|bytes: &[u8]| {
    let read = |piece: usize| {
        let mut refs = LsRefs::new(ObjectFormat::Sha1);
        refs.begin();
        for part in bytes.chunks(piece.max(1)) {
            if !refs.take(part) {
                break;
            }
        }
        refs.finish().map(|tags| tags.tags().to_vec()).map_err(drop)
    };
    assert_eq!(read(bytes.len()), read(3));
});
