//! Tags over the git protocol, against git's own server.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::sync::Arc;

use support::git_http::{GitServer, PASSWORD, tags};
use support::mirror::{Mirror, count, counts, pushing};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, When};

#[test]
fn every_kind_of_tag_arrives_byte_for_byte() {
    let mirror = Mirror::new();
    let Mirror { source, commits, .. } = &mirror;
    source.tag("light", &commits[0]);
    let annotated = source.annotate("annotated", &commits[1], "first\n\nsecond, without a line end");
    let nested = source.annotate("nested", &annotated, "a tag of a tag\n");
    source.annotate("nested-twice", &nested, "and again\n");
    source.annotate("empty", &commits[1], "");
    source.tag("tree", &source.git(&["rev-parse", "main^{tree}"]));
    source.annotate("annotated-tree", &source.git(&["rev-parse", "main^{tree}"]), "a tree\n");
    // Headers that newer gits or other programs may write, and bytes that are no UTF-8.
    let mut odd = format!("object {}\ntype commit\ntag odd\ntagger T <t@example.com> 1700000000 +0000\n", commits[2]);
    odd.push_str("encoding latin1\nx-unknown yes\n\n");
    let odd = [odd.as_bytes(), b"caf\xe9\r\n\0"].concat();
    let odd = source.git_with_input(&["hash-object", "-t", "tag", "-w", "--literally", "--stdin"], &odd);
    source.tag("odd", &odd);
    for name in ["-x/é+1", "a/b/c", "%2F", "$(id)", "--upload-pack=x", "日本語/タグ", "a\u{a0}b"] {
        source.tag(name, &commits[0]);
    }
    source.tag(OsStr::from_bytes(b"no-utf8-\xff\xfe"), &commits[0]);
    let large = source.annotate("large", &commits[0], &"0123456789abcdef\n".repeat(200_000));
    assert_eq!(source.git(&["cat-file", "-s", &large]).parse::<usize>().unwrap() / 1_000_000, 3);

    let remote = mirror.sync().expect(0).remote();
    assert_eq!(counts(&remote), count("create", 17), "{remote}");
    let listed = |repository: &SampleRepository| {
        repository.git_bytes(
            &["for-each-ref", "--format=%(objectname) %(objecttype) %(*objectname) %(refname)", "refs/tags"],
            b"",
        )
    };
    assert_eq!(listed(source), listed(&mirror.server.repository));
    mirror.server.repository.git(&["fsck", "--no-dangling"]);
    for tag in ["annotated", "nested-twice", "odd", "large"] {
        let bytes = |repository: &SampleRepository| repository.git_bytes(&["cat-file", "tag", tag], b"");
        assert!(bytes(source) == bytes(&mirror.server.repository), "{tag}");
    }
    assert_eq!(mirror.pushes(), 1);

    // The next pass is one request, and finds nothing to do.
    let remote = mirror.sync().expect(0).remote();
    assert_eq!((counts(&remote), remote["requests"].as_u64()), (count("in_sync", 17), Some(1)), "{remote}");
}

#[test]
fn a_signature_verifies_on_the_copy_as_on_the_original() {
    let mirror = Mirror::new();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "t", "-f"]).arg(&key).output();
    if !made.is_ok_and(|made| made.status.success()) {
        // Nothing to sign with: then it is shown that the bytes arrive, of which a signature is made.
        let commit = mirror.source.git(&["rev-parse", "main"]);
        let signed = format!(
            "object {}\ntype commit\ntag v1\ntagger T <t@example.com> 1700000000 +0000\n\nsigned\n\
             -----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n",
            commit.trim()
        );
        let tag_id = mirror.source.git_with_input(&["hash-object", "-t", "tag", "-w", "--stdin"], signed.as_bytes());
        mirror.source.git(&["update-ref", "refs/tags/v1", tag_id.trim()]);
        assert_eq!(counts(&mirror.sync().expect(0).remote()), count("create", 1));
        mirror.assert_same();
        return;
    }
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let signers = folder.path().join("signers");
    std::fs::write(&signers, format!("t@example.com {public}")).unwrap();
    let options = [
        "-c".to_owned(),
        "gpg.format=ssh".to_owned(),
        "-c".to_owned(),
        format!("user.signingKey={}", key.display()),
        "-c".to_owned(),
        format!("gpg.ssh.allowedSignersFile={}", signers.display()),
    ];
    let git = |repository: &SampleRepository, arguments: &[&str]| {
        let arguments: Vec<_> = options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        repository.git(&arguments)
    };
    git(&mirror.source, &["tag", "-s", "-m", "signed", "v1", "main"]);
    assert_eq!(counts(&mirror.sync().expect(0).remote()), count("create", 1));
    git(&mirror.source, &["verify-tag", "v1"]);
    git(&mirror.server.repository, &["verify-tag", "v1"]);
    mirror.assert_same();
}

