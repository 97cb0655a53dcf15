"""What those scripts have in common that hold the requests of tagsyncd against those of a vendor's client."""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.parse

HOME = pathlib.Path(__file__).resolve().parents[2]


class Proxy:
    """Passes requests on and keeps them."""

    def __init__(self, upstream):
        self.requests = []
        host = urllib.parse.urlsplit(upstream)
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.requests.append(
                    {
                        "method": self.command,
                        "target": self.path,
                        "headers": {name.lower(): value for name, value in self.headers.items()},
                        "body": json.loads(body) if body else None,
                    }
                )
                connection = http.client.HTTPConnection(host.hostname, host.port)
                connection.request(self.command, self.path, body or None, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                        self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                connection.close()

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self):
        """What came since the last time."""
        taken, self.requests = self.requests, []
        return taken


@contextlib.contextmanager
def fake(program, wanted):
    """Starts the fakes, and gives what they say of this one."""
    fakes = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        lines = {}
        while wanted not in lines:
            name, *rest = fakes.stdout.readline().split()
            lines[name] = rest
        yield lines[wanted]
    finally:
        fakes.stdin.close()
        fakes.wait(timeout=30)


def run(program, folder, *arguments, code):
    """Runs tagsyncd on the `config.toml` of this folder."""
    environment = {"PATH": os.environ["PATH"], "TAGSYNCD_CONFIG": f"{folder}/config.toml", "STATE_DIRECTORY": f"{folder}/state"}
    ended = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=120)
    if ended.returncode != code:
        sys.exit(f"{arguments} ended with {ended.returncode}, not {code}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def git(repository, *arguments, text=None):
    """Runs git there as nobody in particular."""
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "-C", repository, *arguments]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout.strip()


def programs(parser):
    """The command line with the two programs."""
    parser.add_argument("--fakes", default=HOME / "target/debug/examples/fakes")
    parser.add_argument("--tagsyncd", default=HOME / "target/debug/tagsyncd")
    return parser.parse_args()


def report(theirs, our, differences, more=""):
    """Prints what agrees and what does not; the exit code."""
    failed = 0
    for operation, request in theirs.items():
        found = list(differences(operation, request, our[operation])) if operation in our else ["is never sent by tagsyncd"]
        failed += len(found)
        print(f"{'differs' if found else 'agrees ':7}  {operation:14}  {request['method']} {request['target']}")
        for difference in found:
            print(f"         {difference}")
    for operation in our.keys() - theirs.keys():
        failed += 1
        print(f"differs  {operation}: tagsyncd sends it, and the vendor's client does not")
    print(f"{len(theirs)} requests compared, {failed} differences{more}")
    return 1 if failed else 0
