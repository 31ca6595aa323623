"""The routes of the Hub: what each request does and what it is answered."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

from tests.hubserver.access import account_of, may_write, opened, readable, writable
from tests.hubserver.state import Account, Commit, File, Refused, Repository, State

PAGE = 3
"""Entries of a tree, or models, on one page: small, so that paging happens in tests."""

_LARGE = 10 * 2**20
_EXPIRED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)
_DATE = "%Y-%m-%dT%H:%M:%S.000Z"


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(
        status, json.dumps(value).encode(), {"Content-Type": "application/json", **named}
    )


_NAME = r"(?P<repo>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"


class Routes:
    """Answers requests from a state; `url` and `cdn` are where the two servers are."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.url = ""
        self.cdn = ""
        api = rf"/api/models/{_NAME}"
        table: list[tuple[str, str, Callable[..., Response]]] = [
            ("GET", r"/api/whoami-v2", self.whoami),
            ("POST", r"/api/repos/create", self.create),
            ("DELETE", r"/api/repos/delete", self.delete),
            ("POST", r"/api/repos/move", self.move),
            ("POST", r"/api/validate-yaml", self.validate),
            ("GET", r"/api/models", self.models),
            ("GET", api, self.info),
            ("GET", rf"{api}/revision/{_REVISION}", self.info),
            ("GET", rf"{api}/tree/{_REVISION}", self.tree),
            ("POST", rf"{api}/paths-info/{_REVISION}", self.paths_info),
            ("GET", rf"{api}/refs", self.refs),
            ("GET", rf"{api}/discussions", self.discussions),
            ("GET", rf"{api}/discussions/(?P<number>\d+)", self.discussion),
            ("GET", rf"{api}/commits/{_REVISION}", self.commits),
            ("POST", rf"{api}/tag/{_REVISION}", self.tag),
            ("DELETE", rf"{api}/tag/{_REVISION}", self.untag),
            ("POST", rf"{api}/branch/{_REVISION}", self.branch),
            ("POST", rf"{api}/preupload/{_REVISION}", self.preupload),
            ("POST", rf"{api}/commit/{_REVISION}", self.commit),
            ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", self.batch),
            ("PUT", r"/lfs-store/(?P<oid>[0-9a-f]{64})", self.put),
            ("POST", r"/lfs-store/verify", self.verify),
            ("GET", rf"/{_NAME}/resolve/{_REVISION}/(?P<file>.+)", self.resolve),
            (
                "GET",
                rf"/api/resolve-cache/models/{_NAME}/{_REVISION}/(?P<file>.+)",
                self.cached,
            ),
            ("GET", r"/cdn/(?P<oid>[0-9a-f]{64})", self.object),
        ]
        self.table = [(method, re.compile(pattern), made) for method, pattern, made in table]

    def respond(self, request: Request) -> Response:
        """Returns the answer to a request, refusals included."""
        method = "GET" if request.method == "HEAD" else request.method
        try:
            for known, pattern, made in self.table:
                found = pattern.fullmatch(request.path)
                if found is None or known != method:
                    continue
                parts = {name: unquote(text) for name, text in found.groupdict().items()}
                if parts.get("repo") in self.state.moved:
                    return self._moved(request, parts["repo"])
                return made(request, **parts)
            raise Refused(404, f"No such route: {request.method} {request.path}")
        except Refused as refused:
            response = answer({"error": refused.message}, refused.status)
            if refused.in_header:
                response.headers["X-Error-Message"] = refused.message
            if refused.code is not None:
                response.headers["X-Error-Code"] = refused.code
            return response

    def _account(self, request: Request) -> Account | None:
        return account_of(self.state, request.headers.get("authorization"))

    def _moved(self, request: Request, old: str) -> Response:
        target = request.target.replace(old, self.state.moved[old], 1)
        return Response(307, headers={"Location": target})

    def whoami(self, request: Request) -> Response:
        account = self._account(request)
        if account is None:
            raise Refused(401, "Invalid username or password.")
        return answer(
            {
                "type": "user",
                "name": account.name,
                "orgs": [{"name": name, "roleInOrg": "write"} for name in account.orgs],
                "auth": {"type": "access_token", "accessToken": {"role": account.role}},
            }
        )

    def create(self, request: Request) -> Response:
        account, wanted = self._account(request), request.json
        owner = wanted.get("organization") or (account.name if account else "")
        may_write(owner, account)
        name = f"{owner}/{wanted['name']}"
        url = f"{self.url}/{name}"
        with self.state.lock:
            if name in self.state.repositories:
                return answer({"error": "You already created this model repo", "url": url}, 409)
            self.state.create(name, private=wanted.get("visibility") == "private")
        return answer({"url": url, "name": name})

    def delete(self, request: Request) -> Response:
        wanted = request.json
        name = f"{wanted['organization']}/{wanted['name']}"
        writable(self.state, name, self._account(request))
        self.state.delete(name)
        return answer({})

    def move(self, request: Request) -> Response:
        wanted = request.json
        writable(self.state, wanted["fromRepo"], self._account(request))
        self.state.move(wanted["fromRepo"], wanted["toRepo"])
        return answer({})

    def validate(self, request: Request) -> Response:
        content = request.json["content"]
        found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", content, re.DOTALL)
        problems = [] if found else ["empty or missing yaml metadata in repo card"]
        try:
            front = yaml.safe_load(found[1]) if found else {}
            if not isinstance(front, dict):
                raise Refused(400, "The card's metadata is no mapping")
        except yaml.YAMLError as error:
            return answer({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return answer({"errors": [], "warnings": [{"message": text} for text in problems]})

    def models(self, request: Request) -> Response:
        account, query = self._account(request), request.query
        found = []
        for name, repository in sorted(self.state.repositories.items()):
            member = account is not None and repository.owner in account.namespaces
            if repository.private and not member:
                continue
            tags = set(_tags(repository))
            if not set(query.get("filter", [])) <= tags:
                continue
            if "author" in query and repository.owner != query["author"][0]:
                continue
            if "search" in query and query["search"][0] not in name:
                continue
            if "pipeline_tag" in query and query["pipeline_tag"][0] not in tags:
                continue
            found.append(_model(repository, repository.resolve("main")))
        return self._page(request, found)

    def info(self, request: Request, repo: str, revision: str = "main") -> Response:
        repository = readable(self.state, repo, self._account(request))
        blobs = request.query.get("blobs", [""])[0].lower() == "true"
        return answer(_model(repository, repository.resolve(revision), blobs=blobs))

    def tree(self, request: Request, repo: str, revision: str) -> Response:
        repository = opened(self.state, repo, self._account(request))
        commit = repository.resolve(revision)
        return self._page(
            request, [_entry(path, file) for path, file in sorted(commit.files.items())]
        )

    def paths_info(self, request: Request, repo: str, revision: str) -> Response:
        repository = opened(self.state, repo, self._account(request))
        files = repository.resolve(revision).files
        wanted = parse_qs(request.body.decode()).get("paths", [])
        return answer([_entry(path, files[path]) for path in wanted if path in files])

    def refs(self, request: Request, repo: str) -> Response:
        repository = readable(self.state, repo, self._account(request))

        def shown(refs: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"{prefix}{name}", "targetCommit": oid}
                for name, oid in refs.items()
            ]

        value = {
            "branches": shown(repository.branches, "refs/heads/"),
            "tags": shown(repository.tags, "refs/tags/"),
            "converts": [],
        }
        if "include_prs" in request.query:
            value["pullRequests"] = [
                {"name": ref.rpartition("/")[2], "ref": ref, "targetCommit": oid}
                for ref, oid in repository.pulls.items()
            ]
        return answer(value)

    def discussions(self, request: Request, repo: str) -> Response:
        repository = readable(self.state, repo, self._account(request))
        wanted = request.query.get("status", ["all"])[0]
        found = [_pull(repository, ref, oid) for ref, oid in reversed(repository.pulls.items())]
        shown = [
            one
            for one in found
            if wanted == "all" or (one["status"] == "open") == (wanted == "open")
        ]
        start = PAGE * int(request.query.get("p", ["0"])[0])
        page = shown[start : start + PAGE]
        return answer({"discussions": page, "count": len(shown), "start": start})

    def discussion(self, request: Request, repo: str, number: str) -> Response:
        repository = readable(self.state, repo, self._account(request))
        ref = f"refs/pr/{number}"
        if ref not in repository.pulls:
            raise Refused(404, "Discussion not found")
        more = {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "events": []}
        return answer({**_pull(repository, ref, repository.pulls[ref]), **more})

    def commits(self, request: Request, repo: str, revision: str) -> Response:
        repository = readable(self.state, repo, self._account(request))
        return answer(
            [
                {
                    "id": commit.oid,
                    "title": commit.title,
                    "message": commit.description,
                    "date": commit.date.strftime(_DATE),
                    "authors": [{"user": commit.author}],
                }
                for commit in repository.history(revision)
            ]
        )

    def tag(self, request: Request, repo: str, revision: str) -> Response:
        repository = writable(self.state, repo, self._account(request))
        name = request.json["tag"]
        with repository.lock:
            if name in repository.tags:
                raise Refused(409, f"Tag reference exists already: {name}")
            repository.tags[name] = repository.resolve(revision).oid
        return answer({})

    def untag(self, request: Request, repo: str, revision: str) -> Response:
        repository = writable(self.state, repo, self._account(request))
        if repository.tags.pop(revision, None) is None:
            raise Refused(404, "No such tag", "RevisionNotFound")
        return answer({})

    def branch(self, request: Request, repo: str, revision: str) -> Response:
        repository = writable(self.state, repo, self._account(request))
        start = request.json.get("startingPoint", "main")
        with repository.lock:
            if revision in repository.branches:
                raise Refused(409, f"Reference already exists: refs/heads/{revision}")
            if revision.startswith("refs/"):
                raise Refused(400, f"Invalid reference for a branch: {revision}")
            repository.branches[revision] = repository.resolve(start).oid
        return answer({})

    def preupload(self, request: Request, repo: str, revision: str) -> Response:
        repository = writable(self.state, repo, self._account(request))
        files = repository.resolve(revision).files
        modes = []
        for wanted in request.json["files"]:
            path, sample = wanted["path"], base64.b64decode(wanted["sample"])
            large = path.endswith(".safetensors") or b"\0" in sample or wanted["size"] > _LARGE
            mode = {"path": path, "uploadMode": "lfs" if large else "regular"}
            modes.append({**mode, "shouldIgnore": False})
            if path in files:
                modes[-1]["oid"] = files[path].etag
        return answer({"files": modes})

    def batch(self, request: Request, repo: str) -> Response:
        writable(self.state, repo, self._account(request))
        objects = []
        for wanted in request.json["objects"]:
            known = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.state.verified:
                known["actions"] = {
                    "upload": {"href": f"{self.cdn}/lfs-store/{wanted['oid']}?signature=x"},
                    "verify": {"href": f"{self.url}/lfs-store/verify"},
                }
            objects.append(known)
        return answer({"transfer": "basic", "objects": objects})

    def put(self, request: Request, oid: str) -> Response:
        file = File(request.body, lfs=True)
        if file.sha256 != oid:
            raise Refused(400, "The content does not have the sha256 that was announced")
        self.state.objects[oid] = request.body
        return Response()

    def verify(self, request: Request) -> Response:
        wanted = request.json
        stored = self.state.objects.get(wanted["oid"])
        if stored is None or len(stored) != wanted["size"]:
            raise Refused(422, "Object not found")
        self.state.verified.add(wanted["oid"])
        return answer({})

    def commit(self, request: Request, repo: str, revision: str) -> Response:
        account = self._account(request)
        repository = writable(self.state, repo, account)
        header: dict[str, Any] = {}
        changes: dict[str, File | None] = {}
        for line in request.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                header = value
            elif item["key"] == "file":
                changes[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
            elif item["key"] == "lfsFile":
                data = self.state.objects.get(value["oid"])
                if data is None:
                    raise Refused(400, f"LFS object {value['oid']} was not uploaded")
                changes[value["path"]] = File(data, lfs=True)
            elif item["key"] == "deletedFile":
                changes[value["path"]] = None
        made, pull = repository.apply(
            changes,
            title=header["summary"],
            description=header.get("description", ""),
            parent=header.get("parentCommit"),
            revision=revision,
            author=account.name if account else "",
            as_pull="create_pr" in request.query,
        )
        value = {"commitUrl": f"{self.url}/{repo}/commit/{made.oid}", "commitOid": made.oid}
        if pull is not None:
            value["pullRequestUrl"] = f"{self.url}/{repo}/discussions/{pull}"
        return answer(value)

    def resolve(self, request: Request, repo: str, revision: str, file: str) -> Response:
        repository = opened(self.state, repo, self._account(request))
        commit = repository.resolve(revision)
        found = commit.files.get(file)
        if found is None:
            response = answer({"error": "Entry not found"}, 404)
            response.headers["X-Error-Code"] = "EntryNotFound"
            response.headers["X-Repo-Commit"] = commit.oid
            return response
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{found.blob_id}"'}
        if found.lfs:
            headers |= {
                "X-Linked-Size": str(len(found.data)),
                "X-Linked-ETag": f'"{found.etag}"',
                "Location": f"{self.cdn}/cdn/{found.sha256}?signature={self.state.sign()}",
            }
            return Response(302, headers=headers)
        place = f"/api/resolve-cache/models/{repo}/{commit.oid}/{quote(file)}"
        return Response(307, headers={**headers, "Location": place})

    def cached(self, request: Request, repo: str, revision: str, file: str) -> Response:
        found = opened(self.state, repo, self._account(request)).resolve(revision).files[file]
        headers = {"X-Repo-Commit": revision, "ETag": f'"{found.etag}"'}
        if file.endswith((".md", ".yaml", ".json")) and "range" not in request.headers:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return _ranged(request, found.data, headers)

    def object(self, request: Request, oid: str) -> Response:
        if request.headers.get("authorization"):
            raise Refused(400, "Only one auth mechanism allowed: a token reached the CDN")
        if not self.state.is_valid(request.query.get("signature", [""])[0]):
            return Response(403, _EXPIRED, {"Content-Type": "application/xml"})
        return _ranged(request, self.state.objects[oid], {"ETag": f'"{oid}"'})

    def _page(self, request: Request, items: list[Any]) -> Response:
        start = int(request.query.get("cursor", ["0"])[0])
        size = min(PAGE, int(request.query.get("limit", [str(PAGE)])[0]))
        response = answer(items[start : start + size])
        if start + size < len(items):
            plain = "&".join(
                f"{name}={quote(value)}"
                for name, values in request.query.items()
                for value in values
                if name != "cursor"
            )
            link = f"{self.url}{request.path}?{plain}&cursor={start + size}"
            response.headers["Link"] = f'<{link}>; rel="next"'
        return response


def _pull(repository: Repository, ref: str, oid: str) -> dict[str, Any]:
    number = ref.rpartition("/")[2]
    commit = repository.commits[oid]
    return {
        "num": int(number),
        "title": commit.title,
        "author": {"name": commit.author},
        "createdAt": commit.date.strftime(_DATE),
        "status": repository.ended.get(number, "open"),
        "repo": {"name": repository.name, "type": "model"},
        "isPullRequest": True,
    }


def _ranged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    headers = {"Content-Type": "application/octet-stream", **headers, "Accept-Ranges": "bytes"}
    if wanted is None:
        return Response(200, data, headers)
    start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
    if start >= len(data):
        return Response(416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return Response(206, data[start : end + 1], headers)


def _front(commit: Commit) -> dict[str, Any]:
    card = commit.files.get("README.md")
    found = re.match(rb"---\r?\n(.*?)\r?\n---\r?\n", card.data, re.DOTALL) if card else None
    try:
        front = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError:
        front = {}
    return front if isinstance(front, dict) else {}


def _tags(repository: Repository) -> list[str]:
    front = _front(repository.resolve("main"))
    tags = list(front.get("tags") or [])
    for key in ("library_name", "pipeline_tag"):
        if front.get(key):
            tags.append(front[key])
    languages = front.get("language") or []
    tags += [languages] if isinstance(languages, str) else languages
    return tags


def _model(repository: Repository, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
    front = _front(commit)
    return {
        "_id": repository.name,
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.owner,
        "sha": commit.oid,
        "private": repository.private,
        "gated": "auto" if repository.gated else False,
        "disabled": False,
        "lastModified": commit.date.strftime(_DATE),
        "tags": _tags(repository),
        "pipeline_tag": front.get("pipeline_tag"),
        "library_name": front.get("library_name"),
        "downloads": 0,
        "likes": 0,
        "siblings": [
            _sibling(path, file) if blobs else {"rfilename": path}
            for path, file in sorted(commit.files.items())
        ],
    }


def _sibling(path: str, file: File) -> dict[str, Any]:
    lfs = {"sha256": file.sha256, "size": len(file.data), "pointerSize": len(file.pointer)}
    found = {"rfilename": path, "size": len(file.data), "blobId": file.blob_id}
    return {**found, "lfs": lfs} if file.lfs else found


def _entry(path: str, file: File) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(file.data), "oid": file.blob_id}
    if file.lfs:
        entry["lfs"] = {
            "oid": file.sha256,
            "size": len(file.data),
            "pointerSize": len(file.pointer),
        }
    return entry
