//! Why a tag stands as it does: both sides, the record, every rule, the verdict, the way on.

mod support;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Value, json};
use support::gitlab::{FakeTag, Token};
use support::program::ended;
use support::world::World;

fn explain(world: &World, tag: impl AsRef<OsStr>, more: &[&str], code: i32) -> Value {
    let mut command = world.program.command(&["explain", "core", "--format", "json"]);
    command.args(more).arg("--").arg(tag.as_ref());
    let pairs = ended(command.spawn().expect("the binary was built for this test")).expect(code).json();
    pairs["pairs"][0].clone()
}

fn rule<'a>(explained: &'a Value, word: &str) -> &'a Value {
    let rules = explained["rules"].as_array().expect("a list");
    rules.iter().find(|rule| rule["rule"] == word).unwrap_or_else(|| panic!("no rule {word} in {explained}"))
}

/// The last rule that was asked: the one that decided.
fn decisive(explained: &Value) -> &str {
    explained["rules"].as_array().expect("a list").last().expect("a rule")["rule"].as_str().expect("a word")
}

#[test]
fn each_side_the_record_and_the_verdict_are_told_with_one_look_at_the_remote() {
    let world = World::new("", "");
    world.tag("-x/é+1", 0);
    world.program.sync(&[]).expect(0);
    world.gitlab.server().forget();
    let explained = explain(&world, "-x/é+1", &[], 0);
    assert_eq!((&explained["verdict"], &explained["name"]), (&json!("in_sync"), &json!("-x/é+1")));
    for side in ["source", "record", "there"] {
        assert_eq!(explained[side]["value"], json!(world.commits[0]), "{side}");
    }
    let record = world.gitlab.server().record();
    assert_eq!((record.total(), record.requests[0].method.as_str()), (1, "GET"));
    // Nothing was written, here or there.
    assert_eq!(world.writes(), 1);

    let offline = explain(&world, "-x/é+1", &["--offline"], 0);
    assert_eq!((&offline["verdict"], &offline["there"]["presence"]), (&json!("in_sync"), &json!("not_asked")));
    assert!(offline["reason"].as_str().unwrap().contains("assuming that the remote still has"), "{offline}");
    assert_eq!(world.gitlab.server().record().total(), 1);
}

#[test]
fn rules_name_the_line_that_says_so() {
    let world = World::new(
        "tags = [\"v*\", \"!*-rc*\"]\nsemver = \">=1.0.0\"\nprotected = [\"v1.0.*\"]\nimmutable = [\"x\", \"v2.*\"]",
        "strip_prefix = \"v\"",
    );
    let text = std::fs::read_to_string(world.program.path("config.toml")).unwrap();
    let line = |part: &str| text.lines().position(|line| line.contains(part)).expect("a line of the file") + 1;
    let place = |part: &str| json!(format!("{}:{}", world.program.path("config.toml").display(), line(part)));
    for tag in ["v1.0.1", "v2.0.0", "v2.0.0-rc1", "v0.9.0"] {
        world.tag(tag, 0);
    }
    world.program.sync(&[]).expect(0);

    let left_out = explain(&world, "v2.0.0-rc1", &[], 0);
    assert_eq!((&left_out["verdict"], decisive(&left_out)), (&json!("out_of_scope"), "tags"));
    let tags = rule(&left_out, "tags");
    assert_eq!((&tags["detail"], &tags["place"]), (&json!("`!*-rc*` excludes it"), &place("tags = [")));
    let old = explain(&world, "v0.9.0", &[], 0);
    assert_eq!(
        (&old["verdict"], decisive(&old), &rule(&old, "semver")["place"]),
        (&json!("out_of_scope"), "semver", &place("semver"))
    );

    // Both want to go, and a rule of the configuration keeps each of them.
    world.repository.delete_tag("v1.0.1");
    world.repository.delete_tag("v2.0.0");
    for (tag, word, part, pattern) in [
        ("v1.0.1", "protected", "protected = ", "`v1.0.*` includes it"),
        ("v2.0.0", "immutable", "immutable = ", "`v2.*` includes it"),
    ] {
        let held = explain(&world, tag, &[], 0);
        let asked = rule(&held, word);
        assert_eq!((&held["verdict"], &asked["applies"]), (&json!("held"), &json!(true)), "{held}");
        assert_eq!((&asked["detail"], &asked["place"]), (&json!(pattern), &place(part)));
        assert_eq!(rule(&held, "policy")["place"], place("policy = "));
        assert_eq!(rule(&held, "mapping")["place"], place("strip_prefix"));
        assert_eq!(held["name"], json!(tag.trim_start_matches('v')));
    }
}

