//! What comes from a server, whole, in pieces, cut, changed and made up.

use gix::hash::Kind;
use proptest::prelude::*;

use super::pack::PackWriter;
use super::pkt::{push_flush, push_line};
use super::{Advertisement, Command, Fate, LsRefs, PushCapabilities, Report, WireFault, commands};
use crate::http::Sink;
use crate::tag::{RemoteSnapshot, TagName};

const ID: &str = "2695effb5807a22ff3d138d593fd856244e155e7";
const OTHER: &str = "9fceb02d0ae598e95dc970b74767f19372d61af8";

fn lines(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    lines.iter().for_each(|line| push_line(&mut bytes, &[line.as_bytes()]).unwrap());
    push_flush(&mut bytes);
    bytes
}

/// Gives bytes to a sink in pieces.
fn give(sink: &mut dyn Sink, bytes: &[u8], piece: usize) {
    sink.begin();
    for part in bytes.chunks(piece.max(1)) {
        if !sink.take(part) {
            return;
        }
    }
}

fn refs(bytes: &[u8], piece: usize) -> Result<RemoteSnapshot, WireFault> {
    let mut refs = LsRefs::new(Kind::Sha1);
    give(&mut refs, bytes, piece);
    refs.finish()
}

fn advertised(bytes: &[u8], piece: usize) -> Result<super::refs::Said, WireFault> {
    let mut advertisement = Advertisement::new(super::Keep::Tags);
    give(&mut advertisement, bytes, piece);
    advertisement.finish()
}

fn report(bytes: &[u8], side_band: bool, piece: usize) -> Report {
    let mut report = Report::new(side_band);
    give(&mut report, bytes, piece);
    report
}

fn name(name: &str) -> TagName {
    TagName::new(name).unwrap()
}

/// An answer of `ls-refs` with all that can be in it.
fn listing() -> Vec<u8> {
    lines(&[
        &format!("{ID} refs/heads/main\n"),
        &format!("{ID} refs/tags/a peeled:{OTHER}\n"),
        &format!("{OTHER} refs/tags/b/é"),
        &format!("{OTHER} refs/tags/c symref-target:refs/heads/main new-attribute\n"),
    ])
}

/// A report with all that can be in it, multiplexed.
fn reported() -> Vec<u8> {
    let inner = lines(&[
        "unpack ok\n",
        "ok refs/tags/a\n",
        "ng refs/tags/b hook declined\n",
        "ok refs/tags/c\n",
        "option refname refs/tags/other\n",
        "ok refs/heads/never-asked\n",
        "ok refs/tags/d",
        "option forced-update\n",
    ]);
    let mut bytes = Vec::new();
    push_line(&mut bytes, &[b"\x02", b"a hook says\n"]).unwrap();
    // Lines of the report need not begin where those around it do.
    for part in inner.chunks(13) {
        push_line(&mut bytes, &[b"\x01", part]).unwrap();
    }
    push_flush(&mut bytes);
    bytes
}

#[test]
fn a_listing_is_read_in_any_pieces() {
    for piece in 1..listing().len() {
        let tags = refs(&listing(), piece).unwrap();
        let values: Vec<_> = tags
            .tags()
            .iter()
            .map(|tag| (tag.name.clone(), tag.value.clone().map(|value| value.to_string())))
            .collect();
        let [a, b, c] = [("a", ID), ("b/é", OTHER), ("c", "")];
        assert_eq!(values[..2], [(name(a.0), Ok(a.1.to_owned())), (name(b.0), Ok(b.1.to_owned()))]);
        assert!(values[2].0 == name(c.0) && values[2].1.as_ref().unwrap_err().contains("refs/heads/main"));
    }
}

