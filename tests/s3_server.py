"""Object storage for tests: as much of the S3 protocol as listing and reading needs."""

from __future__ import annotations

import re
from hashlib import md5
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from local_server import Handler

PAGE = 4  # keys per answer of a listing; S3 has 1000
KEY_ID, SECRET = "test-key", "test-secret"  # the signature is not checked, only the key
WHEN = "2026-11-30T00:00:00.000Z"


class Storage:
    """Objects by bucket and key, the keys of those that were read, and how many more may be read."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.read: list[str] = []
        self.left = 10**9


class S3(Handler):
    storage: Storage

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        objects = self.storage.buckets.get(bucket)
        if f"Credential={KEY_ID}/" not in self.headers.get("Authorization", ""):
            self._refuse(403, "InvalidAccessKeyId")
        elif objects is None:
            self._refuse(404, "NoSuchBucket")
        elif not key:
            self._list(bucket, objects, {name: values[0] for name, values in parse_qs(url.query).items()})
        elif key not in objects:
            self._refuse(404, "NoSuchKey")
        elif self.command == "HEAD":
            self._object(objects[key])
        elif self.storage.left == 0:
            self._refuse(403, "AccessDenied")
        else:
            self.storage.left -= 1
            self.storage.read.append(key)
            self._object(objects[key])

    def _list(self, bucket: str, objects: dict[str, bytes], query: dict[str, str]) -> None:
        """ListObjectsV2, in pages; with a delimiter, what is below a folder is one entry."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries: dict[str, bool] = {}
        for key in sorted(objects):
            if key.startswith(prefix):
                inner, slash, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                entries[prefix + inner + slash if slash else key] = bool(slash)
        names = [name for name in entries if name > query.get("continuation-token", "")]
        shown = names[: min(PAGE, int(query.get("max-keys", PAGE)))]
        more = len(names) > len(shown)
        content = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if entries[name]
            else f"<Contents><Key>{escape(name)}</Key><Size>{len(objects[name])}</Size><LastModified>{WHEN}"
            f"</LastModified><ETag>&quot;{md5(objects[name]).hexdigest()}&quot;</ETag></Contents>"
            for name in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        about = f"<Name>{bucket}</Name><KeyCount>{len(shown)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
        self._answer(200, f"<ListBucketResult>{about}{content}{token}</ListBucketResult>".encode())

    def _object(self, content: bytes) -> None:
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": f'"{md5(content).hexdigest()}"', "Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
        if part is None:
            self._answer(200, content, **headers)
            return
        start, end = int(part[1]), min(int(part[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self._answer(206, content[start : end + 1], **headers)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/xml", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
