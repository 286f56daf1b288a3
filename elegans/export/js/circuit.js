// Runs a trained circuit of elegans from its plain numbers: plain ES2017, in Node and in browsers.

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** (exp(z) - 1) / z, 1 at 0. */
const phi1 = (z) => (z === 0 ? 1 : Math.expm1(z) / z);

/** Gauss error function, by a series of positive terms. */
function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  let term = size, sum = size;
  for (let n = 1; term > 1e-17 * sum; n++) {
    term *= (2 * size * size) / (2 * n + 1);
    sum += term;
  }
  return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-size * size) * sum;
}

const ACTIVATIONS = {
  sigmoid,
  tanh: Math.tanh,
  relu: (x) => Math.max(x, 0),
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  lecun_tanh: (x) => 1.7159 * Math.tanh(0.666 * x),
};

const HEADS = { default: ["f", "g", "a", "b"], no_gate: ["f", "g", "a", "b"], pure: ["f"] };

/** State after the time t, from the maps of one neuron. */
function closedForm(mode, maps, t, rate, asymptote) {
  if (mode === "pure") {
    const f = maps[0];
    return asymptote - asymptote * f * Math.exp(-t * (Math.abs(rate) + Math.abs(f)));
  }
  const f = Math.tanh(maps[0]), g = Math.tanh(maps[1]), s = sigmoid(maps[2] * t + maps[3]);
  return mode === "no_gate" ? f + s * g : f * (1 - s) + s * g;
}

/** Synapses in the order of their targets, and which of them are silenced. */
class SynapseSet {
  constructor(plain, toNeurons, neurons) {
    this.toNeurons = toNeurons;
    this.start = Int32Array.from(plain.start);
    // A source beyond the neurons means the new state of the neuron that is left.
    this.reads = Int32Array.from(plain.source);
    this.source = this.reads.map((j) => (toNeurons ? j % neurons : j));
    this.target = new Int32Array(this.reads.length);
    for (let i = 0; i < neurons; i++) this.target.fill(i, this.start[i], this.start[i + 1]);
    this.values = {};
    for (const name of Object.keys(plain.values)) {
      this.values[name] = Float64Array.from(plain.values[name]);
    }
    // A gap junction stands twice, at both its ends; here is the place of the other one.
    this.twin = plain.values.way ? this._twins() : null;
    this.silenced = new Uint8Array(this.length);
    /** 1 where the synapse carries anything: neither it nor its source is silenced. */
    this.alive = new Uint8Array(this.length).fill(1);
    /** What flows: a conductance, or the weighted rate of the source. */
    this.flow = new Float64Array(this.length);
  }

  get length() {
    return this.reads.length;
  }

  _twins() {
    const key = (j, i) => `${j} ${i}`;
    const places = new Map([...this.source].map((j, k) => [key(j, this.target[k]), k]));
    return Int32Array.from(this.source, (j, k) => places.get(key(this.target[k], j)));
  }
}

/** A circuit and its state. */
class Circuit {
  /** Take what `as_plain` has written. */
  constructor(plain) {
    const size = plain.state_size, step = plain.step;
    this.plain = plain;
    this.size = size;
    this.inputSize = plain.input_names.length;
    this.outputSize = plain.output_names.length;
    this.equation = step.equation;
    this.state = new Float64Array(size);
    this.output = new Float64Array(this.outputSize);
    this.mapped = new Float64Array(this.inputSize);
    this.neurons = {};
    for (const name of Object.keys(step.neurons)) {
      this.neurons[name] = Float64Array.from(step.neurons[name]);
    }
    this.sets = {};
    for (const name of Object.keys(step.synapses)) {
      this.sets[name] = new SynapseSet(step.synapses[name], !name.endsWith("sensory"), size);
    }
    this.silencedNeurons = new Uint8Array(size);
    this.silencedInputs = new Uint8Array(this.inputSize);
    const room = () => new Float64Array(size);
    this._sensed = [room(), room()];  // conductance and drive without recurrent synapses
    this._gates = [room(), room()];
    this._old = room();
    this._stages = [];
    const places = Array.from({ length: size }, (_, i) => i);
    const order = this.neurons.order;
    this._order = order ? places.sort((i, j) => order[i] - order[j] || i - j) : places;
    this.read();
  }

  /** Forget everything. Lesions stay. */
  reset() {
    this.state.fill(0);
    this.read();
  }

  /** Silence a neuron, or let it speak: its potential is 0 and its synapses carry nothing. */
  silenceNeuron(neuron, silenced = true) {
    this.silencedNeurons[neuron] = silenced ? 1 : 0;
    if (silenced) this.state[neuron] = 0;
    this._lesioned();
  }

  /** Silence an input: its synapses carry nothing. */
  silenceInput(input, silenced = true) {
    this.silencedInputs[input] = silenced ? 1 : 0;
    this._lesioned();
  }

