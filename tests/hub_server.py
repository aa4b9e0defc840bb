"""A Hugging Face Hub for tests: as much of its protocol as uploading and downloading a model needs."""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from typing import Any

from local_server import Handler

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Files by repository and name, and what was asked for. Only `token` may write."""

    token = "hf_test"

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []


class HubServer(Handler):
    hub: Hub

    @property
    def address(self) -> str:
        return f"http://{self.headers['Host']}"

    def answer(self, content: object, code: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        match = re.match(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(tree|revision|resolve)/([^/]+)/?(.*))?$", path)
        assert match, path
        repository, what, _, name = match.groups()
        files = self.hub.repositories.get(repository)
        if files is None:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif what == "tree":
            self.answer([{"type": "file", "path": n, "size": len(c), "oid": COMMIT} for n, c in files.items()])
        elif what == "resolve":
            content = files.get(name)
            if content is None:
                self.answer({}, 404, X_Error_Code="EntryNotFound")
            else:
                etag = f'"{sha256(content).hexdigest()}"'
                self.answer(content, ETag=etag, X_Repo_Commit=COMMIT, Accept_Ranges="none")
        else:
            about = {"id": repository, "sha": COMMIT, "private": self.hub.private[repository]}
            self.answer(about | {"siblings": [{"rfilename": name} for name in files]})

    def do_PUT(self) -> None:
        self.hub.requests.append(f"PUT {self.path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.blobs[sha256(content).hexdigest()] = content
        self.answer(b"")

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer({"error": "Forbidden"}, 403)
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**wanted, "actions": {"upload": {"href": f"{self.address}/blobs/{wanted['oid']}"}}}
                for wanted in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif "/preupload/" in path:
            modes = {True: "lfs", False: "regular"}
            files = [
                {"path": file["path"], "uploadMode": modes[file["path"].endswith("safetensors")], "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        else:
            self.commit(path, body)

    def create(self, wanted: dict[str, Any]) -> None:
        repository = f"{wanted['organization']}/{wanted['name']}"
        new = repository not in self.hub.repositories
        if new:
            self.hub.repositories[repository] = {".gitattributes": b""}
            self.hub.private[repository] = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.answer({"url": f"{self.address}/{repository}"}, 200 if new else 409)

    def commit(self, path: str, body: bytes) -> None:
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path)
        assert match, path
        files = self.hub.repositories[match[1]]
        for line in body.splitlines():
            change = json.loads(line)
            value = change["value"]
            if change["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif change["key"] == "deletedFile":
                del files[value["path"]]
        self.answer({"commitUrl": f"{self.address}/{match[1]}/commit/{COMMIT}", "commitOid": COMMIT})
