//! Repositories of every kind, and what is none.

use super::*;

#[test]
fn repositories_of_other_kinds_are_refused_by_name() {
    let config = |settings: &[(&str, &str)]| {
        let sample = SampleRepository::bare();
        for (key, value) in settings {
            sample.git(&["config", "--file", "config", key, value]);
        }
        sample
    };
    let reftable = SampleRepository::init(&["--bare", "--ref-format=reftable"]);
    reftable.tag("v1", &reftable.commit("first"));
    assert!(refused(reftable.path()).message.contains("reftable"));

    let unknown = config(&[("core.repositoryFormatVersion", "1"), ("extensions.whatNext", "true")]);
    assert!(refused(unknown.path()).message.to_lowercase().contains("extensions.whatnext"));
    let old_and_unknown = config(&[("extensions.whatNext", "true")]);
    assert!(refused(old_and_unknown.path()).message.to_lowercase().contains("extensions.whatnext"));
    let compatible = config(&[("core.repositoryFormatVersion", "1"), ("extensions.compatObjectFormat", "sha256")]);
    assert!(refused(compatible.path()).message.to_lowercase().contains("compatobjectformat"));
    let newer = config(&[("core.repositoryFormatVersion", "2")]);
    assert!(refused(newer.path()).message.contains('2'), "{}", refused(newer.path()));

    let known = config(&[
        ("core.repositoryFormatVersion", "1"),
        ("extensions.noop", "true"),
        ("extensions.preciousObjects", "true"),
        ("extensions.worktreeConfig", "true"),
        ("extensions.refStorage", "files"),
        ("extensions.objectFormat", "sha1"),
    ]);
    assert!(Repository::open(known.path()).is_ok());
}

#[test]
fn what_is_no_repository_is_refused_by_name() {
    let sample = SampleRepository::normal();
    let missing = sample.beside("missing");
    let fault = refused(&missing);
    assert!(fault.message.contains("missing`") && fault.message.contains("No such file"), "{fault}");

    let empty = sample.beside("empty\u{1b}[31m");
    fs::create_dir(&empty).expect("a temporary directory");
    let fault = refused(&empty);
    assert!(fault.message.contains("does not appear to be a git repository"), "{fault}");
    assert!(!fault.message.contains('\u{1b}'));

    // Not found by looking upwards.
    let inside = sample.path().join("inside");
    fs::create_dir(&inside).expect("a writable sample");
    refused(&inside);
    // No directory at all, for root too.
    refused(&sample.git_dir().join("HEAD/x"));

    for part in ["refs", "objects", "HEAD"] {
        let sample = SampleRepository::bare();
        fs::rename(sample.git_dir().join(part), sample.beside(part)).expect("a writable sample");
        let fault = refused(sample.path());
        assert!(fault.message.contains(part), "{fault}");
    }

    let corrupt = SampleRepository::bare();
    fs::write(corrupt.git_dir().join("config"), "[core\nbare =").expect("a writable sample");
    let fault = refused(corrupt.path());
    assert!(fault.message.contains("onfiguration") && fault.hint.contains("git config"), "{fault}");
    let unreadable = SampleRepository::bare();
    fs::remove_file(unreadable.git_dir().join("config")).expect("a writable sample");
    fs::create_dir(unreadable.git_dir().join("config")).expect("a writable sample");
    refused(unreadable.path());
}

#[test]
fn a_sha_256_repository_reads_like_git() {
    let sample = SampleRepository::init(&["--object-format=sha256"]);
    let commit = sample.commit("first");
    assert_eq!(commit.len(), 64);
    sample.tag("v1", &commit);
    sample.annotate("v2", &commit, "message\n");
    assert_reads_like_git(&sample);
    sample.pack();
    sample.tag("v3", &commit);
    assert_reads_like_git(&sample);
    // An id of the other length is no id here.
    fs::write(sample.git_dir().join("refs/tags/v4"), "1".repeat(40)).expect("a writable sample");
    assert!(read(&sample).get(&name("v4")).expect("a name that exists").is_err());
}

