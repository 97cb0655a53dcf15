#!/usr/bin/env python3
"""tagsyncd against git's own server behind nginx and fcgiwrap, as people run it: with a login, a limit on bodies, and gzip.

A repository with signed, annotated, nested and oddly named tags is mirrored; both sides are compared by `git for-each-ref`,
`git fsck` and `git verify-tag`. History goes along where that is wanted, also more of it than nginx keeps in memory.

usage: nginx.py TAGSYNCD
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from contract import free_port, git  # noqa: E402

USER, PASSWORD = "mirror", "a password with spaces"
# What one push may have at most; one with many tags has more.
LARGEST = "40k"


class Nginx:
    """nginx with fcgiwrap, and `git http-backend` behind them."""

    # Each is a group of processes, which end together and keep no output open.
    APART = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}

    def __init__(self, root, repositories):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        socket = root / "fcgi.socket"
        exec_path = subprocess.run(["git", "--exec-path"], text=True, capture_output=True, check=True).stdout.strip()
        hashed = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], text=True, capture_output=True, check=True)
        (root / "users").write_text(f"{USER}:{hashed.stdout.strip()}\n")
        self.access = root / "access.log"
        (root / "nginx.conf").write_text(f"""
            daemon off; pid {root}/nginx.pid; error_log {root}/error.log; worker_processes 2; user root;
            events {{ }}
            http {{
                access_log {self.access} combined;
                client_body_temp_path {root}/body; fastcgi_temp_path {root}/fastcgi; proxy_temp_path {root}/proxy;
                uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
                gzip on; gzip_types application/x-git-upload-pack-result; gzip_min_length 500;
                server {{
                    listen 127.0.0.1:{self.port};
                    location / {{
                        client_max_body_size {LARGEST};
                        include /etc/nginx/fastcgi_params;
                        auth_basic git; auth_basic_user_file {root}/users;
                        fastcgi_pass unix:{socket};
                        fastcgi_param SCRIPT_FILENAME {exec_path}/git-http-backend;
                        fastcgi_param GIT_PROJECT_ROOT {repositories};
                        fastcgi_param GIT_HTTP_EXPORT_ALL "";
                        fastcgi_param PATH_INFO $uri;
                        fastcgi_param REMOTE_USER $remote_user;
                        fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;
                        fastcgi_param GIT_PROTOCOL $http_git_protocol;
                        location /large/ {{
                            client_max_body_size 0;
                            include /etc/nginx/fastcgi_params;
                            fastcgi_pass unix:{socket};
                            fastcgi_param SCRIPT_FILENAME {exec_path}/git-http-backend;
                            fastcgi_param GIT_PROJECT_ROOT {repositories};
                            fastcgi_param GIT_HTTP_EXPORT_ALL "";
                            fastcgi_param PATH_INFO $uri;
                            fastcgi_param REMOTE_USER $remote_user;
                            fastcgi_param GIT_PROTOCOL $http_git_protocol;
                        }}
                    }}
                }}
            }}
        """)
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
        self.wrap = subprocess.Popen(
            ["fcgiwrap", "-c", "4", "-s", f"unix:{socket}"], env=environment, **self.APART
        )
        self.nginx = subprocess.Popen(["nginx", "-p", str(root), "-c", str(root / "nginx.conf")], **self.APART)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.url, timeout=5)
            except urllib.error.HTTPError as answer:
                if answer.code == 401:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("nginx did not start:\n" + (root / "error.log").read_text())

    def seen(self):
        """How often each kind of request was answered, and how."""
        found = []
        for line in self.access.read_text().splitlines():
            request, status = line.split('"')[1], line.split('"')[2].split()[0]
            method, target = request.split()[:2]
            found.append((method, target.split("/")[-1].split("?")[0], int(status)))
        self.access.write_text("")
        return found

    def stop(self):
        for process in (self.nginx, self.wrap):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


class Mirror:
    """A repository, its copy behind nginx, and the program between them."""

    def __init__(self, tagsyncd, root, name, url, more=""):
        self.tagsyncd = tagsyncd
        self.source = root / f"{name}-source.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(self.source)], check=True)
        password = root / "password"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        self.state = root / f"{name}-state"
        self.config = root / f"{name}.toml"
        self.config.write_text(
            f'[repository.core]\npath = "{self.source}"\n[remote.far]\nprovider = "git"\nurl = "{url}"\n'
            f'username = "{USER}"\npassword = {{ file = "{password}" }}\n{more}\n'
            '[job.core]\nfrom = "core"\nto = ["far"]\npolicy = "mirror"\n'
        )

    def sync(self, code):
        import json
        done = subprocess.run(
            [self.tagsyncd, "--config", self.config, "--state", self.state, "--format", "json", "--sync"],
            text=True, capture_output=True,
        )
        if done.returncode != code:
            raise SystemExit(f"expected exit {code}, got {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)["jobs"][0]["remotes"][0]


def refs(repository):
    return git(repository, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: expected\n{wanted}\nfound\n{found}")


def signing_key(root):
    """Signs by a key of OpenSSH, which needs no agent and no keyring."""
    key = root / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed = root / "allowed"
    allowed.write_text("c@example.com " + key.with_suffix(".pub").read_text())
    return ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "-c", f"gpg.ssh.allowedSignersFile={allowed}"]


def verdict(repository, options, tag):
    """What `git verify-tag` says, in status and words."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(repository), *options, "verify-tag", f"refs/tags/{tag}"], text=True, capture_output=True, env=environment
    )
    return done.returncode, done.stdout, done.stderr


