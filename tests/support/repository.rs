//! Sample repositories, made by the git program: nothing of this machine's configuration or clock gets into them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// One date for everything, so that the same steps give the same ids.
const DATE: &str = "1700000000 +0000";

/// A repository that vanishes when it is dropped.
pub struct SampleRepository {
    directory: TempDir,
    path: PathBuf,
}

impl SampleRepository {
    /// An empty repository without a work tree.
    pub fn bare() -> Self {
        Self::init(&["--bare"])
    }

    /// An empty repository with a work tree.
    pub fn normal() -> Self {
        Self::init(&[])
    }

    /// An empty repository made by `git init` with these options.
    pub fn init(options: &[&str]) -> Self {
        Self::made_by(|path| {
            let mut arguments = vec![OsStr::new("init"), OsStr::new("--quiet"), OsStr::new("--initial-branch=main")];
            arguments.extend(options.iter().map(OsStr::new));
            arguments.push(path.as_os_str());
            run(path.parent(), &arguments, b"");
        })
    }

    /// A clone of another one, made by `git clone` with these options.
    pub fn clone_of(&self, options: &[&str]) -> Self {
        let url = format!("file://{}", self.path.display());
        // `--shared` works with paths only, filters with URLs only.
        let from = if options.contains(&"--shared") { self.path.as_os_str() } else { OsStr::new(&url) };
        Self::made_by(|path| {
            let mut arguments = vec![OsStr::new("clone"), OsStr::new("--quiet")];
            arguments.extend(options.iter().map(OsStr::new));
            arguments.extend([from, path.as_os_str()]);
            run(path.parent(), &arguments, b"");
        })
    }

    fn made_by(make: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("sample");
        make(&path);
        Self { directory, path }
    }

    /// What `Repository::open` takes: the directory itself, or the work tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where refs and objects are.
    pub fn git_dir(&self) -> PathBuf {
        let inner = self.path.join(".git");
        if inner.exists() { inner } else { self.path.clone() }
    }

    /// A place beside the repository that vanishes with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs git in it and gives what it printed, without the last line end.
    pub fn git(&self, arguments: &[impl AsRef<OsStr>]) -> String {
        self.git_with_input(arguments, b"")
    }

