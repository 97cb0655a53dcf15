#!/usr/bin/env python3
"""The vendor's client and tagsyncd send the same requests.

Both make the same changes to the fake Vers, each through a proxy that writes down what goes over it; then the requests are
compared: method, path, query, the headers that matter, and the body as JSON. What the two rightly do differently is
listed in ALLOWED, with a date.

    python3 -m venv VENV && VENV/bin/pip install vers-sdk==1.20.0
    cargo build --example fakes && cargo build
    VENV/bin/python tests/peers/vers_sdk.py

Exits with 0 when they agree, with 1 and the differences when they do not. Needs git. `--fakes` and `--tagsyncd` name the two
programs where they are not in target/debug.
"""

import argparse
import asyncio
import dataclasses
import functools
import os
import pathlib
import sys
import tempfile
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
# This file has the name of the client.
sys.path = [folder for folder in sys.path if pathlib.Path(folder or ".").resolve() != HERE]

from vers_sdk import models
from vers_sdk.client import VersSdkClient

sys.path.append(str(HERE))

import recorder
from recorder import Proxy, run

KEY = "secret"

# What differs and may.
ALLOWED = {
    # 2026-11-21: the client says `*/*`, the documentation shows JSON only.
    "accept": "tagsyncd names application/json",
    # 2026-11-21: the client (1.20.0) gives each write a random key. The documentation does not know the header, and it
    # would help only who sends a write twice, which tagsyncd never does without knowing that the first had no effect.
    "x-idempotency-key": "only the client sends one",
    # 2026-11-21: each names itself, or nobody.
    "user-agent": "each has its own",
    # 2026-11-21: transport, not meaning.
    "accept-encoding": "each names what it decodes",
    "connection": "each keeps connections as it likes",
    "content-length": "JSON may have spaces or none; the bodies are compared as values",
    "host": "the proxies have different ports",
}


def filled(request):
    """A model of the client as the JSON that it stands for, without what was left at its default."""
    return {name: value for name, value in dataclasses.asdict(request).items() if value is not None}


async def vendor(proxy, snapshots):
    """What the vendor's client sends, by the name of the operation."""
    client = VersSdkClient(base_url=proxy.url, api_key=KEY, max_retries=0)
    sent = {}

    async def note(operation, call):
        answer = await call
        (sent[operation],) = proxy.taken()
        return answer

    create = models.CreateRepoTagRequest
    change = models.UpdateRepoTagRequest
    await note("repository", client.get_repository("core"))
    listing = await note("list", client.list_repo_tags("core"))
    assert listing["tags"] == [], listing
    message = f"First\n\nVers-Commit: {snapshots[0]}\n"
    await note("create", client.create_repo_tag("core", filled(create(snapshots[0], "v1", message))))
    read = await note("get", client.get_repo_tag("core", "v1"))
    # The fake's answer has what the client's model wants.
    assert filled(models.RepoTagInfo(**read)) == read, read
    moved = f"Second\n\nVers-Commit: {snapshots[1]}\n"
    await note("move", client.update_repo_tag("core", "v1", filled(change(snapshots[1], moved))))
    # The model cannot tell null from nothing; its documentation says that null clears.
    await note("clear", client.update_repo_tag("core", "v1", {"description": None}))
    await note("delete", client.delete_repo_tag("core", "v1"))
    await note("commits", client.list_commits())
    await client._client.aclose()
    return sent


def ours(program, proxy, snapshots):
    """What tagsyncd sends for the same."""
    sent = {}

    def note(kinds):
        for request in proxy.taken():
            path = urllib.parse.urlsplit(request["target"]).path
            kind = {
                ("GET", "/api/v1/repositories/core"): "repository",
                ("GET", "/api/v1/repositories/core/tags"): "list",
                ("POST", "/api/v1/repositories/core/tags"): "create",
                ("GET", "/api/v1/repositories/core/tags/v1"): "get",
                ("PATCH", "/api/v1/repositories/core/tags/v1"): kinds,
                ("DELETE", "/api/v1/repositories/core/tags/v1"): "delete",
                ("GET", "/api/v1/commits"): "commits",
            }.get((request["method"], path), f"{request['method']} {path}")
            sent.setdefault(kind, request)

    with tempfile.TemporaryDirectory() as folder:
        git = functools.partial(recorder.git, f"{folder}/core")

        def tag(title, snapshot):
            git("tag", "-f", "-a", "v1", "-m", f"{title}\n\nVers-Commit: {snapshot}")

        os.mkdir(f"{folder}/core")
        git("init", "-q")
        git("commit", "-q", "--allow-empty", "-m", "none")
        # It leads to no snapshot, so it only waits; without any tag at all, tagsyncd deletes nothing.
        git("tag", "other")
        git("commit", "-q", "--allow-empty", "-m", "one")
        token = pathlib.Path(folder, "token")
        token.touch(mode=0o600)
        token.write_text(KEY)

        def configure(target):
            pathlib.Path(folder, "config.toml").write_text(
                f"""
                [repository.core]
                path = "{folder}/core"
                [remote.machines]
                provider = "vers"
                url = "{proxy.url}"
                repository = "core"
                token = {{ file = "{folder}/token" }}
                target = {target}
                annotations = "message"
                [job.core]
                from = "core"
                to = ["machines"]
                policy = "mirror"
                """
            )

        configure('{ trailer = "Vers-Commit" }')
        tag("First", snapshots[0])
        run(program, folder, "--sync", code=0)
        tag("Second", snapshots[1])
        run(program, folder, "--sync", code=0)
        note("move")
        # A lightweight tag has no message; a note leads to its snapshot.
        configure('{ note = "refs/notes/vers" }')
        git("notes", "--ref=vers", "add", "-m", snapshots[1])
        git("tag", "-f", "v1", "HEAD")
        run(program, folder, "--sync", code=0)
        note("clear")
        git("tag", "-d", "v1")
        run(program, folder, "--sync", code=0)
        # A snapshot that is nowhere is refused, and looked for.
        git("notes", "--ref=vers", "add", "-f", "-m", "67e55044-10b1-426f-9247-bb680e5fe0c8")
        git("tag", "v1", "HEAD")
        run(program, folder, "--sync", code=0)
        note("move")
    return sent


def differences(operation, theirs, our):
    their_target, our_target = theirs["target"], our["target"]
    if operation == "commits":
        # 2026-11-21: the client cannot page; tagsyncd does as the documentation says (limit at most 100).
        our_target, query = our_target.split("?")
        if query != "limit=100&offset=0":
            yield f"pages with {query}"
    for what, one, other in (("method", theirs["method"], our["method"]), ("target", their_target, our_target)):
        if one != other:
            yield f"{what}: vendor {one!r}, tagsyncd {other!r}"
    for name in sorted(theirs["headers"].keys() | our["headers"].keys()):
        one, other = theirs["headers"].get(name), our["headers"].get(name)
        if one != other and name not in ALLOWED:
            yield f"header {name}: vendor {one!r}, tagsyncd {other!r}"
    if theirs["body"] != our["body"]:
        yield f"body: vendor {theirs['body']}, tagsyncd {our['body']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments = recorder.programs(parser)
    with recorder.fake(arguments.fakes, "vers") as (url, *snapshots):
        theirs = asyncio.run(vendor(Proxy(url), snapshots))
        our = ours(arguments.tagsyncd, Proxy(url), snapshots)
    sys.exit(recorder.report(theirs, our, differences))


if __name__ == "__main__":
    main()
