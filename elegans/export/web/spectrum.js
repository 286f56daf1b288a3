// Eigenvalues of the circuit's Jacobian, where it is now.

const MOST_EIGENVALUES = 40;

/**
 * Return the Jacobian of the neurons that are not silenced: of the differential equation, or, for
 * a closed form, of one step, by central differences.
 */
function jacobian(circuit, t) {
  const live = [...circuit.state.keys()].filter((i) => !circuit.silencedNeurons[i]);
  const n = live.length, place = new Int32Array(circuit.size).fill(-1);
  live.forEach((i, k) => (place[i] = k));
  const rows = live.map(() => new Float64Array(n));
  const x = circuit.state, set = circuit.sets.recurrent, { neurons } = circuit;
  if (circuit.equation === "liquid") {
    const [G] = circuit._gate(x), { weight, gain, potential } = set.values;
    live.forEach((i, k) => (rows[k][k] -= G[i] / neurons.capacitance[i]));
    for (let k = 0; k < set.length; k++) {
      const i = set.target[k], to = place[i], from = place[set.source[k]];
      if (!set.alive[k] || to < 0) continue;
      const slope = gain[k] * set.flow[k] * (1 - set.flow[k] / weight[k] || 0);
      rows[to][from] += (slope * (potential[k] - x[i])) / neurons.capacitance[i];
    }
    const gaps = circuit.sets.electrical;
    for (let k = 0; gaps && k < gaps.length; k++) {
      const i = gaps.target[k], to = place[i];
      if (!gaps.alive[k]) continue;
      rows[to][place[gaps.source[k]]] += gaps.flow[k] / neurons.capacitance[i];
      rows[to][to] += (gaps.values.weight[k] - gaps.flow[k]) / neurons.capacitance[i];
    }
  } else if (circuit.equation === "rates") {
    const tanh = circuit.plain.step.choices.activation === "tanh", { weight } = set.values;
    live.forEach((i, k) => (rows[k][k] -= 1 / neurons.capacitance[i]));
    for (let k = 0; k < set.length; k++) {
      const i = set.target[k], j = set.source[k], to = place[i];
      if (!set.alive[k] || to < 0) continue;
      const rate = (tanh ? Math.tanh : sigmoid)(x[j] + neurons.bias[j]);
      const slope = tanh ? 1 - rate * rate : rate * (1 - rate);
      rows[to][place[j]] += (weight[k] * slope) / neurons.capacitance[i];
    }
  } else {
    const kept = Float64Array.from(x), size = 1e-5;
    const flows = Object.values(circuit.sets).map((one) => Float64Array.from(one.flow));
    live.forEach((j, from) => {
      const ends = [1, -1].map((sign) => {
        x.set(kept);
        x[j] += sign * size;
        circuit._advance(t);
        return Float64Array.from(x);
      });
      live.forEach((i, to) => (rows[to][from] = (ends[0][i] - ends[1][i]) / (2 * size)));
    });
    x.set(kept);
    Object.values(circuit.sets).forEach((one, k) => one.flow.set(flows[k]));
  }
  return rows;
}

/** Return the eigenvalues [re, im] of a real matrix: Hessenberg form, then QR steps with shifts. */
function eigenvalues(matrix) {
  const n = matrix.length, re = matrix.map((row) => Float64Array.from(row));
  for (let k = 0; k < n - 2; k++) {
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm = Math.hypot(norm, re[i][k]);
    if (norm === 0) continue;
    const v = new Float64Array(n);
    for (let i = k + 1; i < n; i++) v[i] = re[i][k];
    v[k + 1] += v[k + 1] < 0 ? -norm : norm;
    let square = 0;
    for (let i = k + 1; i < n; i++) square += v[i] * v[i];
    for (let j = 0; j < n; j++) {
      let dot = 0;
      for (let i = k + 1; i < n; i++) dot += v[i] * re[i][j];
      for (let i = k + 1; i < n; i++) re[i][j] -= (2 * dot * v[i]) / square;
    }
    for (let i = 0; i < n; i++) {
      let dot = 0;
      for (let j = k + 1; j < n; j++) dot += v[j] * re[i][j];
      for (let j = k + 1; j < n; j++) re[i][j] -= (2 * dot * v[j]) / square;
    }
  }
  const im = re.map(() => new Float64Array(n)), found = [];
  const turns = new Array(n);
  let end = n - 1, tries = 0;
  while (end >= 0) {
    let start = end;
    for (; start > 0; start--) {
      const near = Math.abs(re[start][start]) + Math.abs(im[start][start]) +
        Math.abs(re[start - 1][start - 1]) + Math.abs(im[start - 1][start - 1]);
      const below = Math.abs(re[start][start - 1]) + Math.abs(im[start][start - 1]);
      if (below <= 1e-14 * (near || 1)) break;
    }
    if (start === end || tries > 60) {
      found.push([re[end][end], im[end][end]]);
      end--;
      tries = 0;
      continue;
    }
    const shift = tries && tries % 15 === 0
      ? [re[end][end] + Math.hypot(re[end][end - 1], im[end][end - 1]), im[end][end]]
      : wilkinson(re, im, end);
    qrStep(re, im, start, end, shift, turns);
    tries++;
  }
  return found;
}

