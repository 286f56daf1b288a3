// Sequences of the data: inputs, what was measured, and what the circuit answers.

const PER_SECOND = 20;
const MOST_TRACES = 6;

class RecordingDrive {
  constructor({ circuit, plain }) {
    this.circuit = circuit;
    this.intact = new Circuit(plain.circuit);
    this.plain = plain;
    this.classes = plain.drive.classes;
    this.sequences = plain.drive.sequences;
    this.dt = 1 / PER_SECOND;
    this.stageLabel = "Inputs, measured targets and predictions over time. Drag to move through time.";
    this.output = 0;
    this.choose(0);
  }

  choose(number) {
    this.sequence = this.sequences[number];
    this.at = 0;
    this.intactAnswers = this._run(this.intact).answers;
    this.lesioned();
    const columns = (rows) => (rows[0] || []).map((_, k) => rows.map((row) => row[k]));
    this.inputs = columns(this.sequence.inputs);
    this.targets = columns(this.sequence.targets);
  }

  /** Run a circuit from rest over the whole sequence. */
  _run(circuit) {
    const { inputs, elapsed } = this.sequence, kept = Float64Array.from(circuit.state);
    const states = [], answers = Array.from({ length: circuit.outputSize }, () => []);
    circuit.reset();
    inputs.forEach((row, t) => {
      const output = this._answer(circuit.step(row, elapsed[t]));
      output.forEach((value, o) => answers[o].push(value));
      states.push(Float64Array.from(circuit.state));
    });
    circuit.state.set(kept);
    return { states, answers };
  }

