"""One file from the first mirror that gives it whole: resumed where the connection broke, and checked."""

import hashlib
import os
import re
import time
from pathlib import Path

import requests

from stages.common.progress import progress

CONNECT, READ = 10, 60  # seconds that a server may stay silent
ATTEMPTS = 5  # that bring no new byte, of each mirror
WAIT = 1.0  # seconds after the first of them, doubled after each
CHUNK = 1 << 16  # bytes; of a piece that is cut short, nothing is kept
LARGEST = 4 << 30  # bytes
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that may change


class MirrorFailed(Exception):
    """A mirror does not give the file; the message says what it answered."""


class WrongFile(MirrorFailed):
    """What a mirror gives is not the file."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Mirror:
    """One place that may have the file; what came of it so far lies in `part`.

    Arguments:
        size: of the file in bytes, where it is known.
    """

    def __init__(self, url: str, part: Path, size: int | None):
        self.url, self.part, self.size = url, part, size
        self.session = requests.Session()
        self.version = None  # by which the server knows the file that it began to send

    def here(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def fetch(self):
        """The whole file, by as many attempts as bring new bytes, and `ATTEMPTS` that do not.

        Raises:
            MirrorFailed: where they came to nothing.
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
        """Asks for what is still missing.

        Raises:
            MirrorFailed: where this server will not give it.
            requests.RequestException: where it may, another time.
        """
        headers = {"Accept-Encoding": "identity"}
        if start := self.here():
            headers["Range"] = f"bytes={start}-"
            if self.version:
                headers["If-Range"] = self.version
        with self.session.get(self.url, headers=headers, stream=True, timeout=(CONNECT, READ)) as response:
            answer = f"answers {response.status_code} {response.reason}"
            if response.status_code == 416:  # there is nothing left to send, or by now it is another file
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
        """Writes the body behind the `start` bytes that are kept."""
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
    """Of the whole file, by what the server says, or None where it does not."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != start:
            raise WrongFile(f"resumes at another place than asked: {response.headers.get('Content-Range')}")
        return int(found[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def check(part: Path, sha256: str | None, magic: bytes):
    """Raises WrongFile where the file does not begin with `magic`, or is not the one of that sha256."""
    with part.open("rb") as file:
        if file.read(len(magic)) != magic:
            raise WrongFile("has a file of another kind")
    if sha256 and (found := sha256_of(part)) != sha256:
        raise WrongFile(f"has another file: its sha256 is {found}, not {sha256}")


def download(urls: list[str], path: Path, size: int | None, sha256: str | None, magic: bytes):
    """Fetches `path` from the first of `urls` whose file is the right one.

    What an interrupted run left is resumed only where `sha256` is known, which then says whether the pieces fit.

    Arguments:
        size, sha256: of the file, where they are known.
        magic: bytes that it begins with.

    Raises:
        SystemExit: with what each mirror answered; `path` is not there then.
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
    told = "\n".join(answers)
    raise SystemExit(f"{path} could not be downloaded; put it there by hand, or try again later:\n{told}")
