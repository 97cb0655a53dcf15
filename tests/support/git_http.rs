//! A real git server: `git http-backend`, called as a web server calls it (CGI, RFC 3875), behind the server that misbehaves
//! on command.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::repository::SampleRepository;
use super::server::{Handler, Reply, Request, Server, lock};

/// Who may log in.
pub const USER: &str = "robot";
/// With what.
pub const PASSWORD: &str = "secret";

/// What the server is like, besides the repository.
#[derive(Clone, Debug)]
pub struct Manners {
    /// The password that it takes; `None` lets everybody do everything.
    pub password: Option<String>,
    /// Whether who has logged in may push.
    pub pushes: bool,
    /// Whether it hears that a newer version of the protocol is wanted.
    pub speaks_v2: bool,
    /// Whether bodies are packed for who takes them so.
    pub packs: bool,
    /// Where the repository is, below the root: `/git/core.git`.
    pub path: String,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            password: Some(PASSWORD.to_owned()),
            pushes: true,
            speaks_v2: true,
            packs: false,
            path: "/core.git".to_owned(),
        }
    }
}

struct Backend {
    /// The repository.
    path: Mutex<PathBuf>,
    manners: Mutex<Manners>,
    /// The bodies of all pushes that came in.
    pushes: Mutex<Vec<Vec<u8>>>,
}

/// The server. Its repository is a [`SampleRepository`], which tests look at and change by git.
pub struct GitServer {
    server: Server,
    backend: Arc<Backend>,
    /// What it serves.
    pub repository: SampleRepository,
}

impl GitServer {
    /// Serves this repository.
    pub fn start(repository: SampleRepository) -> Self {
        let path = Mutex::new(repository.path().to_owned());
        let backend = Arc::new(Backend { path, manners: Mutex::default(), pushes: Mutex::default() });
        let server = Server::start(Arc::clone(&backend));
        Self { server, backend, repository }
    }

    /// Where the repository is.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), lock(&self.backend.manners).path)
    }

    /// The same for git's own client, which takes the login there.
    pub fn url_with_login(&self) -> String {
        self.url().replace("://", &format!("://{USER}:{PASSWORD}@"))
    }

    /// The server in front.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Changes what the server is like.
    pub fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut lock(&self.backend.manners));
    }

    /// Serves what is at this path from now on, if anything.
    pub fn serve(&self, path: &Path) {
        path.clone_into(&mut lock(&self.backend.path));
    }

    /// How many pushes came in that name this tag.
    pub fn pushes_of(&self, name: &[u8]) -> usize {
        let full_name = [b" refs/tags/", name].concat();
        let ends = |byte: Option<&u8>| matches!(byte, Some(b'\0' | b'0'));
        let names = |body: &&Vec<u8>| {
            (0..body.len()).any(|at| body[at..].starts_with(&full_name) && ends(body.get(at + full_name.len())))
        };
        lock(&self.backend.pushes).iter().filter(names).count()
    }

    /// The repository's tags with what their refs hold.
    pub fn tags(&self) -> BTreeMap<String, String> {
        tags(&self.repository)
    }

    /// Writes a hook of the repository: a script of the shell.
    pub fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let hooks = self.repository.git_dir().join("hooks");
        std::fs::create_dir_all(&hooks).expect("the repository is ours");
        let file = hooks.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("the repository is ours");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }
}

/// A repository's tags with what their refs hold.
pub fn tags(repository: &SampleRepository) -> BTreeMap<String, String> {
    let listed = repository.git(&["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/tags"]);
    let pair = |line: &str| line.split_once(' ').map(|(id, name)| (name.to_owned(), id.to_owned()));
    listed.lines().filter_map(pair).collect()
}

impl Handler for Arc<Backend> {
    fn answer(&self, request: &Request) -> Reply {
        let manners = lock(&self.manners).clone();
        let pushing = request.target.contains("git-receive-pack");
        let mut user = None;
        if let Some(password) = &manners.password {
            let login = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
            if request.header("authorization") != Some(&format!("Basic {login}")) {
                return Reply::text(401, "Authorization required").header("WWW-Authenticate", "Basic realm=\"git\"");
            }
            user = Some(USER);
        }
        if pushing && !manners.pushes {
            return Reply::text(403, "You are not allowed to push here");
        }
        let Some(inside) = request.path.strip_prefix(&manners.path) else { return Reply::text(404, "Not Found") };
        if pushing && request.method == "POST" {
            lock(&self.pushes).push(request.body.to_vec());
        }
        let path = lock(&self.path).clone();
        let reply = backend(&path, inside, request, user, manners.speaks_v2);
        let takes = request.header("accept-encoding").is_some_and(|kinds| kinds.contains("gzip"));
        if manners.packs && takes { packed(reply) } else { reply }
    }

    fn kind(&self, request: &Request) -> String {
        let service = if request.target.contains("git-receive-pack") { "receive-pack" } else { "upload-pack" };
        let what = if request.path.ends_with("/info/refs") { "advertise" } else { "call" };
        format!("{what} {service}")
    }
}

/// Runs git's CGI program for one request.
fn backend(repository: &Path, inside: &str, request: &Request, user: Option<&str>, speaks_v2: bool) -> Reply {
    let mut command = Command::new("git");
    command.arg("http-backend").env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    // The tests' directories may belong to somebody else than who runs them, as in containers.
    command.envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")]);
    command.env("GIT_PROJECT_ROOT", repository).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", inside);
    command.env("REQUEST_METHOD", &request.method).env("REMOTE_ADDR", "127.0.0.1");
    command.env("QUERY_STRING", request.target.split_once('?').map_or("", |(_, query)| query));
    command.env("CONTENT_LENGTH", request.body.len().to_string()).envs(user.map(|user| ("REMOTE_USER", user)));
    for (header, variable) in [("content-type", "CONTENT_TYPE"), ("content-encoding", "HTTP_CONTENT_ENCODING")] {
        command.envs(request.header(header).map(|value| (variable, value)));
    }
    command.envs(request.header("git-protocol").filter(|_| speaks_v2).map(|value| ("GIT_PROTOCOL", value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("git to be installed");
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    let output = std::thread::scope(|scope| {
        // It may stop reading early; what that means is in its answer.
        scope.spawn(move || stdin.write_all(&request.body).ok());
        child.wait_with_output().expect("git to end")
    });
    cgi_reply(&output.stdout)
}

/// What a CGI program printed, as an answer.
fn cgi_reply(printed: &[u8]) -> Reply {
    let Some(end) = printed.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Reply::text(500, "the program printed no headers");
    };
    let mut reply = Reply::empty(200);
    for line in String::from_utf8_lossy(&printed[..end]).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "Status" => reply.status = value.get(..3).and_then(|status| status.parse().ok()).unwrap_or(500),
            _ => reply = reply.header(name, value),
        }
    }
    Reply { body: printed[end + 4..].to_vec().into(), ..reply }
}

fn packed(reply: Reply) -> Reply {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&reply.body).expect("writing to memory does not fail");
    let body = encoder.finish().expect("writing to memory does not fail").into();
    Reply { body, ..reply }.header("Content-Encoding", "gzip")
}
