"""A small Hugging Face hub on this machine: what huggingface_hub asks for to create, fill and copy a repository."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """The commits of a repository, the last one last: each has the bytes of every file by name."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The last commit."""
        return list(self.commits)[-1]

    def add(self, files: dict[str, bytes]) -> str:
        """Add a commit with more files, and return its name."""
        current = {**self.commits[self.head], **files} if self.commits else files
        commit = hashlib.sha1(repr((len(self.commits), sorted(current))).encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = current
        return commit


@dataclass
class Hub:
    """A hub: its address, its repositories, and the requests that it got."""

    address: str
    token: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve_hub(token: str = "hf_test") -> Iterator[Hub]:  # noqa: S107 - a token of this hub only
    """Run a hub in a thread."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.hub = hub = Hub(f"http://127.0.0.1:{server.server_address[1]}", token)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = self._parts()
        if parts[:2] == ["api", "models"] and "revision" in parts:
            repository = self._repository("/".join(parts[2:4]), parts[-1])
            if repository is not None:
                commit = self._commit(repository, parts[-1])
                self._answer({"id": "/".join(parts[2:4]), "sha": commit, "siblings": [], "private": False})
        elif parts[:2] == ["api", "models"]:
            repository = self._repository("/".join(parts[2:4]), "main")
            if repository is not None:
                self._answer({"id": "/".join(parts[2:4]), "sha": repository.head, "siblings": [], "private": False})
        else:
            self._send_file(parts)

    def do_HEAD(self) -> None:
        self._send_file(self._parts())

    def do_POST(self) -> None:
        parts, body = self._parts(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts == ["api", "validate-yaml"]:
            self._answer({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._answer({"error": "Invalid token"}, 401)
        elif parts == ["api", "repos", "create"]:
            value = json.loads(body)
            name = f"{value['organization']}/{value['name']}" if value.get("organization") else value["name"]
            known = name in self.hub.repositories
            self.hub.repositories.setdefault(
                name, Repository(value.get("private") or value.get("visibility") == "private")
            )
            self._answer({"url": f"{self.hub.address}/{name}", "id": name}, 409 if known else 200)
        elif "preupload" in parts:
            modes = [
                {"path": item["path"], "uploadMode": "regular", "shouldIgnore": False}
                for item in json.loads(body)["files"]
            ]
            self._answer({"files": modes})
        elif "commit" in parts:
            name = "/".join(parts[2:4])
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                item["value"]["path"]: base64.b64decode(item["value"]["content"])
                for item in lines
                if item["key"] == "file"
            }
            commit = self.hub.repositories[name].add(files)
            self._answer(
                {"commitUrl": f"{self.hub.address}/{name}/commit/{commit}", "commitOid": commit, "success": True}
            )
        else:
            self._answer({"error": "not found"}, 404)

    def log_message(self, *_: Any) -> None:
        pass

    def _parts(self) -> list[str]:
        self.hub.requests.append(f"{self.command} {self.path}")
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _repository(self, name: str, revision: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None or not repository.commits:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return None
        if self._commit(repository, revision) not in repository.commits:
            self._answer({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository

    @staticmethod
    def _commit(repository: Repository, revision: str) -> str:
        return repository.head if revision == "main" else revision

    def _send_file(self, parts: list[str]) -> None:
        """Answer /OWNER/NAME/resolve/REVISION/FILE."""
        if len(parts) < 5 or parts[2] != "resolve":
            self._answer({"error": "not found"}, 404)
            return
        repository = self._repository("/".join(parts[:2]), parts[3])
        if repository is None:
            return
        commit = self._commit(repository, parts[3])
        content = repository.commits[commit].get("/".join(parts[4:]))
        if content is None:
            self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self._send(
            content, 200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Content-Type": "application/octet-stream"}
        )

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
