"""Control: single steps of a circuit as a policy, plants, regulators, and loops with a proof."""

from typing import TYPE_CHECKING

from elegans.lazy import attach

if TYPE_CHECKING:
    from elegans.control.ensemble_policy import EnsemblePolicy as EnsemblePolicy
    from elegans.control.loops.reach import LoopTube as LoopTube
    from elegans.control.loops.reach import invariant_tube as invariant_tube
    from elegans.control.loops.reach import largest_start as largest_start
    from elegans.control.loops.reach import loop_tube as loop_tube
    from elegans.control.loops.safety import SafeSet as SafeSet
    from elegans.control.loops.safety import largest_safe_set as largest_safe_set
    from elegans.control.loops.safety import safe_set as safe_set
    from elegans.control.loops.youla import LoopProof as LoopProof
    from elegans.control.loops.youla import Youla as Youla
    from elegans.control.loops.youla import simulate as simulate
    from elegans.control.lqr import lqr_gain as lqr_gain
    from elegans.control.plants import LinearPlant as LinearPlant
    from elegans.control.plants import Plant as Plant
    from elegans.control.plants import cart_pole as cart_pole
    from elegans.control.plants import double_integrator as double_integrator
    from elegans.control.plants import pendulum as pendulum
    from elegans.control.policy import Controller as Controller
    from elegans.control.policy import Policy as Policy

__getattr__, __dir__, __all__ = attach(__name__)
