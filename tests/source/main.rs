//! Reading tags of real repositories, with git as the judge.

mod notes;
mod repositories;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use support::repository::SampleRepository;
use tagsyncd::source::{Messages, Repository, SignatureKind, SourceFault};
use tagsyncd::tag::{CommitId, GitTag, NotesRef, Peeled, SourceSnapshot, SourceTag, TagName, TrailerKey};

fn open(sample: &SampleRepository) -> Repository {
    Repository::open(sample.path()).expect("a readable repository")
}

fn read(sample: &SampleRepository) -> SourceSnapshot {
    open(sample).read_tags(Messages::Skip).expect("a readable repository")
}

fn refused(path: &Path) -> SourceFault {
    Repository::open(path).expect_err("a repository that must be refused")
}

fn name(name: impl AsRef<[u8]>) -> TagName {
    TagName::new(name).expect("a valid name")
}

fn git(tag: &SourceTag) -> &GitTag {
    match tag {
        SourceTag::Git(tag) => tag,
        SourceTag::Told(_) => panic!("a repository tells of nothing that it does not have"),
    }
}

/// A tag in git's words: `ID KIND`, and for an annotated tag the same of what it peels to.
fn words(tag: &SourceTag) -> String {
    let tag = git(tag);
    let peeled = match tag.peeled {
        Peeled::Commit(id) => format!("{id} commit"),
        Peeled::Tree(id) => format!("{id} tree"),
        Peeled::Blob(id) => format!("{id} blob"),
    };
    match tag.tag_id {
        Some(tag_id) => format!("{tag_id} tag {peeled}"),
        None => peeled,
    }
}

/// What we say about every tag; an unknown one says why.
fn ours(snapshot: &SourceSnapshot) -> BTreeMap<TagName, String> {
    snapshot.iter().map(|(name, tag)| (name.clone(), tag.map_or_else(|why| format!("unknown: {why}"), words))).collect()
}

/// What git says about every tag.
fn gits(sample: &SampleRepository) -> BTreeMap<TagName, String> {
    let format = "--format=%(objectname) %(objecttype) %(*objectname) %(*objecttype)%00%(refname)";
    sample
        .git_bytes(&["for-each-ref", format, "refs/tags"], b"")
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let at = line.iter().position(|&byte| byte == 0).expect("the format has a NUL");
            let words = String::from_utf8_lossy(&line[..at]).trim_end().to_owned();
            (name(&line[at + 1 + "refs/tags/".len()..]), words)
        })
        .collect()
}

fn assert_reads_like_git(sample: &SampleRepository) {
    let gits = gits(sample);
    assert!(!gits.is_empty());
    assert_eq!(ours(&read(sample)), gits);
    let repository = open(sample);
    for (name, words_of_git) in gits {
        let tag = repository.read_tag(&name).expect("a readable tag").expect("a tag that git shows");
        assert_eq!(words(&tag), words_of_git, "{name}");
    }
}

/// A stream of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn random_layouts_of_loose_and_packed_refs_read_as_git_reads_them() {
    // Around `-`, `/` and `0` the order of names and the order of directories differ.
    let names: [&[u8]; 18] = [
        b"a!b",
        b"a+b",
        b"a-",
        b"a-b",
        b"a/b",
        b"a/b-",
        b"a/b0",
        b"a/c-d",
        b"a/c/d",
        b"a0",
        b"a0b",
        b"ab",
        b"b-/x",
        b"b/-",
        b"b/0",
        b"b0/x",
        b"\xc3\xa9",
        b"\xff",
    ];
    let sample = SampleRepository::bare();
    let mut objects: Vec<_> = (0..3).map(|at| sample.commit(&format!("commit {at}"))).collect();
    let annotated = sample.annotate("x", &objects[0], "annotated\n");
    let nested = sample.annotate("x", &annotated, "nested\n");
    let tree = sample.git_with_input(&["mktree"], b"");
    let blob = sample.git_with_input(&["hash-object", "-w", "--stdin"], b"blob");
    let tagged_tree = sample.annotate("x", &tree, "on a tree\n");
    objects.extend([annotated, nested, tree, blob, tagged_tree]);

    let mut dice = Dice(20_261_121);
    for round in 0..40 {
        for _ in 0..2 {
            let mut changes = Vec::new();
            for name in names {
                match dice.below(4) {
                    0 => changes.extend([b"delete refs/tags/", name, b"\n"].concat()),
                    1 | 2 => {
                        let object = &objects[dice.below(objects.len())];
                        changes.extend([b"update refs/tags/", name, b" ", object.as_bytes(), b"\n"].concat());
                    }
                    _ => {}
                }
            }
            sample.git_with_input(&["update-ref", "--stdin"], &changes);
            match dice.below(3) {
                0 => sample.pack(),
                1 => drop(sample.git(&["pack-refs", "--all", "--no-prune"])),
                _ => {}
            }
        }
        assert_eq!(ours(&read(&sample)), gits(&sample), "round {round}");
    }
    assert_reads_like_git(&sample);
}

