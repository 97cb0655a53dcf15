//! Repositories on this host as destinations.

mod support;

use std::path::Path;

use serde_json::Value;
use support::git_http::tags;
use support::program::{Ended, Program};
use support::repository::SampleRepository;

/// Two repositories, and the program between them.
struct Pair {
    source: SampleRepository,
    copy: SampleRepository,
    program: Program,
}

impl Pair {
    /// With these options of `git init` for both.
    fn new(options: &[&str]) -> Self {
        let [source, copy] = [(); 2].map(|()| SampleRepository::init(&[&["--bare"], options].concat()));
        let pair = Self { source, copy, program: Program::new() };
        pair.configure("");
        pair
    }

    fn configure(&self, job: &str) {
        self.write_configuration(self.source.path(), job);
    }

    fn configure_from(&self, source: &Path) {
        self.write_configuration(source, "");
    }

    fn write_configuration(&self, source: &Path, job: &str) {
        self.program.configure(&format!(
            "[repository.core]\npath = {:?}\n[repository.copy]\npath = {:?}\n\
             [job.core]\nfrom = \"core\"\nto = [\"copy\"]\npolicy = \"mirror\"\n{job}\n",
            source,
            self.copy.path()
        ));
    }

    fn sync(&self) -> Ended {
        self.program.sync(&[])
    }

    #[track_caller]
    fn assert_same(&self) {
        assert_eq!(tags(&self.source), tags(&self.copy));
        self.copy.git(&["fsck", "--strict", "--no-dangling"]);
    }
}

fn count(remote: &Value, what: &str) -> u64 {
    remote["counts"][what].as_u64().unwrap_or_default()
}

fn packs(repository: &SampleRepository) -> usize {
    let folder = repository.git_dir().join("objects/pack");
    std::fs::read_dir(folder)
        .expect("git makes it")
        .filter(|entry| {
            let name = entry.as_ref().expect("it can be read").file_name();
            assert!(!name.to_string_lossy().ends_with(".keep"), "nothing keeps git from tidying up");
            Path::new(&name).extension().is_some_and(|extension| extension == "pack")
        })
        .count()
}

#[test]
fn tags_go_to_another_repository_with_all_that_they_lead_to() {
    for options in [&[][..], &["--object-format=sha256"]] {
        let pair = Pair::new(options);
        let first = pair.source.commit("first");
        let head = pair.source.history();
        pair.source.tag("light", &first);
        let annotated = pair.source.annotate("-x/é+1", &head, "a release\n\nwith words");
        pair.source.annotate("nested", &annotated, "a tag of a tag\n");
        pair.source.tag("tree", &pair.source.git(&["rev-parse", &format!("{head}^{{tree}}")]));
        pair.source.annotate(
            "blob",
            &pair.source.git_with_input(&["hash-object", "-w", "--stdin"], b"b\n"),
            "of a blob\n",
        );
        let remote = pair.sync().expect(0).remote();
        assert_eq!((count(&remote, "create"), remote["requests"].as_u64()), (5, Some(0)), "{remote}");
        pair.assert_same();
        assert_eq!(packs(&pair.copy), 0, "a few objects need no pack");
        assert!(pair.copy.git(&["for-each-ref", "refs/heads"]).is_empty(), "tags alone are written");
        let remote = pair.sync().expect(0).remote();
        assert_eq!(count(&remote, "in_sync"), 5, "{remote}");
        // Moves and deletes, of packed refs as well.
        pair.copy.pack();
        pair.source.tag("light", &head);
        pair.source.delete_tag("tree");
        let next = pair.source.commit("next");
        pair.source.annotate("next", &next, "next\n");
        let remote = pair.sync().expect(0).remote();
        assert_eq!([count(&remote, "create"), count(&remote, "move"), count(&remote, "delete")], [1, 1, 1], "{remote}");
        pair.assert_same();
    }
}

