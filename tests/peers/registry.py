#!/usr/bin/env python3
"""tagsyncd against Debian's docker-registry, with skopeo as the one that pushes and that reads back.

Images are pushed under `sha-COMMIT`, as a CI would. Version tags follow: created, moved, waiting until an image is there,
deleted where the registry is allowed to. Prints how long 200 retags take beside a loop of `skopeo copy`, and beside what the
registry itself needs: as many writes over as many connections, with a look before each and without. Once with the registry's
store on disk, where it flushes six times for each tag, and once in its memory; and for two images each: one with a single layer,
which is the least that `skopeo copy` can have to do, and one as it is released, an index of two platforms with five layers each,
which `skopeo copy --all` keeps whole.

usage: registry.py TAGSYNCD [REGISTRY-PROGRAM]
"""

import hashlib
import http.client
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from contract import Walk, free_port  # noqa: E402

RETAGS = 200
CONNECTIONS = 8
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Registry:
    """A registry on loopback with a store of its own."""

    def __init__(self, program, root, deletes, on_disk=True):
        self.port = free_port()
        store = f"filesystem: {{rootdirectory: {root / 'store'}}}" if on_disk else "inmemory: {}"
        config = root / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{{store}, delete: {{enabled: {str(deletes).lower()}}}}}\n"
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


class Layout:
    """An OCI image layout that is being written."""

    def __init__(self, folder):
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    def blob(self, kind, content):
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def json(self, kind, content):
        return self.blob(kind, json.dumps(content).encode())

    def manifest(self, architecture, texts):
        layers = [self.blob("application/vnd.oci.image.layer.v1.tar", text.encode()) for text in texts]
        config = self.json("application/vnd.oci.image.config.v1+json", {
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        })
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        return self.json(MANIFEST, content) | {"platform": {"os": "linux", "architecture": architecture}}

    def finish(self, top):
        """Names what the layout is about, and gives its digest."""
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
        return top["digest"]


def image(folder, text):
    """An image with one small layer, and its manifest's digest."""
    layout = Layout(folder)
    manifest = layout.manifest("amd64", [text])
    return layout.finish({key: manifest[key] for key in ("mediaType", "digest", "size")})


def release(folder, text):
    """An image as it is released, for two platforms, and its index's digest."""
    layout = Layout(folder)
    platforms = ["amd64", "arm64"]
    manifests = [layout.manifest(platform, [f"{text} {platform} {at}" for at in range(5)]) for platform in platforms]
    return layout.finish(layout.json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))


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
        whole = ["--all", "--preserve-digests"]
        skopeo("copy", "--quiet", "--dest-tls-verify=false", *whole, f"oci:{layout}", f"{self.base}:{tag}")

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
        expect("requests of an unchanged pass", quiet["requests"], 1)
        print("oci: created, moved, waited and arrived; an unchanged pass takes 1 request")
    finally:
        registry.stop()


