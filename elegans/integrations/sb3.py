"""Liquid circuits as policies of Stable-Baselines3 and sb3-contrib.

`LiquidPolicy` goes where ``"MlpLstmPolicy"`` goes in sb3-contrib's ``RecurrentPPO``,
`LiquidExtractor` reads stacked observations for algorithms without memory, and `RewireCallback`
lets the circuits rewire themselves while they learn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from elegans.checks import check_choice
from elegans.errors import InputError
from elegans.extras import require_extra
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.ltc import LTC
from elegans.pruning import PruneRewire
from elegans.wiring import Recipe, Wiring

require_extra("sb3_contrib", "rl")

# Below the check, which names the extra where the package is missing.
from gymnasium import spaces  # noqa: E402
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor  # noqa: E402

MakeLayer = Callable[[int, Any], SequenceLayer]
"""What makes a layer of a number of inputs and a wiring, such as `elegans.LTC`."""

Read = Literal["all", "motor"]
"""Which neurons are read: all of them, or the motor neurons, through the output mapping."""

NEEDS_LOSS = (
    "rigl",
    "srigl",
    "soft_rigl",
    "hebbian",
    "active_development",
    "sparse_momentum",
)
"""Rules of rewiring that ask for the loss of a batch."""

_HOOKS = "_rewiring_hooks"


class LayerAsLSTM(nn.Module):
    """A layer in the shape in which sb3-contrib asks for an LSTM.

    Parameters
    ----------
    layer
        Any layer.
    read
        Which neurons are read.

    Examples
    --------
    >>> circuit = LayerAsLSTM(LTC(3, 8))
    >>> circuit.input_size, circuit.hidden_size, circuit.num_layers
    (3, 8, 1)
    """

    def __init__(self, layer: SequenceLayer, read: Read = "all") -> None:
        super().__init__()
        if not isinstance(layer, SequenceLayer):
            raise InputError(
                f"got a layer of {type(layer).__name__}, expected one such as elegans.LTC; a map "
                "of its neurons follows in the policy"
            )
        if not (layer.batch_first and layer.return_sequences):
            raise InputError(
                "got a layer without batch_first or return_sequences, expected one with both, as "
                "it is by default; leave the two arguments out"
            )
        if layer.cell.dtype != torch.float32:
            raise InputError(
                f"got a layer that computes in {layer.cell.dtype}, expected torch.float32, as "
                "Stable-Baselines3 keeps observations, states and actions; leave dtype out"
            )
        self.layer = layer
        self.read = read
        self.num_layers = 1
        self.input_size = layer.input_size
        self.hidden_size = layer.state_size

    @property
    def read_size(self) -> int:
        """Number of values that are read."""
        return self.layer.state_size if self.read == "all" else self.layer.output_size

    def forward(
        self, features: Tensor, states: tuple[Tensor, Tensor], starts: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the circuit over sequences, forgetting at each beginning of an episode.

        Parameters
        ----------
        features
            Shape (sequence, time, input).
        states
            Potentials and memory before the first step, (1, sequence, neuron) each; without mixed
            memory the second is passed on as it is.
        starts
            Where an episode begins, 0 or 1, shape (sequence, time).

        Returns
        -------
        values
            Shape (sequence, time, value).
        states
            After the last step.
        """
        keep = 1.0 - starts
        # The buffer cuts sequences where episodes begin, so that one pass does nearly always.
        inside = starts[:, 1:].any(0).nonzero().flatten() + 1
        bounds = [0, *inside.tolist(), features.shape[1]]
        h, c = states[0][0], states[1][0]
        read = []
        for begin, end in itertools.pairwise(bounds):
            h, c = h * keep[:, begin, None], c * keep[:, begin, None]
            piece = features[:, begin:end]
            if self.layer.memory is None:
                output, h, every = self.layer(piece, h, return_states=True)
            else:
                output, (h, c), every = self.layer(piece, (h, c), return_states=True)
            read.append(every if self.read == "all" else output)
        return torch.cat(read, 1), (h.unsqueeze(0), c.unsqueeze(0))


