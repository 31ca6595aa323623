"""Two HTTP servers on loopback: the Hub, and another origin where large files are."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.hubserver.faults import Fault, Faults
from tests.hubserver.routes import Request, Response, Routes
from tests.hubserver.state import Accounts, File, Repository, State

_log = logging.getLogger("hubserver")


class HubServer:
    """A Hub that runs until the `with` block ends.

    Attributes:
        url: For HF_ENDPOINT.
        state: What it knows; tests may change it.
        faults: What goes wrong.
    """

    def __init__(self) -> None:
        self.state = State()
        self.faults = Faults()
        self.routes = Routes(self.state)
        self.stopping = threading.Event()
        self.seen: list[str] = []
        self.ranges: list[str] = []
        self._servers = [_server(self, "127.0.0.1"), _server(self, "127.0.0.1")]
        self.url = self.routes.url = f"http://127.0.0.1:{self._servers[0].server_port}"
        # Another name of the same machine is another origin.
        self.routes.cdn = f"http://localhost:{self._servers[1].server_port}"

    @property
    def accounts(self) -> Accounts:
        return self.state.accounts

    def __enter__(self) -> HubServer:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def repository(self, name: str) -> Repository:
        return self.state.repositories[name]

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """Returns the content of a repository by path."""
        commit = self.repository(name).resolve(revision)
        return {path: file.data for path, file in commit.files.items()}

    def put(self, name: str, path: str, data: bytes, *, lfs: bool = False) -> str:
        """Commits one file behind everybody's back; returns the commit."""
        file = File(data, lfs)
        if lfs:
            self.state.objects[file.sha256] = data
            self.state.verified.add(file.sha256)
        commit, _ = self.repository(name).apply({path: file}, title=f"put {path}")
        return commit.oid

    def fill(self, name: str, files: dict[str, File]) -> None:
        """Makes a repository that holds files, without any request."""
        objects = {file.sha256: file.data for file in files.values() if file.lfs}
        self.state.objects |= objects
        self.state.verified |= set(objects)
        self.state.create(name).apply(dict(files), title="fill")

    def remove(self, name: str, path: str) -> str:
        commit, _ = self.repository(name).apply({path: None}, title=f"remove {path}")
        return commit.oid


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("connection with %s ended early", client_address, exc_info=True)


def _server(hub: HubServer, host: str) -> _Server:
    server = _Server((host, 0), _Handler)
    server.hub = hub
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without this a small answer waits for the acknowledgement of its header.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        _log.debug(format, *args)

    def _any(self) -> None:
        hub = self.server.hub
        hub.seen.append(f"{self.command} {self.path}")
        fault = hub.faults.take(self.command, self.path)
        body = self._body()
        kind = None if fault is None else fault.kind
        if fault is not None and kind == "status":
            headers = {"X-Error-Message": fault.says, **dict(fault.headers)}
            body = json.dumps({"error": fault.says}).encode()
            self._send(Response(fault.value, body, headers), None)
            return
        if fault is not None and kind == "body":
            code, content = fault.value
            self._send(_given(code, content), None)
            return
        if fault is not None and kind in ("reset", "stall"):
            hub.stopping.wait(fault.value or 0)
            self._hang_up()
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        if kind in ("whole", "again"):
            headers.pop("range", None)
        elif "range" in headers:
            hub.ranges.append(headers["range"])
        response = hub.routes.respond(Request(self.command, self.path, headers, body))
        if kind == "lost":
            self._hang_up()
        else:
            self._send(response, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send(self, response: Response, fault: Fault | None) -> None:
        headers = dict(response.headers)
        kind = "" if fault is None else fault.kind
        body = response.body
        is_zipped = kind == "zip" or (kind != "coded" and self._may_zip(response))
        if is_zipped:
            body = gzip.compress(body, mtime=0)
        if is_zipped or kind == "coded":
            headers["Content-Encoding"] = "gzip"
        if fault is not None:
            body = _spoiled(body, fault)
            if kind == "header":
                headers = {k: v for k, v in headers.items() if k.lower() != fault.value.lower()}
        self.send_response(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is not None and kind in ("cut", "hang", "again"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.hub.stopping.wait(fault.value or 0)
            self._hang_up()
        elif fault is not None and kind == "drip":
            self._drip(body, fault.value)
        else:
            self.wfile.write(body)

    def _may_zip(self, response: Response) -> bool:
        """Returns whether the answer is compressed on its way, as the Hub does with texts."""
        is_text = response.headers.get("Content-Type", "").startswith(("application/json", "text/"))
        accepted = "gzip" in self.headers.get("Accept-Encoding", "")
        return bool(response.body) and response.status == 200 and is_text and accepted

    def _drip(self, body: bytes, rate: int) -> None:
        step = max(1, rate // 10)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            if self.server.hub.stopping.wait(0.1):
                break

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


def _given(code: int, content: object) -> Response:
    if isinstance(content, str):
        return Response(code, content.encode(), {"Content-Type": "text/html"})
    return Response(code, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _spoiled(body: bytes, fault: Fault) -> bytes:
    if fault.kind == "short":
        return body[: len(body) // 2]
    if fault.kind in ("flip", "zip") and body:
        place = len(body) * 3 // 4
        return body[:place] + bytes([body[place] ^ 0x10]) + body[place + 1 :]
    if fault.kind == "swap":
        return bytes(len(body))
    return body
