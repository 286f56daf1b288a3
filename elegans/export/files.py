"""Files that an export consists of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elegans.arguments import checked
from elegans.errors import InputError, RunError
from elegans.files import make_folder, write_bytes, writing


@checked(InputError)
@dataclass(frozen=True)
class ExportedFiles:
    """Files by their names, in memory until they are saved.

    Parameters
    ----------
    files
        Content by name.
    summary
        What they are, in a sentence.

    Examples
    --------
    >>> exported = ExportedFiles({"circuit.h": b"/* a header */"}, "A header.")
    >>> [path.name for path in exported.save("exported")]
    ['circuit.h']
    >>> exported.save("exported")
    Traceback (most recent call last):
        ...
    elegans.errors.RunError: exported/circuit.h: got a file that is there already, expected none...
    """

    files: Mapping[str, bytes]
    summary: str

    def text(self, name: str) -> str:
        """Return a file as text."""
        return self.files[name].decode()

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write the files to a folder, which is made, and return where they are.

        Raises
        ------
        RunError
            A file is there already and `overwrite` is not set, or one cannot be written. Nothing
            is written in the first case.
        """
        paths = [Path(folder) / name for name in self.files]
        for path in paths:
            if not overwrite and os.path.lexists(path):
                raise RunError(
                    f"{path}: got a file that is there already, expected none; choose another "
                    "folder or name, or allow to overwrite it"
                )
        make_folder(Path(folder))
        for path, content in zip(paths, self.files.values(), strict=True):
            with writing(path):
                write_bytes(path, content)
        return paths