  /** Probabilities where the outputs are logits of classes. */
  _answer(output) {
    if (!this.classes.length) return [...output];
    const most = Math.max(...output), powers = [...output].map((value) => Math.exp(value - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((value) => value / sum);
  }

  /** Answer anew after a lesion. */
  lesioned() {
    Object.assign(this, this._run(this.circuit));
    this._show();
  }

  _show() {
    const { circuit, sequence, at } = this;
    if (at > 0) circuit.state.set(this.states[at - 1]);
    else circuit.state.fill(0);
    circuit.step(sequence.inputs[at], sequence.elapsed[at]);
  }

  advance() {
    if (this.at + 1 >= this.sequence.inputs.length) this.at = -1;
    this.at++;
    this._show();
    if (this.scrub) this.scrub.set(this.at);
  }

  reset() {
    this.at = 0;
    this._show();
    if (this.scrub) this.scrub.set(0);
  }

  seek(at) {
    if (at === this.at) return;
    this.at = Math.min(Math.max(at, 0), this.sequence.inputs.length - 1);
    this._show();
  }

  /** Error against what was measured: the root of the mean square, or the share of wrong classes. */
  _error(answers) {
    let sum = 0, count = 0;
    this.sequence.targets.forEach((row, t) => {
      if (row.some((value) => value === null)) return;
      if (this.classes.length) {
        const best = (values) => values.indexOf(Math.max(...values));
        sum += best(row) !== best(answers.map((line) => line[t]));
      } else sum += (row[this.output] - answers[this.output][t]) ** 2;
      count++;
    });
    if (!count) return NaN;
    return this.classes.length ? (100 * sum) / count : Math.sqrt(sum / count);
  }

  stats() {
    if (!this.errors || this.errors.answers !== this.answers || this.errors.output !== this.output) {
      this.errors = { answers: this.answers, output: this.output,
        now: this._error(this.answers), intact: this._error(this.intactAnswers) };
    }
    const unit = this.classes.length ? " %" : "", name = this.classes.length ? "wrong" : "error (rms)";
    return [["step", `${this.at + 1}/${this.sequence.inputs.length}`],
      [name, shown(this.errors.now) + unit], ["intact", shown(this.errors.intact) + unit]];
  }

  state() {
    const { steps, inputs } = this.sequence;
    return steps > inputs.length ? `the first ${inputs.length} of ${steps} steps` : "";
  }

  controls() {
    const rows = [];
    const choice = (label, names, chosen) => {
      const id = "choice-" + label.replace(/\W/g, "");
      const select = element("select", { id }, ...names.map((name, k) =>
        element("option", { value: k, textContent: name })));
      select.addEventListener("change", () => chosen(Number(select.value)));
      rows.push(element("div", { className: "choice" }, element("label", { for: id }, label), select));
    };
    if (this.sequences.length > 1) {
      choice("Sequence", this.sequences.map((one) => one.name), (number) => {
        this.choose(number);
        this.scrub.querySelector("input").max = this.sequence.inputs.length - 1;
        this.scrub.set(0);
      });
    }
    if (this.circuit.outputSize > 1 && !this.classes.length) {
      choice("Output", this.plain.circuit.output_names, (number) => (this.output = number));
    }
    this.scrub = slider("Time", { min: 0, max: this.sequence.inputs.length - 1, step: 1, value: 0,
      told: (at) => `step ${at + 1}` }, (at) => this.seek(at));
    return { buttons: [], sliders: [...rows, this.scrub] };
  }

  // --- the stage --------------------------------------------------------------------------------

  _time(x, width) {
    const last = this.sequence.inputs.length - 1;
    return Math.round(((x - 14) / (width - 28)) * last);
  }

  pointerDown(x, y, width) {
    this.held = true;
    this.scrub.set(Math.min(Math.max(this._time(x, width), 0), this.sequence.inputs.length - 1));
  }

  pointerMove(x, y, width) {
    if (this.held) this.pointerDown(x, y, width);
  }

  pointerUp() {
    this.held = false;
  }

  draw(context, width, height, share, palette) {
    const { sequence, plain, at } = this, last = sequence.inputs.length - 1;
    const colors = [palette.excitatory, palette.inhibitory, palette.good, palette.second, palette.muted, palette.ink];
    context.clearRect(0, 0, width, height);
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    const caption = (y, parts) => {
      let x = 14;
      for (const [text, color, dash] of parts) {
        context.font = font(12, 500);
        if (x + (color ? 22 : 0) + context.measureText(text).width > width - 10) break;
        if (color) {
          context.strokeStyle = color;
          context.lineWidth = 2.4;
          context.setLineDash(dash || []);
          line(context, x, y - 4, x + 16, y - 4);
          context.setLineDash([]);
          x += 22;
        }
        context.fillStyle = palette.muted;
        context.fillText(text, x, y);
        x += context.measureText(text).width + 16;
      }
    };
    const split = 0.42 * height, box = (y, h) => ({ x: 14, y, width: width - 28, height: h });
    const traces = this.inputs.slice(0, MOST_TRACES);
    const more = this.inputs.length - traces.length;
    caption(20, [...traces.map((_, k) => [brief(plain.circuit.input_names[k]), colors[k]]),
      ...(more > 0 ? [[`and ${more} more inputs`]] : [])]);
    const scaled = traces.map((values, k) => {
      const { origin, factor } = plain.circuit;
      return values.map((value) => (value - origin[k]) * Math.abs(factor[k]));
    });
    plotLines(context, box(30, split - 40), scaled.map((values, k) => ({ values, color: colors[k] })),
      0, last, rangeOf(scaled), palette);
    const below = box(split + 26, height - split - 40);
    if (this.classes.length) {
      const shownClasses = this.answers.slice(0, MOST_TRACES);
      const truth = this.targets.map((column) => column[at]);
      const name = truth.includes(null) ? "not known" : this.classes[truth.indexOf(1)];
      caption(split + 16, [[`class: ${name}; probability of`], ...shownClasses.map((_, k) =>
        [brief(this.classes[k]), colors[k]])]);
      plotLines(context, below, shownClasses.map((values, k) => ({ values, color: colors[k], width: 2 })),
        0, last, [-0.02, 1.02], palette);
    } else {
      const o = this.output, measured = this.targets[o], lesion = this.answers[o] !== this.intactAnswers[o]
        && this.answers[o].some((value, t) => value !== this.intactAnswers[o][t]);
      caption(split + 16, [[`${brief(plain.circuit.output_names[o])}:`], ["measured", palette.muted],
        ["circuit", palette.inhibitory], ...(lesion ? [["without lesions", palette.good, [3, 4]]] : [])]);
      plotLines(context, below, [
        { values: measured, color: palette.muted, width: 2.2 },
        ...(lesion ? [{ values: this.intactAnswers[o], color: palette.good, width: 1.4, dash: [3, 4] }] : []),
        { values: this.answers[o], color: palette.inhibitory, width: 2 },
      ], 0, last, rangeOf([measured, this.answers[o], this.intactAnswers[o]]), palette);
    }
    const x = 14 + ((width - 28) * at) / (last || 1);
    context.strokeStyle = palette.ink;
    context.lineWidth = 1.4;
    line(context, x, 28, x, height - 12);
  }
}
