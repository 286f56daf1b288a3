"""A liquid circuit that flies the moth, taught by imitation, rewired and pruned.

The circuit senses with noise and answers with the thrust of a stroke; the teacher it imitates
sees the truth. What noise hides in one stroke, the circuit's memory can find in several.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.control.policy import Policy
from elegans.data import Scales, Sequence, cut_windows
from elegans.errors import InputError
from elegans.layers.sequence_layer import SequenceLayer
from elegans.replications.hawkmoth.flight import Flights, Pilot, fly, lessons
from elegans.replications.hawkmoth.gusts import Gusts, Sensors
from elegans.replications.hawkmoth.teacher import STROKE, Teacher, controls_of
from elegans.training import Result, TrainingConfig, fit

Array = NDArray[np.float64]


class CircuitPilot:
    """Flies moths with a circuit, one step of it for each wing stroke.

    Parameters
    ----------
    model
        A layer with 4 or 8 inputs, as `Sensors` has, and 3 outputs: the thrust.
    scales
        What its inputs and outputs were scaled by in training.
    period
        Duration of a stroke in s.

    Raises
    ------
    InputError
        The circuit has other inputs or outputs.
    """

    def __init__(self, model: SequenceLayer, scales: Scales, period: float = STROKE) -> None:
        if model.input_size not in (4, 8) or model.output_size != 3:
            raise InputError(
                f"got a circuit with {model.input_size} inputs and {model.output_size} outputs, "
                "expected 8 inputs, or 4 without velocities, and 3 outputs; build it with three "
                "motor neurons"
            )
        self.model = model
        self.period = period
        self._policy = Policy(model, scales)

    def reset(self, batch: int) -> None:
        """Forget everything and prepare for `batch` moths."""
        self._policy.reset(batch)

    def __call__(self, observations: NDArray[Any]) -> Array:
        """Return the controls (batch, 3) for observations (batch, size) of one stroke."""
        if observations.shape[-1] != self.model.input_size:
            raise InputError(
                f"got observations of {observations.shape[-1]} numbers, expected "
                f"{self.model.input_size}, as the circuit has inputs; fly it with the sensors it "
                "learnt with"
            )
        return controls_of(self._policy(observations, self.period))


class FlightSchool:
    """Flights to learn from, what a teacher would have done in them, and the training on both.

    Flights of the teacher show how to hover, not how to come back from where a beginner gets: a
    circuit that has seen no others does not stay in the air. So the circuit flies too, at first
    with the teacher's help, the teacher says what would have been right, and the circuit learns
    from all flights so far.

    Parameters
    ----------
    teacher
        Who is imitated; that of the published moth by default.
    episodes
        Moths in a round of flights, at least 2; every sixth, beginning with the first, is for
        validation.
    strokes
        Wing strokes of a flight.
    gusts, sensors
        What disturbs; as for `fly`. Without velocities (``full`` of `Sensors` is false), the
        teacher's own flights still see them.
    seed
        Draws starts, gusts and noise, others than `fly` draws with the same seed.

    References
    ----------
    Ross, Gordon, Bagnell, "A reduction of imitation learning and structured prediction to
    no-regret online learning", AISTATS 2011: learning from the learner's own paths.

    Examples
    --------
    >>> import elegans, torch
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(8, AutoNCP(12, 3), generator=torch.Generator().manual_seed(0))
    >>> school = FlightSchool(episodes=6, strokes=40)
    >>> pilot, results = school.teach(model, TrainingConfig(steps=20), rounds=2)
    >>> len(results), len(school.lessons), pilot(np.zeros((5, 8))).shape
    (2, 12, (5, 3))
    """

    def __init__(
        self,
        teacher: Teacher | None = None,
        *,
        episodes: int = 60,
        strokes: int = 100,
        gusts: Gusts | None = None,
        sensors: Sensors | None = None,
        seed: int = 0,
    ) -> None:
        if episodes < 2:
            raise InputError(
                f"got episodes = {episodes}, expected at least 2: one to validate by; use 60"
            )
        self.teacher = Teacher.of() if teacher is None else teacher
        self.episodes = episodes
        self.strokes = strokes
        self.gusts = Gusts() if gusts is None else gusts
        self.sensors = Sensors() if sensors is None else sensors
        self.seed = seed
        self.rounds = 0
        self.lessons: list[Sequence] = []
        self._validating: list[Sequence] = []
        self._scales: Scales | None = None

    @property
    def scales(self) -> Scales:
        """The scales of the first round's flights, which stay.

        Raises
        ------
        InputError
            There were no flights yet.
        """
        if self._scales is None:
            raise InputError("got a school without flights, expected some; call watch()")
        return self._scales

    def watch(self, pilot: Pilot | None = None, share: float = 0.0) -> Flights:
        """Let `pilot` fly a round of fresh moths, and keep what the teacher says of it.

        Parameters
        ----------
        pilot
            A circuit or a formula; the teacher if left out.
        share
            The teacher takes this share of strokes, chosen at random. A beginner's moths are lost
            before there is much to learn from; with the teacher's help they stay in the air.

        Raises
        ------
        InputError, SolveError
            As `elegans.replications.hawkmoth.flight.fly`.
        """
        if not 0 <= share <= 1:
            raise InputError(f"got share = {share}, expected a number from 0 to 1; use 0.5")
        seed = (self.seed, self.rounds)
        size = self.sensors.size
        shared = _SharedPilot(self.teacher, pilot, size, 1.0 if pilot is None else share, seed)
        flights = fly(
            shared,
            self.episodes,
            seed,
            hover=self.teacher.hover,
            strokes=self.strokes,
            period=self.teacher.period,
            gusts=self.gusts,
            sensors=replace(self.sensors, full=True),
        )
        flights = replace(flights, observations=flights.observations[..., :size])
        fresh = lessons(flights, self.teacher)
        self.lessons += fresh
        self._validating += fresh[::6]
        if self._scales is None:
            self._scales = Scales.fit(self._learning())
        self.rounds += 1
        return flights

    def train(self, model: SequenceLayer, config: TrainingConfig) -> Result:
        """Train `model` on all flights so far, in windows; shorter flights are left out.

        Raises
        ------
        DataError
            The circuit does not fit the flights, or they are all too short.
        SolveError
            The training diverged.
        """
        validating = [flight for flight in self._validating if len(flight) >= config.window]
        learning = [flight for flight in self._learning() if len(flight) >= config.window]
        return fit(
            model,
            cut_windows(self.scales.apply(learning), config.window, config.training_stride),
            cut_windows(self.scales.apply(validating), config.window),
            config,
            progress=False,
        )

    def pilot(self, model: SequenceLayer) -> CircuitPilot:
        """Return `model` as a pilot, with the scales of this school."""
        return CircuitPilot(model, self.scales, self.teacher.period)

    def teach(
        self, model: SequenceLayer, config: TrainingConfig, rounds: int = 4
    ) -> tuple[CircuitPilot, list[Result]]:
        """Train `model` in `rounds`, each on new flights and all earlier ones.

        The first flights are the teacher's. Later ones are the circuit's; the teacher helps with
        half of the strokes, then with a quarter, and so on.

        Raises
        ------
        InputError
            `rounds` is less than 1, or the circuit does not fit.
        SolveError
            As `train` and `watch`.
        """
        if rounds < 1:
            raise InputError(f"got rounds = {rounds}, expected at least 1; use 4")
        results = []
        for _ in range(rounds):
            self.watch(None if self._scales is None else self.pilot(model), 0.5**self.rounds)
            results.append(self.train(model, config))
        return self.pilot(model), results

    def _learning(self) -> list[Sequence]:
        kept = {id(lesson) for lesson in self._validating}
        return [lesson for lesson in self.lessons if id(lesson) not in kept]


class _SharedPilot:
    """Teacher and pilot take turns, at random, moth by moth; the pilot has the first senses."""

    def __init__(
        self, teacher: Teacher, pilot: Pilot | None, size: int, share: float, seed: tuple[int, ...]
    ) -> None:
        self.teacher, self.pilot, self.size, self.share = teacher, pilot, size, share
        self._turns = np.random.default_rng(seed)

    def reset(self, batch: int) -> None:
        reset = getattr(self.pilot, "reset", None)
        if reset is not None:
            reset(batch)

    def __call__(self, observations: Array) -> Array:
        controls = self.teacher(observations)
        if self.pilot is not None:
            # Asked for every stroke, so that its memory does not miss any.
            own = self.pilot(observations[:, : self.size])
            teaches = self._turns.random(len(controls)) < self.share
            controls = np.where(teaches[:, None], controls, own)
        return controls