#[test]
fn many_objects_come_as_one_pack() {
    let pair = Pair::new(&[]);
    pair.source.create_tags(300, 60);
    assert_eq!(count(&pair.sync().expect(0).remote(), "create"), 300);
    pair.assert_same();
    assert_eq!(packs(&pair.copy), 1);
    pair.copy.git(
        &["verify-pack", "-s"]
            .map(str::to_owned)
            .into_iter()
            .chain(std::fs::read_dir(pair.copy.git_dir().join("objects/pack")).unwrap().filter_map(|entry| {
                let path = entry.unwrap().path();
                path.extension().is_some_and(|extension| extension == "idx").then(|| path.display().to_string())
            }))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn a_ref_that_somebody_holds_is_refused_and_no_other() {
    let pair = Pair::new(&[]);
    let [one, two] = ["one", "two"].map(|message| pair.source.commit(message));
    for name in ["v1", "v2", "v3"] {
        pair.source.tag(name, &one);
    }
    pair.sync().expect(0);
    for name in ["v1", "v2", "v3"] {
        pair.source.tag(name, &two);
    }
    pair.source.tag("v4", &two);
    let lock = pair.copy.git_dir().join("refs/tags/v2.lock");
    std::fs::write(&lock, "").unwrap();
    let remote = pair.sync().expect(1).remote();
    let far = tags(&pair.copy);
    assert_eq!([&far["v1"], &far["v2"], &far["v3"], &far["v4"]], [&two, &one, &two, &two], "{remote}");
    let change = remote["changes"].as_array().unwrap().iter().find(|change| change["tag"] == "v2").unwrap();
    assert_eq!(change["outcome"], "rejected", "{change}");
}

#[test]
fn nothing_is_tagged_whose_history_is_not_there_in_full() {
    let pair = Pair::new(&[]);
    let head = {
        pair.source.commit("first");
        pair.source.history()
    };
    // A source that ends somewhere: its tags wait for a person.
    let shallow = pair.source.clone_of(&["--bare", "--depth=1"]);
    shallow.tag("v1", &head);
    pair.configure_from(shallow.path());
    pair.sync().expect(1);
    assert!(tags(&pair.copy).is_empty());
    // A destination that ends somewhere: it gets what it lacks behind that, too.
    let copy = pair.source.clone_of(&["--bare", "--depth=1"]);
    let other = Pair { copy, program: Program::new(), ..pair };
    other.configure("");
    let side = other.source.git(&["rev-parse", &format!("{head}^2")]);
    other.source.tag("side", &side);
    other.sync().expect(0);
    other.copy.git(&["fsck", "--no-dangling"]);
    other.copy.git(&["rev-list", "--objects", "refs/tags/side"]);
}

#[test]
fn whoever_may_read_the_copy_reads_its_packs() {
    use std::os::unix::fs::PermissionsExt as _;
    let pair = Pair::new(&[]);
    pair.source.create_tags(300, 60);
    pair.sync().expect(0);
    for entry in std::fs::read_dir(pair.copy.git_dir().join("objects/pack")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o444, "{:?}", entry.file_name());
    }
}

#[test]
fn a_repository_is_no_destination_of_its_own_by_whatever_path() {
    let pair = Pair::new(&[]);
    let commit = pair.source.commit("one");
    pair.source.tag("v1", &commit);
    let link = pair.program.path("link");
    std::os::unix::fs::symlink(pair.source.path(), &link).unwrap();
    pair.program.configure(&format!(
        "[repository.core]\npath = {:?}\n[remote.again]\nprovider = \"repository\"\npath = {link:?}\nadd_prefix = \"x/\"\n\
         [job.core]\nfrom = \"core\"\nto = [\"again\"]\npolicy = \"mirror\"\n",
        pair.source.path()
    ));
    let remote = pair.sync().expect(1).remote();
    assert!(remote["error"].as_str().unwrap().contains("the very repository"), "{remote}");
    assert_eq!(tags(&pair.source).len(), 1);
}

#[test]
fn a_symbolic_tag_is_left_alone() {
    let pair = Pair::new(&[]);
    let commit = pair.source.commit("one");
    pair.source.tag("v1", &commit);
    pair.source.tag("v2", &commit);
    pair.sync().expect(0);
    pair.copy.git(&["symbolic-ref", "refs/tags/v1", "refs/tags/v2"]);
    pair.source.delete_tag("v1");
    let remote = pair.sync().expect(3).remote();
    assert!(remote["held"][0]["reason"].as_str().unwrap().contains("refs/tags/v2"), "{remote}");
    assert_eq!(tags(&pair.copy).len(), 2);
}

#[test]
fn a_name_and_a_folder_of_it_exclude_each_other_also_when_packed() {
    let pair = Pair::new(&[]);
    let commit = pair.source.commit("one");
    pair.source.tag("v1", &commit);
    pair.sync().expect(0);
    pair.copy.pack();
    pair.source.delete_tag("v1");
    pair.source.tag("v1/a", &commit);
    pair.sync().expect(0);
    pair.assert_same();
    pair.copy.pack();
    pair.source.delete_tag("v1/a");
    pair.source.tag("v1", &commit);
    pair.sync().expect(0);
    pair.assert_same();
    // Somebody's own: nothing of it is touched.
    pair.copy.git(&["update-ref", "refs/tags/theirs", &commit]);
    pair.copy.pack();
    pair.source.tag("theirs/a", &commit);
    pair.sync();
    assert_eq!(tags(&pair.copy).into_keys().collect::<Vec<_>>(), ["theirs", "v1"]);
}

#[test]
fn many_repositories_have_a_copy_each() {
    let program = Program::new();
    let folder = program.path("copies");
    let sources: Vec<_> = ["a", "b"]
        .map(|name| {
            let path = program.path(&format!("git/{name}.git"));
            SampleRepository::bare().git(&["init", "--quiet", "--bare", &path.to_string_lossy()]);
            SampleRepository::bare().git(&["init", "--quiet", "--bare", &folder.join(name).to_string_lossy()]);
            path
        })
        .into_iter()
        .collect();
    for path in &sources {
        let git = |arguments: &[&str]| {
            let mut all = vec!["-C", path.to_str().unwrap()];
            all.extend(arguments);
            SampleRepository::bare().git(&all)
        };
        let commit = git(&["commit-tree", "-m", "one", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"]);
        git(&["update-ref", "refs/tags/v1", &commit]);
    }
    program.configure(&format!(
        "[repository.all]\npaths = [\"{}/git/*.git\"]\n[remote.copies]\nprovider = \"repository\"\n\
         path = \"{}/{{repository}}\"\n[job.all]\nfrom = \"all\"\nto = [\"copies\"]\npolicy = \"mirror\"\n",
        program.path("").display(),
        folder.display()
    ));
    program.sync(&[]).expect(0);
    for name in ["a", "b"] {
        let listed = SampleRepository::bare().git(&["-C", folder.join(name).to_str().unwrap(), "tag"]);
        assert_eq!(listed, "v1");
    }
    // A copy that is not there is a fault of its own pair.
    std::fs::remove_dir_all(folder.join("a")).unwrap();
    let report: Value = program.sync(&[]).expect(1).json();
    let states: Vec<_> =
        report["jobs"].as_array().unwrap().iter().map(|job| job["remotes"][0]["state"].clone()).collect();
    assert_eq!(states, ["unknown", "in_sync"], "{report}");
}
