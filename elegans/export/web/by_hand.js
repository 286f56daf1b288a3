// A circuit without data: a slider or a wave for each input.

const RATE = 30;  // steps a second
const KEPT = 360;  // steps that are shown
const MOST_INPUTS = 12;  // with a slider

class HandDrive {
  constructor({ circuit, plain }) {
    this.circuit = circuit;
    this.plain = plain;
    this.dt = 1 / RATE;
    this.period = 90;
    const { low, high } = plain.drive;
    this.middle = low.map((value, j) => (value + high[j]) / 2);
    this.values = [...this.middle];
    this.waves = low.map((_, j) => j === 0);
    this.stageLabel = "Inputs and outputs over time.";
    this._forget();
  }

  _forget() {
    this.time = 0;
    const room = (count) => Array.from({ length: count }, () => []);
    this.inputs = room(this.circuit.inputSize);
    this.outputs = room(this.circuit.outputSize);
    this.circuit.reset();
  }

  reset() {
    this._forget();
  }

  advance() {
    const { low, high } = this.plain.drive;
    const input = this.values.map((value, j) => (this.waves[j]
      ? this.middle[j] + 0.5 * (high[j] - low[j]) * Math.sin((TURN * this.time) / this.period + j) : value));
    this.time++;
    this.circuit.step(input);
    const keep = (lines, values) => lines.forEach((line, k) => {
      line.push(values[k]);
      if (line.length > KEPT) line.shift();
    });
    keep(this.inputs, this.circuit.mapped);
    keep(this.outputs, this.circuit.output);
  }

  stats() {
    const names = this.plain.circuit.output_names;
    return [["step", this.time], ...[...this.circuit.output].slice(0, 2).map((value, k) =>
      [brief(names[k]), Math.abs(value) < 100 ? value.toFixed(2).replace("-", "−") : shown(value, 2)])];
  }

  state() {
    return "driven by hand";
  }

  controls() {
    const { input_names: names } = this.plain.circuit, { low, high } = this.plain.drive;
    const rows = names.slice(0, MOST_INPUTS).map((name, j) => {
      const wave = element("button", { type: "button", className: "small", textContent: "∿" });
      const mark = () => {
        wave.setAttribute("aria-pressed", String(this.waves[j]));
        wave.setAttribute("aria-label", `Give ${name} a wave`);
        wave.title = "A sine wave in place of the slider";
      };
      const row = slider(name, { min: low[j], max: high[j], step: (high[j] - low[j]) / 200 || "any",
        value: this.values[j], told: (value) => (this.waves[j] ? "wave" : shown(value)) }, (value) => {
        this.values[j] = value;
        if (!this.setting) this.waves[j] = false;
        mark();
      });
      wave.addEventListener("click", () => {
        this.waves[j] = !this.waves[j];
        this.setting = true;  // only the words change
        row.set(this.values[j]);
        this.setting = false;
        mark();
      });
      mark();
      row.append(wave);
      row.classList.add("line");
      return row;
    });
    const left = names.length - rows.length;
    if (left > 0) {
      const word = left > 1 ? `${left} more inputs rest` : "one more input rests";
      rows.push(element("p", { className: "note", textContent: `${word} in the middle of the range.` }));
    }
    rows.push(slider("Period of the waves", { min: 10, max: 300, step: 5, value: this.period,
      told: (value) => `${value} steps` }, (value) => (this.period = value)));
    return { buttons: [], sliders: rows };
  }

  pointerDown() {}

  pointerMove() {}

  pointerUp() {}

  draw(context, width, height, share, palette) {
    const colors = [palette.excitatory, palette.inhibitory, palette.good, palette.second, palette.muted, palette.ink];
    const { input_names: inputs, output_names: outputs } = this.plain.circuit;
    context.clearRect(0, 0, width, height);
    const half = height / 2;
    [["inputs, as the circuit is given them", this.inputs, inputs, 0], ["outputs", this.outputs, outputs, half]].forEach(
      ([title, lines, names, top]) => {
        context.font = font(12, 500);
        context.textAlign = "left";
        context.textBaseline = "alphabetic";
        context.fillStyle = palette.muted;
        let x = 14;
        [[title, null], ...names.slice(0, 6).map((name, k) => [brief(name), colors[k]])].forEach(([text, color]) => {
          const size = context.measureText(text).width;
          if (x + size > width - 30) return;
          if (color) {
            context.strokeStyle = color;
            context.lineWidth = 2.4;
            line(context, x, top + 16, x + 16, top + 16);
            x += 22;
          }
          context.fillText(text, x, top + 20);
          x += size + 16;
        });
        const kept = lines.slice(0, 6);
        plotLines(context, { x: 14, y: top + 30, width: width - 28, height: half - 42 },
          kept.map((values, k) => ({ values, color: colors[k] })), 0, KEPT - 1, rangeOf(kept), palette);
      });
  }
}
