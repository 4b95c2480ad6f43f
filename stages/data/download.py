"""Downloads a file from the first mirror that delivers it, resuming broken connections and checking the result."""

import hashlib
import os
import re
import time
from pathlib import Path

import requests

from stages.common.progress import progress

CONNECT, READ = 10, 60  # timeouts in seconds
ATTEMPTS = 5  # per mirror, without a new byte
WAIT = 1.0  # seconds after the first failed attempt, doubled after each
CHUNK = 1 << 16  # bytes; an incomplete chunk is discarded
LARGEST = 4 << 30  # bytes
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers worth another attempt


class MirrorFailed(Exception):
    """A mirror does not deliver the file; the message holds its answer."""


class WrongFile(MirrorFailed):
    """A mirror delivers something other than the file."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Mirror:
    """One mirror; what it has delivered so far is in `part`.

    Arguments:
        size: of the file in bytes, if known.
    """

    def __init__(self, url: str, part: Path, size: int | None):
        self.url, self.part, self.size = url, part, size
        self.session = requests.Session()
        self.version = None  # ETag or date of the file that the server began to send

    def here(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def fetch(self):
        """Downloads the whole file, giving up after `ATTEMPTS` attempts in a row without a new byte.

        Raises:
            MirrorFailed: if it gives up.
        """
        failed = 0
        while True:
            before = self.here()
            try:
                return self.attempt()
            except requests.RequestException as error:
                failed = 0 if self.here() > before else failed + 1
                if failed == ATTEMPTS:
                    raise MirrorFailed(" ".join(str(error).split())[:200]) from None
                time.sleep(WAIT * 2 ** max(failed - 1, 0))

    def attempt(self):
        """Requests the missing part.

        Raises:
            MirrorFailed: if the server refuses for good.
            requests.RequestException: if another attempt may succeed.
        """
        headers = {"Accept-Encoding": "identity"}
        if start := self.here():
            headers["Range"] = f"bytes={start}-"
            if self.version:
                headers["If-Range"] = self.version
        with self.session.get(self.url, headers=headers, stream=True, timeout=(CONNECT, READ)) as response:
            answer = f"answers {response.status_code} {response.reason}"
            if response.status_code == 416:  # nothing is left to send, or the file has changed
                self.part.unlink()
                raise requests.ConnectionError(answer)
            if response.status_code in BUSY:
                raise requests.ConnectionError(answer)
            if response.status_code not in (200, 206):
                raise MirrorFailed(answer)
            tag = response.headers.get("ETag", "")
            self.version = tag if tag.startswith('"') else response.headers.get("Last-Modified")
            self.receive(response, start if response.status_code == 206 else 0)

    def receive(self, response: requests.Response, start: int):
        """Appends the body after the first `start` bytes."""
        total = total_size(response, start)
        if self.size and total and total != self.size:
            raise WrongFile(f"has a file of {total:,} bytes, not of {self.size:,}")
        chunks = response.iter_content(CHUNK)
        count = -(-(total - start) // CHUNK) if total else None
        with self.part.open("ab" if start else "wb") as file:
            name = f"download {self.url.rsplit('/', 1)[-1]}"
            for chunk in progress(chunks, name, unit="MB", total=count, scale=CHUNK / 1e6):
                file.write(chunk)
                if file.tell() > (total or self.size or LARGEST):
                    raise WrongFile(f"sends more than {total or self.size or LARGEST:,} bytes")
            if total and file.tell() < total:
                raise requests.ConnectionError(f"cut the connection at {file.tell():,} of {total:,} bytes")


def total_size(response: requests.Response, start: int) -> int | None:
    """Size of the whole file as the server states it; None if it does not."""
    if response.status_code == 206:
        range_ = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not range_ or int(range_[1]) != start:
            raise WrongFile(f"resumes at another position than requested: {response.headers.get('Content-Range')}")
        return int(range_[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def check(part: Path, sha256: str | None, magic: bytes):
    """Raises WrongFile if the file does not begin with `magic` or has another sha256."""
    with part.open("rb") as file:
        if file.read(len(magic)) != magic:
            raise WrongFile("has a file of another type")
    if sha256 and (actual := sha256_of(part)) != sha256:
        raise WrongFile(f"has another file: its sha256 is {actual}, not {sha256}")


def download(urls: list[str], path: Path, size: int | None, sha256: str | None, magic: bytes):
    """Downloads `path` from the first of `urls` that has the right file.

    A partial file of an interrupted run is resumed only if `sha256` is known, since only then can the whole be checked.

    Arguments:
        size, sha256: of the file, if known.
        magic: the file's first bytes.

    Raises:
        SystemExit: with each mirror's answer; `path` does not exist then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    answers = []
    for url in urls:
        part = path.with_name(f".{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
        if not sha256:
            part.unlink(missing_ok=True)
        try:
            Mirror(url, part, size).fetch()
            check(part, sha256, magic)
        except MirrorFailed as error:
            answers.append(f"  {url} {error}")
            if isinstance(error, WrongFile):
                part.unlink(missing_ok=True)
            continue
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        return
    lines = "\n".join(answers)
    raise SystemExit(f"{path} could not be downloaded; put it there by hand or try again later:\n{lines}")