#[test]
fn only_tags_are_read() {
    let sample = SampleRepository::normal();
    let commit = sample.commit("first");
    for other in ["refs/heads/refs/tags/v1", "refs/tagsx/v1", "refs/notes/v1", "refs/remotes/refs/tags/v1/HEAD"] {
        sample.git(&["update-ref", other, &commit]);
    }
    for _ in 0..2 {
        assert!(read(&sample).is_empty());
        assert_eq!(open(&sample).read_tag(&name("v1")), Ok(None));
        sample.pack();
    }
}

#[test]
fn every_odd_ref_is_unknown_and_spoils_no_other() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let blob = sample.git_with_input(&["hash-object", "-w", "--stdin"], b"blob");
    let tree = sample.git_with_input(&["mktree"], b"");
    sample.tag("commit", &commit);
    sample.tag("blob", &blob);
    sample.annotate("tree", &tree, "on a tree\n");
    sample.tag("packed-and-odd", &commit);
    sample.pack();
    let tag_without_target = sample.git_with_input(
        &["hash-object", "-t", "tag", "-w", "--literally", "--stdin"],
        format!("object {}\ntype commit\ntag x\n\nx\n", "1".repeat(40)).as_bytes(),
    );
    let tag_without_sense =
        sample.git_with_input(&["hash-object", "-t", "tag", "-w", "--literally", "--stdin"], b"nonsense\n");

    let tags = sample.git_dir().join("refs/tags");
    let odd = [
        ("dangling", "1".repeat(40)),
        ("dangling-symbolic", "ref: refs/tags/nowhere".into()),
        ("empty", String::new()),
        ("garbage", "garbage".into()),
        ("loop-1", "ref: refs/tags/loop-2".into()),
        ("loop-2", "ref: refs/tags/loop-1".into()),
        ("packed-and-odd", String::new()),
        ("short", commit[..39].into()),
        ("symbolic-escape", "ref: refs/../../x".into()),
        ("target-missing", tag_without_target),
        ("tag-of-nonsense", tag_without_sense),
        ("too-long", format!("{commit}0")),
        ("zeros", "0".repeat(40)),
    ];
    for (odd, content) in &odd {
        fs::write(tags.join(odd), content).expect("a writable sample");
    }
    for (fine, content) in [
        ("left-over.lock", String::new()),
        (".hidden", String::new()),
        ("symbolic", "ref:  refs/tags/tree\n".into()),
        ("symbolic-to-branch", "ref: refs/heads/main".into()),
        ("no-line-end", commit.clone()),
    ] {
        fs::write(tags.join(fine), content).expect("a writable sample");
    }
    symlink("refs/tags/blob", tags.join("symbolic-link")).expect("a writable sample");

    let read = ours(&read(&sample));
    let (unknown, known): (BTreeMap<_, _>, BTreeMap<_, _>) =
        read.into_iter().partition(|(_, words)| words.starts_with("unknown: "));
    let expected_unknown: Vec<_> = odd.iter().map(|(odd, _)| name(odd)).collect();
    assert_eq!(unknown.keys().collect::<std::collections::BTreeSet<_>>(), expected_unknown.iter().collect());
    let tree_tag = known[&name("tree")].clone();
    let expected = [
        ("blob", format!("{blob} blob")),
        ("commit", format!("{commit} commit")),
        ("no-line-end", format!("{commit} commit")),
        ("symbolic", tree_tag.clone()),
        ("symbolic-link", format!("{blob} blob")),
        ("symbolic-to-branch", format!("{commit} commit")),
        ("tree", tree_tag),
    ];
    assert_eq!(known, expected.map(|(tag, words)| (name(tag), words)).into());

    let repository = open(&sample);
    for (odd, _) in &odd {
        let fault = repository.read_tag(&name(odd)).expect_err("an unknown tag is not absent");
        assert!(fault.message.contains(odd), "{fault}");
    }
}