#[test]
fn a_linked_work_tree_has_the_tags_of_its_repository() {
    let sample = SampleRepository::normal();
    let commit = sample.commit("first");
    sample.annotate("packed", &commit, "message\n");
    sample.pack();
    sample.tag("loose", &commit);
    let linked = sample.beside("linked");
    sample.git(&[
        OsStr::new("worktree"),
        OsStr::new("add"),
        OsStr::new("--quiet"),
        OsStr::new("--detach"),
        linked.as_os_str(),
    ]);
    let repository = Repository::open(&linked).expect("a readable repository");
    let snapshot = repository.read_tags(Messages::Skip).expect("a readable repository");
    assert_eq!(ours(&snapshot), gits(&sample));
    assert_eq!(repository.fingerprint(), open(&sample).fingerprint());
}

#[test]
fn borrowed_objects_and_promised_objects_read_like_git() {
    let sample = SampleRepository::bare();
    let commit = sample.commit("first");
    let annotated = sample.annotate("v1", &commit, "message\n");
    sample.annotate("v2", &annotated, "nested\n");
    sample.tag("v3", &commit);
    assert_reads_like_git(&sample.clone_of(&["--bare", "--shared"]));

    sample.git(&["config", "uploadpack.allowFilter", "true"]);
    let partial = sample.clone_of(&["--bare", "--filter=tree:0"]);
    assert_reads_like_git(&partial);
    // What was promised and is not there is unknown; nothing is fetched.
    let tree = sample.git(&["rev-parse", "v3^{tree}"]);
    fs::write(partial.git_dir().join("refs/tags/promised"), tree).expect("a writable sample");
    let snapshot = read(&partial);
    assert!(snapshot.get(&name("promised")).expect("a name that exists").is_err_and(|why| why.contains("missing")));
    assert!(snapshot.get(&name("v1")).expect("a name that exists").is_ok());
}

#[test]
fn replaced_objects_are_read_as_they_are() {
    let sample = SampleRepository::bare();
    let (first, second) = (sample.commit("first"), sample.commit("second"));
    let (tag, other) = (sample.annotate("v1", &first, "one\n"), sample.annotate("v2", &second, "two\n"));
    sample.git(&["replace", &tag, &other]);
    assert_reads_like_git(&sample);
    let tag_id = read(&sample).get(&name("v1")).expect("a tag").expect("a readable tag").tag_id().expect("annotated");
    assert_eq!(open(&sample).read_annotation(tag_id).expect("a readable tag").message, "one\n");
}

#[test]
fn a_hostile_configuration_runs_nothing_and_includes_nothing() {
    let sample = SampleRepository::normal();
    let commit = sample.commit("first");
    sample.annotate("v1", &commit, "message\n");
    let marker = sample.beside("marker");
    let program = sample.beside("program");
    fs::write(&program, format!("#!/bin/sh\ntouch '{}'\n", marker.display())).expect("a temporary directory");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a temporary directory");
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"] {
        let hook = sample.git_dir().join("hooks").join(hook);
        fs::create_dir_all(hook.parent().expect("a directory")).expect("a writable sample");
        fs::copy(&program, hook).expect("a writable sample");
    }
    // Were it included, this would be a syntax error.
    let included = sample.beside("included");
    fs::write(&included, "[[[ no configuration").expect("a temporary directory");
    let program = program.display();
    let hostile = format!(
        "[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n\teditor = {program}\n\tpager = {program}\n\
         \tgitProxy = {program}\n\talternateRefsCommand = {program}\n[include]\n\tpath = {included}\n\
         [includeIf \"gitdir:/\"]\n\tpath = {included}\n[credential]\n\thelper = !{program}\n\
         [gpg]\n\tprogram = {program}\n[remote \"origin\"]\n\turl = ext::{program}\n\tpromisor = true\n\
         [gitoxide \"core\"]\n\trefsNamespace = hidden\n",
        included = included.display(),
    );
    let config = sample.git_dir().join("config");
    let before = fs::read_to_string(&config).expect("a readable sample");
    fs::write(&config, before + &hostile).expect("a writable sample");
    fs::write(sample.git_dir().join("refs/tags/missing"), "1".repeat(40)).expect("a writable sample");

    let repository = open(&sample);
    let snapshot = repository.read_tags(Messages::Read).expect("a readable repository");
    assert_eq!(snapshot.get(&name("v1")).map(|tag| tag.is_ok()), Some(true));
    assert!(!marker.exists());
}