#[test]
fn what_did_not_come_to_its_end_is_no_listing() {
    let whole = listing();
    for end in 0..whole.len() {
        assert!(refs(&whole[..end], 7).is_err(), "{end}");
    }
    for bad in [
        [whole.clone(), b"0000".to_vec()].concat(),
        lines(&[&format!("{ID} refs/tags/a"), &format!("{OTHER} refs/tags/a")]),
        lines(&[ID]),
        lines(&[&format!("{}0 refs/tags/a", &ID[..20])]),
        lines(&[&format!("{} refs/tags/a", "0".repeat(40))]),
        lines(&[&format!("{ID}{ID} refs/tags/a")]),
        lines(&[&format!("{ID} refs/tags/a..b")]),
        lines(&[&format!("{ID} refs/tags/")]),
        lines(&[&format!("{ID} refs/tags/{}", "x".repeat(5000))]),
        lines(&["ERR access denied\n"]),
        b"0001".to_vec(),
    ] {
        assert!(refs(&bad, 9).is_err(), "{:?}", String::from_utf8_lossy(&bad));
    }
    assert_eq!(refs(&lines(&["ERR no\n"]), 9).unwrap_err(), WireFault::Refused(b"no".to_vec()));
    assert!(refs(b"0000", 1).unwrap().tags().is_empty());
}

#[test]
fn advertisements_of_all_versions_are_read() {
    let v0 = |service: &str| {
        let mut bytes = lines(&[service]);
        bytes.extend(lines(&[
            &format!("{ID} HEAD\0report-status delete-refs side-band-64k agent=git/2.47\n"),
            &format!("{ID} refs/tags/a\n"),
            &format!("{OTHER} refs/tags/a^{{}}\n"),
            &format!("shallow {OTHER}\n"),
        ]));
        bytes
    };
    let said = advertised(&v0("# service=git-upload-pack\n"), 5).unwrap();
    assert!(!said.is_v2 && said.push_capabilities().unwrap().deletes);
    let (tags, ends) = said.into_tags().unwrap();
    assert_eq!(tags.get(&name("a")).unwrap().value.as_ref().unwrap().to_string(), ID);
    assert_eq!(tags.tags().len(), 1);
    assert_eq!(ends.values().map(ToString::to_string).collect::<Vec<_>>(), [OTHER]);

    let v1 =
        [lines(&["# service=git-upload-pack\n"]), lines(&["version 1\n", &format!("{ID} refs/tags/a\0\n")])].concat();
    assert_eq!(advertised(&v1, 3).unwrap().into_tags().unwrap().0.tags().len(), 1);
    let v2 = lines(&["version 2\n", "agent=x\n", "ls-refs=unborn\n", "object-format=sha256\n"]);
    let named = [lines(&["# service=git-upload-pack\n"]), v2.clone()].concat();
    for v2 in [v2, named] {
        let said = advertised(&v2, 4).unwrap();
        assert!(said.is_v2 && said.format == Some(Kind::Sha256));
    }
    let empty = [
        lines(&["# service=git-receive-pack\n"]),
        lines(&[&format!("{} capabilities^{{}}\0report-status object-format=sha1\n", "0".repeat(40))]),
    ]
    .concat();
    assert!(advertised(&empty, 4).unwrap().push_capabilities().unwrap().reports);
    for bad in [
        lines(&["<!DOCTYPE html>"]),
        b"0000".to_vec(),
        Vec::new(),
        v0("# service=git-upload-pack\n")[..90].to_vec(),
        lines(&["version 2\n", "object-format=sha3\n"]),
    ] {
        assert!(advertised(&bad, 6).is_err(), "{:?}", String::from_utf8_lossy(&bad));
    }
}

#[test]
fn a_report_is_read_in_any_pieces_and_as_far_as_it_goes() {
    let whole = reported();
    let fates = |report: &Report| ["a", "b", "c", "d", "e"].map(|tag| report.fate(&name(tag)).cloned());
    let due = [
        Some(Fate::Done),
        Some(Fate::Refused(b"hook declined".to_vec())),
        Some(Fate::Rewritten),
        Some(Fate::Done),
        None,
    ];
    for piece in 1..whole.len() {
        let report = report(&whole, true, piece);
        assert_eq!((fates(&report), report.incomplete()), (due.clone(), None));
        assert_eq!((report.unpacked(), report.remarks()), (Some(Ok(())), b"a hook says\n".as_slice()));
    }
    for end in 0..whole.len() - 4 {
        let report = report(&whole[..end], true, 11);
        assert!(report.fate(&name("e")).is_none());
        for (fate, due) in fates(&report).iter().zip(&due) {
            // A hook's second thoughts may not have arrived; nothing else is ever said differently.
            assert!(fate.is_none() || fate == due || *due == Some(Fate::Rewritten), "{end}: {fate:?}");
        }
    }
    let plain = lines(&["unpack index-pack abnormal exit\n", "ng refs/tags/a unpacker error\n"]);
    let plain = report(&plain, false, 3);
    assert_eq!(plain.unpacked(), Some(Err(b"index-pack abnormal exit".as_slice())));
    assert!(plain.incomplete().is_none());
    for bad in [&lines(&["ok refs/tags/a\n"])[..], b"", b"0000"] {
        let report = report(bad, false, 3);
        assert!(report.fate(&name("a")).is_none() && report.unpacked().is_none(), "{bad:?}");
    }
}