def bare(registry, tag, looks):
    """How long as many writes take, with a look before each or without, and nothing else."""
    def ask(connection, method, name, headers, body=None):
        connection.request(method, f"/v2/team/app/manifests/{name}", body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 201, 404):
            raise SystemExit(f"{method} {name}: {answer.status}")
        return answer.headers, content

    def work(part):
        connection = http.client.HTTPConnection("127.0.0.1", registry.port)
        for at in range(part, RETAGS, CONNECTIONS):
            name = f"bare-{looks}-{at}"
            if looks:
                ask(connection, "HEAD", name, accept)
            ask(connection, "PUT", name, {"Content-Type": headers["Content-Type"]}, manifest)

    accept = {"Accept": f"{MANIFEST}, {INDEX}"}
    headers, manifest = ask(http.client.HTTPConnection("127.0.0.1", registry.port), "GET", tag, accept)
    threads = [threading.Thread(target=work, args=(part,)) for part in range(CONNECTIONS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def retags(tagsyncd, program, root, on_disk, layout, what):
    registry = Registry(program, root, deletes=False, on_disk=on_disk)
    images = Images(registry)
    try:
        digest = layout(root / "app", "app")
        walk = Walk(tagsyncd, "oci", remote(registry, "never"))
        tag = f"sha-{walk.commits[0][:12]}"
        images.push(root / "app", tag)
        for at in range(RETAGS):
            walk.tag(f"v1.{at}", 0)
        began = time.monotonic()
        walk.sync(0, create=RETAGS)
        ours = time.monotonic() - began
        expect("requests of an unchanged pass", walk.sync(0, in_sync=RETAGS)["requests"], 1)
        for name in (tag, "1.0", f"1.{RETAGS - 1}"):
            expect(f"digest of {name}", images.digest(name), digest)
        looks, writes = bare(registry, tag, looks=True), bare(registry, tag, looks=False)
        sample = 20
        began = time.monotonic()
        for at in range(sample):
            source, copy = f"{images.base}:{tag}", f"{images.base}:copy-{at}"
            skopeo("copy", "--all", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", source, copy)
        theirs = (time.monotonic() - began) / sample * RETAGS
        expect("digest of a copy", images.digest("copy-0"), digest)
        print(
            f"oci: store {'on disk' if on_disk else 'in memory'}, {what}: {RETAGS} retags in {ours:.2f} s; `skopeo copy` takes "
            f"{theirs:.1f} s for as many (from {sample}): {theirs / ours:.0f} times as long. Bare looks and writes take "
            f"{looks:.2f} s ({theirs / looks:.0f} times), bare writes {writes:.2f} s ({theirs / writes:.0f} times)"
        )
    finally:
        registry.stop()


def all_retags(tagsyncd, program, root):
    for on_disk in (True, False):
        for layout, what in [(image, "an image of one layer"), (release, "an index of two images of five layers")]:
            with tempfile.TemporaryDirectory(dir=root) as folder:
                retags(tagsyncd, program, pathlib.Path(folder), on_disk, layout, what)


def mirror(tagsyncd, program, root):
    """Tags of one registry at another one, which has the images under other names."""
    for name in ("here", "there"):
        (root / name).mkdir()
    here, there = (Registry(program, root / name, deletes=True) for name in ("here", "there"))
    source, copy = Images(here), Images(there)
    try:
        image(root / "one", "one"), image(root / "two", "two")
        source.push(root / "one", "v1.0.0")
        source.push(root / "one", "stable")
        source.push(root / "two", "v2.0.0")
        copy.push(root / "one", "by-ci")
        config = root / "mirror.toml"
        remote = 'provider = "oci"\nregistry = "{}"\nimage = "team/app"\ndeletes = "tag"\n'
        config.write_text(
            "[remote.here]\n" + remote.format(here.url) + "[remote.there]\n" + remote.format(there.url)
            + '[job.mirror]\nfrom = "here"\nto = ["there"]\npolicy = "mirror"\n'
        )

        def sync(**counts):
            done = subprocess.run(
                [tagsyncd, "--config", config, "--state", root / "state", "--format", "json", "--sync"],
                text=True, capture_output=True,
            )
            found = json.loads(done.stdout)["jobs"][0]["remotes"][0]
            expect(f"a pass from registry to registry ({found})", {key: found["counts"][key] for key in counts}, counts)

        sync(create=2, waiting=1)
        expect("tags", copy.tags(), {"by-ci", "v1.0.0", "stable"})
        expect("digest", copy.digest("v1.0.0"), source.digest("v1.0.0"))
        # The image that one of them waits for arrives.
        copy.push(root / "two", "by-ci-too")
        sync(create=1, in_sync=2)
        expect("digest", copy.digest("v2.0.0"), source.digest("v2.0.0"))
        source.push(root / "two", "stable")
        sync(move=1, in_sync=2)
        expect("moved", copy.digest("stable"), source.digest("v2.0.0"))
        sync(in_sync=3, create=0, move=0, delete=0)
        here.stop()
        done = subprocess.run([tagsyncd, "--config", config, "--state", root / "state", "--sync"], capture_output=True)
        expect("exit code without the source", done.returncode, 1)
        expect("tags without the source", copy.tags(), {"by-ci", "by-ci-too", "v1.0.0", "v2.0.0", "stable"})
        print("oci: from registry to registry created, waited, arrived, moved; nothing without the source")
    finally:
        for registry in (here, there):
            registry.stop()


def main():
    tagsyncd = sys.argv[1]
    program = sys.argv[2] if len(sys.argv) > 2 else shutil.which("docker-registry")
    for part in (walk, mirror, all_retags):
        with tempfile.TemporaryDirectory() as folder:
            part(tagsyncd, program, pathlib.Path(folder))


if __name__ == "__main__":
    main()
