# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""The backward pass of `kernels.forward_kernel`; the same conventions hold.

With A the drive, G the conductance, slope = A - G x and D = C + h G, the semi-implicit step is
x+ = x + h slope / D, so for a gradient g of x+

    dA = g h / D,   dG = -x+ dA,   dx = g C / D (and through the gates),
    dC = -g h slope / D^2,   dh = g C slope / D^2.

With P = (h / C) phi(z), z = G h / C, the exponential step is x+ = x + slope P, so

    dA = g P,   dG = -x dA + g slope P (h / C) q(z),   dx = g e^-z (and through the gates),
    dC = -g slope P (1 + z q(z)) / C,   dh = g slope e^-z / C,

where q(z) = (z / (e^z - 1) - 1) / z. A gate w s, s = sigmoid(sigma (x_j - mu)), contributes
(erev dA + dG) times its own derivatives.
"""

from __future__ import annotations

import triton
import triton.language as tl

from elegans.solvers.fused.gpu.kernels import (
    advance,
    clear,
    collect,
    conducting,
    fetch,
    logistic,
    open_gates,
    open_junctions,
    phi,
    phi_slope,
    places,
    sense,
    totals,
    values_at,
)


@triton.jit
def add(to, value, mask):
    """Add to memory that only this program uses."""
    tl.store(to, tl.load(to, mask=mask, other=0.0) + value, mask=mask)


@triton.jit
def gates_back(
    rows,
    pulls,
    others,
    sums,
    value,
    value_gradient,
    tiles,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Carry gradients of conductances and drives back through the gates; `tiles` are by source.

    `pulls` (2, other + 1, sample) are the gradients at the targets and `rows` the potentials of the
    sources. Sums what reaches a source over each lane, sums (lane, sample), and adds to
    value_gradient (position, 4), whose positions have one lane each.
    """
    lane = tl.arange(0, LANES)
    columns: tl.constexpr = 4 if BLOCK < 4 else BLOCK
    column = tl.arange(0, columns)
    is_value = column[None, :] < 4
    drive_pulls = pulls + (others + 1) * BLOCK
    for tile in range(tiles.tiles):
        total = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        x = tl.load(rows + places(tl.load(tiles.own + tile * LANES + lane), BLOCK))
        begin = tl.load(tiles.begin + tile)
        end = tl.load(tiles.begin + tile + 1)
        at = begin * LANES + lane
        target = places(tl.load(tiles.other + at), BLOCK)
        g = tl.load(pulls + target)
        a = tl.load(drive_pulls + target)
        weight, sigma, mu, erev = values_at(value, tiles.positions, at)
        target = places(tl.load(tiles.other + at + LANES), BLOCK)
        for _ in range(begin, end):
            next_g = tl.load(pulls + target)
            next_a = tl.load(drive_pulls + target)
            ahead = at + LANES
            next_weight, next_sigma, next_mu, next_erev = values_at(value, tiles.positions, ahead)
            target = places(tl.load(tiles.other + ahead + LANES), BLOCK)
            to = value_gradient + at[:, None] * 4 + column[None, :]
            summed = tl.load(to, mask=is_value, other=0.0)

            distance = x - mu
            s = logistic(distance * (sigma * -1.4426950408889634))
            pull = g + a * erev
            from_weight = pull * s
            slope = (from_weight - from_weight * s) * weight
            total += slope * sigma
            # As columns, which the threads that hold them write without an exchange.
            of_weight = tl.sum(from_weight, axis=1)[:, None]
            of_sigma = tl.sum(slope * distance, axis=1)[:, None]
            of_mu = -tl.sum(slope * sigma, axis=1)[:, None]
            of_erev = tl.sum(a * s * weight, axis=1)[:, None]
            of_first = tl.where(column[None, :] == 0, of_weight, of_sigma)
            of_last = tl.where(column[None, :] == 2, of_mu, of_erev)
            tl.store(to, summed + tl.where(column[None, :] < 2, of_first, of_last), mask=is_value)

            g, a, at = next_g, next_a, ahead
            weight, sigma, mu, erev = next_weight, next_sigma, next_mu, next_erev
        tl.store(sums + places(tile * LANES + lane, BLOCK), total)


