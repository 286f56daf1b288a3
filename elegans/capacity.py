"""Available memory, checked before a large allocation.

Like `elegans.errors` this file stands under every floor of the library: it imports the standard
library alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from elegans.errors import ElegansError, InputError

DEFLATE_GROWTH = 1032
"""A block of deflate (zip, gzip) grows at most so many times: a file bounds what it can hold."""

_MEMINFO = Path("/proc/meminfo")
_OWN_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_PAGES = Path("/proc/self/statm")


def available_bytes() -> int | None:
    """Return how many bytes can be allocated without swapping; None where nobody says.

    On Linux what the kernel calls available, or what the control groups (version 2) and the limit
    of address space of the process leave, whichever is least; elsewhere the machine's memory.
    """
    machine = _meminfo()
    if machine is None:
        return _sysconf()
    return min([machine, *_cgroups(), *_address_space()])


def require_bytes(
    needed: int, what: str, remedy: str, error: type[ElegansError] = InputError
) -> None:
    """Raise `error` if `what` needs more bytes than there are; unknown is enough.

    Examples
    --------
    >>> require_bytes(10**18, "a matrix of 10**17 numbers", "take a smaller one")
    Traceback (most recent call last):
        ...
    elegans.errors.InputError: a matrix of 10**17 numbers needs 931322574.6 GiB of memory
    (1000000000000000000 bytes), but ... GiB (... bytes) are available; take a smaller one
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise error(
            f"{what} needs {needed / 2**30:.1f} GiB of memory ({needed} bytes), but "
            f"{available / 2**30:.1f} GiB ({available} bytes) are available; {remedy}"
        )


def _meminfo() -> int | None:
    """Return what the kernel estimates that a new program can have."""
    try:
        lines = _MEMINFO.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _address_space() -> list[int]:
    """Return what a limit (ulimit -v) leaves of the address space of the process, if it has one."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(_OWN_PAGES.read_text().split()[0])
    except (ImportError, OSError, ValueError, IndexError):
        return []
    used = pages * resource.getpagesize()
    return [] if limit == resource.RLIM_INFINITY else [max(0, limit - used)]


def _cgroups() -> list[int]:
    """Return what each control group above the process leaves of its limit."""
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        if line.startswith("0::/"):  # version 2
            group = Path(line.removeprefix("0::/"))
            left += [_memory_left(_CGROUPS / folder) for folder in (group, *group.parents)]
    return [number for number in left if number is not None]


def _memory_left(folder: Path) -> int | None:
    """Return the limit of a control group less what it uses; None if it has no limit."""
    try:
        limit = int((folder / "memory.max").read_text())  # "max" is no number
        used = int((folder / "memory.current").read_text())
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(counts.get("inactive_file", 0)))  # a cache that gives way
    except (OSError, ValueError):
        return None


def _sysconf() -> int | None:
    """Return the machine's memory."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
    return size if size > 0 else None
