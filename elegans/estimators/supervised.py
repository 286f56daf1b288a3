"""Circuits that answer numbers or classes to sequences, or to each of their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from elegans.errors import DataError, InputError
from elegans.estimators.base import LiquidEstimator, fitting
from elegans.estimators.shapes import flat, labels_of, targets_of
from elegans.extras import require_extra

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin, RegressorMixin
else:
    _base = require_extra("sklearn.base", "lab")
    ClassifierMixin, RegressorMixin = _base.ClassifierMixin, _base.RegressorMixin


class LiquidRegressor(RegressorMixin, LiquidEstimator):  # type: ignore[misc]
    """A liquid circuit that answers numbers to sequences, with the habits of scikit-learn.

    An `elegans.LTC` with a linear map of all its potentials, rewired while it learns, on inputs
    and targets of mean 0 and deviation 1.

    Parameters
    ----------
    units
        Neurons of the circuit, an `AutoNCP`.
    wiring
        A recipe or a wiring instead; `units` and `sparsity` have no effect then.
    sparsity
        Share of absent synapses, from 0.1 to 0.9.
    unfolds
        Solver steps in each step of the data.
    mixed_memory
        Whether to add a memory cell, for long-term dependencies.
    steps, batch_size, learning_rate
        Of Adam; the learning rate falls in the second half.
    window
        Steps of the pieces that targets of every step are learnt on, whole sequences by default.
    rewire, rule
        Whether the circuit rewires itself, and by which of `elegans.pruning.RULES`.
    loss
        ``"mse"`` (as ``"auto"``), ``"mae"`` or ``"huber"``.
    sequence, time
        Columns of a DataFrame: which sequence a row belongs to, and when it was.
    device
        Such as ``"cuda"``; the CPU by default.
    random_state
        Draws wiring, weights and batches; None for others each time.
    verbose
        Whether to show a progress bar.

    Attributes
    ----------
    model_ : elegans.Readout
        The circuit, with the weights that were best on a tenth of the sequences, if there are ten.
    scales_ : elegans.data.Scales
        From the units of the data to those of the circuit.
    ledger_ : list of elegans.pruning.Edit
        What rewiring did.
    best_loss_ : float
        The error on that tenth, where targets have variance 1.
    n_features_in_, n_iter_ : int
        Inputs, and steps of training.

    Notes
    -----
    ``X`` is an array (sequence, time, feature), a list of arrays (time, feature) of any lengths, or
    an array (sample, feature), whose samples are sequences of one step; or, with `sequence` or
    `time`, a DataFrame, for which ``y`` may be given by row. A model is asked for one
    answer a sequence, after its last step, or for one at each step, as ``y`` says.

    Examples
    --------
    >>> import numpy as np
    >>> from elegans import LiquidRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 12, 2))
    >>> y = X[:, :, 0].sum(axis=1)  # one number a sequence
    >>> model = LiquidRegressor(16, steps=300).fit(X, y)
    >>> model.predict(X).shape, model.score(X, y) > 0.5
    ((40,), True)
    """

    _many_targets = True

    @fitting
    def fit(self, X: Any, y: Any, elapsed: Any = None) -> LiquidRegressor:
        """Train on sequences.

        Parameters
        ----------
        X
            Sequences, see the class.
        y
            Of each sequence: (sequence,) or (sequence, target). Of each step: (sequence, time),
            (sequence, time, target), or a list of arrays. NaN where it is not known.
        elapsed
            Time before each step, as the steps of X without features; 1 by default.

        Raises
        ------
        DataError, InputError
            Shapes do not fit, or a number is not finite.
        """
        steps = self._steps(X, elapsed, is_new=True)
        targets, self._form = targets_of(steps.of_rows(y), steps)
        self._train(steps.sequences(targets), classes=False)
        return self

    def predict(self, X: Any, elapsed: Any = None) -> Any:
        """Return the answers in the shape that ``y`` had in training, a list where X is one."""
        steps = self._steps(X, elapsed)
        answers = self._answers(steps)
        if self._form.per_step:
            return steps.as_given([a if self._form.has_axis else a[:, 0] for a in answers])
        last = np.stack([answer[-1] for answer in answers])
        return last if self._form.has_axis else last[:, 0]

    def score(self, X: Any, y: Any, sample_weight: Any = None, elapsed: Any = None) -> float:
        """Return R2, over all answers."""
        metrics = require_extra("sklearn.metrics", "lab")
        answers = self.predict(X, elapsed)
        if self._form.per_step:
            _refuse(sample_weight)
            answers, y = flat(answers), flat(y)
            known = ~np.isnan(y).reshape(len(y), -1).any(axis=1)
            answers, y = answers[known], y[known]
        return float(metrics.r2_score(y, answers, sample_weight=sample_weight))


class LiquidClassifier(ClassifierMixin, LiquidEstimator):  # type: ignore[misc]
    """A liquid circuit that tells classes of sequences, or of their steps.

    Parameters and attributes are those of `LiquidRegressor`; ``classes_`` are the labels.

    Examples
    --------
    >>> import numpy as np
    >>> from elegans import LiquidClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(k % 2, 1, size=(10 + k % 5, 2)) for k in range(40)]  # lengths differ
    >>> y = ["odd" if k % 2 else "even" for k in range(40)]
    >>> model = LiquidClassifier(16, steps=100).fit(X, y)
    >>> model.predict(X[:2]).tolist(), model.predict_proba(X).shape, model.score(X, y) > 0.9
    (['even', 'odd'], (40, 2), True)
    """

    @fitting
    def fit(self, X: Any, y: Any, elapsed: Any = None) -> LiquidClassifier:
        """Train on sequences.

        Parameters
        ----------
        X, elapsed
            As for `LiquidRegressor.fit`.
        y
            A label of each sequence, (sequence,), or of each step: (sequence, time), or a list of
            arrays.

        Raises
        ------
        DataError, InputError
            Shapes do not fit, a number is not finite, or there are fewer than two classes.
        """
        steps = self._steps(X, elapsed, is_new=True)
        labels, self._per_step = labels_of(steps.of_rows(y), steps)
        every = np.concatenate(labels)
        known = np.array([label is not None and label == label for label in every])
        self.classes_, found = np.unique(every[known], return_inverse=True)
        codes = np.full(len(every), -1)
        codes[known] = found
        if len(self.classes_) < 2:
            raise DataError(
                f"LiquidClassifier got 1 class, {self.classes_[0]}, expected at least two; "
                "give sequences of others"
            )
        ends = np.cumsum([len(each) for each in labels])[:-1]
        targets = []
        for x, code in zip(steps.inputs, np.split(codes, ends), strict=True):
            asked = np.full((len(x), len(self.classes_)), np.nan)
            rows = np.eye(len(self.classes_))[code]
            rows[code < 0] = np.nan  # not known
            asked[slice(None) if self._per_step else slice(-1, None)] = rows
            targets.append(asked)
        self._train(steps.sequences(targets), classes=True)
        return self

    def predict_proba(self, X: Any, elapsed: Any = None) -> Any:
        """Return the probabilities, (sequence, class), or of each step (sequence, time, class)."""
        steps = self._steps(X, elapsed)
        answers = self._answers(steps)
        if self._per_step:
            return steps.as_given([softmax(answer, axis=1) for answer in answers])
        return softmax(np.stack([answer[-1] for answer in answers]), axis=1)

    def predict(self, X: Any, elapsed: Any = None) -> Any:
        """Return the labels, in the shape that ``y`` had in training."""
        chances = self.predict_proba(X, elapsed)
        if isinstance(chances, list):
            return [self.classes_[each.argmax(axis=-1)] for each in chances]
        return self.classes_[chances.argmax(axis=-1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None, elapsed: Any = None) -> float:
        """Return the accuracy, over all answers."""
        metrics = require_extra("sklearn.metrics", "lab")
        answers = self.predict(X, elapsed)
        if self._per_step:
            _refuse(sample_weight)
            answers, y = flat(answers), flat(y)
        return float(metrics.accuracy_score(y, answers, sample_weight=sample_weight))


def _refuse(sample_weight: Any) -> None:
    """Raise `InputError` for weights of sequences where every step has an answer."""
    if sample_weight is not None:
        raise InputError(
            "got sample_weight for answers of every step, expected none; weigh the steps by a "
            "metric of scikit-learn on what predict returns"
        )