class LiquidPolicy(RecurrentActorCriticPolicy):
    r"""Actor and critic with a liquid circuit each, for sb3-contrib's ``RecurrentPPO``.

    .. math:: a(t) \sim \pi(\cdot \mid W x(t) + b), \quad V(t) = W' x'(t) + b'

    with the potentials x of the actor's circuit and x' of the critic's. Time passes by 1 between
    two observations. Circuits forget where an episode begins, each environment by itself.

    Parameters
    ----------
    observation_space, action_space, lr_schedule
        As Stable-Baselines3 passes them. Dictionaries of observations are joined by its
        ``CombinedExtractor``, unless another one is given.
    wiring
        Of both circuits: a recipe such as `elegans.wiring.AutoNCP`, or a number of neurons.
    layer
        Makes a layer of a number of inputs and the wiring: `elegans.LTC`, `elegans.CfC`,
        ``functools.partial(elegans.LTC, ode_unfolds=3)``.
    read
        ``"all"`` neurons, or ``"motor"`` neurons only, the outputs of the layer.
    net_arch
        Dense layers between circuit and actions or value, as in Stable-Baselines3; none by
        default, so that the actor is an `elegans.Readout`.
    critic
        ``"circuit"``: its own; ``"shared"``: the actor's, without gradients; ``"linear"``: none.
    **kwargs
        Other arguments of ``RecurrentActorCriticPolicy``.

    Raises
    ------
    InputError
        An argument is not valid, or the layer is not of float32; those of sb3-contrib about LSTMs
        are not taken. In training, the algorithm is not recurrent.
    MissingExtraError
        On import, where sb3-contrib is not installed: ``pip install 'elegans[rl]'``.

    Examples
    --------
    >>> from sb3_contrib import RecurrentPPO
    >>> from elegans.wiring import AutoNCP
    >>> settings = {"wiring": AutoNCP(12, 2)}
    >>> agent = RecurrentPPO(LiquidPolicy, "CartPole-v1", n_steps=16, policy_kwargs=settings)
    >>> agent = agent.learn(16)
    >>> agent.policy.actor().wiring
    Wiring(4 sensory, 6 inter, 4 command, 2 motor; 20 synapses, 12 sensory synapses)
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Callable[[float], float],
        *,
        wiring: Recipe | Wiring | int | None = None,
        layer: MakeLayer = LTC,
        read: Read = "all",
        net_arch: list[int] | dict[str, list[int]] | None = None,
        critic: Literal["circuit", "shared", "linear"] = "circuit",
        **kwargs: Any,
    ) -> None:
        check_choice("read", read, ("all", "motor"))
        check_choice("critic", critic, ("circuit", "shared", "linear"))
        if isinstance(observation_space, spaces.Dict):
            kwargs.setdefault("features_extractor_class", CombinedExtractor)
        lstm = sorted(name for name in kwargs if "lstm" in name)
        if lstm:
            raise InputError(
                f"got {lstm[0]!r} for a policy without LSTM, expected wiring=, layer=, read= and "
                "critic=; leave it out"
            )
        if wiring is None:
            raise InputError(
                "got no wiring, expected one in policy_kwargs; such as "
                'policy_kwargs={"wiring": AutoNCP(24, 4)}'
            )
        self._making: dict[str, Any] = {
            "wiring": wiring,
            "layer": layer,
            "read": read,
            "critic": critic,
        }
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            [] if net_arch is None else net_arch,
            lstm_hidden_size=1,  # of LSTMs that circuits replace below
            shared_lstm=critic == "shared",
            enable_critic_lstm=critic == "circuit",
            **kwargs,
        )
        self.lstm_actor: Any = self._made[0]
        if critic == "circuit":
            self.lstm_critic: Any = self._made[1]
        if critic == "linear":
            self.critic = nn.Linear(self.features_dim, self.lstm_output_dim)
        del self._made
        self.lstm_hidden_state_shape = (1, 1, self.lstm_actor.hidden_size)
        rate = {"lr": lr_schedule(1)}
        self.optimizer = self.optimizer_class(self.parameters(), **rate | self.optimizer_kwargs)
        self._clip_after_steps()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy; an optimiser leaves its hooks behind when it is copied."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._clip_after_steps()

    def _clip_after_steps(self) -> None:
        self.optimizer.register_step_post_hook(lambda *_: self.apply_weight_constraints())

    def forward(self, obs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return actions, values, log probabilities and the states of the circuits.

        Raises
        ------
        InputError
            The algorithm passes no states.
        """
        if not args and not kwargs.keys() & {"lstm_states", "episode_starts"}:
            raise InputError(
                "got observations without the states of the circuits, expected both, as "
                "sb3-contrib's RecurrentPPO passes them; take it in place of PPO or A2C, or give "
                "those a LiquidExtractor of stacked observations"
            )
        return super().forward(obs, *args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        """Make the circuits, whose size the dense layers depend on."""
        making = self._making
        self._made = [
            LayerAsLSTM(making["layer"](self.features_dim, making["wiring"]), making["read"])
            for _ in range(2 if making["critic"] == "circuit" else 1)
        ]
        self.lstm_output_dim = self._made[0].read_size
        super()._build_mlp_extractor()

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: Any, episode_starts: Tensor, lstm: Any
    ) -> tuple[Tensor, Any]:
        """Run a circuit over the sequences that the buffer has flattened."""
        sequences = lstm_states[0].shape[1]
        values, states = lstm(
            features.reshape(sequences, -1, lstm.input_size),
            lstm_states,
            episode_starts.reshape(sequences, -1),
        )
        return values.flatten(0, 1), states

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self._making

    def circuits(self) -> list[SequenceLayer]:
        """Return the layer of the actor and, if it has one of its own, that of the critic."""
        own = [self.lstm_actor, self.lstm_critic]
        return [circuit.layer for circuit in own if circuit is not None]

    def apply_weight_constraints(self) -> None:
        """Clip the parameters that must not be negative; done after each optimiser step."""
        for part in self.modules():
            if isinstance(part, LayerAsLSTM):
                part.layer.apply_weight_constraints()

    def actor(self) -> Readout:
        """Return the actor as a model of this library, which shares its parameters.

        Its outputs are the logits of a discrete action or the mean of a continuous one, of
        observations as the circuit gets them: flat, and normalised where the training has them so.
        Drive it by `elegans.Policy`, certify or draw it.

        Raises
        ------
        InputError
            There are dense layers between circuit and action, motor neurons only are read, or an
            extractor with weights of its own comes first.
        """
        if any(True for _ in self.pi_features_extractor.parameters()):
            raise InputError(
                f"got an actor behind {type(self.pi_features_extractor).__name__}, expected one "
                "that gets observations as they are; train without features_extractor_class"
            )
        if self._making["read"] != "all" or len(self.mlp_extractor.policy_net):
            raise InputError(
                f"got an actor with read={self._making['read']!r} and net_arch={self.net_arch}, "
                "expected a linear map of all neurons; train with read='all' and without net_arch"
            )
        head: Any = self.action_net
        readout = Readout(self.circuits()[0], head.out_features)
        readout.head = head
        return readout