#[test]
fn what_may_hide_names_is_a_fault() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("packed-refs", |git| fs::create_dir(git.join("packed-refs")).expect("no packed-refs yet")),
        ("packed-refs", |git| fs::write(git.join("packed-refs"), "").expect("a writable sample")),
        ("refs/tags", |git| {
            fs::remove_dir_all(git.join("refs/tags")).expect("a writable sample");
            fs::write(git.join("refs/tags"), "").expect("a writable sample");
        }),
        ("many", |git| symlink("nowhere", git.join("refs/tags/many")).expect("a writable sample")),
        ("many", |git| symlink("../heads", git.join("refs/tags/many")).expect("a writable sample")),
        ("no~name", |git| fs::write(git.join("refs/tags/no~name"), "").expect("a writable sample")),
        ("objects", |git| fs::rename(git.join("objects"), git.join("gone")).expect("a writable sample")),
    ];
    for (named, damage) in damages {
        let sample = SampleRepository::bare();
        let commit = sample.commit("first");
        sample.tag("v1", &commit);
        let repository = open(&sample);
        damage(&sample.git_dir());
        let fault = repository.read_tags(Messages::Skip).expect_err("a fault");
        assert!(fault.message.contains(named) && !fault.hint.is_empty(), "{named}: {fault}");
    }
}

#[test]
fn a_cut_packed_refs_is_a_fault_for_listings_and_for_look_ups() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    for tag in ["v1", "v2", "v3"] {
        sample.annotate(tag, &commit, "message\n");
    }
    sample.pack();
    let file = sample.git_dir().join("packed-refs");
    let content = fs::read(&file).expect("a packed sample");
    fs::write(&file, &content[..content.len() - 10]).expect("a writable sample");
    let repository = open(&sample);
    assert!(repository.read_tags(Messages::Skip).expect_err("a fault").message.contains("line"));
    for tag in ["v1", "v4"] {
        assert!(repository.read_tag(&name(tag)).is_err(), "{tag}");
    }
}

#[test]
fn a_missing_tag_is_absent_only_without_any_doubt() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    sample.tag("a/b", &commit);
    assert_eq!(open(&sample).read_tag(&name("a")), Ok(None), "a directory is no tag");
    assert_eq!(open(&sample).read_tag(&name("a/b/c")), Ok(None), "nothing is below a tag");
    sample.pack();
    assert!(open(&sample).read_tag(&name("a/b")).expect("readable").is_some());
    assert_eq!(open(&sample).read_tag(&name("a")), Ok(None));
    sample.delete_tag("a/b");
    let repository = open(&sample);
    assert_eq!(repository.read_tag(&name("a/b")), Ok(None));
    fs::remove_dir_all(sample.git_dir().join("refs")).expect("a writable sample");
    assert!(repository.read_tag(&name("a/b")).is_err(), "an unmounted repository proves nothing");
}

#[test]
fn a_repository_without_tags_is_empty() {
    let sample = SampleRepository::bare();
    fs::remove_dir_all(sample.git_dir().join("refs/tags")).expect("a writable sample");
    assert!(read(&sample).is_empty());
}

#[test]
fn a_writer_that_is_half_done_is_waited_for() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let file = sample.git_dir().join("refs/tags/v1");
    let repository = open(&sample);
    // On a busy machine the writer may come too late, and then the tag is unknown, rightly: try again.
    let is_waited_for = || {
        fs::write(&file, "").expect("a writable sample");
        let snapshot = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                fs::write(&file, &commit).expect("a writable sample");
            });
            repository.read_tags(Messages::Skip).expect("a readable repository")
        });
        snapshot.get(&name("v1")).expect("the name is there").is_ok_and(|tag| words(tag) == format!("{commit} commit"))
    };
    assert!((0..50).any(|_| is_waited_for()), "never waited for");
}

