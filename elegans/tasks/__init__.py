"""Tasks with a known answer, to train circuits on and to measure them.

`elegans.tasks.cartpole` imitates an optimal controller and drives the real simulator;
`elegans.tasks.hawkmoth` flies a moth against gusts and draws the data of its controllers. Tasks
that need an optional package import without it and name the extra to install when used.
"""

from elegans.tasks import cartpole, hawkmoth
from elegans.tasks.extras import require_extra

__all__ = ["cartpole", "hawkmoth", "require_extra"]