class LiquidExtractor(BaseFeaturesExtractor):
    """A circuit that reads the last observations, for algorithms without memory.

    It begins at zero with the oldest and hands the potentials at the newest on.

    Parameters
    ----------
    observation_space
        Of shape (time, observation), as of ``gymnasium.wrappers.FrameStackObservation``, or, with
        `history`, of shape (time * observation,), as of Stable-Baselines3's ``VecFrameStack``.
    wiring, layer, read
        As in `LiquidPolicy`.
    history
        Number of observations in one of shape (time * observation,).

    Raises
    ------
    InputError
        An argument is not valid, or the observations have another shape.

    Examples
    --------
    >>> from gymnasium.spaces import Box
    >>> extractor = LiquidExtractor(Box(-1, 1, (16, 2)), wiring=12)
    >>> extractor(torch.zeros(5, 16, 2)).shape
    torch.Size([5, 12])
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        wiring: Recipe | Wiring | int,
        layer: MakeLayer = LTC,
        read: Read = "all",
        history: int | None = None,
    ) -> None:
        check_choice("read", read, ("all", "motor"))
        shape = observation_space.shape or ()
        if history is not None and len(shape) == 1 and history > 0 and not shape[0] % history:
            shape = (history, shape[0] // history)
        if len(shape) != 2:
            raise InputError(
                f"got observations of shape {observation_space.shape} and history={history}, "
                "expected (time, observation); wrap the environment by FrameStackObservation, or "
                "pass history=, the number of observations that VecFrameStack stacks"
            )
        circuit = LayerAsLSTM(layer(shape[1], wiring), read)
        if not circuit.layer.settings().get("implicit_param_constraints", True):
            raise InputError(
                "got a layer with implicit_param_constraints=False, whose weights nothing would "
                "clip here, expected one without; leave it out"
            )
        super().__init__(observation_space, circuit.read_size)
        self.circuit = circuit
        self._shape = shape

    def forward(self, observations: Tensor) -> Tensor:
        """Return what is read after the newest observation, (batch, value)."""
        x = observations.reshape(-1, *self._shape)  # (batch, time, observation)
        zeros = x.new_zeros(1, len(x), self.circuit.hidden_size)
        values: Tensor = self.circuit(x, (zeros, zeros), x.new_zeros(x.shape[:2]))[0]
        return values[:, -1]


class RewireCallback(BaseCallback):
    """Lets all circuits of a policy rewire themselves, after each optimiser step.

    For PPO and RecurrentPPO without ``target_kl``, whose number of optimiser steps follows from
    their settings. A training that goes on with the same callback is laid out anew. Rules that ask
    for a loss are not served, as the algorithm keeps it.

    Parameters
    ----------
    rule
        A name in `elegans.pruning.RULES`.
    synapses
        How many synapses there are to be in the end, all circuits together, for rules that thin.
    seed
        Of all random choices.
    verbose
        As in Stable-Baselines3.

    Raises
    ------
    InputError
        The rule asks for a loss; or, when training begins, the algorithm is another, or has
        ``target_kl``.
    PruningError
        When training begins: as `elegans.PruneRewire.from_rule`.

    Examples
    --------
    >>> from sb3_contrib import RecurrentPPO
    >>> from elegans.wiring import AutoNCP
    >>> agent = RecurrentPPO(
    ...     LiquidPolicy, "CartPole-v1", n_steps=32, policy_kwargs={"wiring": AutoNCP(12, 2)}
    ... )
    >>> rewiring = RewireCallback()
    >>> agent = agent.learn(128, callback=rewiring)
    >>> rewiring.rewirer.steps  # 4 rollouts of 10 epochs
    40
    """

    def __init__(
        self,
        rule: str = "free",
        synapses: int | None = None,
        seed: int = 0,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if rule in NEEDS_LOSS:
            raise InputError(
                f"got the rule {rule!r}, which asks for a loss that the algorithm keeps, expected "
                f"another; not one of {', '.join(NEEDS_LOSS)}"
            )
        self.rule, self.synapses, self.seed = rule, synapses, seed
        self.rewirer: PruneRewire | None = None

    def _on_training_start(self) -> None:
        agent: Any = self.model
        if not hasattr(agent, "n_epochs"):
            raise InputError(
                f"got {type(agent).__name__}, whose optimiser steps do not follow from its "
                "settings, expected PPO or RecurrentPPO"
            )
        if getattr(agent, "target_kl", None) is not None:
            raise InputError(
                f"got target_kl={agent.target_kl}, by which updates end before their last step, "
                "expected None, as rounds of rewiring are laid out by steps; leave it out"
            )
        rollout = agent.n_steps * agent.n_envs
        rollouts = math.ceil((self.locals["total_timesteps"] - agent.num_timesteps) / rollout)
        steps = rollouts * agent.n_epochs * math.ceil(rollout / agent.batch_size)
        optimizer = agent.policy.optimizer
        asked = self.synapses
        if asked is not None and self.rewirer is not None and self.rewirer.budget <= asked:
            asked = None  # thinned in an earlier training
        rule = "free" if asked is None and self.synapses is not None else self.rule
        self.rewirer = PruneRewire.from_rule(
            rule, agent.policy, optimizer, max(1, steps), asked, seed=self.seed
        )
        # A training that was interrupted has not come to its end.
        for earlier in getattr(optimizer, _HOOKS, ()):
            earlier.remove()
        setattr(optimizer, _HOOKS, [optimizer.register_step_post_hook(self._rewire)])

    def _rewire(self, *_: Any) -> None:
        assert self.rewirer is not None
        self.rewirer.step()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        for hook in getattr(self.model.policy.optimizer, _HOOKS, ()):
            hook.remove()
