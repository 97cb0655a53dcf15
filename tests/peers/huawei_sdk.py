#!/usr/bin/env python3
"""The vendor's client and tagsyncd send the same requests to CodeArts Repo, and the vendor's client understands the fake.

Both make the same changes to the fake, each through a proxy that writes down what goes over it; then the requests are
compared: method, path, query, the headers that matter, and the body as JSON. Both sign with the same access key, and the
fake verifies both; that the signatures themselves are equal is shown by huawei_signer.py. What the two rightly do
differently is listed in ALLOWED, with a date. Each answer of the fake has to come out of the client's models as it went in.

    python3 -m venv VENV && VENV/bin/pip install huaweicloudsdkcodeartsrepo==3.1.219
    cargo build --example fakes && cargo build
    VENV/bin/python tests/peers/huawei_sdk.py

Exits with 0 when they agree, with 1 and the differences when they do not. Needs git. `--fakes` and `--tagsyncd` name the two
programs where they are not in target/debug.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import tempfile
import urllib.parse

# Nothing but the loopback interface is spoken to.
os.environ["NO_PROXY"] = "127.0.0.1"

from huaweicloudsdkcodeartsrepo import v4
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.utils.http_utils import sanitize_for_serialization

import recorder
from recorder import Proxy, run

ACCESS_KEY, SECRET_KEY, REPOSITORY = "AK", "SK", 7
# Nothing in it stands in a query as it is.
NAME = "release/-é+1&%41#=x(!)'$,;"
MESSAGE = "First\n\nSecond: \"é\" 100% +1\n"
# Enough for a second page together with NAME.
OTHERS = 100

# What differs and may.
ALLOWED = {
    # 2026-11-21: the client says `*/*`; the documentation shows JSON only.
    "accept": "tagsyncd names application/json",
    # 2026-11-21: the client (3.1.219) names a type for the body also where there is none, and has a setting of its own to
    # leave it out (`ignore_content_type_for_get_request`). With a body, both have to say the same.
    "content-type of nothing": "the client gives it to requests without a body",
    # 2026-11-21: each names itself.
    "user-agent": "each has its own",
    # 2026-11-21: transport, not meaning.
    "accept-encoding": "each names what it decodes",
    "connection": "each keeps connections as it likes",
    "content-length": "JSON may have spaces or none; the bodies are compared as values",
    "host": "the proxies have different ports",
    # 2026-11-21: compared by their form. The client also signs headers that the gateway does not ask for, its own name
    # among them; tagsyncd signs the host and the time.
    "authorization": "other hosts and times, so another signature",
    "x-sdk-date": "another time",
}

AUTHORIZATION = re.compile(r"SDK-HMAC-SHA256 Access=([^, ]+), SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}")
DATE = re.compile(r"\d{8}T\d{6}Z")


def vendor(proxy, commits):
    """What the vendor's client sends, by the name of the operation, and how many answers it understood."""
    credentials = BasicCredentials(ACCESS_KEY, SECRET_KEY)
    client = v4.CodeArtsRepoClient.new_builder(v4.CodeArtsRepoClient).with_credentials(credentials).with_endpoint(proxy.url).build()
    sent, wrong = {}, []

    def note(operation, answer):
        (sent[operation],) = proxy.taken()
        wrong.extend(f"{operation}: {what}" for what in misread(answer))
        return answer

    def create(message=None, commit=0):
        body = v4.CreateTagDto(tag_name=NAME, ref=commits[commit], message=message)
        return client.create_tag(v4.CreateTagRequest(repository_id=REPOSITORY, body=body))

    def list_tags(**more):
        return client.list_tags(v4.ListTagsRequest(repository_id=REPOSITORY, view="detail", limit=100, **more))

    def delete():
        return client.delete_tag(v4.DeleteTagRequest(repository_id=REPOSITORY, tag_name=NAME))

    show = v4.ShowTagRequest(repository_id=REPOSITORY, tag_name=NAME)
    note("repository", client.show_repository(v4.ShowRepositoryRequest(repository_id=REPOSITORY)))
    note("create", create(MESSAGE))
    shown = note("show", client.show_tag(show))
    if (shown.name, shown.commit.id, shown.message) != (NAME, commits[0], MESSAGE.strip()):
        wrong.append(f"show: is about another tag than was made: {shown}")
    names = []
    for operation, offset in (("list", 0), ("next page", 99)):
        page = note(operation, list_tags(order_by="name", sort="asc", offset=offset))
        names += [tag.name for tag in page.body]
        if page.x_total != str(OTHERS + 1):
            wrong.append(f"{operation}: X-Total is {page.x_total}")
    if len(names) != OTHERS + 2 or len(set(names)) != OTHERS + 1:
        wrong.append(f"the pages have {len(names)} rows with {len(set(names))} names")
    note("search", list_tags(search=NAME, offset=0))
    note("commit", client.show_commit(v4.ShowCommitRequest(repository_id=REPOSITORY, sha=commits[1])))
    note("delete", delete())
    # An error of the fake is one that the client understands.
    try:
        client.show_tag(show)
        wrong.append("show: a tag that was deleted is still there")
    except ServiceResponseException as refused:
        if (refused.status_code, refused.error_code) != (404, "CH.00404001") or "request-" not in refused.request_id:
            wrong.append(f"show: the client misunderstands that there is no such tag: {refused}")
    proxy.taken()
    note("create plain", create(commit=1))
    delete()
    return sent, wrong


