import hashlib
import json
import os
import shutil
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

pytest.importorskip("transformers")

from bitsandnats.hf import TrainOptions, train_suite

OPTIONS = {
    "layers": 1, "width": 16, "heads": 2, "context": 16, "vocabulary": 270,
    "steps": 6, "batch_size": 4, "warmup": 2, "checkpoints": (0, 2, 4), "evaluation_items": 8,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def documents():
    texts = [f"Line {i}: the cat sat on mat {i * 7} and saw {i % 5} birds in the tree.\n" * 4 for i in range(40)]
    return texts[:34], texts[34:]


@pytest.fixture(scope="session")
def options():
    return TrainOptions(**OPTIONS)


@pytest.fixture(scope="session")
def suite_folder(tmp_path_factory, documents, options):
    return train_suite(tmp_path_factory.mktemp("trained") / "suite", options, *documents)


@pytest.fixture
def checkpoint(tmp_path, suite_folder):
    """A copy of the last checkpoint, away from its suite, to be damaged at will."""
    return shutil.copytree(suite_folder / "step6", tmp_path / "model")


@pytest.fixture
def text_file(tmp_path, documents):
    path = tmp_path / "text.txt"
    path.write_text("".join(documents[1]), encoding="utf-8")
    return path


def put_in_cache(cache, model, revision, folder):
    """A model's folder laid out as the hub's cache is: blobs by content, a snapshot of links, a ref."""
    home = cache / f"models--{model.replace('/', '--')}"
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    commit = hashlib.sha1("".join([revision, *names]).encode()).hexdigest()
    for name in names:
        content = (folder / name).read_bytes()
        blob = home / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = home / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    ref = home / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit)
    return home / "snapshots" / commit


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub's; no network."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@dataclass
class FakeHub:
    """A hub on this machine: models, their revisions as folders, and the requests it was asked.

    Attributes:
        models: name -> revision -> folder.
        gated: names that need a token.
        asked: method and path of every request.
    """

    models: dict = field(default_factory=dict)
    gated: set = field(default_factory=set)
    asked: list = field(default_factory=list)

    def fetched(self, suffix=".safetensors"):
        """Revisions whose weights were fetched, in order."""
        return [p.split("/")[-2] for m, p in self.asked if m == "GET" and p.endswith(suffix) and "/resolve/" in p]


def commit_of(model, revision):
    return hashlib.sha1(f"{model}@{revision}".encode()).hexdigest()


def _serve(hub):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, code, content=b"", **headers):
            self.send_response(code)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def json(self, value):
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):  # noqa: RET503 - what is answered, not returned
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            hub.asked.append((self.command, path))
            if path == "/api/models":
                word, author = query.get("search", [""])[0].lower(), query.get("author", [None])[0]
                there = [m for m in hub.models if word in m.lower() and author in (None, m.split("/")[0])]
                return self.json([{"id": m, "modelId": m} for m in there])
            parts = path.removeprefix("/api/models").strip("/").split("/")
            model, rest = "/".join(parts[:2]), parts[2:]
            if model not in hub.models:
                return self.answer(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            if rest == ["refs"]:
                refs = [{"name": r, "ref": f"refs/heads/{r}", "targetCommit": commit_of(model, r)}
                        for r in hub.models[model]]  # fmt: skip
                return self.json({"branches": refs, "tags": [], "converts": []})
            commits = {commit_of(model, r): r for r in hub.models[model]}
            asked = rest[1] if len(rest) > 1 else "main"
            revision = commits.get(asked, asked)
            if revision not in hub.models[model]:
                return self.answer(404, b"{}", X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
            folder, commit = hub.models[model][revision], commit_of(model, revision)
            files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            if not rest or rest[0] == "revision":
                siblings = [{"rfilename": name} for name in files]
                return self.json({"id": model, "sha": commit, "siblings": siblings, "private": False, "tags": []})
            if model in hub.gated:
                return self.answer(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
            digest = {n: hashlib.sha1((folder / n).read_bytes()).hexdigest() for n in files}
            if rest[0] == "tree":
                return self.json([{"type": "file", "path": n, "size": (folder / n).stat().st_size, "oid": digest[n]}
                                  for n in files])  # fmt: skip
            name = "/".join(rest[2:])
            if name not in files:
                return self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            self.answer(200, (folder / name).read_bytes(), ETag=f'"{digest[name]}"', X_Repo_Commit=commit)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def fake_hub(hub_cache, monkeypatch):
    """A hub of this process's own, asked instead of the real one."""
    from huggingface_hub import constants

    hub = FakeHub()
    server = _serve(hub)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def put_in():
    return put_in_cache


@pytest.fixture
def hub_commit():
    return commit_of
