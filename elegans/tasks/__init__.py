"""Tasks with a known answer, to train circuits on and to measure them.

`elegans.tasks.cartpole` imitates an optimal controller and drives the real simulator. Tasks that
need an optional package import without it and name the extra to install when used.
"""

from elegans.tasks import cartpole

__all__ = ["cartpole"]