def main():
    tagsyncd = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        repositories = root / "repositories"
        far, large = repositories / "core.git", repositories / "large" / "core.git"
        for repository in (far, large):
            subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
        server = Nginx(root, repositories)
        try:
            walk(tagsyncd, root, server, far)
            history(tagsyncd, root, server, large)
        finally:
            server.stop()


def walk(tagsyncd, root, server, far):
    mirror = Mirror(tagsyncd, root, "walk", f"{server.url}/core.git")
    source = mirror.source
    tree = git(source, "mktree", text="")
    commit = git(source, "commit-tree", tree, "-m", "one")
    git(source, "update-ref", "refs/heads/main", commit)
    git(far, "fetch", "--quiet", str(source), "refs/heads/main:refs/heads/main")
    signing = signing_key(root)
    for name in ("signed", "x/é+1", "v2.0.0+build5"):
        git(source, *signing, "tag", "-s", "-m", f"release {name}", "--", name, commit)
    git(source, "tag", "-a", "-m", "of a tag", "nested", "signed")
    git(source, "tag", "$(id)", commit)
    git(source, "tag", "tree", tree)
    git(source, "update-ref", "refs/tags/-x/é+1", commit)
    git(source, "update-ref", "--stdin", text="".join(f"create refs/tags/many/{at} {commit}\n" for at in range(900)))
    # More than nginx lets through at once: it is told so, and halves.
    remote = mirror.sync(0)
    expect("tags", refs(far), refs(source))
    git(far, "fsck", "--strict", "--no-dangling")
    pushes = [status for method, what, status in server.seen() if what == "git-receive-pack" and method == "POST"]
    if 413 not in pushes or pushes.count(200) < 2:
        raise SystemExit(f"expected a push that was too large, and its parts: {pushes}")
    for tag in ("signed", "x/é+1", "v2.0.0+build5", "nested"):
        expect(f"git verify-tag {tag}", verdict(far, signing, tag), verdict(source, signing, tag))
    assert verdict(far, signing, "signed")[0] == 0, verdict(far, signing, "signed")
    remote = mirror.sync(0)
    expect("requests of a pass with nothing to do", server.seen(), [("POST", "git-upload-pack", 200)])
    expect("its report", (remote["requests"], remote["counts"]["in_sync"]), (1, 907))
    git(source, "tag", "-d", "nested", "tree")
    git(source, "tag", "-f", "$(id)", "signed^{}")
    git(source, "tag", "-f", "-a", "-m", "again", "signed", commit)
    mirror.sync(0)
    expect("tags", refs(far), refs(source))
    git(far, "fsck", "--strict", "--no-dangling")
    print(f"nginx: 907 tags in {len(pushes)} pushes, {pushes.count(413)} of them too large; moved, deleted; signatures verify as in the source")


def history(tagsyncd, root, server, far):
    mirror = Mirror(tagsyncd, root, "history", f"{server.url}/large/core.git", "objects = true\ntimeout = \"2m\"")
    source = mirror.source
    parent = []
    for at in range(30):
        # What does not pack well, so that more has to go along than fits into a buffer.
        blob = subprocess.run(
            ["git", "-C", str(source), "hash-object", "-w", "--stdin"], input=os.urandom(200_000), capture_output=True, check=True
        ).stdout.decode().strip()
        tree = git(source, "mktree", text=f"100644 blob {blob}\tfile{at}\n")
        parent = ["-p", git(source, "commit-tree", tree, "-m", f"commit {at}", *parent)]
    git(source, "tag", "-a", "-m", "release", "v1", parent[1])
    mirror.sync(0)
    expect("tags", refs(far), refs(source))
    git(far, "fsck", "--strict", "--no-dangling")
    print("nginx: a tag arrived with 6 MB of history, sent in parts")


if __name__ == "__main__":
    if shutil.which("nginx") is None or shutil.which("fcgiwrap") is None:
        raise SystemExit("nginx and fcgiwrap are needed")
    main()