    /// The same, with something to read.
    pub fn git_with_input(&self, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> String {
        let output = self.git_bytes(arguments, input);
        String::from_utf8(output).expect("git to print UTF-8").trim_end().to_owned()
    }

    /// The same, with every byte that git printed.
    pub fn git_bytes(&self, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Vec<u8> {
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        run(Some(&self.path), &arguments, input).stdout
    }

    /// Adds an empty commit to `main` and gives its id.
    pub fn commit(&self, message: &str) -> String {
        let tree = self.git_with_input(&["mktree"], b"");
        let mut arguments = vec!["commit-tree".to_owned(), tree, "-m".to_owned(), message.to_owned()];
        let parent = self.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/main"]);
        if !parent.is_empty() {
            arguments.extend(["-p".to_owned(), parent]);
        }
        let commit = self.git(&arguments);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// Adds commits to `main` that hold all that trees can hold, with a merge, and a file that goes and comes back. Gives the
    /// last one's id.
    pub fn history(&self) -> String {
        let blob = |text: &str| self.git_with_input(&["hash-object", "-w", "--stdin"], text.as_bytes());
        let tree = |entries: &[String]| self.git_with_input(&["mktree", "--missing"], entries.join("\n").as_bytes());
        let (file, other, link) = (blob("one\n"), blob(&"many lines\n".repeat(5000)), blob("file"));
        let nowhere = self.git(&["rev-parse", "refs/heads/main"]);
        let inner = tree(&[format!("100755 blob {file}\tprogram"), format!("100644 blob {other}\tlarge")]);
        let full = tree(&[
            format!("100644 blob {file}\tfile"),
            format!("120000 blob {link}\tlink"),
            format!("040000 tree {inner}\tfolder"),
            format!("160000 commit {nowhere}\tsubmodule"),
        ]);
        let less = tree(&[format!("040000 tree {inner}\tfolder")]);
        let commit = |tree: &str, parents: &[&str]| {
            let parents = parents.iter().flat_map(|parent| ["-p", parent]);
            self.git(&["commit-tree", tree, "-m", "history"].into_iter().chain(parents).collect::<Vec<_>>())
        };
        let first = commit(&full, &[&nowhere]);
        let second = commit(&less, &[&first]);
        let branch = commit(&inner, &[&nowhere]);
        let merge = commit(&full, &[&second, &branch]);
        self.git(&["update-ref", "refs/heads/main", &merge]);
        merge
    }

    /// Creates or moves a lightweight tag.
    pub fn tag(&self, name: impl AsRef<OsStr>, object: &str) {
        self.git(&[OsStr::new("update-ref"), &full_name(name.as_ref()), OsStr::new(object)]);
    }

    /// Creates or moves an annotated tag; gives the id of its tag object.
    pub fn annotate(&self, name: impl AsRef<OsStr>, object: &str, message: &str) -> String {
        let kind = self.git(&["cat-file", "-t", object]);
        let mut content = format!("object {object}\ntype {kind}\ntag ").into_bytes();
        content.extend(name.as_ref().as_bytes());
        content.extend(format!("\ntagger T <t@example.com> {DATE}\n\n{message}").bytes());
        let tag_id = self.git_with_input(&["hash-object", "-t", "tag", "-w", "--literally", "--stdin"], &content);
        self.tag(name, &tag_id);
        tag_id
    }

    /// Deletes a tag.
    pub fn delete_tag(&self, name: impl AsRef<OsStr>) {
        self.git(&[OsStr::new("update-ref"), OsStr::new("-d"), &full_name(name.as_ref())]);
    }

    /// Moves all refs to packed-refs.
    pub fn pack(&self) {
        self.git(&["pack-refs", "--all"]);
    }

    /// Creates many packed tags at once, every second one annotated, spread over this many new commits:
    /// `t-000000`, `t-000001`, …
    pub fn create_tags(&self, count: usize, commits: usize) {
        let mut stream = String::new();
        for at in 0..commits {
            let mark = at + 1;
            write!(stream, "commit refs/heads/bulk\nmark :{mark}\ncommitter C <c@example.com> {DATE}\n")
                .and_then(|()| write!(stream, "data <<.\nbulk {at}\n.\n\n"))
                .expect("writing to memory");
        }
        for at in 0..count {
            let from = at % commits + 1;
            if at % 2 == 0 {
                write!(stream, "reset refs/tags/t-{at:06}\nfrom :{from}\n\n").expect("writing to memory");
            } else {
                write!(
                    stream,
                    "tag t-{at:06}\nfrom :{from}\ntagger T <t@example.com> {DATE}\ndata <<.\ntag {at}\n.\n\n"
                )
                .expect("writing to memory");
            }
        }
        self.git_with_input(&["fast-import", "--quiet", "--force"], stream.as_bytes());
        self.pack();
    }
}

fn full_name(tag: &OsStr) -> OsString {
    let mut name = OsString::from("refs/tags/");
    name.push(tag);
    name
}

fn run(directory: Option<&Path>, arguments: &[&OsStr], input: &[u8]) -> Output {
    let mut command = Command::new("git");
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    // `git replace` is a view; tests compare what there is.
    command.env("GIT_NO_REPLACE_OBJECTS", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Sample").env(format!("GIT_{role}_EMAIL"), "sample@example.com");
        command.env(format!("GIT_{role}_DATE"), DATE);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn().expect("git to be installed");
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    let output = std::thread::scope(|scope| {
        // git may stop reading early; whether that is a failure is what its exit status says.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("git to end")
    });
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