@triton.jit
def junctions_back(
    rows,
    pulls,
    others,
    sums,
    value,
    value_gradient,
    tiles,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Carry gradients of conductances and drives back through the junctions, like `gates_back`.

    Of the four columns of value_gradient the first is added to, that of conductances.
    """
    lane = tl.arange(0, LANES)
    drive_pulls = pulls + (others + 1) * BLOCK
    for tile in range(tiles.tiles):
        total = tl.full((LANES, BLOCK), 0.0, rows.dtype.element_ty)
        own = places(tl.load(tiles.own + tile * LANES + lane), BLOCK)
        x, own_a = tl.load(rows + own), tl.load(drive_pulls + own)
        begin = tl.load(tiles.begin + tile)
        end = tl.load(tiles.begin + tile + 1)
        for step in range(begin, end):
            at = step * LANES + lane
            target = places(tl.load(tiles.other + at), BLOCK)
            y = tl.load(rows + target)
            weight, flows = conducting(y, x, value, tiles.positions, at)
            a = tl.load(drive_pulls + target)
            total += tl.where(flows, a, own_a) * weight
            to = value_gradient + at * 4
            of_weight = tl.load(pulls + target) + a * tl.where(flows, x, y)
            tl.store(to, tl.load(to) + tl.sum(of_weight, axis=1))
        tl.store(sums + places(tile * LANES + lane, BLOCK), total)


@triton.jit
def step_back(x, after, aux, slope, g, capacitance, h, EXPONENTIAL: tl.constexpr):
    """Return the gradients dG, dA, dx, dC, dh of one solver step, all (lane, sample).

    `aux` is G for the exponential step, or else 1 / (C + h G).
    """
    if EXPONENTIAL:
        rate = h / capacitance
        z = aux * rate
        q = phi_slope(z)
        decay = tl.exp(-z)
        drive = g * rate * phi(z)
        change = slope * drive
        conductance = change * rate * q - drive * x
        direct = g * decay
        from_c = -change * (1 + z * q) / capacitance
        from_h = g * slope * decay / capacitance
    else:
        scaled = g * aux
        drive = scaled * h
        conductance = -drive * after
        direct = scaled * capacitance
        tilt = scaled * slope * aux
        from_c = -tilt * h
        from_h = tilt * capacitance
    return conductance, drive, direct, from_c, from_h


@triton.jit(do_not_specialize=["batch", "time"])
def backward_kernel(
    x,
    initial,
    elapsed,
    neuron,
    recurrent_value,
    sensory_value,
    junction_value,
    recurrent_value_by_source,
    sensory_value_by_source,
    junction_value_by_source,
    states,
    gradient,
    x_gradient,
    initial_gradient,
    elapsed_gradient,
    value_gradient,
    scratch,
    recurrent,
    sensory,
    junctions,
    recurrent_by_source,
    sensory_by_source,
    junctions_by_source,
    words,
    gradient_words,
    batch,
    time,
    inputs,
    neurons,
    unfolds,
    EXPONENTIAL: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Carry `gradient` (batch, time, neuron) of the states back to all that `forward` was given.

    value_gradient (program, word) begins at zero; each program adds its samples to the gradients of
    recurrent values, of sensory values and of junctions, (position, 4) by source, and of `neuron`.
    """
    program = tl.program_id(0).to(tl.int64)
    size = neurons * BLOCK
    walk = scratch + program * words
    aux = walk + (unfolds + 1) * (size + BLOCK)
    slopes = aux + unfolds * size
    seen = slopes + unfolds * size
    base = seen + (inputs + 1) * BLOCK
    pulls = base + 2 * size
    sensory_pulls = pulls + 2 * (size + BLOCK)
    direct = sensory_pulls + 2 * (size + BLOCK)
    from_c = direct + size
    from_h = from_c + size
    sums = from_h + size
    sensory_sums = sums + 2 * (recurrent.lanes + 1) * BLOCK
    back_sums = sensory_sums + 2 * (sensory.lanes + 1) * BLOCK
    sensory_back_sums = back_sums + (recurrent_by_source.lanes + 1) * BLOCK
    joined = sensory_back_sums + (sensory_by_source.lanes + 1) * BLOCK
    joined_back = joined + 2 * (junctions.lanes + 1) * BLOCK

    recurrent_gradient = value_gradient + program * gradient_words
    sensory_gradient = recurrent_gradient + 4 * recurrent_by_source.positions
    junction_gradient = sensory_gradient + 4 * sensory_by_source.positions
    neuron_gradient = junction_gradient + 4 * junctions_by_source.positions

    for u in range(unfolds + 1):
        clear(walk + u * (size + BLOCK) + size, 1, LANES, BLOCK)
    clear(seen + inputs * BLOCK, 1, LANES, BLOCK)
    for side in tl.static_range(1, 3):
        clear(pulls + side * (size + BLOCK) - BLOCK, 1, LANES, BLOCK)
        clear(sensory_pulls + side * (size + BLOCK) - BLOCK, 1, LANES, BLOCK)
        clear(sums + (side * (recurrent.lanes + 1) - 1) * BLOCK, 1, LANES, BLOCK)
        clear(sensory_sums + (side * (sensory.lanes + 1) - 1) * BLOCK, 1, LANES, BLOCK)
        clear(joined + (side * (junctions.lanes + 1) - 1) * BLOCK, 1, LANES, BLOCK)
    clear(sensory_back_sums + sensory_by_source.lanes * BLOCK, 1, LANES, BLOCK)

    for first in range(tl.program_id(0) * BLOCK, batch, tl.num_programs(0) * BLOCK):
        sample = first + tl.arange(0, BLOCK)
        present = (sample < batch)[None, :]
        clear(direct, neurons, LANES, BLOCK)
        clear(from_c, neurons, LANES, BLOCK)
        clear(back_sums, recurrent_by_source.lanes + 1, LANES, BLOCK)
        clear(joined_back, junctions_by_source.lanes + 1, LANES, BLOCK)
        tl.debug_barrier()
        for back in range(time):
            t = time - 1 - back
            moment = sample.to(tl.int64) * time + t
            now = tl.load(elapsed + moment, mask=sample < batch, other=0.0)[None, :]
            h = now / unfolds
            shift = t.to(tl.int64)
            given = gradient + shift * neurons
            fetch(direct, given, neurons, time * neurons, first, batch, True, LANES, BLOCK)
            clear(from_h, neurons, LANES, BLOCK)
            clear(sensory_pulls, neurons, LANES, BLOCK)
            clear(sensory_pulls + size + BLOCK, neurons, LANES, BLOCK)
            fetch(
                seen, x + shift * inputs, inputs, time * inputs, first, batch, False, LANES, BLOCK
            )
            if t == 0:
                fetch(walk, initial, neurons, neurons, first, batch, False, LANES, BLOCK)
            else:
                before = states + (shift - 1) * neurons
                fetch(walk, before, neurons, time * neurons, first, batch, False, LANES, BLOCK)
            tl.debug_barrier()

            # The forward pass keeps no steps within an element: take them again.
            sense(seen, base, sensory_sums, sensory_value, sensory, neuron, neurons, LANES, BLOCK)
            for u in range(unfolds):
                now_at = walk + u * (size + BLOCK)
                open_gates(now_at, sums, recurrent_value, recurrent, LANES, BLOCK)
                open_junctions(now_at, joined, junction_value, junctions, LANES, BLOCK)
                tl.debug_barrier()
                for start in range(0, neurons, LANES):
                    row = start + tl.arange(0, LANES)
                    row_mask = (row < neurons)[:, None]
                    at = places(row, BLOCK)
                    g, a = totals(base, sums, recurrent, joined, junctions, neurons, row, BLOCK)
                    c = tl.load(neuron + row, mask=row < neurons, other=1.0)[:, None]
                    state = tl.load(now_at + at, mask=row_mask, other=0.0)
                    after = advance(state, c, g, a, h, EXPONENTIAL)
                    tl.store(walk + (u + 1) * (size + BLOCK) + at, after, mask=row_mask)
                    kept = g if EXPONENTIAL else 1 / (c + h * g)
                    tl.store(aux + u * size + at, kept, mask=row_mask)
                    tl.store(slopes + u * size + at, a - g * state, mask=row_mask)
                tl.debug_barrier()

            for undo in range(unfolds):
                u = unfolds - 1 - undo
                for start in range(0, neurons, LANES):
                    row = start + tl.arange(0, LANES)
                    row_mask = (row < neurons)[:, None]
                    at = places(row, BLOCK)
                    pull = tl.load(direct + at, mask=row_mask, other=0.0)
                    pull = collect(pull, back_sums, recurrent_by_source, neurons, row, BLOCK)
                    pull = collect(pull, joined_back, junctions_by_source, neurons, row, BLOCK)
                    state = tl.load(walk + u * (size + BLOCK) + at, mask=row_mask, other=0.0)
                    after = tl.load(walk + (u + 1) * (size + BLOCK) + at, mask=row_mask, other=0.0)
                    kept = tl.load(aux + u * size + at, mask=row_mask, other=0.0)
                    slope = tl.load(slopes + u * size + at, mask=row_mask, other=0.0)
                    c = tl.load(neuron + row, mask=row < neurons, other=1.0)[:, None]
                    dg, da, dx, dc, dh = step_back(
                        state, after, kept, slope, pull, c, h, EXPONENTIAL
                    )
                    tl.store(direct + at, dx, mask=row_mask)
                    tl.store(pulls + at, dg, mask=row_mask)
                    tl.store(pulls + size + BLOCK + at, da, mask=row_mask)
                    add(from_c + at, dc, row_mask)
                    add(from_h + at, dh, row_mask)
                    add(sensory_pulls + at, dg, row_mask)
                    add(sensory_pulls + size + BLOCK + at, da, row_mask)
                tl.debug_barrier()
                gates_back(
                    walk + u * (size + BLOCK), pulls, neurons, back_sums,
                    recurrent_value_by_source, recurrent_gradient, recurrent_by_source, LANES,
                    BLOCK,
                )  # fmt: skip
                junctions_back(
                    walk + u * (size + BLOCK), pulls, neurons, joined_back,
                    junction_value_by_source, junction_gradient, junctions_by_source, LANES, BLOCK,
                )  # fmt: skip
                tl.debug_barrier()

            gates_back(
                seen, sensory_pulls, neurons, sensory_back_sums, sensory_value_by_source,
                sensory_gradient, sensory_by_source, LANES, BLOCK,
            )  # fmt: skip
            of_h = tl.full((BLOCK,), 0.0, scratch.dtype.element_ty)
            for start in range(0, neurons, LANES):
                row = start + tl.arange(0, LANES)
                row_mask = (row < neurons)[:, None]
                at = places(row, BLOCK)
                of_h += tl.sum(tl.load(from_h + at, mask=row_mask, other=0.0), axis=0)
                for side in tl.static_range(2):
                    leak = tl.load(
                        sensory_pulls + side * (size + BLOCK) + at, mask=row_mask, other=0.0
                    )
                    to = neuron_gradient + (1 + side) * neurons + row
                    add(to, tl.sum(leak, axis=1), row < neurons)
            tl.store(elapsed_gradient + moment, of_h / unfolds, mask=sample < batch)
            tl.debug_barrier()
            for start in range(0, inputs, LANES):
                row = start + tl.arange(0, LANES)
                of_x = tl.full((LANES, BLOCK), 0.0, scratch.dtype.element_ty)
                of_x = collect(of_x, sensory_back_sums, sensory_by_source, inputs, row, BLOCK)
                to = x_gradient + moment[None, :] * inputs + row[:, None]
                tl.store(to, of_x, mask=(row < inputs)[:, None] & present)

        for start in range(0, neurons, LANES):
            row = start + tl.arange(0, LANES)
            row_mask = (row < neurons)[:, None]
            at = places(row, BLOCK)
            pull = tl.load(direct + at, mask=row_mask, other=0.0)
            pull = collect(pull, back_sums, recurrent_by_source, neurons, row, BLOCK)
            pull = collect(pull, joined_back, junctions_by_source, neurons, row, BLOCK)
            to = initial_gradient + sample.to(tl.int64)[None, :] * neurons + row[:, None]
            tl.store(to, pull, mask=row_mask & present)
            of_c = tl.sum(tl.load(from_c + at, mask=row_mask, other=0.0), axis=1)
            add(neuron_gradient + row, of_c, row < neurons)
        tl.debug_barrier()