#[test]
fn what_holds_or_waits_is_told_with_the_way_on() {
    let world = World::new("limits = { moves = 0 }", "");
    world.tag("moved", 0);
    world.tag("theirs", 0);
    world.put_far("theirs", FakeTag::lightweight(&world.commits[1]));
    world.put_far("unmanaged", FakeTag::lightweight(&world.commits[1]));
    world.program.sync(&[]).expect(3);
    let theirs = explain(&world, "theirs", &[], 0);
    assert_eq!((&theirs["verdict"], decisive(&theirs)), (&json!("held"), "policy"));
    assert_eq!(rule(&theirs, "policy")["detail"], "mirror, source A, record -, remote B");
    assert!(theirs["next"].as_str().unwrap().contains("make both sides equal by hand"), "{theirs}");
    let unmanaged = explain(&world, "unmanaged", &[], 0);
    assert_eq!((&unmanaged["verdict"], &unmanaged["source"]["presence"]), (&json!("unmanaged"), &json!("absent")));

    // Before a pass has seen it: a move that guards may stop. After: parked, with the id that releases it.
    world.tag("moved", 1);
    let moved = explain(&world, "moved", &[], 0);
    assert_eq!((&moved["verdict"], decisive(&moved)), (&json!("move"), "guards"));
    let plan = world.program.sync(&[]).expect(3).remote()["plan"].as_str().unwrap().to_owned();
    let moved = explain(&world, "moved", &[], 0);
    assert_eq!(moved["verdict"], "held");
    assert!(moved["reason"].as_str().unwrap().contains("exceed the budget of 0"), "{moved}");
    assert!(moved["next"].as_str().unwrap().contains(&format!("tagsyncd approve {plan}")), "{moved}");

    // A side that cannot be read is unknown, and the answer says that it is incomplete.
    world.gitlab.change(|gitlab| gitlab.tokens.clear());
    let unknown = explain(&world, "moved", &[], 1);
    assert_eq!((&unknown["verdict"], &unknown["incomplete"]), (&json!("unknown"), &json!(true)));
    assert_eq!(unknown["record"]["value"], json!(world.commits[0]));
}

/// An annotated tag with a signature of this kind behind its message; nobody verifies it.
fn sign(world: &World, name: &str, kind: &str) {
    let message = format!("{name}\n-----BEGIN {kind}-----\n\nnot a signature\n-----END {kind}-----\n");
    world.repository.annotate(name, &world.commits[0], &message);
}

