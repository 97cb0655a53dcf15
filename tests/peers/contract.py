#!/usr/bin/env python3
"""Holds tagsyncd and the fake remotes to the contracts of the remote APIs, both at once.

Between the program and each fake stands `prism proxy --errors`, which refuses whatever breaks the contract in
`tests/contracts`, in a request or in a reply. Each remote gets a first pass that creates, a second that does nothing, one that
moves and deletes (where the API can), and a look at one tag by `explain`.

usage: contract.py PRISM TAGSYNCD FAKES
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
CONTRACTS = HERE.parent / "contracts"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def git(repository, *arguments, text=None):
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "C",
        "GIT_COMMITTER_EMAIL": "c@example.com",
        "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000",
    }
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments], input=text, text=True, capture_output=True, env=environment, check=True
    )
    return done.stdout.strip()


class Proxy:
    """prism between the program and a fake."""

    def __init__(self, prism, contract, upstream):
        self.port = free_port()
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".prism")
        self.process = subprocess.Popen(
            [prism, "proxy", str(CONTRACTS / contract), upstream, "--errors", "--host", "127.0.0.1", "--port", str(self.port)],
            stdout=self.log, stderr=subprocess.STDOUT,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.url, timeout=5)
            except urllib.error.HTTPError:
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        raise SystemExit(f"prism did not start for {contract}:\n{self.said()}")

    def said(self):
        return pathlib.Path(self.log.name).read_text()

    def violations(self):
        """What prism found on either side."""
        return [line for line in self.said().splitlines() if "Violation" in line or "violation" in line]

    def requests(self):
        return sum("Forwarding" in line or "[HTTP SERVER]" in line and "Request received" in line for line in self.said().splitlines())

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Walk:
    """One repository, one remote behind its contract."""

    def __init__(self, tagsyncd, name, remote, job=""):
        self.name = name
        self.tagsyncd = tagsyncd
        self.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(self.folder.name)
        self.repository = root / "core.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(self.repository)], check=True)
        tree = git(self.repository, "mktree", text="")
        self.commits = [git(self.repository, "commit-tree", tree, "-m", text) for text in ("one", "two")]
        token = root / "token"
        token.write_text("secret\n")
        token.chmod(0o600)
        self.config = root / "config.toml"
        self.config.write_text(
            f'[repository.core]\npath = "{self.repository}"\n\n[remote.far]\n{remote.format(token=token)}\n\n'
            f'[job.core]\nfrom = "core"\nto = ["far"]\npolicy = "mirror"\n{job}\n'
        )

    def tag(self, name, commit, message=None):
        if message is None:
            git(self.repository, "tag", "-f", name, self.commits[commit])
        else:
            git(self.repository, "tag", "-f", "-a", "--cleanup=verbatim", "-F", "-", name, self.commits[commit], text=message)

    def delete(self, name):
        git(self.repository, "tag", "-d", name)

    def run(self, *arguments):
        state = pathlib.Path(self.folder.name) / "state"
        done = subprocess.run(
            [self.tagsyncd, "--config", str(self.config), "--state", str(state), "--format", "json", *arguments],
            text=True, capture_output=True,
        )
        try:
            return done.returncode, json.loads(done.stdout)
        except json.JSONDecodeError:
            raise SystemExit(f"{self.name}: {arguments} printed no JSON ({done.returncode}):\n{done.stdout}{done.stderr}")

    def sync(self, code, **counts):
        """A pass with this exit code and these counts."""
        got, report = self.run("--sync")
        remote = report["jobs"][0]["remotes"][0]
        found = {key: remote["counts"][key] for key in counts}
        if got != code or found != counts:
            raise SystemExit(f"{self.name}: expected exit {code} and {counts}, got {got} and:\n{json.dumps(remote, indent=1)}")
        return remote


def with_commits(walk):
    """What every forge of commits can do."""
    for at in range(5):
        walk.tag(f"v1.{at}", 0)
    walk.tag("release/2.0+build5", 1)
    walk.tag("annotated", 0, "A message\n\nof two parts\n")
    walk.sync(0, create=7)
    walk.sync(0, in_sync=7, create=0)
    walk.tag("v1.0", 1)
    walk.delete("v1.1")
    walk.sync(0, move=1, delete=1)
    walk.sync(0, in_sync=6, move=0, delete=0)
    explained(walk, "annotated")


def explained(walk, tag):
    code, answer = walk.run("explain", "core", tag)
    if code != 0 or answer["pairs"][0]["verdict"] != "in_sync":
        raise SystemExit(f"{walk.name}: explain {tag} gave {code} and:\n{json.dumps(answer, indent=1)}")


def gitlab(tagsyncd, url, fakes):
    walk = Walk(tagsyncd, "gitlab", f'provider = "gitlab"\nurl = "{url}"\nproject = "infra/core"\ntoken = {{{{ file = "{{token}}" }}}}')
    with_commits(walk)


def github(tagsyncd, url, fakes):
    walk = Walk(
        tagsyncd, "github",
        f'provider = "github"\nurl = "{url}"\nrepository = "infra/core"\ntoken = {{{{ file = "{{token}}" }}}}\nannotations = "message"',
    )
    with_commits(walk)
    # Not the source's any more, so it is looked up there.
    walk.tag("annotated", 0, "Signed\n-----BEGIN PGP SIGNATURE-----\nabc\n")
    walk.sync(0, move=1)
    walk.sync(0, in_sync=6, move=0)


def gitea(tagsyncd, url, fakes):
    walk = Walk(
        tagsyncd, "gitea",
        f'provider = "gitea"\nurl = "{url}"\nrepository = "infra/core"\ntoken = {{{{ file = "{{token}}" }}}}\nannotations = "message"',
    )
    with_commits(walk)


def codearts(tagsyncd, url, fakes):
    walk = Walk(tagsyncd, "codearts", f'provider = "codearts"\nurl = "{url}"\nrepository_id = 7\ntoken = {{{{ file = "{{token}}" }}}}')
    with_commits(walk)


def vercel(tagsyncd, url, fakes):
    walk = Walk(
        tagsyncd, "vercel",
        f'provider = "vercel"\nurl = "{url}"\nregistry = "{fakes["vercel"][1]}"\nteam = "team_a1"\nproject = "prj_1"\n'
        'repository = "core"\nimage = "acme/shop/core"\ntoken = {{ file = "{token}" }}\ntarget = {{ tag = "sha-{{commit:12}}" }}\n'
        'strip_prefix = "v"',
    )
    for at in range(3):
        walk.tag(f"v1.{at}", 0)
    walk.sync(0, create=3)
    walk.sync(0, in_sync=3, create=0)
    walk.tag("v1.0", 1)
    walk.sync(0, move=1, in_sync=2)
    walk.delete("v1.1")
    walk.sync(3, held=1, in_sync=2)
    explained(walk, "v1.0")


def vers(tagsyncd, url, fakes):
    snapshots = fakes["vers"][1:]
    walk = Walk(
        tagsyncd, "vers",
        f'provider = "vers"\nurl = "{url}"\nrepository = "core"\ntoken = {{{{ file = "{{token}}" }}}}\ntarget = {{{{ trailer = "Snapshot" }}}}',
    )
    for at, snapshot in enumerate(snapshots[:2]):
        walk.tag(f"v{at}", 0, f"Version {at}\n\nSnapshot: {snapshot}\n")
    walk.tag("v9", 0, "Nothing was built yet\n")
    walk.sync(0, create=2, waiting=1)
    walk.sync(0, in_sync=2, waiting=1)
    walk.tag("v0", 0, f"Version 0 again\n\nSnapshot: {snapshots[2]}\n")
    walk.delete("v1")
    walk.sync(0, move=1, delete=1)
    walk.sync(0, in_sync=1)
    explained(walk, "v0")


WALKS = [
    ("gitlab", "gitlab-tags.yaml", gitlab),
    ("github", "github-tags.yaml", github),
    ("gitea", "gitea-tags.yaml", gitea),
    ("codearts", "huawei-tags.yaml", codearts),
    ("vers", "vers-tags.yaml", vers),
    ("vercel", "vercel-tags.yaml", vercel),
]


def main():
    prism, tagsyncd, fakes = sys.argv[1:]
    # The commits of every walk are the same: made of nothing but fixed words and dates.
    built = [f"sha-{commit[:12]}" for commit in Walk(tagsyncd, "none", "").commits]
    server = subprocess.Popen([fakes, *built], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    addresses = {}
    while not {name for name, _, _ in WALKS} <= addresses.keys():
        name, *rest = server.stdout.readline().split()
        addresses[name] = rest
    checked = 0
    for name, contract, walk in WALKS:
        proxy = Proxy(prism, contract, addresses[name][0])
        try:
            walk(tagsyncd, proxy.url, addresses)
            violations = proxy.violations()
        finally:
            proxy.stop()
        if violations:
            raise SystemExit(f"{name}: the contract was broken:\n" + "\n".join(violations))
        print(f"{name}: {proxy.requests()} requests and their replies keep {contract}")
        checked += 1
    server.stdin.close()
    server.wait()
    print(f"{checked} remotes checked, none skipped")


if __name__ == "__main__":
    main()
