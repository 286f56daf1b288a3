"""The lock of a run folder: who trains in it, so that nobody else does at the same time.

The file `training.lock` appears with its content, by a hard link, which is atomic on network disks,
too. One whose process is gone is replaced by the one process that could first lock the lock itself,
under a name that holds the token of the one that is gone: a token is used once, so nobody can
replace a lock other than the one that was looked at.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from elegans.errors import RunError
from elegans.files import make_folder, writing

LOCK = "training.lock"

_SILENT = 600.0
"""Seconds without a sign of life of which an error speaks."""
_READING = 2.0
"""Seconds that a lock is given to be written, where a disk has no hard links."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock."""

    pid: int
    host: str
    boot: str
    """The start of its system, empty where that is not told."""
    namespace: str
    """Where its number counts, empty where numbers count alike everywhere."""
    started: str
    """When it began: numbers of processes are used again."""
    since: str
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def here(cls) -> Holder:
        """Return this process, as a holder of a lock that no other is."""
        pid, since = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        return cls(pid, socket.gethostname(), _boot(), _namespace(), _start_of(pid) or "", since)

    @classmethod
    def of(cls, content: bytes) -> Holder | None:
        """Return the holder that a file names, None where it names none."""
        try:
            holder = cls(**json.loads(content))
            texts = holder.host, holder.boot, holder.namespace, holder.started, holder.since
            usable = all(isinstance(text, str) for text in texts) and holder.pid > 0
            int(holder.token, 16)  # it becomes a part of a name
        except (TypeError, ValueError, RecursionError):
            return None
        return holder if usable else None

    def content(self) -> bytes:
        """Return what the file says."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    def is_gone(self, last_sign: float) -> bool | None:
        """Return whether the process has ended, None where that cannot be told from here."""
        if self.host != socket.gethostname():
            return None
        if self.boot != _boot():  # the host began anew, or is another one of the same name
            if sys.platform != "linux":
                return None
            booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            return True if last_sign < booted else None
        if self.namespace != _namespace():
            return None
        if self.pid == os.getpid() and self.started == (_start_of(self.pid) or ""):
            return self.token not in {held.holder.token for held in list(_held.values())}
        return _start_of(self.pid) != self.started


@dataclass
class _Held:
    holder: Holder
    thread: int
    made: list[Path]
    """Folders that were made for the lock, the innermost first."""


_held: dict[Path, _Held] = {}
"""The locks of this process by their files."""
_changing = threading.Lock()


@contextmanager
def training_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which is made where there is none; true but in a nested call.

    A folder that was made is removed again if nothing was written into it.

    Raises
    ------
    RunError
        Another process, or another thread of this one, trains there, or may do so: the message
        names it, and what to do. Or the folder cannot be written to.
    """
    with writing(folder):
        path = folder.resolve() / LOCK
        missing = _missing(path.parent)
    holder = Holder.here()
    with _changing:
        before = _held.get(path)
        if before is not None and before.holder.pid == os.getpid():  # not that of a parent
            if before.thread != threading.get_ident():
                raise _refused(path, before.holder, gone=False, last_sign=time.time())
            is_nested = True
        else:
            is_nested = False
            held = _held[path] = _Held(holder, threading.get_ident(), missing)
    if is_nested:
        yield False
        return
    try:
        with writing(path):
            _take(path, holder)
            for left in path.parent.glob(f".{LOCK}.*"):  # of processes that were killed meanwhile
                left.unlink(missing_ok=True)
        with _given_back_on_signals(path):
            yield True
    finally:
        _give_back(path, held)


def refresh(folder: Path) -> None:
    """Give a sign of life, where this process holds the lock of a folder.

    Raises
    ------
    RunError
        Another process has taken the lock meanwhile, after someone deleted it.
    """
    path = folder.resolve() / LOCK
    held = _held.get(path)
    if held is None or held.holder.pid != os.getpid():
        return
    read = _read(path)
    if read is None:
        with writing(path):
            _take(path, held.holder)
    elif read[0] != held.holder:
        raise _refused(path, read[0], gone=False, last_sign=time.time())
    else:
        with suppress(OSError):  # the next one will do
            os.utime(path)


