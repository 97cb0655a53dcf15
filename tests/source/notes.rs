//! Notes and trailers, with git as the judge.

use super::*;

const IMAGES: &str = "refs/notes/images";

fn images() -> NotesRef {
    NotesRef::new(IMAGES).expect("a ref of notes")
}

fn commits_of(snapshot: &SourceSnapshot) -> Vec<CommitId> {
    snapshot.commits().collect()
}

/// Our notes on the commits of all tags, as text.
fn our_notes(sample: &SampleRepository) -> BTreeMap<String, String> {
    let snapshot = read(sample);
    let notes = open(sample).read_notes(&images(), commits_of(&snapshot)).expect("readable notes");
    notes.into_iter().map(|(commit, note)| (commit.to_string(), note.expect("a readable note").into())).collect()
}

/// git's notes.
fn gits_notes(sample: &SampleRepository) -> BTreeMap<String, String> {
    let list = sample.git(&["notes", "--ref", IMAGES, "list"]);
    let pairs = list.lines().filter_map(|line| line.split_once(' '));
    let text = |blob: &str| {
        String::from_utf8(sample.git_bytes(&["cat-file", "blob", blob], b"")).expect("the sample's notes are text")
    };
    pairs.map(|(blob, commit)| (commit.to_owned(), text(blob))).collect()
}

/// Puts a tree of these files behind a ref, as git itself writes them.
fn write_notes(sample: &SampleRepository, lines: impl IntoIterator<Item = (String, String)>) {
    let mut stream = format!("commit {IMAGES}\ncommitter C <c@example.com> 1700000000 +0000\ndata 0\ndeleteall\n");
    for (head, text) in lines {
        stream.push_str(&format!("{head}\ndata {}\n{text}\n", text.len()));
    }
    sample.git_with_input(&["fast-import", "--quiet", "--force"], stream.as_bytes());
}

#[test]
fn notes_are_read_in_every_layout() {
    let sample = SampleRepository::bare();
    sample.create_tags(600, 600);
    let commits: Vec<String> = commits_of(&read(&sample)).iter().map(ToString::to_string).collect();
    let text = |commit: &str| format!("sha256:{}\n", &commit[..8]);
    // git's own layout for so many, which is one level; then by hand none, one, two and three.
    write_notes(&sample, commits.iter().map(|commit| (format!("N inline {commit}"), text(commit))));
    assert!(sample.git(&["ls-tree", "--name-only", IMAGES]).lines().all(|name| name.len() == 2));
    let expected = gits_notes(&sample);
    assert_eq!((expected.len(), our_notes(&sample)), (600, expected.clone()));
    for levels in 0..=3 {
        let path = |commit: &str| {
            let (fan, rest) = commit.split_at(2 * levels);
            let fan: String = (0..levels).map(|at| format!("{}/", &fan[2 * at..2 * at + 2])).collect();
            format!("M 100644 inline {fan}{rest}")
        };
        write_notes(&sample, commits.iter().map(|commit| (path(commit), text(commit))));
        assert_eq!(gits_notes(&sample), expected, "git itself reads {levels} levels");
        assert_eq!(our_notes(&sample), expected, "{levels} levels");
    }
    // Each in another layout, half of the commits without a note, and files that are no notes.
    let mixed = commits.iter().enumerate().filter(|(at, _)| at % 2 == 0).map(|(at, commit)| {
        let path = if at % 4 == 0 { commit.clone() } else { format!("{}/{}", &commit[..2], &commit[2..]) };
        (format!("M 100644 inline {path}"), text(commit))
    });
    let junk = ["README", "ab/cd/README", "zz/x", "0", "é", &"a".repeat(39), &"b".repeat(41), "abc/def"];
    let junk = junk.iter().map(|path| (format!("M 100644 inline {path}"), "junk".to_owned()));
    write_notes(&sample, mixed.chain(junk));
    assert_eq!(our_notes(&sample), gits_notes(&sample));
    assert_eq!(our_notes(&sample).len(), 300);
    sample.pack();
    assert_eq!(our_notes(&sample).len(), 300);
}

#[test]
fn notes_of_git_notes_are_read_and_no_ref_means_none() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    sample.annotate("v1", &commit, "one\n");
    assert_eq!(our_notes(&sample), BTreeMap::new());
    sample.git(&["notes", "--ref", IMAGES, "add", "-m", "sha256:x", &commit]);
    assert_eq!(our_notes(&sample), BTreeMap::from([(commit.clone(), "sha256:x\n".to_owned())]));
    sample.git(&["symbolic-ref", "refs/notes/other", IMAGES]);
    let other = NotesRef::new("refs/notes/other").expect("a ref of notes");
    let commit_id = commit.parse().expect("an id");
    assert_eq!(open(&sample).read_notes(&other, vec![commit_id]).expect("readable notes").len(), 1);
    sample.git(&["notes", "--ref", IMAGES, "remove", &commit]);
    assert_eq!(our_notes(&sample), BTreeMap::new());
    // Two layouts at once: git joins them, and so neither of them is believed alone.
    let path = format!("M 100644 inline {}/{}", &commit[..2], &commit[2..]);
    write_notes(&sample, [(format!("M 100644 inline {commit}"), "a".to_owned()), (path, "b".to_owned())]);
    assert_eq!(our_notes(&sample)[&commit].lines().count(), 2);
}