#[test]
fn commands_say_what_is_asked_and_nothing_outside_of_tags() {
    let [old, new] = [ID, OTHER].map(|id| gix::ObjectId::from_hex(id.as_bytes()).unwrap());
    let capabilities = PushCapabilities::read(b"report-status side-band-64k").unwrap();
    let body = commands::write(
        &[
            Command { name: name("a"), old: None, new: Some(new) },
            Command { name: name("b"), old: Some(old), new: Some(new) },
            Command { name: name("c"), old: Some(old), new: None },
        ],
        &capabilities,
    )
    .unwrap();
    let text = String::from_utf8(body).unwrap();
    let zeros = "0".repeat(40);
    assert!(text.contains(&format!("{zeros} {OTHER} refs/tags/a\0 report-status side-band-64k agent=")), "{text}");
    assert!(
        text.contains(&format!("{ID} {OTHER} refs/tags/b")) && text.ends_with(&format!("{ID} {zeros} refs/tags/c0000"))
    );
    let long = Command { name: name(&"x".repeat(70_000)), old: None, new: Some(new) };
    assert!(commands::write(&[long], &capabilities).is_err());
}

#[test]
fn a_pack_holds_what_was_announced() {
    let pack = PackWriter::begin(Vec::new(), 0, Kind::Sha1).unwrap().finish().unwrap();
    // As `git pack-objects` writes it when there is nothing to pack.
    assert_eq!(pack[..12], *b"PACK\0\0\0\x02\0\0\0\0");
    let checksum: String = pack[12..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(checksum, "029d08823bd8a8eab510ad6ac75c823cfd3ed31e");
    assert!(PackWriter::begin(Vec::new(), 1, Kind::Sha1).unwrap().finish().is_err());
    let mut full = PackWriter::begin(Vec::new(), 1, Kind::Sha256).unwrap();
    full.add(gix::objs::Kind::Tag, &[b'x'; 100_000]).unwrap();
    assert!(full.add(gix::objs::Kind::Tag, b"").is_err());
    assert_eq!(&full.finish().unwrap()[12..15], [0b1100_0000, 0b1110_1010, 0b0011_0000]);
}

/// Bytes that are nearly an answer: one of the good ones with some of its bytes changed, left out or doubled.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(listing()),
        Just(reported()),
        Just(lines(&["unpack ok\n", "ok refs/tags/a\n", "ng refs/tags/b no\n"])),
        Just([lines(&["# service=git-upload-pack\n"]), lines(&[&format!("{ID} HEAD\0delete-refs\n")])].concat()),
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..6);
    (good, changes).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_a_reader_and_pieces_make_no_difference(
        bytes in prop_oneof![nearly(), proptest::collection::vec(any::<u8>(), 0..300)],
        piece in 1usize..40,
    ) {
        let shown = |tags: Result<RemoteSnapshot, WireFault>| tags.map(|tags| tags.tags().to_vec()).map_err(drop);
        prop_assert_eq!(shown(refs(&bytes, piece)), shown(refs(&bytes, bytes.len())));
        let said = |said: Result<super::refs::Said, WireFault>| {
            said.map(|said| (said.is_v2, said.format, shown(said.into_tags().map(|(tags, _)| tags)))).map_err(drop)
        };
        prop_assert_eq!(said(advertised(&bytes, piece)), said(advertised(&bytes, bytes.len())));
        for side_band in [false, true] {
            let [one, other] = [piece, bytes.len()].map(|piece| report(&bytes, side_band, piece));
            for tag in ["a", "b", "c"] {
                prop_assert_eq!(one.fate(&name(tag)), other.fate(&name(tag)));
            }
            prop_assert_eq!((one.unpacked(), one.incomplete()), (other.unpacked(), other.incomplete()));
        }
    }
}
