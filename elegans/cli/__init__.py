"""The shell: `elegans demo`, `train`, `evaluate` and `draw`.

What a command takes is a frozen dataclass in `elegans.cli.commands`; what it does is the function
`run` of the module named after it, imported when the command is chosen.
"""

from elegans.cli.main import main

__all__ = ["main"]
