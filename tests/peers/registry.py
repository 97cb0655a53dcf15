#!/usr/bin/env python3
"""tagsyncd against Debian's docker-registry, with skopeo as the one that pushes and that reads back.

Images are pushed under `sha-COMMIT`, as a CI would. Version tags follow: created, moved, waiting until an image is there,
deleted where the registry is allowed to. Prints how long 200 retags take beside a loop of `skopeo copy`.

usage: registry.py TAGSYNCD [REGISTRY-PROGRAM]
"""

import hashlib
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from contract import Walk, free_port  # noqa: E402

RETAGS = 200


class Registry:
    """A registry on loopback with a store of its own."""

    def __init__(self, program, root, deletes):
        self.port = free_port()
        config = root / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {root / 'store'}}}, delete: {{enabled: {str(deletes).lower()}}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n"
        )
        self.process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.url + "/v2/", timeout=5)
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the registry did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def image(folder, text):
    """An OCI image layout with one small layer, and its manifest's digest."""
    folder.mkdir()
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    layer = blob(text.encode())
    config = blob(json.dumps({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }).encode())
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}],
    }).encode())
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({
        "schemaVersion": 2,
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest}],
    }))
    return manifest["digest"]


def skopeo(*arguments):
    done = subprocess.run(["skopeo", *arguments], text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"skopeo {' '.join(arguments)}: {done.stderr}")
    return done.stdout


class Images:
    """The image repository as skopeo sees it."""

    def __init__(self, registry):
        self.base = f"docker://127.0.0.1:{registry.port}/team/app"

    def push(self, layout, tag):
        skopeo("copy", "--quiet", "--dest-tls-verify=false", "--preserve-digests", f"oci:{layout}", f"{self.base}:{tag}")

    def tags(self):
        return set(json.loads(skopeo("list-tags", "--tls-verify=false", self.base))["Tags"])

    def digest(self, tag):
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"{self.base}:{tag}")
        return "sha256:" + hashlib.sha256(raw.encode()).hexdigest()


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: expected {wanted}, found {found}")


def remote(registry, deletes):
    return (
        f'provider = "oci"\nregistry = "{registry.url}"\nimage = "team/app"\ndeletes = "{deletes}"\n'
        'target = {{ tag = "sha-{{commit:12}}" }}\nstrip_prefix = "v"\nreplace = {{ "+" = "_" }}'
    )


def walk(tagsyncd, program, root):
    registry = Registry(program, root, deletes=True)
    images = Images(registry)
    try:
        one, two = image(root / "one", "one"), image(root / "two", "two")
        walk = Walk(tagsyncd, "oci", remote(registry, "tag"))
        first, second = (commit[:12] for commit in walk.commits)
        images.push(root / "one", f"sha-{first}")
        walk.tag("v1.0.0", 0)
        walk.tag("v1.0.0+build5", 0)
        walk.tag("v2.0.0", 1)
        walk.sync(0, create=2, waiting=1)
        expect("tags", images.tags(), {f"sha-{first}", "1.0.0", "1.0.0_build5"})
        expect("digest", images.digest("1.0.0"), one)
        walk.sync(0, in_sync=2, waiting=1, create=0)
        images.push(root / "two", f"sha-{second}")
        walk.sync(0, create=1, in_sync=2)
        expect("digest", images.digest("2.0.0"), two)
        walk.tag("v1.0.0", 1)
        walk.sync(0, move=1, in_sync=2)
        expect("moved", images.digest("1.0.0"), two)
        expect("sibling", images.digest("1.0.0_build5"), one)
        quiet = walk.sync(0, in_sync=3, create=0, move=0, delete=0)
        print(f"oci: created, moved, waited and arrived; an unchanged pass takes {quiet['requests']} requests")
    finally:
        registry.stop()


def retags(tagsyncd, program, root):
    registry = Registry(program, root, deletes=False)
    images = Images(registry)
    try:
        image(root / "app", "app")
        walk = Walk(tagsyncd, "oci", remote(registry, "never"))
        images.push(root / "app", f"sha-{walk.commits[0][:12]}")
        for at in range(RETAGS):
            walk.tag(f"v1.{at}", 0)
        began = time.monotonic()
        walk.sync(0, create=RETAGS)
        ours = time.monotonic() - began
        quiet = walk.sync(0, in_sync=RETAGS)
        sample = 20
        began = time.monotonic()
        source = f"{images.base}:sha-{walk.commits[0][:12]}"
        for at in range(sample):
            skopeo("copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", source, f"{images.base}:copy-{at}")
        theirs = (time.monotonic() - began) / sample * RETAGS
        print(
            f"oci: {RETAGS} retags in {ours:.2f} s; `skopeo copy` takes {theirs:.1f} s for as many (from {sample}): "
            f"{theirs / ours:.0f} times as long; unchanged: {quiet['requests']} requests"
        )
    finally:
        registry.stop()


def main():
    tagsyncd = sys.argv[1]
    program = sys.argv[2] if len(sys.argv) > 2 else shutil.which("docker-registry")
    for part in (walk, retags):
        with tempfile.TemporaryDirectory() as folder:
            part(tagsyncd, program, pathlib.Path(folder))


if __name__ == "__main__":
    main()