def _take(path: Path, holder: Holder) -> None:
    """Create the file, in place of one whose process is gone."""
    while not _created(path, holder):
        read = _read(path)
        if read is None:  # it was given back meanwhile
            continue
        found, last_sign = read
        if found == holder:  # the answer to the link was lost on a network disk
            return
        gone = found.is_gone(last_sign)
        if not gone:
            raise _refused(path, found, gone=gone, last_sign=last_sign)
        claim = path.with_name(f".{LOCK}.{found.token}")
        _take(claim, holder)
        try:
            again = _read(path)
            if again is not None and again[0] == found:
                with _beside(path, holder) as beside:
                    os.replace(beside, path)
                return
        finally:
            claim.unlink(missing_ok=True)


def _created(path: Path, holder: Holder) -> bool:
    """Create the file with its content; false where there is one, or its folder has just gone."""
    make_folder(path.parent)
    try:
        with _beside(path, holder) as beside:
            try:
                os.link(beside, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with path.open("xb") as file:
                    file.write(holder.content())
    except (FileExistsError, FileNotFoundError):
        return False
    return True


@contextmanager
def _beside(path: Path, holder: Holder) -> Iterator[Path]:
    """Write what the lock shall say into a file that goes at the end."""
    beside = path.with_name(f".{LOCK}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.write(holder.content())
            file.flush()
            os.fsync(file.fileno())
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> tuple[Holder, float] | None:
    """Return the holder of a lock and when it last gave a sign, None where there is no lock."""
    end = time.monotonic() + _READING
    while True:
        try:
            with path.open("rb") as file:
                holder = Holder.of(file.read())
                last_sign = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        if holder is not None:
            return holder, last_sign
        if time.monotonic() > end:
            raise RunError(
                f"{path}: got a lock that does not say who holds it, expected a process; delete "
                "this file if nobody trains in the folder"
            )
        time.sleep(0.05)


def _refused(path: Path, holder: Holder, *, gone: bool | None, last_sign: float) -> RunError:
    what = (
        f"{path.parent}: got a run that process {holder.pid} on {holder.host} has been training "
        f"since {holder.since}"
    )
    if gone is None:
        silent = time.time() - last_sign
        sign = f", without a sign of life for {silent / 60:.0f} minutes" if silent > _SILENT else ""
        return RunError(
            f"{what}{sign}, which cannot be checked from here, expected one that nobody trains; "
            f"wait for its end, or delete {path.parent / LOCK} if that process is gone"
        )
    return RunError(
        f"{what}, expected one that nobody trains; wait for its end, stop it, or choose another "
        "folder"
    )


def _give_back(path: Path, held: _Held) -> None:
    if held.holder.pid != os.getpid():  # a child that leaves the block of its parent
        return
    with suppress(OSError, RunError):
        read = _read(path)
        if read is not None and read[0] == held.holder:
            path.unlink(missing_ok=True)
        for folder in held.made:
            folder.rmdir()
    with _changing:
        _held.pop(path, None)


@contextmanager
def _given_back_on_signals(path: Path) -> Iterator[None]:
    """Give the lock back before a signal that ends the process does so."""
    held = _held[path]

    def end(number: int, frame: FrameType | None) -> None:
        _give_back(path, held)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may handle signals
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _missing(folder: Path) -> list[Path]:
    """Return the folders that there are not yet, the innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _start_of(pid: int) -> str | None:
    """Return when a process of this host began, empty where it is not told, None if it is gone."""
    if sys.platform == "win32":
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        times = [ctypes.c_ulonglong() for _ in range(4)]  # creation, exit, kernel, user
        told = handle and kernel.GetProcessTimes(handle, *map(ctypes.byref, times))
        if handle:
            kernel.CloseHandle(handle)
        return str(times[0].value) if told and not times[1].value else None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # it is another user's
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    asked = ["ps", "-o", "lstart=", "-p", str(pid)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.run(
        asked, env=environment, capture_output=True, text=True, check=False
    ).stdout.strip()
