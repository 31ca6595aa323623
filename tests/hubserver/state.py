"""What the server knows: repositories, commits, files, large objects."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

EMPTY_OID = "0" * 40
_EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class File:
    """Content of a path; `lfs` says how it is stored."""

    data: bytes
    lfs: bool

    @property
    def blob_id(self) -> str:
        """Returns git's id of the blob; for LFS that of the pointer file."""
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob_id

    @property
    def pointer(self) -> bytes:
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
            f"size {len(self.data)}\n"
        ).encode()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    description: str
    files: dict[str, File]
    date: datetime
    author: str


class Refused(Exception):
    """An answer that is an error."""

    def __init__(
        self, status: int, message: str, code: str | None = None, *, in_header: bool = True
    ) -> None:
        super().__init__(message)
        self.in_header = in_header
        self.status = status
        self.message = message
        self.code = code


@dataclass
class Repository:
    """One model repository with linear branches; `ended` says which pull requests are not open."""

    name: str
    private: bool = False
    gated: bool = False
    granted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    def resolve(self, revision: str) -> Commit:
        with self.lock:
            for refs in (self.branches, self.tags, self.pulls):
                if revision in refs:
                    return self.commits[refs[revision]]
            if revision in self.commits:
                return self.commits[revision]
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str = "main") -> list[Commit]:
        """Returns the commits from the newest back to the first."""
        found = [self.resolve(revision)]
        while found[-1].parent is not None:
            found.append(self.commits[found[-1].parent])
        return found

    def apply(
        self,
        changes: dict[str, File | None],
        *,
        title: str,
        description: str = "",
        parent: str | None = None,
        revision: str = "main",
        author: str = "",
        as_pull: bool = False,
    ) -> tuple[Commit, str | None]:
        """Makes a commit; returns it and the number of its pull request."""
        with self.lock:
            refs = self.pulls if revision in self.pulls else self.branches
            if self.commits and revision not in refs:
                raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            head = refs.get(revision)
            if parent is not None and parent != head:
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            files = dict(self.commits[head].files) if head else {}
            for path, file in changes.items():
                if file is None:
                    if path not in files:
                        problem = f"A file with this name doesn't exist: {path}"
                        raise Refused(404, problem, "EntryNotFound")
                    del files[path]
                else:
                    files[path] = file
            number = len(self.commits)
            text = repr((number, self.name, head, title, sorted(f.etag for f in files.values())))
            commit = Commit(
                hashlib.sha1(text.encode()).hexdigest(),
                head,
                title,
                description,
                files,
                _EPOCH + timedelta(seconds=number),
                author,
            )
            self.commits[commit.oid] = commit
            if as_pull:
                pull = str(len(self.pulls) + 1)
                self.pulls[f"refs/pr/{pull}"] = commit.oid
                return commit, pull
            refs[revision] = commit.oid
            return commit, None


@dataclass(frozen=True)
class Account:
    """Who a token belongs to."""

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"
    expired: bool = False

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.name, *self.orgs)


@dataclass
class Accounts:
    by_token: dict[str, Account] = field(default_factory=dict)

    def add(
        self,
        token: str,
        name: str,
        *,
        orgs: tuple[str, ...] = (),
        role: str = "write",
        expired: bool = False,
    ) -> str:
        """Adds an account; returns its token."""
        self.by_token[token] = Account(name, orgs, role, expired)
        return token

    def expire(self, token: str) -> None:
        self.by_token[token] = replace(self.by_token[token], expired=True)


@dataclass
class State:
    """Everything, under one lock where several things change together."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    accounts: Accounts = field(default_factory=Accounts)
    signed: int = 0
    expiring: int = 0
    expired: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def sign(self) -> str:
        """Returns the signature of a new link into the storage; `expiring` have no life left."""
        with self.lock:
            self.signed += 1
            signature = str(self.signed)
            if self.expiring:
                self.expiring -= 1
                self.expired.add(signature)
            return signature

    def is_valid(self, signature: str) -> bool:
        return signature != "" and signature not in self.expired

    def create(self, name: str, *, private: bool = False, gated: bool = False) -> Repository:
        """Makes a repository with a first commit, as the Hub does."""
        with self.lock:
            repository = Repository(name, private=private, gated=gated)
            attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
            repository.apply({".gitattributes": File(attributes, False)}, title="initial commit")
            self.repositories[name] = repository
            return repository

    def delete(self, name: str) -> None:
        with self.lock:
            del self.repositories[name]

    def move(self, old: str, new: str) -> None:
        with self.lock:
            repository = self.repositories.pop(old)
            repository.name = new
            self.repositories[new] = repository
            self.moved[old] = new
