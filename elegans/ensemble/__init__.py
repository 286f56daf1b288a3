"""Many networks of one architecture trained at once: hundreds of seeds, masks and sparsities.

`Ensemble` holds them, `member_losses` splits their losses, `member_rates` gives each its own
learning rate; `stacking` brings them together, `chain` and `liquid` are the fast ways to compute.
"""

from elegans.ensemble.ensemble import Ensemble, member_losses
from elegans.ensemble.rates import member_rates

__all__ = ["Ensemble", "member_losses", "member_rates"]
