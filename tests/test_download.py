"""Downloads from a local server that cuts connections, answers with errors, or has another file."""

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from stages.data import download as module
from stages.data.d4rl import MAGIC
from stages.data.download import ATTEMPTS, CHUNK, download

FILE = MAGIC + bytes(range(256)) * 4000  # about 1 MB
SHA256 = hashlib.sha256(FILE).hexdigest()
KEPT = 300_000 // CHUNK * CHUNK  # bytes kept of a connection that is cut after 300,000 bytes
OTHER = MAGIC + bytes(len(FILE) - len(MAGIC))


class Server(ThreadingHTTPServer):
    """Answers each path by its function in `paths` and records every request."""

    daemon_threads = True

    def __init__(self, paths: dict):
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths, self.requests = paths, []
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def ranges(self, name: str) -> list[str | None]:
        """The Range headers of all requests for a path."""
        return [header for path, header in self.requests if path == f"/{name}"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        self.server.paths[self.path.strip("/")](self)

    def log_message(self, *_):
        pass

    def start(self) -> int:
        """First byte of the requested range."""
        requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(requested[1]) if requested else 0


def give(body: bytes, cut: int | None = None, ranges: bool = True, length: bool = True, tag: str = '"1"'):
    """Serves `body`; closes the connection after `cut` bytes of an answer if given."""

    def answer(handler):
        start = handler.start() if ranges and handler.headers.get("If-Range", tag) == tag else 0
        rest = body[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if length:
            handler.send_header("Content-Length", str(len(rest)))
        handler.send_header("ETag", tag)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(rest[:cut])
        handler.close_connection = True

    return answer


def status(code: int):
    def answer(handler):
        handler.send_error(code)

    return answer


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


@pytest.fixture
def serve():
    servers = []

    def start(**paths):
        servers.append(Server(paths))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def get(server: Server, folder: Path, *names: str, sha256: str | None = SHA256, size: int | None = len(FILE)) -> Path:
    path = folder / "new" / "file.hdf5"
    download([server.url(name) for name in names], path, size, sha256, MAGIC)
    return path


def test_a_download_leaves_the_complete_file_and_nothing_else(serve, tmp_path):
    path = get(serve(good=give(FILE)), tmp_path, "good")
    assert path.read_bytes() == FILE
    assert list(path.parent.iterdir()) == [path]


def test_a_cut_connection_is_resumed_where_it_broke(serve, tmp_path, no_waiting):
    server = serve(cutting=give(FILE, cut=300_000))
    assert get(server, tmp_path, "cutting").read_bytes() == FILE
    assert server.ranges("cutting") == [None, *(f"bytes={k * KEPT}-" for k in (1, 2, 3))]
    assert no_waiting == [1, 1, 1]


def test_a_server_without_ranges_sends_the_file_again_from_the_start(serve, tmp_path):
    cuts = iter([200_000, None])
    server = serve(plain=lambda handler: give(FILE, cut=next(cuts), ranges=False)(handler))
    assert get(server, tmp_path, "plain").read_bytes() == FILE
    assert server.ranges("plain") == [None, f"bytes={200_000 // CHUNK * CHUNK}-"]


def test_a_file_that_changes_on_the_server_is_downloaded_again_from_the_start(serve, tmp_path):
    versions = iter([give(OTHER, cut=200_000, tag='"old"'), give(FILE, tag='"new"')])
    server = serve(changing=lambda handler: next(versions)(handler))
    assert get(server, tmp_path, "changing", sha256=None).read_bytes() == FILE


def test_a_server_may_omit_the_length(serve, tmp_path):
    assert get(serve(quiet=give(FILE, length=False)), tmp_path, "quiet", size=None).read_bytes() == FILE


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(404), "answers 404 Not Found"),
        (status(403), "answers 403 Forbidden"),
        (status(503), "answers 503 Service Unavailable"),
        (give(OTHER), "has another file: its sha256 is"),
        (give(FILE[:-9]), r"has a file of [\d,]+ bytes, not of [\d,]+"),
        (give(FILE[:-9], length=False), "has another file: its sha256 is"),
        (give(FILE + b"more", length=False), "sends more than"),
        (give(b"<html>log in</html>", length=False), "has a file of another type"),
        (give(FILE, cut=0), "Connection|broken|cut"),
    ],
)
def test_a_mirror_s_error_is_reported_and_the_next_mirror_tried(serve, tmp_path, answer, message):
    server = serve(wrong=answer, good=give(FILE))
    with pytest.raises(SystemExit) as stop:
        get(server, tmp_path, "wrong")
    first, line = stop.value.code.splitlines()
    assert "file.hdf5 could not be downloaded; put it there by hand" in first
    assert re.match(rf"  {server.url('wrong')} .*({message})", line)
    assert not (tmp_path / "new/file.hdf5").exists()
    assert get(server, tmp_path, "wrong", "good").read_bytes() == FILE


def test_a_busy_server_is_retried_with_growing_waits(serve, tmp_path, no_waiting):
    answers = iter([status(503), status(500), status(429), give(FILE)])
    server = serve(busy=lambda handler: next(answers)(handler))
    assert get(server, tmp_path, "busy").read_bytes() == FILE
    assert no_waiting == [1, 2, 4]
    server = serve(busy=status(503))
    with pytest.raises(SystemExit):
        get(server, tmp_path / "again", "busy")
    assert len(server.requests) == ATTEMPTS


def test_an_interrupted_download_resumes_only_if_the_sha256_is_known(serve, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    for name, sha256, expected in [("checked", SHA256, f"bytes={KEPT}-"), ("unchecked", None, None)]:
        server = serve(file=give(FILE, cut=300_000))
        with monkeypatch.context() as patch:
            patch.setattr(module.time, "sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                get(server, tmp_path / name, "file", sha256=sha256)
        assert not (tmp_path / name / "new/file.hdf5").exists()
        server.paths["file"] = give(FILE)
        assert get(server, tmp_path / name, "file", sha256=sha256).read_bytes() == FILE
        assert server.ranges("file") == [None, expected]


def test_a_partial_file_of_another_file_is_discarded(serve, tmp_path):
    """The sha256 reveals it, and the next run starts from the beginning."""
    server = serve(file=give(FILE))
    path = tmp_path / "new/file.hdf5"
    path.parent.mkdir()
    part = path.with_name(f".file.hdf5.{hashlib.sha256(server.url('file').encode()).hexdigest()[:8]}.part")
    part.write_bytes(OTHER[:1000])
    with pytest.raises(SystemExit, match="has another file"):
        get(server, tmp_path, "file")
    assert not part.exists()
    assert get(server, tmp_path, "file").read_bytes() == FILE


def test_a_silent_server_times_out(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "READ", 0.2)
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    server = serve(silent=lambda handler: Event().wait(1))
    with pytest.raises(SystemExit, match="timed out"):
        get(server, tmp_path, "silent")