/** Return the eigenvalue of the last 2 x 2 block that is nearer to its last entry. */
function wilkinson(re, im, end) {
  const at = (i, j) => [re[i][j], im[i][j]];
  const times = (p, q) => [p[0] * q[0] - p[1] * q[1], p[0] * q[1] + p[1] * q[0]];
  const d = at(end, end), half = at(end - 1, end - 1).map((p, k) => (p - d[k]) / 2);
  const bc = times(at(end - 1, end), at(end, end - 1));
  const square = times(half, half).map((p, k) => p + bc[k]);
  const size = Math.hypot(...square);
  let root = [Math.sqrt((size + square[0]) / 2), Math.sqrt(Math.max(size - square[0], 0) / 2)];
  if (square[1] < 0) root[1] = -root[1];
  if (half[0] * root[0] + half[1] * root[1] < 0) root = [-root[0], -root[1]];
  const below = [half[0] + root[0], half[1] + root[1]], length = below[0] ** 2 + below[1] ** 2;
  if (length === 0) return d;
  const ratio = times(bc, [below[0] / length, -below[1] / length]);
  return [d[0] - ratio[0], d[1] - ratio[1]];
}

/** Replace the block H between start and end by R Q + shift, where H - shift = Q R. */
function qrStep(re, im, start, end, [sr, si], turns) {
  for (let i = start; i <= end; i++) {
    re[i][i] -= sr;
    im[i][i] -= si;
  }
  for (let k = start; k < end; k++) {
    const ar = re[k][k], ai = im[k][k], br = re[k + 1][k], bi = im[k + 1][k];
    const size = Math.sqrt(ar * ar + ai * ai + br * br + bi * bi) || 1;
    // The rotation [conj(c) conj(s); -s c] takes (a, b) to (size, 0).
    const cr = ar / size, ci = ai / size, tr = br / size, ti = bi / size;
    turns[k] = [cr, ci, tr, ti];
    const r0 = re[k], i0 = im[k], r1 = re[k + 1], i1 = im[k + 1];
    for (let j = k; j <= end; j++) {
      const pr = r0[j], pi = i0[j], qr = r1[j], qi = i1[j];
      r0[j] = cr * pr + ci * pi + tr * qr + ti * qi;
      i0[j] = cr * pi - ci * pr + tr * qi - ti * qr;
      r1[j] = ti * pi - tr * pr + cr * qr - ci * qi;
      i1[j] = -tr * pi - ti * pr + cr * qi + ci * qr;
    }
  }
  for (let k = start; k < end; k++) {
    const [cr, ci, tr, ti] = turns[k];
    for (let i = start; i <= k + 1; i++) {
      const real = re[i], other = im[i];
      const pr = real[k], pi = other[k], qr = real[k + 1], qi = other[k + 1];
      real[k] = pr * cr - pi * ci + qr * tr - qi * ti;
      other[k] = pr * ci + pi * cr + qr * ti + qi * tr;
      real[k + 1] = -pr * tr - pi * ti + qr * cr + qi * ci;
      other[k + 1] = pr * ti - pi * tr + qi * cr - qr * ci;
    }
  }
  for (let i = start; i <= end; i++) {
    re[i][i] += sr;
    im[i][i] += si;
  }
}