#[test]
fn a_signed_tag_tells_its_kind_and_what_the_remote_says_of_it() {
    let world = World::new("", "");
    sign(&world, "x509", "SIGNED MESSAGE");
    sign(&world, "pgp", "PGP SIGNATURE");
    sign(&world, "ssh", "SSH SIGNATURE");
    world.repository.annotate("plain", &world.commits[0], "plain\n");
    world.program.sync(&[]).expect(0);
    // As GitLab's documentation shows one; the serial number is larger than any number of JSON's readers.
    let signature = r#"{"signature_type": "X509", "verification_status": "unverified", "x509_certificate": {
        "id": 1, "subject": "CN=gitlab@example.org,OU=Example,O=World", "subject_key_identifier": "BC:BC",
        "email": "gitlab@example.org", "serial_number": 278969561018901340486471282831158785578, "certificate_status": "good",
        "x509_issuer": {"id": 1, "subject": "CN=PKI,OU=Example,O=World", "subject_key_identifier": "AB:AB", "crl_url": "http://example.com/pki.crl"}}}"#;
    world.gitlab.change(|gitlab| gitlab.project("infra/core").signatures.insert("x509".into(), signature.into()));
    let x509 = explain(&world, "x509", &[], 0);
    let says = x509["facts"][0]["says"].as_str().unwrap();
    assert_eq!(
        says,
        "X509, unverified; certificate good; subject CN=gitlab@example.org,OU=Example,O=World; \
         issuer CN=PKI,OU=Example,O=World; serial number 278969561018901340486471282831158785578"
    );
    for (tag, kind) in [("x509", "X.509"), ("pgp", "OpenPGP"), ("ssh", "SSH")] {
        let explained = explain(&world, tag, &[], 0);
        let remarks = explained["source"]["remarks"].to_string();
        assert!(remarks.contains(&format!("signed ({kind})")), "{remarks}");
        assert_eq!(explained["facts"].as_array().unwrap().len(), 1);
    }
    assert!(
        explain(&world, "pgp", &[], 0)["facts"][0]["says"].as_str().unwrap().starts_with("none, or of another kind")
    );
    // Where nothing is signed, nothing more is asked.
    world.gitlab.server().forget();
    assert_eq!(explain(&world, "plain", &[], 0)["facts"], json!([]));
    assert_eq!(world.gitlab.server().record().total(), 1);
}

#[test]
fn names_and_words_of_others_are_printed_safely_and_told_in_full() {
    let world = World::new("", "");
    let hostile = OsString::from("v1\u{202e}\u{85}");
    let bytes = OsStr::from_bytes(b"v\xff");
    world.repository.tag(&hostile, &world.commits[0]);
    world.repository.tag(bytes, &world.commits[0]);
    world.program.sync(&[]).expect(3);
    let told = explain(&world, &hostile, &[], 0);
    assert_eq!(told["tag"], "v1\u{202e}\u{85}");
    let not_text = explain(&world, bytes, &[], 0);
    assert_eq!((&not_text["verdict"], decisive(&not_text)), (&json!("held"), "remote_name"));
    for tag in [hostile.as_os_str(), bytes] {
        let mut command = world.program.command(&["explain", "core"]);
        let text = ended(command.arg(tag).spawn().expect("the binary was built for this test")).expect(0).stdout;
        assert!(!text.contains(['\u{202e}', '\u{85}', '\u{1b}']), "{text:?}");
    }
}

#[test]
fn a_slip_has_a_neighbour() {
    let world = World::new("", "strip_prefix = \"v\"");
    world.tag("v1.2.0", 0);
    world.program.sync(&[]).expect(0);
    for (arguments, hint) in [
        (&["explain", "core", "v1.2.O"][..], "did you mean `v1.2.0`?"),
        (&["explain", "core", "1.2.0"], "that is what `v1.2.0` is called on `gitlab`"),
        (&["explain", "cor", "v1.2.0"], "did you mean `core`?"),
        (&["explain", "core", "v1.2.0", "--remote", "gitlb"], "did you mean `gitlab`?"),
        (&["explain", "core", "v1.2.0", "--repository", "x"], "it has: core"),
        (&["explain", "core", "a..b"], ""),
    ] {
        let ended = world.program.run(arguments).expect(2);
        assert!(ended.stderr.contains(hint) && ended.stdout.is_empty(), "{arguments:?}: {}", ended.stderr);
    }
    // Also while the remote does not answer, what is known is told.
    world.gitlab.change(|gitlab| gitlab.tokens.insert("secret".into(), Token { revoked: true, ..Token::of_level(40) }));
    explain(&world, "v1.2.0", &[], 1);
    assert!(!world.program.path("state").join("ledger.db-wal").exists(), "reading leaves nothing behind");
}