  /** Silence a synapse by the name of its set and its place there; a gap junction at both ends. */
  silenceSynapse(set, k, silenced = true) {
    const { silenced: places, twin } = this.sets[set];
    places[k] = silenced ? 1 : 0;
    if (twin) places[twin[k]] = places[k];
    this._lesioned();
  }

  /** End all lesions. */
  heal() {
    this.silencedNeurons.fill(0);
    this.silencedInputs.fill(0);
    for (const set of Object.values(this.sets)) set.silenced.fill(0);
    this._lesioned();
  }

  _lesioned() {
    for (const set of Object.values(this.sets)) {
      const sources = set.toNeurons ? this.silencedNeurons : this.silencedInputs;
      for (let k = 0; k < set.length; k++) {
        const isSilent = sources[set.source[k]] || (set.twin && sources[set.target[k]]);
        set.alive[k] = set.silenced[k] || isSilent ? 0 : 1;
        if (!set.alive[k]) set.flow[k] = 0;
      }
    }
    this.read();
  }

  /**
   * Take one step and return the outputs, whose memory is used again by the next step.
   *
   * `input` has the units of the data; `elapsed` is the time since the step before, in their unit
   * of time. Nothing happens where an error is thrown.
   */
  step(input, elapsed) {
    const plain = this.plain;
    if (input.length !== this.inputSize) {
      throw new RangeError(`got ${input.length} inputs, expected ${this.inputSize}`);
    }
    if (elapsed === undefined || elapsed === null) elapsed = plain.elapsed;
    if (!(elapsed >= 0 && elapsed < Infinity)) {
      throw new RangeError(`got elapsed ${elapsed}, expected the time since the step before`);
    }
    for (let j = 0; j < this.inputSize; j++) {
      if (!Number.isFinite(input[j])) {
        throw new RangeError(`got input ${input[j]} at ${j}, expected a finite number`);
      }
    }
    this._map(input);
    const t = elapsed / plain.unit;
    if (t > 0) this._advance(t);
    return this.read();
  }

  _map(input) {
    const { origin, factor, shift, clamp } = this.plain;
    for (let j = 0; j < this.inputSize; j++) {
      const value = clamp ? Math.min(Math.max(input[j], clamp[0][j]), clamp[1][j]) : input[j];
      this.mapped[j] = this.silencedInputs[j] && this.equation === "dense_closed_form"
        ? 0 : (value - origin[j]) * factor[j] + shift[j];
    }
  }

  _advance(t) {
    if (this.equation === "closed_form") this._advanceClosed(t);
    else if (this.equation === "dense_closed_form") this._advanceDense(t);
    else this._integrate(t);
    for (let i = 0; i < this.size; i++) if (this.silencedNeurons[i]) this.state[i] = 0;
  }

  /** Return the outputs of the present state. */
  read() {
    const { weight, bias, read, limits } = this.plain, all = this.state;
    const x = read ? read.map((i) => all[i]) : all;
    for (let o = 0; o < this.outputSize; o++) {
      let y = bias[o];
      if (Array.isArray(weight[o])) for (let i = 0; i < weight[o].length; i++) y += weight[o][i] * x[i];
      else y += weight[o] * x[o];
      this.output[o] = limits ? Math.min(Math.max(y, limits[0][o]), limits[1][o]) : y;
    }
    return this.output;
  }

  // --- differential equations: capacitance * dx/dt = drive - conductance * x -----------------

  _integrate(t) {
    const { solver, unfolds, rows, weights } = this.plain.integration;
    const x = this.state, h = t / unfolds, capacitance = this.neurons.capacitance;
    this._sense();
    for (let unfold = 0; unfold < unfolds; unfold++) {
      if (solver === "runge_kutta") {
        this._rungeKutta(h, rows, weights);
        continue;
      }
      if (solver === "exponential_midpoint") {
        this._old.set(x);
        this._gate(x);
        this._relax(this._old, x, h / 2);
        this._gate(x);
        this._relax(this._old, x, h);
        continue;
      }
      const [G, A] = this._gate(x);
      if (solver === "exponential") this._relax(x, x, h);
      else {
        for (let i = 0; i < this.size; i++) {
          x[i] += (h * (A[i] - G[i] * x[i])) / (capacitance[i] + h * G[i]);
        }
      }
    }
  }

  /** Write to `to` what follows from `from` after the time h with the gates as they are. */
  _relax(from, to, h) {
    const [G, A] = this._gates, capacitance = this.neurons.capacitance;
    for (let i = 0; i < this.size; i++) {
      const rate = h / capacitance[i];
      to[i] = from[i] + rate * (A[i] - G[i] * from[i]) * phi1(-rate * G[i]);
    }
  }

