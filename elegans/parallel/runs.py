"""The choice between chunks, whose error is proved, and Newton's method."""

from __future__ import annotations

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.parallel.chunks import ChunksInTime
from elegans.parallel.newton import NewtonInTime
from elegans.proofs.certificates.bound import ContractionBound
from elegans.proofs.certificates.certificate import Certificate


@checked(InputError)
def parallel_in_time(
    model: SequenceLayer | Readout,
    certificate: Certificate | ContractionBound | None = None,
    tolerance: float = 1e-5,
    *,
    chunks: int | None = None,
) -> ChunksInTime | NewtonInTime:
    r"""Return a model that is called like `model` and runs over a sequence in parallel.

    With a certificate whose step contracts by the factor kappa, a sequence is cut into chunks that
    run as one batch. Each begins W steps early in the middle of the certified box B, which lies
    within rho of every state of it, so that every output differs by at most

    .. math::
        |\Delta y_o| \le \rho\, \kappa^{K (W + 1)} \sum_i \Big|\frac{\partial y_o}{\partial x_i}
        \Big|\, \eta_i, \qquad \rho = \max_i \frac{hi_i - lo_i}{2 \eta_i}

    from that of the loop over time, with K unfolds a step; W is the least for which this is at most
    `tolerance`. Gradients are those of the chunks, and differ by as much from those of the loop, up
    to a constant: what a loss depends on beyond W steps is as small as what a state does.

    Without a certificate Newton's method solves for all states at once: each round replaces every
    step by its tangent and solves the linear recurrence as a tree, log2(T) deep. It is exact when
    it has converged, which the residual says, and pays on machines that are wide; see
    `NewtonInTime`.

    Parameters
    ----------
    model
        A layer without mixed memory, with a `Readout` or without one.
    certificate
        Of `elegans.proofs.certify` for this model, with ``certificate.step``; or the bound of a
        CT-RNN or CfC. Where the weights
        have changed since, as in training, the circuit is certified again at the next call.
    tolerance
        Largest error of an output, > 0; for Newton's method the largest residual of a potential.
    chunks
        How many chunks a sequence is cut into; by default as many as fill the kernels' vectors.

    Returns
    -------
    ChunksInTime or NewtonInTime
        Called with ``(input, hx=None, timespans=None)``, returns a `ParallelRun`: output, state,
        bound, and whether it is proved.

    Raises
    ------
    InputError
        The model has mixed memory, the certificate is about another circuit or proves nothing of
        its step, or the tolerance is not positive.

    References
    ----------
    Lim, Zhu, Selfridge, Kasim, "Parallelizing non-linear sequential models over the sequence
    length", ICLR 2024, for Newton's method.

    Examples
    --------
    >>> import torch
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> wiring = AutoNCP(12, 2, sparsity_level=0.8, seed=1)
    >>> model = elegans.LTC(4, wiring, generator=torch.Generator().manual_seed(0))
    >>> certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    >>> fast = parallel_in_time(model, certificate, tolerance=1e-4)
    >>> x = torch.rand(1, 5000, 4)
    >>> output, state, bound, proved = fast(x)
    >>> error = (output - model(x)[0]).abs().max().item()
    >>> error < bound + 1e-6, bound <= 1e-4, proved
    (True, True, True)
    """
    if certificate is None:
        return NewtonInTime(model, tolerance)
    return ChunksInTime(model, certificate, tolerance, chunks=chunks)
