"""A server with the part of Google Cloud Storage's JSON API that gcsfs and TensorStore use.

    with Buckets() as buckets:
        subprocess.run(..., env=os.environ | buckets.environment)   # gs://any-bucket/...

`buckets.objects` is {"BUCKET/NAME": bytes}. Clients need no credentials.
"""

import itertools
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OBJECT = re.compile(
    r"(?:/upload|/download)?/storage/v1/b/(?P<bucket>[^/]+)(?:/o(?:/(?P<name>.*))?)?$"
)
COPY = re.compile(
    r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:(?:rewriteTo|copyTo)/b/([^/]+)|moveTo)/o/([^?]+)"
)
TIME = "2026-01-01T00:00:00.000Z"


class Buckets:
    """The server and its buckets; every name is a bucket."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self._generations: dict[str, int] = {}
        self._count = itertools.count(1)
        self._lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"buckets": self})
        self._server = _Server(("127.0.0.1", 0), handler)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that direct clients to this server."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {
            "TENSORSTORE_GCS_HTTP_URL": url,
            "STORAGE_EMULATOR_HOST": url,
            "GCE_METADATA_HOST": "127.0.0.1:9",  # no server: clients do not look for credentials
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # a request that needs credentials
        }

    def __enter__(self) -> "Buckets":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def put(self, key: str, data: bytes, expected: str | None = None) -> dict | None:
        """Stores an object; None if the one there is not of the expected generation."""
        with self._lock:
            if expected is not None and int(expected) != self._generations.get(key, 0):
                return None
            self.objects[key] = data
            self._generations[key] = next(self._count)
            return self.about(key)

    def remove(self, key: str) -> bool:
        """Removes an object; True if it was there."""
        with self._lock:
            self._generations.pop(key, None)
            return self.objects.pop(key, None) is not None

    def about(self, key: str) -> dict | None:
        """The metadata of an object."""
        with self._lock:
            if key not in self.objects:
                return None
            bucket, _, name = key.partition("/")
            return {
                "kind": "storage#object",
                "bucket": bucket,
                "name": name,
                "size": str(len(self.objects[key])),
                "generation": str(self._generations[key]),
                "metageneration": "1",
                "updated": TIME,
                "timeCreated": TIME,
            }

    def listed(self, bucket: str, query: dict[str, str]) -> dict:
        """The objects of a bucket, and its folders as prefixes."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        first, last = query.get("startOffset", ""), query.get("endOffset")
        items, folders = [], set()
        with self._lock:
            for key in sorted(self.objects):
                own, _, name = key.partition("/")
                inside = name.startswith(prefix) and name >= first and not (last and name >= last)
                if own != bucket or not inside:
                    continue
                head, cut, _ = name.removeprefix(prefix).partition(delimiter or "\0")
                if cut:
                    folders.add(prefix + head + cut)
                else:
                    items.append(self.about(key))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients that exit leave their connections open."""


class _Handler(BaseHTTPRequestHandler):
    buckets: Buckets
    protocol_version = "HTTP/1.1"
    pending: dict[str, bytes] = {}  # noqa: RUF012 - of all connections

    def log_message(self, *_):
        pass

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_json(self, value: dict | None, missing: int = 404) -> None:
        if value is None:
            self._answer(missing, b'{"error": {"code": %d, "message": "no"}}' % missing)
        else:
            self._answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def _target(self, path: str) -> tuple[str, str, dict[str, str]]:
        """Bucket, key and query; the key ends in / if it is the bucket's own."""
        parts = urllib.parse.urlsplit(path)
        found = OBJECT.match(parts.path)
        assert found, path
        name = urllib.parse.unquote(found["name"] or "")
        return (
            found["bucket"],
            f"{found['bucket']}/{name}",
            dict(urllib.parse.parse_qsl(parts.query)),
        )

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_GET(self) -> None:
        bucket, key, query = self._target(self.path)
        if query.get("alt") == "media":
            self._content(key)
        elif not key.endswith("/"):
            self._send_json(self.buckets.about(key))
        elif re.search(r"/o/?(\?|$)", self.path):
            self._send_json(self.buckets.listed(bucket, query))
        else:
            self._send_json({"name": bucket})

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def _content(self, key: str) -> None:
        about = self.buckets.about(key)
        if about is None:
            self._send_json(None)
            return
        data, code, headers = self.buckets.objects[key], 200, {}
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
            data, code = data[first : last + 1], 206
        self._answer(code, data, x_goog_generation=about["generation"], **headers)

    def do_DELETE(self) -> None:
        _, key, _ = self._target(self.path)
        if self.buckets.remove(key):
            self._answer(204)
        else:
            self._send_json(None)

    def do_POST(self) -> None:
        body = self._body()
        if found := COPY.match(self.path):
            source, name, target, new = (
                urllib.parse.unquote(part or "") for part in found.groups()
            )
            self._copy(f"{source}/{name}", f"{target or source}/{new}", "/moveTo/" in self.path)
            return
        _, key, query = self._target(self.path)
        kind, expected = query.get("uploadType"), query.get("ifGenerationMatch")
        if kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            host = f"http://{self.headers['Host']}"
            where = f"{self.path.partition('?')[0]}?name={urllib.parse.quote(name, safe='')}"
            self._answer(
                200, b"{}", Location=f"{host}{where}&upload_id={next(self.buckets._count)}"
            )
        elif kind == "multipart":
            about, data = _parts(self.headers["Content-Type"], body)
            name = query.get("name") or json.loads(about)["name"]
            self._send_json(self.buckets.put(key + name, data, expected), 412)
        else:
            self._send_json(self.buckets.put(key + query["name"], body, expected), 412)

    def _copy(self, key: str, new: str, move: bool) -> None:
        data = self.buckets.objects.get(key)
        about = None if data is None else self.buckets.put(new, data)
        if about and move:
            self.buckets.remove(key)
        self._send_json(about and {"done": True, "resource": about} | about)

    def do_PUT(self) -> None:
        """A chunk of a resumable upload: `bytes FIRST-LAST/TOTAL`, TOTAL * until it is known."""
        _, key, query = self._target(self.path)
        content_range = self.headers.get("Content-Range", "bytes 0-0/0")
        so_far = self.pending.get(self.path, b"") + self._body()
        if content_range.endswith("/*"):
            self.pending[self.path] = so_far
            self._answer(308, Range=f"bytes=0-{len(so_far) - 1}")
            return
        self.pending.pop(self.path, None)
        self._send_json(self.buckets.put(key + query["name"], so_far))


def _parts(kind: str, body: bytes) -> list[bytes]:
    """The two parts of an upload with metadata."""
    boundary = re.search(r'boundary="?([^";]+)', kind)[1].encode()
    _, about, data, _ = body.split(b"--" + boundary)
    return [part.partition(b"\n\n")[2].removesuffix(b"\n") for part in (about, data)]
