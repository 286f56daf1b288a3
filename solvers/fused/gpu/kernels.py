# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""Triton kernel that runs whole sequences; `host` launches it and states the design.

A program owns one piece of scratch memory, `room`, in which rows are (row, sample), samples
adjacent; a block of registers is (lane, sample). Threads exchange rows through the room: what one
phase writes, the next one reads after a barrier. After the last row follows a row of zeros, and
after the last lane of sums a lane of zeros: there look synapses and parts that only fill up a tile.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _portable_logistic(t):
    return 1 / (1 + tl.exp2(t))


@triton.jit
def _native_logistic(t):
    # Flushing subnormal numbers to zero spares the tests for them: a third of all instructions.
    if t.dtype == tl.float32:
        result = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1; add.f32 $0, $0, 0f3F800000; rcp.approx.ftz.f32 $0, $0;",
            "=&f,f",
            [t],
            dtype=tl.float32,
            is_pure=True,
            pack=1,
        )
    else:
        result = _portable_logistic(t)
    return result


_IS_NATIVE = isinstance(_native_logistic, triton.JITFunction) and not torch.version.hip

logistic = _native_logistic if _IS_NATIVE else _portable_logistic
"""Return 1 / (1 + 2^t)."""


@triton.jit
def phi(z):
    """Return (1 - e^-z) / z for z >= 0."""
    limit = 1.0 if z.dtype == tl.float32 else 0.25
    series = 1 - z * (1 / 12)
    for k in tl.static_range(11, 1, -1):
        series = 1 - z * series * (1 / k)
    return tl.where(z < limit, series, (1 - tl.exp(-z)) / tl.maximum(z, limit))


@triton.jit
def phi_slope(z):
    """Return (z / (e^z - 1) - 1) / z for z >= 0."""
    limit = 1.0 if z.dtype == tl.float32 else 0.25
    y = z * z
    series = (1 / 47900160) * y - 1 / 1209600
    series = ((series * y + 1 / 30240) * y - 1 / 720) * y + 1 / 12
    far = tl.maximum(z, limit)
    decay = tl.exp(-far)
    return tl.where(z < limit, series * z - 1 / 2, (far * decay / (1 - decay) - 1) / far)


@triton.jit
def places(row, BLOCK: tl.constexpr):
    """Return where the samples of `row` (lane,) stand among rows, (lane, sample)."""
    return row[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]


@triton.jit
def clear(rows, count, LANES: tl.constexpr, BLOCK: tl.constexpr):
    """Set `rows` (count, sample) to zero."""
    for start in range(0, count, LANES):
        row = start + tl.arange(0, LANES)
        zero = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        tl.store(rows + places(row, BLOCK), zero, mask=row[:, None] < count)