#[test]
fn notes_that_cannot_be_read_are_never_taken_for_none() {
    let sample = SampleRepository::bare();
    let commits = [sample.commit("first"), sample.commit("second")];
    let wanted: Vec<CommitId> = commits.iter().map(|commit| commit.parse().expect("an id")).collect();
    let notes = || open(&sample).read_notes(&images(), wanted.clone());
    let lines = commits.iter().map(|commit| (format!("M 100644 inline {commit}"), format!("note on {commit}")));
    write_notes(&sample, lines);
    // One blob is gone: only its commit is unknown.
    let blob = sample.git(&["rev-parse", &format!("{IMAGES}:{}", commits[0])]);
    sample.git(&["repack", "-adq", "--no-write-bitmap-index"]);
    unpack_all(&sample);
    let object = |id: &str| sample.git_dir().join("objects").join(&id[..2]).join(&id[2..]);
    fs::remove_file(object(&blob)).expect("a loose object");
    let found = notes().expect("readable but for one");
    assert!(found[&wanted[0]].as_ref().is_err_and(|reason| reason.contains("is missing")), "{found:?}");
    assert!(found[&wanted[1]].is_ok());
    // The tree is gone: nobody knows anything.
    let tree = sample.git(&["rev-parse", &format!("{IMAGES}^{{tree}}")]);
    fs::remove_file(object(&tree)).expect("a loose object");
    assert!(
        notes().expect_err("a fault").message.contains(&format!("the notes in `{IMAGES}`: object {tree} is missing"))
    );
    // A ref to something else, to nothing, and one with nonsense in it.
    for held in [format!("{blob}\n"), "1".repeat(40), "nonsense".to_owned(), "ref: refs/notes/none".to_owned()] {
        fs::write(sample.git_dir().join(IMAGES), &held).expect("a writable sample");
        assert!(notes().is_err(), "{held}");
    }
    // A note too large to be one.
    sample.git(&["update-ref", "-d", IMAGES]);
    write_notes(&sample, [(format!("M 100644 inline {}", commits[0]), "x".repeat(5_000))]);
    let found = notes().expect("readable but for one");
    assert!(found[&wanted[0]].as_ref().is_err_and(|reason| reason.contains("larger")), "{found:?}");
}

/// Makes all objects loose, so that single ones can be taken away.
fn unpack_all(sample: &SampleRepository) {
    let packs = sample.git_dir().join("objects/pack");
    for entry in fs::read_dir(&packs).expect("a readable sample") {
        let path = entry.expect("a readable sample").path();
        let aside = sample.beside("aside.pack");
        if path.extension().is_some_and(|extension| extension == "pack") {
            fs::rename(&path, &aside).expect("a writable sample");
            fs::remove_file(path.with_extension("idx")).expect("an index of each pack");
            let pack = fs::read(&aside).expect("a readable pack");
            sample.git_with_input(&["unpack-objects", "-q"], &pack);
        }
    }
}

#[test]
fn a_tree_that_holds_itself_many_times_costs_nothing() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let mut inner = sample.git_with_input(&["mktree"], b"");
    for _ in 0..19 {
        let entries: String = (0..=255).map(|byte| format!("040000 tree {inner}\t{byte:02x}\n")).collect();
        inner = sample.git_with_input(&["mktree"], entries.as_bytes());
    }
    let root = sample.git(&["commit-tree", &inner, "-m", "notes"]);
    sample.git(&["update-ref", IMAGES, &root]);
    let notes = open(&sample).read_notes(&images(), vec![commit.parse().expect("an id")]).expect("readable notes");
    assert!(notes.is_empty());
}

#[test]
fn trailers_are_found_where_git_finds_them() {
    let sample = SampleRepository::bare();
    let key = TrailerKey::new("Image").expect("the name of a trailer");
    let lines = [
        "Image: a",
        "image: b",
        "IMAGE:c",
        "Image : d",
        "Image:",
        " Image: e",
        "Images: f",
        "Other: g",
        "",
        "",
        "Text",
        " continued",
        "\tcontinued",
        "# comment",
        "Signed-off-by: S <s@example.com>",
        "(cherry picked from commit 1)",
        "---",
        "http://example.com",
        "A b: c",
        ":",
        "  ",
        "Im-age: h",
        "Image: i\r",
        "\r",
        "Image: j: k",
    ];
    let mut dice = Dice(7);
    let (mut found, mut missing) = (0, 0);
    for _ in 0..400 {
        let mut message = if dice.below(5) == 0 { String::new() } else { "Title\n\n".to_owned() };
        for _ in 0..dice.below(9) {
            message.push_str(lines[dice.below(lines.len())]);
            message.push('\n');
        }
        if dice.below(4) == 0 {
            message.pop();
        }
        let parsed = sample.git_bytes(&["interpret-trailers", "--parse", "--no-divider"], message.as_bytes());
        let parsed = String::from_utf8(parsed).expect("the sample's messages are text");
        let gits =
            parsed.lines().filter_map(|line| line.split_once(':')).filter(|(key, _)| key.eq_ignore_ascii_case("image"));
        let gits = gits.map(|(_, value)| value.trim().to_owned()).next_back();
        assert_eq!(key.find_last(&message), gits, "{message:?} which git parses as {parsed:?}");
        if gits.is_some() { found += 1 } else { missing += 1 }
    }
    assert!(found > 50 && missing > 50, "{found} found, {missing} not");
}

#[test]
fn a_trailer_stands_before_the_signature() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let signature = "-----BEGIN PGP SIGNATURE-----\n\nImage: not-this\n-----END PGP SIGNATURE-----\n";
    sample.annotate("v1", &commit, &format!("Release\n\nImage: sha256:x\n{signature}"));
    let snapshot = open(&sample).read_tags(Messages::Read).expect("a readable repository");
    let tag = snapshot.get(&name("v1")).expect("a tag").expect("a readable tag");
    let key = TrailerKey::new("image").expect("the name of a trailer");
    assert_eq!(
        super::git(tag).message.as_deref().and_then(|message| key.find_last(message)).as_deref(),
        Some("sha256:x")
    );
}
