#!/usr/bin/env python3
"""Signatures by the vendor's own signer, to hold ours against.

    python3 -m venv /tmp/huawei && /tmp/huawei/bin/pip install huaweicloudsdkcore
    /tmp/huawei/bin/python tests/peers/huawei_signer.py --write            # renews tests/peers/huawei_signer.json
    /tmp/huawei/bin/python tests/peers/huawei_signer.py --check --random 500   # asks our signer, through cargo

`--check` makes vectors with the installed SDK (the fixed cases and as many random ones), and runs the unit test that
signs the same requests. Its exit code is the test's. No network is used but by pip.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import urllib.parse

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

HERE = pathlib.Path(__file__).resolve().parent
ACCESS_KEY, SECRET_KEY = "ACCESSKEYOFNOBODY", "secret key of nobody, with é and /+="
HOST, DATE = "codehub-ext.cn-north-4.myhuaweicloud.com", "20261121T141500Z"
TAG, TAGS = "/v4/repositories/2112015538/repository/tag", "/v4/repositories/2112015538/repository/tags"

NAMES = [
    "v1.0.0", "-x/é+1", "a b", "%2F", "a%2Fb", "%2e%2e", "a/../b", "release/1.2", "v1.0.0+build5", "a#b&c=d;e",
    "<script>", "$(id)", "~!*'()", "日本語/タグ", "🏷", "e\u0301", "x" * 200, "_-.~", "a?b", "=",
]


def case(method, path, query=(), body="", host=HOST, date=DATE):
    return {"method": method, "host": host, "path": path, "query": [list(pair) for pair in query], "body": body, "date": date}


def fixed():
    for name in NAMES:
        yield case("GET", TAG, [("tag_name", name)])
    yield case("DELETE", TAG, [("tag_name", "-x/é+1")])
    yield case("GET", TAGS, [("view", "detail"), ("sort", "asc"), ("order_by", "name"), ("offset", "0"), ("limit", "100")])
    yield case("GET", TAGS, [("empty", ""), ("a", "1"), ("empty", ""), ("a", "0"), ("A", "2"), ("a", "")])
    yield case("GET", TAGS, [("é", "1"), ("z", "2"), ("%2F", "3"), (" ", "4")])
    yield case("GET", "/")
    yield case("GET", "/prefix/" + TAGS[1:] + "/")
    yield case("GET", "/pre%20fix/%E6%97%A5/%7E" + TAGS)
    yield case("GET", TAGS, host="127.0.0.1:8443")
    for body in [
        "{}",
        json.dumps({"tag_name": "v1", "ref": "0" * 39 + "1"}),
        json.dumps({"tag_name": "-x/é+1", "ref": "a" * 40, "message": "First\n\nSecond: \"é\" 100% +1\n"}, ensure_ascii=False),
        " ",
    ]:
        yield case("POST", TAGS, body=body)
    yield case("POST", TAGS, [("x", "y z")], body="日本語", date="20280229T235959Z")


def at_random(count, seed):
    chance = random.Random(seed)
    letters = "aZ09-_.~ /%+&=#?;:@!$'()*,[]\"<>\\^`{|}éß日🏷\t"

    def text(most):
        return "".join(chance.choice(letters) for _ in range(chance.randint(0, most)))

    for _ in range(count):
        segments = [urllib.parse.quote(text(8).replace("%", "").replace(".", "") or "x", safe="") for _ in range(chance.randint(1, 5))]
        query = [(text(6) or "k", text(12)) for _ in range(chance.randint(0, 5))]
        yield case(chance.choice(["GET", "POST", "DELETE", "PUT"]), "/" + "/".join(segments), query, text(60))


def sign(signer, case):
    """What the SDK's own client would send as `Authorization`, for a request with no headers but those it must have."""
    headers = {"X-Sdk-Date": case["date"]}
    request = SdkRequest(
        method=case["method"], schema="https", host=case["host"], resource_path=case["path"],
        query_params=[tuple(pair) for pair in case["query"]], header_params=headers, body=case["body"],
    )
    return signer.sign(request).header_params["Authorization"]


def vectors(cases):
    signer = Signer(BasicCredentials(ACCESS_KEY, SECRET_KEY, "project"))
    version = importlib.metadata.version("huaweicloudsdkcore")
    signed = [{**case, "authorization": sign(signer, case)} for case in cases]
    return {"sdk": f"huaweicloudsdkcore {version}", "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "cases": signed}


def write(vectors, file):
    head = {key: value for key, value in vectors.items() if key != "cases"}
    lines = ",\n  ".join(json.dumps(case, ensure_ascii=False) for case in vectors["cases"])
    text = json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [\n  ' + lines + "\n]}\n"
    assert json.loads(text) == vectors
    file.write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="renew the vectors that the unit test reads")
    parser.add_argument("--check", action="store_true", help="run our signer on vectors made now")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="so many random requests more")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.write:
        write(vectors(fixed()), HERE / "huawei_signer.json")
    if given.check:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "vectors.json"
            write(vectors([*fixed(), *at_random(given.random, given.seed)]), file)
            test = "provider::codearts::sign::tests::signatures_are_those_of_the_vendor"
            command = ["cargo", "test", "--locked", "--lib", "--", "--exact", test]
            ended = subprocess.run(command, cwd=HERE.parent.parent, env={**os.environ, "TAGSYNCD_SIGNER_VECTORS": str(file)},
                                   stdout=subprocess.PIPE, text=True)
            sys.stdout.write(ended.stdout)
            # A test that was renamed would pass by not being run.
            return ended.returncode or ("1 passed" not in ended.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
