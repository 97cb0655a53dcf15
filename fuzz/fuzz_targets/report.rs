//! What became of a push: the same whole and in pieces, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagsyncd::http::Sink as _;
use tagsyncd::tag::TagName;
use tagsyncd::wire::Report;

fuzz_target!(|bytes: &[u8]| {
    let Ok(name) = TagName::new("a") else { return };
    for side_band in [false, true] {
        let read = |piece: usize| {
            let mut report = Report::new(side_band);
            report.begin();
            for part in bytes.chunks(piece.max(1)) {
                if !report.take(part) {
                    break;
                }
            }
            (report.fate(&name).cloned(), report.incomplete())
        };
        assert_eq!(read(bytes.len()), read(3));
    }
});