#[test]
fn a_repository_that_changes_all_the_time_is_not_concluded_from() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    // So many loose ones that the writer gets its turn while they are read.
    let creates: String = (0..3_000).map(|at| format!("create refs/tags/t{at} {commit}\n")).collect();
    sample.pack();
    sample.git_with_input(&["update-ref", "--stdin"], creates.as_bytes());
    let packed_refs = fs::File::open(sample.git_dir().join("packed-refs")).expect("a packed sample");
    let change = |turn| packed_refs.set_modified(UNIX_EPOCH + Duration::from_secs(turn)).expect("a writable sample");
    let repository = open(&sample);
    // On a busy machine the writer may miss its turn; what is concluded then must be true.
    let is_refused = || {
        let ended = AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            scope.spawn(|| (1..).take_while(|_| !ended.load(Ordering::SeqCst)).for_each(change));
            let outcome = repository.read_tags(Messages::Skip).map(|snapshot| snapshot.len());
            ended.store(true, Ordering::SeqCst);
            outcome
        });
        outcome.inspect(|&tags| assert_eq!(tags, 3_000)).is_err_and(|fault| fault.message.contains("too fast"))
    };
    assert!((0..50).any(|_| is_refused()), "never refused");
    assert_eq!(repository.read_tags(Messages::Skip).expect("a quiet repository").len(), 3_000);
}

#[test]
fn a_listing_beside_a_writer_that_packs_refs_is_never_short() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let repository = open(&sample);
    let (written, listings) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (no_writer, no_reader) = (AtomicBool::new(false), AtomicBool::new(false));
    let write = || {
        for batch in 0..60 {
            let listed = listings.load(Ordering::SeqCst);
            let from = written.load(Ordering::SeqCst);
            let creates: String =
                (from..from + 40).map(|at| format!("create refs/tags/{}/t{at} {commit}\n", at % 7)).collect();
            sample.git_with_input(&["update-ref", "--stdin"], creates.as_bytes());
            written.store(from + 40, Ordering::SeqCst);
            sample.pack();
            // Now and then the reader gets to its end, however slow the machine is.
            while batch % 5 == 0 && listings.load(Ordering::SeqCst) == listed && !no_reader.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
        no_writer.store(true, Ordering::SeqCst);
    };
    let read_all = || {
        while !no_writer.load(Ordering::SeqCst) {
            let known = written.load(Ordering::SeqCst);
            match repository.read_tags(Messages::Skip) {
                Ok(snapshot) if snapshot.len() < known => return Err(format!("{} of {known}", snapshot.len())),
                Ok(snapshot) if snapshot.iter().any(|(_, tag)| tag.is_err()) => return Err("unknown tags".to_owned()),
                Ok(_) => listings.fetch_add(1, Ordering::SeqCst),
                // This is an answer too: nothing follows from it.
                Err(fault) if fault.message.contains("too fast") => continue,
                Err(fault) => return Err(fault.to_string()),
            };
        }
        Ok(())
    };
    let outcome = thread::scope(|scope| {
        scope.spawn(write);
        let outcome = read_all();
        no_reader.store(true, Ordering::SeqCst);
        outcome
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(ours(&read(&sample)), gits(&sample));
}

#[test]
fn every_name_that_git_accepts_is_read() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let names: [&[u8]; 8] = [
        b"-x/\xc3\xa9+1",
        b"--upload-pack=x",
        b"\xff\xfe",
        b"$(id)",
        b"a\xc2\x85b",
        b"%2e%2e",
        b"HEAD",
        b"refs/tags/v1",
    ];
    for name in names {
        sample.tag(OsStr::from_bytes(name), &commit);
    }
    for _ in 0..2 {
        assert_reads_like_git(&sample);
        assert_eq!(read(&sample).len(), names.len());
        sample.pack();
    }
}

#[test]
fn messages_come_without_signatures() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let signed = |marker: &str| format!("Release\n\nText\n-----BEGIN {marker}-----\nAAAA\n-----END {marker}-----\n");
    let cases = [
        ("plain", "Release\n\nText\n".to_owned(), None),
        ("pgp", signed("PGP SIGNATURE"), Some(SignatureKind::OpenPgp)),
        ("ssh", signed("SSH SIGNATURE"), Some(SignatureKind::Ssh)),
        ("x509", signed("SIGNED MESSAGE"), Some(SignatureKind::X509)),
    ];
    for (tag, content, _) in &cases {
        sample.annotate(tag, &commit, content);
    }
    sample.annotate("empty", &commit, "");
    sample.tag("light", &commit);
    sample.annotate("nested", &sample.git(&["rev-parse", "refs/tags/ssh"]), "outer\n");
    for _ in 0..2 {
        let repository = open(&sample);
        let snapshot = repository.read_tags(Messages::Read).expect("a readable repository");
        let tag = |tag: &str| git(snapshot.get(&name(tag)).expect("a tag").expect("a readable tag")).clone();
        for (tag_name, _, signature) in &cases {
            assert_eq!(tag(tag_name).message.as_deref(), Some("Release\n\nText\n"), "{tag_name}");
            let annotation = repository.read_annotation(tag(tag_name).tag_id.expect("annotated")).expect("readable");
            assert_eq!((annotation.message.as_str(), annotation.signature), ("Release\n\nText\n", *signature));
            assert!(!annotation.nested);
        }
        assert_eq!(tag("empty").message.as_deref(), Some(""));
        assert_eq!(tag("light").message, None);
        let nested = repository.read_annotation(tag("nested").tag_id.expect("annotated")).expect("readable");
        assert_eq!((nested.message.as_str(), nested.signature, nested.nested), ("outer\n", None, true));
        sample.pack();
    }
    let without = read(&sample);
    assert!(without.iter().all(|(_, tag)| tag.is_ok_and(|tag| git(tag).message.is_none())));
    let missing = "1".repeat(40).parse().expect("an id");
    assert!(open(&sample).read_annotation(missing).expect_err("no such object").message.contains("missing"));
    let no_tag = commit.parse().expect("an id");
    assert!(open(&sample).read_annotation(no_tag).expect_err("a commit").message.contains("commit"));
}