  _rungeKutta(h, rows, weights) {
    const x = this.state, old = this._old, capacitance = this.neurons.capacitance;
    old.set(x);
    while (this._stages.length < weights.length) this._stages.push(new Float64Array(this.size));
    const shifted = (row) => {
      for (let i = 0; i < this.size; i++) {
        let sum = 0;
        for (let j = 0; j < row.length; j++) sum += row[j] * this._stages[j][i];
        x[i] = old[i] + h * sum;
      }
    };
    for (let stage = 0; stage < weights.length; stage++) {
      shifted(rows[stage]);
      const [G, A] = this._gate(x), slope = this._stages[stage];
      for (let i = 0; i < this.size; i++) slope[i] = (A[i] - G[i] * x[i]) / capacitance[i];
    }
    shifted(weights);
  }

  /** Add up what does not depend on the state. */
  _sense() {
    const [G, A] = this._sensed, { conductance, drive } = this.neurons;
    if (this.equation === "liquid") {
      G.set(conductance);
      A.set(drive);
      this._open(this.sets.sensory, this.mapped, G, A);
    } else {
      G.fill(1);
      A.fill(0);
      this._sum(this.sets.sensory, this.mapped, A);
    }
  }

  /** Return conductance and drive of each neuron in a state. */
  _gate(x) {
    const [G, A] = this._gates;
    G.set(this._sensed[0]);
    A.set(this._sensed[1]);
    if (this.equation === "liquid") {
      this._open(this.sets.recurrent, x, G, A);
      if (this.sets.electrical) this._join(this.sets.electrical, x, G, A);
    } else {
      const activation = ACTIVATIONS[this.plain.step.choices.activation], bias = this.neurons.bias;
      this._sum(this.sets.recurrent, x.map((value, i) => activation(value + bias[i])), A);
    }
    return this._gates;
  }

  _open(set, values, G, A) {
    const { weight, gain, centre, potential } = set.values;
    const { source, target, alive, flow } = set;
    for (let k = 0; k < flow.length; k++) {
      if (!alive[k]) continue;
      const open = weight[k] / (1 + Math.exp(-gain[k] * (values[source[k]] - centre[k])));
      flow[k] = open;
      G[target[k]] += open;
      A[target[k]] += open * potential[k];
    }
  }

  /**
   * Add the currents through gap junctions; way is 1 or -1 where they flow to or from here only.
   * While none flows the neuron's own potential pulls, so that no step jumps.
   */
  _join(set, x, G, A) {
    const { source, target, alive, flow } = set, { weight, way } = set.values;
    for (let k = 0; k < flow.length; k++) {
      if (!alive[k]) continue;
      const here = x[target[k]], other = x[source[k]];
      const flows = way[k] === 0 || way[k] * (other - here) > 0;
      flow[k] = flows ? weight[k] : 0;
      G[target[k]] += weight[k];
      A[target[k]] += weight[k] * (flows ? other : here);
    }
  }

  _sum(set, values, A) {
    const { source, target, alive, flow } = set, weight = set.values.weight;
    for (let k = 0; k < flow.length; k++) {
      if (!alive[k]) continue;
      flow[k] = weight[k] * values[source[k]];
      A[target[k]] += flow[k];
    }
  }

  // --- closed forms ------------------------------------------------------------------------------

  _advanceClosed(t) {
    const { neurons, state } = this, mode = this.plain.step.choices.mode, names = HEADS[mode];
    const old = this._old, maps = new Array(names.length), sets = Object.values(this.sets);
    old.set(state);
    for (const i of this._order) {
      for (let m = 0; m < names.length; m++) maps[m] = neurons[names[m]][i];
      for (const set of sets) {
        const from = set.toNeurons ? old : this.mapped;
        for (let m = 0; m < names.length; m++) {
          const weight = set.values[names[m]];
          if (!weight) continue;
          for (let k = set.start[i]; k < set.start[i + 1]; k++) {
            if (!set.alive[k]) continue;
            const j = set.reads[k];
            const value = j < from.length ? from[j] : state[j - this.size];
            if (m === 0) set.flow[k] = weight[k] * value;
            maps[m] += weight[k] * value;
          }
        }
      }
      const pure = mode === "pure";
      state[i] = closedForm(mode, maps, t, pure ? neurons.rate[i] : 0, pure ? neurons.asymptote[i] : 0);
      if (this.silencedNeurons[i]) state[i] = 0;
    }
  }

  _advanceDense(t) {
    const { layers, choices } = this.plain.step, { mode } = choices, names = HEADS[mode];
    const activation = ACTIVATIONS[choices.activation];
    let x = [...this.mapped, ...this.state];
    layers.forEach(([weight, bias], number) => {
      const before = number ? x.map(activation) : x;
      x = weight.map((row, o) => row.reduce((sum, w, j) => sum + w * before[j], bias[o]));
    });
    const { rate, asymptote } = this.neurons, pure = mode === "pure";
    for (let i = 0; i < this.size; i++) {
      const maps = names.map((_, m) => x[m * this.size + i]);
      this.state[i] = closedForm(mode, maps, t, pure ? rate[i] : 0, pure ? asymptote[i] : 0);
    }
  }
}