#[test]
fn creates_moves_and_deletes_go_in_one_push() {
    let mirror = Mirror::new();
    mirror.tag_many(20);
    mirror.sync().expect(0);
    mirror.assert_same();
    mirror.server.server().forget();

    for n in 0..2 {
        mirror.source.delete_tag(format!("v{n}"));
        mirror.source.annotate(format!("v{}", n + 2), &mirror.commits[0], "moved\n");
        mirror.source.tag(format!("new{n}"), &mirror.commits[0]);
    }
    let remote = mirror.sync().expect(0).remote();
    mirror.assert_same();
    let due = [("create", 2), ("delete", 2), ("in_sync", 16), ("move", 2)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(counts(&remote), due);
    let record = mirror.server.server().record();
    let kinds: Vec<_> = record.requests.iter().map(|seen| seen.kind.as_str()).collect();
    // The listing; then who answers and what can be pushed, which is one question; then all of it.
    assert_eq!(kinds, ["call upload-pack", "advertise receive-pack", "call receive-pack"]);
    assert!(record.requests.iter().all(|seen| seen.authorized), "credentials are sent before they are asked for");
}

#[test]
fn ids_by_sha_256_are_ids() {
    let mirror = Mirror::made_with(&["--object-format=sha256"], "", "");
    mirror.tag_many(5);
    assert_eq!(counts(&mirror.sync().expect(0).remote()), count("create", 5));
    mirror.assert_same();
    mirror.source.delete_tag("v1");
    mirror.sync().expect(0);
    mirror.assert_same();
    let remote = mirror.sync().expect(0).remote();
    assert_eq!(remote["requests"], 1, "{remote}");
}

#[test]
fn repositories_with_other_ids_have_nothing_in_common() {
    let mirror = Mirror::new();
    mirror.tag_many(2);
    let other = SampleRepository::init(&["--bare", "--object-format=sha256"]);
    other.tag("v1", &other.commit("another"));
    mirror.server.serve(other.path());
    let remote = mirror.sync().expect(1).remote();
    let error = remote["error"].as_str().unwrap();
    assert!(error.contains("sha256") && error.contains("sha1"), "{error}");
    assert_eq!(tags(&other).len(), 1);
}

#[test]
fn a_push_by_somebody_else_in_between_is_never_overwritten() {
    let mirror = Mirror::new();
    mirror.tag_many(6);
    mirror.sync().expect(0);
    mirror.source.tag("v0", &mirror.commits[1]);
    mirror.source.delete_tag("v2");
    mirror.source.tag("fresh", &mirror.commits[0]);
    mirror.source.tag("v4", &mirror.commits[0]);
    // After the listing and before our push, git itself pushes other values to the names that we are about to write.
    let pusher = mirror.server.repository.clone_of(&["--bare"]);
    let theirs = pusher.annotate("theirs", &mirror.commits[2], "somebody else's\n");
    let far = mirror.server.repository.path().to_owned();
    mirror.server.server().on(
        pushing().once(),
        Effect::before(move |_| {
            let refspecs = ["v0", "v2", "fresh"].map(|name| format!("+{theirs}:refs/tags/{name}"));
            let mut arguments = vec!["push".to_owned(), "--quiet".to_owned(), far.display().to_string()];
            arguments.extend(refspecs);
            pusher.git(&arguments);
        }),
    );
    let remote = mirror.sync().expect(1).remote();
    let far = mirror.server.tags();
    let theirs = &far["fresh"];
    assert_eq!((&far["v0"], &far["v2"], &far["v4"]), (theirs, theirs, &mirror.commits[0]), "{remote}");
    for change in remote["changes"].as_array().unwrap() {
        let due = if change["tag"] == "v4" { "done" } else { "rejected" };
        assert_eq!(change["outcome"], due, "{change}");
    }
    // The next plan judges what is there; nothing of theirs is lost then, either, without somebody's word.
    mirror.sync();
    assert_eq!(&mirror.server.tags()["fresh"], theirs);
}

#[test]
fn a_tag_that_a_hook_refuses_keeps_no_other_from_arriving() {
    let mirror = Mirror::new();
    mirror.server.hook("update", r#"case "$1" in refs/tags/v3) echo "v3 is not wanted" >&2; exit 1;; esac"#);
    mirror.tag_many(8);
    let remote = mirror.sync().expect(1).remote();
    assert_eq!((mirror.server.tags().len(), mirror.pushes()), (7, 1));
    let change = remote["changes"].as_array().unwrap().iter().find(|change| change["tag"] == "v3").unwrap();
    assert_eq!(change["outcome"], "rejected");
    let reason = change["reason"].as_str().unwrap();
    assert!(reason.contains("hook declined") && reason.contains("v3 is not wanted"), "{reason}");
    // It is held now, and not offered with every pass.
    let remote = mirror.sync().expect(3).remote();
    assert_eq!((remote["counts"]["held"].as_u64(), mirror.pushes()), (Some(1), 0), "{remote}");
}

#[test]
fn a_push_that_is_refused_as_a_whole_is_searched_for_the_reason() {
    let mirror = Mirror::new();
    // Refused for a reason of its own, besides.
    mirror.server.repository.git(&["config", "transfer.hideRefs", "refs/tags/v9"]);
    let script = r#"while read old new name; do case "$name" in refs/tags/v5|refs/tags/v11) echo "no $name" >&2; exit 1;; esac; done"#;
    mirror.server.hook("pre-receive", script);
    mirror.tag_many(16);
    let remote = mirror.sync().expect(1).remote();
    let far = mirror.server.tags();
    let missing: Vec<_> = (0..16).map(|n| format!("v{n}")).filter(|name| !far.contains_key(name)).collect();
    assert_eq!(missing, ["v5", "v9", "v11"], "{remote}");
    for change in remote["changes"].as_array().unwrap() {
        let name = change["tag"].as_str().unwrap();
        let refused = matches!(name, "v5" | "v11");
        let due = if refused || name == "v9" { "rejected" } else { "done" };
        assert_eq!(change["outcome"], due, "{change}");
        if refused {
            let reason = change["reason"].as_str().unwrap();
            assert!(reason.contains(&format!("no refs/tags/{name}")), "{reason}");
        }
    }
    assert!(mirror.pushes() <= 23, "the search halves");
}

#[test]
fn a_server_that_refuses_everything_is_not_asked_without_end() {
    let mirror = Mirror::new();
    mirror.server.hook("pre-receive", "exit 1");
    mirror.source.create_tags(400, 3);
    mirror.server.repository.git(&[
        "fetch",
        "--quiet",
        mirror.source.path().to_str().unwrap(),
        "refs/heads/*:refs/heads/*",
        "--no-tags",
    ]);
    mirror.sync().expect(1);
    let pushes = mirror.pushes();
    assert!(mirror.server.tags().is_empty() && (64..200).contains(&pushes), "{pushes} pushes");
}

#[test]
fn hidden_and_undeletable_refs_are_refused_one_by_one() {
    let mirror = Mirror::new();
    let git = |arguments: &[&str]| mirror.server.repository.git(arguments);
    mirror.tag_many(4);
    mirror.sync().expect(0);
    // This one is about branches alone, whatever its name says.
    git(&["config", "receive.denyDeletes", "true"]);
    git(&["config", "transfer.hideRefs", "refs/tags/hidden"]);
    mirror.server.hook("update", r#"[ "$1" = refs/tags/v1 ] && exit 1; exit 0"#);
    mirror.source.delete_tag("v1");
    mirror.source.delete_tag("v3");
    mirror.source.tag("hidden/one", &mirror.commits[0]);
    mirror.source.tag("seen", &mirror.commits[0]);
    let remote = mirror.sync().expect(1).remote();
    let outcome = |tag: &str| {
        let changes = remote["changes"].as_array().unwrap();
        let change = changes.iter().find(|change| change["tag"] == tag).unwrap();
        (change["outcome"].as_str().unwrap().to_owned(), change["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!((outcome("seen").0, outcome("v3").0), ("done".to_owned(), "done".to_owned()));
    for (tag, words) in [("v1", "hook declined"), ("hidden/one", "hidden ref")] {
        let (outcome, reason) = outcome(tag);
        assert!(outcome == "rejected" && reason.contains(words), "{tag}: {outcome} {reason}");
    }
    assert!(mirror.server.tags().contains_key("v1"));
}

#[test]
fn a_tag_waits_for_its_commit() {
    let mirror = Mirror::new();
    mirror.tag_many(3);
    let unpushed = mirror.source.commit("not pushed yet");
    mirror.source.annotate("release", &unpushed, "soon\n");
    mirror.source.tag("release-light", &unpushed);
    let remote = mirror.sync().remote();
    assert_eq!(mirror.server.tags().len(), 3);
    assert_eq!(
        (remote["counts"]["create"].as_u64(), remote["waiting"].as_array().unwrap().len()),
        (Some(3), 2),
        "{remote}"
    );
    mirror.pushes();
    // It is looked for, and not pushed in vain.
    let remote = mirror.sync().remote();
    assert_eq!((remote["counts"]["waiting"].as_u64(), mirror.pushes()), (Some(2), 0), "{remote}");

    let source = mirror.source.path().to_str().unwrap();
    mirror.server.repository.git(&["fetch", "--quiet", "--no-tags", source, "main:main"]);
    mirror.sync().expect(0);
    mirror.assert_same();
}

#[test]
fn history_goes_along_where_that_is_wanted_and_nothing_but_tags_is_written() {
    for options in [&[][..], &["--object-format=sha256"]] {
        let mirror = Mirror::made_with(options, "", "objects = true");
        let Mirror { source, server, .. } = &mirror;
        source.tag("old", &mirror.commits[2]);
        mirror.sync().expect(0);
        let heads = || server.repository.git(&["for-each-ref", "refs/heads", "refs/notes", "HEAD"]);
        let before = heads();
        // A history with files, folders, a link, a merge, a file that came back, and a commit of another repository.
        let unpushed = source.history();
        source.annotate("release", &unpushed, "on a commit that nobody pushed\n");
        source.tag("release-light", &unpushed);
        let nested = source.annotate("inner", &unpushed, "inner\n");
        source.annotate("outer", &nested, "outer\n");
        source.tag("tree", &source.git(&["rev-parse", &format!("{unpushed}^{{tree}}")]));
        source.annotate("file", &source.git_with_input(&["hash-object", "-w", "--stdin"], b"a blob\n"), "of a file\n");
        let remote = mirror.sync().expect(0).remote();
        assert_eq!(counts(&remote), [("create".to_owned(), 6), ("in_sync".to_owned(), 1)], "{remote}");
        mirror.assert_same();
        server.repository.git(&["fsck", "--connectivity-only", "--no-dangling"]);
        assert_eq!(heads(), before, "tags alone are written");
        let missing = ["rev-list", "--objects", "--missing=print", "--tags"];
        assert!(!server.repository.git(&missing).contains('?'));
        mirror.pushes();
        // What the server has is not sent again.
        let next = source.commit("one more");
        source.tag("next", &next);
        mirror.sync().expect(0);
        let sent = server.server().record().requests;
        let push = sent.iter().find(|seen| seen.kind == "call receive-pack").expect("it was pushed");
        assert!(push.length < 1000, "{} bytes for one commit", push.length);
        mirror.assert_same();
        let remote = mirror.sync().expect(0).remote();
        assert_eq!((counts(&remote), remote["requests"].as_u64()), (count("in_sync", 8), Some(1)));
    }
}

#[test]
fn an_empty_repository_becomes_a_mirror_of_tags_with_their_history() {
    let mirror = Mirror::made_with(&[], "", "objects = true");
    let far = GitServer::start(SampleRepository::bare());
    mirror.configure(&far.url(), "", "objects = true");
    let head = mirror.source.history();
    mirror.source.annotate("v1", &head, "first\n");
    mirror.tag_many(5);
    mirror.sync().expect(0);
    assert_eq!(tags(&mirror.source), far.tags());
    far.repository.git(&["fsck", "--no-dangling"]);
}

#[test]
fn a_source_that_lacks_history_itself_pushes_what_it_can() {
    let mirror = Mirror::made_with(&[], "", "objects = true");
    let head = mirror.source.history();
    let shallow = mirror.source.clone_of(&["--bare", "--depth=1"]);
    shallow.tag("v1", &head);
    shallow.tag("v0", &head);
    let configure = |url: &str| {
        let text = std::fs::read_to_string(mirror.program.path("config.toml")).unwrap();
        let from = mirror.source.path().display().to_string();
        mirror
            .program
            .configure(&text.replace(&from, &shallow.path().display().to_string()).replace(&mirror.server.url(), url));
    };
    // The server has none of the history, so what it would get is not whole, and it says so.
    let empty = GitServer::start(SampleRepository::bare());
    configure(&empty.url());
    mirror.sync();
    assert!(empty.tags().is_empty());
    // One that has what lies behind takes the rest.
    mirror.configure(&mirror.server.url(), "", "objects = true");
    let from = mirror.source.path().to_str().unwrap();
    let parents = [1, 2].map(|parent| format!("{head}^{parent}"));
    for (parent, n) in parents.iter().zip(1..) {
        let parent = mirror.source.git(&["rev-parse", parent]);
        mirror.server.repository.git(&["fetch", "--quiet", from, &format!("{parent}:refs/heads/x{n}")]);
    }
    configure(&mirror.server.url());
    mirror.sync().expect(0);
    assert_eq!(mirror.server.tags().len(), 2);
    mirror.server.repository.git(&["fsck", "--no-dangling"]);
}

#[test]
fn a_tag_waits_for_its_commit_where_nobody_can_ask_for_that() {
    let mirror = Mirror::new();
    mirror.server.change(|manners| manners.speaks_v2 = false);
    let unpushed = mirror.source.commit("not pushed yet");
    mirror.source.annotate("release", &unpushed, "soon\n");
    for _ in 0..2 {
        assert_eq!(mirror.sync().remote()["waiting"].as_array().unwrap().len(), 1);
        assert_eq!(mirror.pushes(), 1, "only another try can tell");
    }
    let source = mirror.source.path().to_str().unwrap();
    mirror.server.repository.git(&["fetch", "--quiet", "--no-tags", source, "main:main"]);
    mirror.sync().expect(0);
    mirror.assert_same();
}

#[test]
fn a_report_that_breaks_off_is_settled_by_one_look() {
    for after in [0, 40, 120] {
        let mirror = Mirror::new();
        mirror.tag_many(12);
        mirror.server.server().on(pushing(), Effect::Cut(after));
        let remote = mirror.sync().expect(0).remote();
        mirror.assert_same();
        let outcomes = remote["changes"].as_array().unwrap();
        assert!(outcomes.iter().all(|change| change["outcome"] == "done"), "{remote}");
        let kinds: Vec<_> = mirror.server.server().record().requests.into_iter().map(|seen| seen.kind).collect();
        let pushed = kinds.iter().position(|kind| kind == "call receive-pack").unwrap();
        assert_eq!(kinds[pushed + 1..], ["call upload-pack"], "one push, and one look");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_push_is_settled_by_the_next_pass() {
    for after in [false, true] {
        let mirror = Mirror::new();
        mirror.tag_many(9);
        mirror.sync().expect(0);
        mirror.source.annotate("v0", &mirror.commits[2], "moved\n");
        mirror.source.tag("new", &mirror.commits[0]);
        mirror.source.delete_tag("v8");
        // The listing, what can be pushed, the push.
        assert!(mirror.program.kill_at(&["--sync"], mirror.server.server(), 3, after));
        mirror.server.server().forget();
        let remote = mirror.sync().expect(0).remote();
        mirror.assert_same();
        // A server that has the whole request may carry it out although nobody waits for the answer.
        let again = mirror.pushes();
        assert!(again <= usize::from(!after), "{again} pushes: {remote}");
    }
}

#[test]
fn events_are_preserved_by_pushes_of_three() {
    let mirror = Mirror::made_with(&[], "", r#"events = "preserve""#);
    mirror.tag_many(8);
    mirror.sync().expect(0);
    assert_eq!(mirror.pushes(), 3);
    mirror.assert_same();
}

#[test]
fn a_repository_that_moved_within_its_server_is_followed_and_no_other() {
    let mirror = Mirror::new();
    mirror.tag_many(3);
    let (old, new) = ("/old/core", mirror.server.url());
    let at_old = || When::any().matching(|request| request.path.starts_with("/old/core"));
    let location = "/core.git/info/refs";
    let to_new = Reply::empty(301).header("Location", format!("{location}?service=git-upload-pack"));
    mirror.server.server().on(at_old(), Effect::Answer(to_new));
    let url = format!("{}{old}", new.trim_end_matches("/core.git"));
    mirror.configure(&url, "", "");
    let ended = mirror.sync();
    ended.expect(0);
    mirror.assert_same();

    // What is only there for now is no place to push to.
    mirror.server.server().behave();
    let for_now = Reply::empty(302).header("Location", format!("{location}?service=git-upload-pack"));
    mirror.server.server().on(at_old(), Effect::Answer(for_now));
    let error = mirror.sync().expect(1).remote()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("redirect"), "{error}");

    let elsewhere = GitServer::start(SampleRepository::bare());
    let answer = Reply::empty(301).header("Location", format!("{}/info/refs?service=git-upload-pack", elsewhere.url()));
    mirror.server.server().behave();
    mirror.server.server().on(at_old(), Effect::Answer(answer));
    let error = mirror.sync().expect(1).remote()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("redirect"), "{error}");
    assert_eq!(elsewhere.server().record().total(), 0, "nothing goes to another server, least of all a credential");
}

#[test]
fn servers_without_version_2_list_what_they_have() {
    let mirror = Mirror::new();
    mirror.server.change(|manners| manners.speaks_v2 = false);
    mirror.sync().expect(0);
    mirror.tag_many(5);
    mirror.sync().expect(0);
    mirror.assert_same();
    mirror.source.delete_tag("v1");
    mirror.source.annotate("v2", &mirror.commits[0], "moved\n");
    mirror.sync().expect(0);
    mirror.assert_same();
    assert_eq!(counts(&mirror.sync().expect(0).remote()), count("in_sync", 4));
}

#[test]
fn a_tag_that_stands_for_another_ref_is_left_alone() {
    let mirror = Mirror::new();
    mirror.tag_many(2);
    mirror.source.tag("latest", &mirror.commits[0]);
    let main = mirror.server.repository.git(&["rev-parse", "main"]);
    mirror.server.repository.git(&["symbolic-ref", "refs/tags/latest", "refs/heads/main"]);
    let remote = mirror.sync().expect(3).remote();
    assert_eq!(mirror.server.repository.git(&["rev-parse", "main"]), main, "a branch is never written");
    let held = &remote["held"][0];
    assert!(held["tag"] == "latest" && held["reason"].as_str().unwrap().contains("refs/heads/main"), "{held}");
}

#[test]
fn a_wrong_password_writes_nothing_and_is_not_shown() {
    let mirror = Mirror::new();
    mirror.tag_many(2);
    mirror.server.change(|manners| manners.password = Some("another".to_owned()));
    let ended = mirror.sync().expect(1);
    assert!(ended.remote()["error"].as_str().unwrap().contains("401"), "{}", ended.stdout);
    assert!(!ended.stdout.contains(PASSWORD) && !ended.stderr.contains(PASSWORD));
    mirror.server.change(|manners| (manners.password, manners.pushes) = (Some(PASSWORD.to_owned()), false));
    let remote = mirror.sync().expect(3).remote();
    assert_eq!(remote["counts"]["held"], 2, "{remote}");
    assert!(mirror.server.tags().is_empty());
}

#[test]
fn what_was_deleted_can_be_put_back_with_its_object() {
    let mirror = Mirror::new();
    mirror.tag_many(4);
    mirror.sync().expect(0);
    let before = mirror.server.tags();
    mirror.source.delete_tag("v1");
    mirror.source.tag("v2", &mirror.commits[0]);
    let run = mirror.sync().expect(0).json()["run"].as_str().unwrap().to_owned();
    assert_ne!(mirror.server.tags(), before);
    mirror.program.run(&["undo", &run]).expect(0);
    assert_eq!(mirror.server.tags(), before);
}

#[test]
fn concurrent_passes_and_pushes_lose_nothing() {
    let mirror = Arc::new(Mirror::new());
    mirror.tag_many(30);
    // Somebody pushes tags of their own all the while, past the server in front.
    let pusher = mirror.server.repository.clone_of(&["--bare"]);
    let far = mirror.server.repository.path().to_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..20 {
                pusher.git(&["push", "--quiet", &far, &format!("main:refs/tags/theirs-{n}")]);
            }
        });
        mirror.sync().expect(0);
    });
    let far = mirror.server.tags();
    assert_eq!(far.keys().filter(|name| name.starts_with("theirs-")).count(), 20);
    assert!(tags(&mirror.source).iter().all(|(name, id)| far.get(name) == Some(id)));
    mirror.server.repository.git(&["fsck", "--no-dangling"]);
}