#[test]
fn packed_refs_that_contradict_the_objects_are_not_believed() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let annotated = sample.annotate("v1", &commit, "message\n");
    let missing = "1".repeat(40);
    let content = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{annotated} refs/tags/no-peeled\n{commit} refs/tags/peeled-commit\n\
         ^{commit}\n{annotated} refs/tags/peeled-missing\n^{missing}\n{annotated} refs/tags/peeled-tag\n^{annotated}\n\
         {missing} refs/tags/tag-missing\n^{commit}\n"
    );
    fs::write(sample.git_dir().join("packed-refs"), content).expect("a writable sample");
    let read = ours(&read(&sample));
    assert_eq!(read[&name("no-peeled")], format!("{annotated} tag {commit} commit"));
    for odd in ["peeled-commit", "peeled-missing", "peeled-tag", "tag-missing"] {
        assert!(read[&name(odd)].starts_with("unknown: "), "{odd}: {}", read[&name(odd)]);
    }
}

#[test]
fn many_tags_read_like_git() {
    for commits in [5, 9_000] {
        let sample = SampleRepository::bare();
        sample.create_tags(9_000, commits);
        assert_eq!(ours(&read(&sample)), gits(&sample));
    }
}

#[test]
fn the_fingerprint_tells_repositories_apart_and_survives_changes() {
    let sample = SampleRepository::bare();
    let before = open(&sample);
    sample.tag("v1", &sample.commit("first"));
    sample.pack();
    assert_eq!(before.fingerprint(), open(&sample).fingerprint());

    let clone = sample.clone_of(&["--mirror"]);
    assert_ne!(before.fingerprint(), open(&clone).fingerprint());
    fs::remove_dir_all(sample.path()).expect("a writable sample");
    fs::rename(clone.path(), sample.path()).expect("one file system");
    assert_ne!(before.fingerprint(), open(&sample).fingerprint());
    let fault = before.read_tags(Messages::Skip).expect_err("another repository");
    assert!(fault.message.contains("another repository"), "{fault}");
}
