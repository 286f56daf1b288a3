"""Commands of the shell: `elegans demo`, `train`, `evaluate`, `draw` and `report`.

The arguments of a command are a frozen dataclass in `elegans.cli.commands`. The function `run` of
the module named after the command runs it; the module is imported when the command is chosen.
"""

from elegans.cli.main import main

__all__ = ["main"]