@triton.jit
def fetch(
    rows,
    x,
    count,
    stride,
    first,
    batch,
    ADD: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Copy, or add, `count` numbers of the samples from `first` on, `stride` apart in x, to `rows`.

    Samples that are missing are zero.
    """
    sample = first + tl.arange(0, BLOCK)
    for start in range(0, count, LANES):
        row = start + tl.arange(0, LANES)
        row_mask = row[:, None] < count
        at = sample.to(tl.int64)[None, :] * stride + row[:, None]
        value = tl.load(x + at, mask=row_mask & (sample < batch)[None, :], other=0.0)
        to = rows + places(row, BLOCK)
        if ADD:
            value += tl.load(to, mask=row_mask, other=0.0)
        tl.store(to, value, mask=row_mask)


@triton.jit
def values_at(value, positions, at):
    """Return weight, sigma, mu, erev at the positions `at`, all (lane, 1)."""
    weight = tl.load(value + at)[:, None]
    sigma = tl.load(value + positions + at)[:, None]
    mu = tl.load(value + 2 * positions + at)[:, None]
    erev = tl.load(value + 3 * positions + at)[:, None]
    return weight, sigma, mu, erev


@triton.jit
def open_gates(rows, sums, value, tiles, LANES: tl.constexpr, BLOCK: tl.constexpr):
    """Sum gates, and what they drive, over each lane: sums (2, lane, sample).

    Values and indices are loaded one step, and two steps, before they are used.
    """
    lane = tl.arange(0, LANES)
    for tile in range(tiles.tiles):
        conductance = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        drive = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        begin = tl.load(tiles.begin + tile)
        end = tl.load(tiles.begin + tile + 1)
        at = begin * LANES + lane
        x = tl.load(rows + places(tl.load(tiles.other + at), BLOCK))
        weight, sigma, mu, erev = values_at(value, tiles.positions, at)
        at += LANES
        source = tl.load(tiles.other + at)
        for _ in range(begin, end):
            next_x = tl.load(rows + places(source, BLOCK))
            next_weight, next_sigma, next_mu, next_erev = values_at(value, tiles.positions, at)
            at += LANES
            source = tl.load(tiles.other + at)
            open_part = logistic((x - mu) * (sigma * -1.4426950408889634))
            conductance += weight * open_part
            drive += (weight * erev) * open_part
            x, weight, sigma, mu, erev = next_x, next_weight, next_sigma, next_mu, next_erev
        to = places(tile * LANES + lane, BLOCK)
        tl.store(sums + to, conductance)
        tl.store(sums + (tiles.lanes + 1) * BLOCK + to, drive)


@triton.jit
def conducting(own, other, value, positions, at):
    """Return the conductance of junctions at the positions `at`, and whether current flows.

    `own` and `other` (lane, sample) are the potentials here and at the other end. Rows of values
    are the conductance and the way: 0 both ways, 1 from the other end only, -1 to it only.
    """
    weight = tl.load(value + at)[:, None]
    way = tl.load(value + positions + at)[:, None]
    return weight, (way == 0) | ((way > 0) & (other > own)) | ((way < 0) & (other < own))


@triton.jit
def open_junctions(rows, sums, value, tiles, LANES: tl.constexpr, BLOCK: tl.constexpr):
    """Sum what junctions conduct, and drive, over each lane, like `open_gates`.

    The other end pulls while current flows, else the neuron itself, which adds no current.
    """
    lane = tl.arange(0, LANES)
    for tile in range(tiles.tiles):
        conductance = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        drive = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        own = tl.load(rows + places(tl.load(tiles.own + tile * LANES + lane), BLOCK))
        begin = tl.load(tiles.begin + tile)
        end = tl.load(tiles.begin + tile + 1)
        for step in range(begin, end):
            at = step * LANES + lane
            other = tl.load(rows + places(tl.load(tiles.other + at), BLOCK))
            weight, flows = conducting(own, other, value, tiles.positions, at)
            conductance += weight
            drive += weight * tl.where(flows, other, own)
        to = places(tile * LANES + lane, BLOCK)
        tl.store(sums + to, conductance)
        tl.store(sums + (tiles.lanes + 1) * BLOCK + to, drive)


@triton.jit
def collect(into, sums, tiles, rows, row, BLOCK: tl.constexpr):
    """Add to `into` (lane, sample) the sums over the parts of each `row` (lane,)."""
    row_mask = row < rows
    for k in range(tiles.parts):
        lane = tl.load(tiles.part + k * rows + row, mask=row_mask, other=0)
        into += tl.load(sums + places(lane, BLOCK), mask=row_mask[:, None], other=0.0)
    return into


@triton.jit
def totals(base, sums, tiles, joined, junctions, neurons, row, BLOCK: tl.constexpr):
    """Return total conductance and drive of the neurons `row` (lane,), both (lane, sample).

    `sums` are those over the gates of `tiles`, `joined` those over `junctions`.
    """
    at = places(row, BLOCK)
    row_mask = (row < neurons)[:, None]
    conductance = tl.load(base + at, mask=row_mask, other=0.0)
    drive = tl.load(base + neurons * BLOCK + at, mask=row_mask, other=0.0)
    conductance = collect(conductance, sums, tiles, neurons, row, BLOCK)
    drive = collect(drive, sums + (tiles.lanes + 1) * BLOCK, tiles, neurons, row, BLOCK)
    conductance = collect(conductance, joined, junctions, neurons, row, BLOCK)
    of_drive = joined + (junctions.lanes + 1) * BLOCK
    drive = collect(drive, of_drive, junctions, neurons, row, BLOCK)
    return conductance, drive


@triton.jit
def sense(
    inputs, base, sums, value, tiles, neuron, neurons, LANES: tl.constexpr, BLOCK: tl.constexpr
):
    """Sum leak and sensory synapses over `inputs`: base (2, neuron, sample)."""
    open_gates(inputs, sums, value, tiles, LANES, BLOCK)
    tl.debug_barrier()
    for start in range(0, neurons, LANES):
        row = start + tl.arange(0, LANES)
        row_mask = row < neurons
        for side in tl.static_range(2):
            leak = tl.load(neuron + (1 + side) * neurons + row, mask=row_mask, other=0.0)[:, None]
            total = tl.full((LANES, BLOCK), 0.0, base.dtype.element_ty) + leak
            of_side = sums + side * (tiles.lanes + 1) * BLOCK
            total = collect(total, of_side, tiles, neurons, row, BLOCK)
            to = base + side * neurons * BLOCK + places(row, BLOCK)
            tl.store(to, total, mask=row_mask[:, None])


@triton.jit
def advance(x, capacitance, conductance, drive, h, EXPONENTIAL: tl.constexpr):
    """Return the state one solver step after x."""
    slope = drive - conductance * x
    if EXPONENTIAL:
        rate = h / capacitance
        after = x + slope * rate * phi(conductance * rate)
    else:
        after = x + h * slope / (capacitance + h * conductance)
    return tl.where(after == x, x, after)  # so that zeros keep their sign


@triton.jit(do_not_specialize=["batch", "time"])
def forward_kernel(
    x,
    initial,
    elapsed,
    neuron,
    recurrent_value,
    sensory_value,
    junction_value,
    states,
    scratch,
    recurrent,
    sensory,
    junctions,
    words,
    batch,
    time,
    inputs,
    neurons,
    unfolds,
    EXPONENTIAL: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Fill states (batch, time, neuron); `recurrent`, `sensory`, `junctions`: tiles by target."""
    room = scratch + tl.program_id(0).to(tl.int64) * words
    state = room
    seen = state + (neurons + 1) * BLOCK
    base = seen + (inputs + 1) * BLOCK
    sums = base + 2 * neurons * BLOCK
    sensory_sums = sums + 2 * (recurrent.lanes + 1) * BLOCK
    joined = sensory_sums + 2 * (sensory.lanes + 1) * BLOCK
    clear(state + neurons * BLOCK, 1, LANES, BLOCK)
    clear(seen + inputs * BLOCK, 1, LANES, BLOCK)
    for side in tl.static_range(1, 3):
        clear(sums + (side * (recurrent.lanes + 1) - 1) * BLOCK, 1, LANES, BLOCK)
        clear(sensory_sums + (side * (sensory.lanes + 1) - 1) * BLOCK, 1, LANES, BLOCK)
        clear(joined + (side * (junctions.lanes + 1) - 1) * BLOCK, 1, LANES, BLOCK)

    for first in range(tl.program_id(0) * BLOCK, batch, tl.num_programs(0) * BLOCK):
        sample = first + tl.arange(0, BLOCK)
        fetch(state, initial, neurons, neurons, first, batch, False, LANES, BLOCK)
        now = x
        for t in range(time):
            fetch(seen, now, inputs, time * inputs, first, batch, False, LANES, BLOCK)
            now += inputs
            tl.debug_barrier()
            sense(seen, base, sensory_sums, sensory_value, sensory, neuron, neurons, LANES, BLOCK)
            moment = sample.to(tl.int64) * time + t
            h = tl.load(elapsed + moment, mask=sample < batch, other=0.0)[None, :] / unfolds
            for unfold in range(unfolds):
                open_gates(state, sums, recurrent_value, recurrent, LANES, BLOCK)
                open_junctions(state, joined, junction_value, junctions, LANES, BLOCK)
                tl.debug_barrier()
                for start in range(0, neurons, LANES):
                    row = start + tl.arange(0, LANES)
                    row_mask = (row < neurons)[:, None]
                    at = state + places(row, BLOCK)
                    conductance, drive = totals(
                        base, sums, recurrent, joined, junctions, neurons, row, BLOCK
                    )
                    capacitance = tl.load(neuron + row, mask=row < neurons, other=1.0)[:, None]
                    before = tl.load(at, mask=row_mask, other=0.0)
                    after = advance(before, capacitance, conductance, drive, h, EXPONENTIAL)
                    tl.store(at, after, mask=row_mask)
                    if unfold == unfolds - 1:
                        to = moment[None, :] * neurons + row[:, None]
                        tl.store(states + to, after, mask=row_mask & (sample < batch)[None, :])
                tl.debug_barrier()
