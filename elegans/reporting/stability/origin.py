"""Origin of a report: when, with which versions and seeds, and from which files."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import elegans
from elegans.errors import InputError

_PACKAGES = ("torch", "numpy", "numba")
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class HashedFile:
    """A file, or the files of a folder in their order, and its SHA-256.

    Parameters
    ----------
    role
        What it holds, such as ``"data"`` or ``"weights"``.
    name
        Its name.
    sha256
        Hexadecimal, of the content now; None where it is not at hand.
    recorded
        The hash that was kept when the circuit was trained, or None.
    """

    role: str
    name: str
    sha256: str | None
    recorded: str | None = None

    @property
    def comparison(self) -> str:
        """What the two hashes say of each other, in words."""
        if self.recorded is None:
            return f"{NOT_RECORDED} in training" if self.role == "data" else ""
        if self.sha256 is None:
            return "as recorded in training; the file is not at hand"
        return "as in training" if self.sha256 == self.recorded else "another file than in training"


@dataclass(frozen=True)
class Origin:
    """When and from what a report was made; see `of`."""

    date: str
    """In UTC, ISO 8601 to the second."""
    versions: dict[str, str]
    """Of the library, Python and the packages that computed."""
    seed: int
    """That drew what the report sampled."""
    training_seed: int | None = None
    """That drew the run; None where it is not recorded."""
    training_version: str | None = None
    """The library's version that trained the circuit."""
    rollbacks: int | None = None
    """How often its training left the finite numbers and went back; None where not recorded."""
    files: tuple[HashedFile, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        date: datetime | None = None,
        seed: int = 0,
        training_seed: int | None = None,
        training_version: str | None = None,
        rollbacks: int | None = None,
        files: Iterable[HashedFile] = (),
    ) -> Origin:
        """Return the origin of a report that is made here.

        Parameters
        ----------
        date
            With a time zone; now, by default. Give one where two reports shall be equal.
        seed
            That of the report.
        training_seed, training_version, rollbacks
            Those of the run, None where they are not recorded.
        files
            Data and weights.

        Raises
        ------
        InputError
            The date has no time zone.

        Examples
        --------
        >>> from datetime import timezone
        >>> origin = Origin.of(date=datetime(2025, 6, 1, 12, tzinfo=timezone.utc))
        >>> origin.date, sorted(origin.versions)
        ('2025-06-01T12:00:00Z', ['Python', 'elegans', 'numba', 'numpy', 'torch'])
        """
        date = datetime.now(UTC) if date is None else date
        if date.tzinfo is None:
            raise InputError(
                f"got the date {date.isoformat()} without a time zone, expected one; pass "
                "datetime(..., tzinfo=timezone.utc)"
            )
        text = date.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(
            text, _versions(), seed, training_seed, training_version, rollbacks, tuple(files)
        )


def _versions() -> dict[str, str]:
    found = {"elegans": elegans.__version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