def misread(answer):
    """Where the client's model does not hold what the fake said, or the other way round."""
    if answer.status_code == 204:
        if answer.raw_content:
            yield "there is a body where none should be"
        return
    said = without_nulls(json.loads(answer.raw_content))
    read = sanitize_for_serialization(answer)
    # What the model takes from a header is not in the body.
    read.pop("X-Total", None)
    read = read.get("body", read)
    if said != read:
        yield f"the fake says {said}, the client reads {read}"


def without_nulls(value):
    """The client's models do not tell null from nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def kind(request):
    """The operation that a request of tagsyncd is."""
    root = f"/v4/repositories/{REPOSITORY}"
    target = urllib.parse.urlsplit(request["target"])
    query = urllib.parse.parse_qs(target.query)
    listing = "search" if "search" in query else "list" if query.get("offset") == ["0"] else "next page"
    known = {
        ("GET", root): "repository",
        ("GET", f"{root}/repository/tags"): listing,
        ("POST", f"{root}/repository/tags"): "create" if request["body"] and "message" in request["body"] else "create plain",
        ("GET", f"{root}/repository/tag"): "show",
        ("DELETE", f"{root}/repository/tag"): "delete",
        ("GET", f"{root}/repository/commits"): "commit",
    }
    return known.get((request["method"], target.path), f"{request['method']} {target.path}")


def ours(program, proxy):
    """What tagsyncd sends for the same, and the two commits."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/core")
        git = functools.partial(recorder.git, f"{folder}/core")
        git("init", "-q")
        commits = []
        for title in ("one", "two"):
            git("commit", "-q", "--allow-empty", "-m", title)
            commits.append(git("rev-parse", "HEAD"))
        for at in range(OTHERS):
            git("tag", f"other-{at:03}", commits[0])
        # Only the form of a signature matters, which tagsyncd recognises and does not verify.
        signature = "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
        git("tag", "-a", "--cleanup=verbatim", "-F", "-", NAME, commits[0], text=MESSAGE + signature)
        secret = pathlib.Path(folder, "secret")
        secret.touch(mode=0o600)
        secret.write_text(SECRET_KEY)
        pathlib.Path(folder, "config.toml").write_text(
            f"""
            [repository.core]
            path = "{folder}/core"
            [remote.forge]
            provider = "codearts"
            url = "{proxy.url}"
            repository_id = {REPOSITORY}
            access_key = "{ACCESS_KEY}"
            secret_key = {{ file = "{secret}" }}
            annotations = "message"
            [job.core]
            from = "core"
            to = ["forge"]
            policy = "mirror"
            """
        )
        run(program, folder, "--sync", code=0)
        # Two pages, and one look at the tag with a message.
        run(program, folder, "--sync", code=0)
        run(program, folder, "explain", "core", NAME, code=0)
        # A move, which takes the message away.
        git("tag", "-f", NAME, commits[1])
        run(program, folder, "--sync", code=0)
        git("tag", "-d", NAME)
        run(program, folder, "--sync", code=0)
    sent = {}
    for request in proxy.taken():
        if "other-" not in request["target"] and "other-" not in json.dumps(request["body"]):
            sent.setdefault(kind(request), request)
    return sent, commits


def parts(target):
    """A path, and its query in any order, because a server looks parameters up by name; both as they are sent."""
    path, _, query = target.partition("?")
    return path, sorted(query.split("&"))


def signature(request):
    """Whose signature it is; `None` where it has not the form that the gateway reads, or does not cover host and time."""
    matched = AUTHORIZATION.fullmatch(request["headers"].get("authorization", ""))
    if not matched or not DATE.fullmatch(request["headers"].get("x-sdk-date", "")):
        return None
    covered = matched[2].split(";")
    return matched[1] if covered == sorted(covered) and {"host", "x-sdk-date"} <= set(covered) else None


def differences(operation, theirs, our):
    for what, one, other in (
        ("method", theirs["method"], our["method"]),
        ("target", parts(theirs["target"]), parts(our["target"])),
        ("body", theirs["body"], our["body"]),
    ):
        if one != other:
            yield f"{what}: vendor {one!r}, tagsyncd {other!r}"
    for name in sorted(theirs["headers"].keys() | our["headers"].keys()):
        one, other = theirs["headers"].get(name), our["headers"].get(name)
        if name == "content-type" and our["body"] is None and other is None:
            name = "content-type of nothing"
        if one != other and name not in ALLOWED:
            yield f"header {name}: vendor {one!r}, tagsyncd {other!r}"
    one, other = signature(theirs), signature(our)
    if one is None or one != other:
        yield f"signature: vendor {theirs['headers'].get('authorization')!r}, tagsyncd {our['headers'].get('authorization')!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments = recorder.programs(parser)
    print(f"huaweicloudsdkcodeartsrepo {importlib.metadata.version('huaweicloudsdkcodeartsrepo')}")
    with recorder.fake(arguments.fakes, "codearts") as (url,):
        our, commits = ours(arguments.tagsyncd, Proxy(url))
        theirs, wrong = vendor(Proxy(url), commits)
    for what in wrong:
        print(f"misread  {what}")
    failed = recorder.report(theirs, our, differences)
    print(f"{len(theirs) + 1} answers of the fake read by the client's models, {len(wrong)} misread")
    sys.exit(failed or bool(wrong))


if __name__ == "__main__":
    main()
