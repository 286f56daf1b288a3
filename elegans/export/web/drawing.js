// The circuit on a canvas: neurons lit by potentials, synapses by what flows.

class Picture {
  constructor(canvas, plain, circuit) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.plain = plain;
    this.circuit = circuit;
    this.inputs = circuit.inputSize;
    this.nodes = plain.nodes.map(([x, y, layer, group]) => ({ x, y, layer, group, px: 0, py: 0 }));
    this.scale = 1e-9;
    this.inputScale = 1e-9;
    this.strongest = 1e-12;
    this.edges = plain.edges.map(([set, k, from, to, sign]) => ({ set, k, from, to, sign }));
    for (const name of new Set(this.edges.map((edge) => edge.set))) {
      const set = circuit.sets[name], weight = set.values.weight || set.values.f;
      this.strongest = weight.reduce((most, w) => Math.max(most, Math.abs(w)), this.strongest);
    }
    this.before = Float64Array.from(circuit.state);  // potentials a step ago
    this.inputsBefore = new Float64Array(this.inputs);
    this.flows = new Float32Array(this.edges.length);
    this.film = null;
    this.base = document.createElement("canvas");
    this.hovered = null;
    this.read = new Set(plain.read);  // neurons that outputs read, where they are not the motor ones
    this.isSlow = false;  // the device: weak synapses are then left to what stays
  }

  // --- places -----------------------------------------------------------------------------------

  layout(palette) {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    this.palette = palette;
    const context = this.context;
    context.font = font(12, 500);
    const layers = this.plain.layers, last = layers.length - 1;
    const wide = (layer) => Math.max(0, ...this.nodes.map((node, k) =>
      node.layer === layer && !numbered(this.plain.texts[k])
        ? context.measureText(brief(this.plain.texts[k])).width : 0));
    const least = width < 500 ? 18 : 30;
    const left = Math.max(least, wide(0) + 32), right = Math.max(least, wide(last) + 32);
    const choices = [
      this._placed(false, [left, 50, right, 24], width, height),
      this._placed(true, [34, 54, 34, 46], width, height),
    ];
    // From left to right, unless there is room for much wider distances from top to bottom, and for
    // the names of the layers beside.
    const taller = choices[1].least > 1.3 * choices[0].least && (width > 600 || choices[0].least < 12);
    const chosen = choices[taller ? 1 : 0];
    this.turned = chosen === choices[1];
    this.unit = chosen.unit;
    this.radius = Math.min(Math.max(0.34 * chosen.least, 3), width < 500 ? 13 : 17);
    chosen.points.forEach(([px, py], k) => Object.assign(this.nodes[k], { px, py }));
    this.width = width;
    this.height = height;
    for (const edge of this.edges) Object.assign(edge, this.curve(edge));
    if (this.film) this.film.edges.forEach((edge) => Object.assign(edge, this.curve(edge)));
    this._drawBase();
  }

  /** Places for one direction, the least distance of two neurons, and pixels of a unit. */
  _placed(turned, [left, top, right, bottom], width, height) {
    const at = this.nodes.map(({ x, y }) => (turned ? [-y, x] : [x, -y]));
    const span = [0, 1].map((axis) => {
      const values = at.map((point) => point[axis]);
      return [Math.min(...values), Math.max(...values)];
    });
    const room = [width - left - right, height - top - bottom];
    let factor = span.map(([low, high], axis) => room[axis] / Math.max(high - low, 1e-9));
    const along = turned ? 1 : 0, across = 1 - along;
    factor[across] = Math.min(factor[across], 64);
    factor[along] = Math.min(factor[along], 3.2 * factor[across], 130);
    factor[across] = Math.min(factor[across], 2 * factor[along]);
    const start = [left, top].map((edge, axis) =>
      edge + (room[axis] - factor[axis] * (span[axis][1] - span[axis][0])) / 2);
    const points = at.map((point) =>
      point.map((value, axis) => start[axis] + factor[axis] * (value - span[axis][0])));
    let least = 60;
    for (let i = 0; i < points.length; i++) {
      for (let j = 0; j < i; j++) {
        least = Math.min(least, Math.hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]));
      }
    }
    return { points, least, unit: Math.min(...factor) };
  }

  /** Ends, control points and paths of a synapse, which swings out to the left of its way. */
  curve({ from, to, sign }) {
    const a = this.nodes[from], b = this.nodes[to], r = this.radius;
    const gap = r + 3, head = Math.max(4, 0.42 * r), path = new Path2D(), tip = new Path2D();
    let points;
    if (from === to) {
      const size = 2.6 * r, up = this.turned ? [1, 0] : [0, -1], side = [up[1], -up[0]];
      const c = (s) => [0, 1].map((k) => [a.px, a.py][k] + size * (0.72 * s * side[k] + 0.9 * up[k]));
      points = [[a.px, a.py], c(-1), c(1), [a.px, a.py]];
    } else {
      const dx = b.px - a.px, dy = b.py - a.py, length = Math.hypot(dx, dy) || 1;
      const inside = a.group === b.group && a.group >= 0;
      const swing = inside ? Math.min(0.5 * this.unit + 0.3 * length, 2.6 * this.unit + r)
        : Math.min(0.1 * length, 0.7 * this.unit);
      const mid = [(a.px + b.px) / 2 + (swing * dy) / length, (a.py + b.py) / 2 - (swing * dx) / length];
      const near = (p) => [p[0] + (2 / 3) * (mid[0] - p[0]), p[1] + (2 / 3) * (mid[1] - p[1])];
      points = [[a.px, a.py], near([a.px, a.py]), near([b.px, b.py]), [b.px, b.py]];
    }
    const unit = (p, q) => {
      const d = [q[0] - p[0], q[1] - p[1]], length = Math.hypot(...d) || 1;
      return [d[0] / length, d[1] / length];
    };
    const leaving = unit(points[0], points[1]), arriving = unit(points[2], points[3]);
    const tipAt = [0, 1].map((k) => points[3][k] - gap * arriving[k]);
    const neck = sign > 0 ? [0, 1].map((k) => tipAt[k] - 0.8 * head * arriving[k]) : tipAt;
    points[0] = [0, 1].map((k) => points[0][k] + 0.9 * r * leaving[k]);
    points[3] = neck;
    path.moveTo(...points[0]);
    path.bezierCurveTo(...points[1], ...points[2], ...points[3]);
    const across = [-arriving[1], arriving[0]], half = (sign > 0 ? 0.42 : 0.62) * head;
    const corner = (back, s) => [0, 1].map((k) => tipAt[k] - back * arriving[k] + s * half * across[k]);
    if (sign > 0) {
      tip.moveTo(...tipAt);
      tip.lineTo(...corner(head, 1));
      tip.lineTo(...corner(head, -1));
      tip.closePath();
    } else if (sign < 0) {
      tip.moveTo(...corner(0, 1));
      tip.lineTo(...corner(0, -1));
    }
    return { points, path, tip };
  }

  // --- what stays -------------------------------------------------------------------------------

  color(sign) {
    const { excitatory, inhibitory, neutral } = this.palette;
    return sign > 0 ? excitatory : sign < 0 ? inhibitory : neutral;
  }

  _drawBase() {
    const { base, canvas, palette } = this;
    base.width = canvas.width;
    base.height = canvas.height;
    const context = base.getContext("2d");
    context.setTransform(canvas.width / this.width, 0, 0, canvas.height / this.height, 0, 0);
    if (!this.film) {
      context.globalAlpha = Math.min(0.34, Math.max(0.07, 2.2 / Math.sqrt(this.edges.length || 1)));
      for (const edge of this.edges) this._stroke(context, edge, this.color(edge.sign), 0.9);
    }
    context.globalAlpha = 1;
    this._drawNames(context, palette);
  }

  _stroke(context, edge, color, width) {
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = width;
    context.stroke(edge.path);
    if (edge.sign > 0) context.fill(edge.tip);
    else if (edge.sign < 0) {
      context.lineWidth = Math.max(1.6, width);
      context.stroke(edge.tip);
    }
  }

  _drawNames(context, palette) {
    const layers = this.plain.layers, last = layers.length - 1;
    context.textBaseline = "middle";
    const ends = [0, 0];  // of what is written already, in two rows
    layers.forEach((layer, number) => {
      const inside = this.nodes.filter((node) => node.layer === number);
      if (!inside.length) return;
      const mean = inside.reduce((sum, node) => sum + node.px, 0) / inside.length;
      const text = layer.name;
      context.font = font(12, 600);
      const size = context.measureText(text).width;
      context.font = font(12);
      const count = String(layer.size);
      const whole = size + 5 + context.measureText(count).width;
      let x = Math.min(Math.max(mean - whole / 2, 8), this.width - whole - 8), y = 18;
      if (this.turned) {
        x = 12;
        y = Math.min(...inside.map((node) => node.py)) - this.radius - 13;
      } else {
        const row = x < ends[0] && x >= ends[1] ? 1 : 0;
        ends[row] = x + whole + 10;
        y += 15 * row - (this.width < 500 ? 4 : 0);
      }
      context.textAlign = "left";
      context.font = font(12, 600);
      context.fillStyle = palette.layer(layer.color === "#DDCC77" && !palette.dark ? "#8a7a1c" : layer.color);
      context.fillText(text, x, y);
      context.font = font(12);
      context.fillStyle = palette.muted;
      context.fillText(count, x + size + 5, y);
    });
    context.font = font(12, 500);
    context.fillStyle = palette.ink;
    this.nodes.forEach((node, k) => {
      const text = this.plain.texts[k], ends = node.layer === 0 || node.layer === last;
      if (numbered(text) || this.radius < 5) return;
      if (!ends && this.radius < 11) return;
      const beside = this.radius + 9;
      if (this.turned || !ends) {
        context.textAlign = "center";
        const above = this.turned && node.layer === 0;
        context.fillText(brief(text), node.px, node.py + (above ? -1 : 1) * (this.radius + 13));
      } else {
        context.textAlign = node.layer === 0 ? "right" : "left";
        context.fillText(brief(text), node.px + (node.layer === 0 ? -beside : beside), node.py);
      }
    });
  }

  // --- what moves -------------------------------------------------------------------------------

  /** Remember the state before a step, between which and the next one frames are drawn. */
  remember() {
    this.before.set(this.circuit.state);
    this.inputsBefore.set(this.circuit.mapped);
  }

  /** Draw the circuit a share of a step after the last one; `time` in seconds moves the pulses. */
  draw(share, time, pulses) {
    const { context, circuit, palette } = this;
    context.clearRect(0, 0, this.width, this.height);
    context.drawImage(this.base, 0, 0, this.width, this.height);
    context.lineCap = "round";
    if (this.film) this._drawFilm(context);
    else this._drawSynapses(context, time, pulses);
    let most = 0, mostInput = 0;
    for (const value of circuit.state) most = Math.max(most, Math.abs(value));
    for (const value of circuit.mapped) mostInput = Math.max(mostInput, Math.abs(value));
    this.scale = Math.max(0.999 * this.scale, most);
    this.inputScale = Math.max(0.999 * this.inputScale, mostInput);
    const radius = this.radius;
    this.nodes.forEach((node, k) => {
      const i = k - this.inputs, isInput = i < 0;
      const [old, now, scale] = isInput ? [this.inputsBefore[k], circuit.mapped[k], this.inputScale]
        : [this.before[i], circuit.state[i], this.scale];
      const value = (old + share * (now - old)) / scale;
      const silenced = isInput ? circuit.silencedInputs[k] : circuit.silencedNeurons[i];
      const layer = palette.layer(this.plain.layers[node.layer].color);
      if (!silenced) {
        context.globalAlpha = 0.26 * Math.min(1, Math.abs(value));
        context.fillStyle = palette.of(value < 0 ? -1 : 1);
        context.beginPath();
        context.arc(node.px, node.py, radius * (1.25 + 0.45 * Math.min(1, Math.abs(value))), 0, TURN);
        context.fill();
        context.globalAlpha = 1;
      }
      context.beginPath();
      context.arc(node.px, node.py, radius, 0, TURN);
      context.fillStyle = silenced ? palette.card : palette.of(value);
      context.fill();
      context.lineWidth = this.hovered === k ? 4 : radius > 8 ? 2.4 : 1.4;
      context.strokeStyle = silenced ? palette.muted : layer;
      if (silenced) context.setLineDash([3, 3]);
      context.stroke();
      context.setLineDash([]);
      if (this.read.has(k)) {
        context.lineWidth = 1;
        context.strokeStyle = palette.ink;
        context.beginPath();
        context.arc(node.px, node.py, radius + 3, 0, TURN);
        context.stroke();
      }
      if (silenced) {
        const d = 0.42 * radius;
        context.lineWidth = 2;
        context.strokeStyle = palette.warn;
        context.beginPath();
        context.moveTo(node.px - d, node.py - d);
        context.lineTo(node.px + d, node.py + d);
        context.moveTo(node.px + d, node.py - d);
        context.lineTo(node.px - d, node.py + d);
        context.stroke();
      } else if (radius >= 9 && numbered(this.plain.texts[k])) {
        context.font = font(Math.min(11, 0.78 * radius + 1), 600);
        context.textAlign = "center";
        context.textBaseline = "middle";
        const bright = palette.dark ? Math.abs(value) < 0.45 : Math.abs(value) > 0.55;
        context.fillStyle = bright ? "#ffffff" : "#12181c";
        context.fillText(this.plain.texts[k], node.px, node.py + 0.5);
      }
    });
  }

  _drawSynapses(context, time, pulses) {
    const { circuit, edges, palette } = this;
    for (let e = 0; e < edges.length; e++) {
      const edge = edges[e], set = circuit.sets[edge.set];
      if (!set.alive[edge.k]) {
        context.globalAlpha = this.hovered === edge ? 0.9 : 0.5;
        context.setLineDash([2, 5]);
        this._stroke(context, edge, set.silenced[edge.k] ? palette.warn : palette.muted, 1.2);
        context.setLineDash([]);
        continue;
      }
      const flow = Math.min(1, Math.abs(set.flow[edge.k]) / this.strongest);
      this.flows[e] += 0.35 * (flow - this.flows[e]);
      const shown = Math.sqrt(this.flows[e]);
      if (shown < (this.isSlow ? 0.3 : 0.04) && this.hovered !== edge) continue;
      context.globalAlpha = this.hovered === edge ? 1 : Math.min(0.92, 0.12 + 0.85 * shown);
      this._stroke(context, edge, this.color(edge.sign), 0.6 + 3.2 * shown + (this.hovered === edge));
    }
    if (pulses && edges.length <= 260) {
      for (let e = 0; e < edges.length; e++) {
        const shown = Math.sqrt(this.flows[e]), edge = edges[e];
        if (shown < 0.12 || !circuit.sets[edge.set].alive[edge.k]) continue;
        const at = (0.55 * time + 0.618034 * e) % 1, to = 1 - at, [p, q, r, s] = edge.points;
        const w = [to ** 3, 3 * to * to * at, 3 * to * at * at, at ** 3];
        context.globalAlpha = Math.min(1, 1.3 * shown) * Math.sin(Math.PI * at);
        context.fillStyle = palette.dark ? "#ffffff" : this.color(edge.sign);
        context.beginPath();
        context.arc(w[0] * p[0] + w[1] * q[0] + w[2] * r[0] + w[3] * s[0],
          w[0] * p[1] + w[1] * q[1] + w[2] * r[1] + w[3] * s[1], 1.1 + 2.1 * shown, 0, TURN);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

  // --- the wiring at another moment ---------------------------------------------------------------

  /** Show synapses [source, target, sign, since, until] at a step, or the circuit again for null. */
  showFilm(film) {
    const changed = !this.film !== !film;
    this.film = film;
    if (film && !film.placed) {
      film.edges = film.synapses.map(([from, to, sign, since, until]) => ({ from, to, sign, since, until }));
      film.edges.forEach((edge) => Object.assign(edge, this.curve(edge)));
      film.placed = true;
    }
    if (changed && this.palette) this._drawBase();
  }

  _drawFilm(context) {
    const { edges, step } = this.film, { palette } = this;
    for (const edge of edges) {
      const there = edge.since <= step && (edge.until === null || edge.until > step);
      const grown = there && edge.since === step && step > 0;
      if (there) {
        if (grown) {
          context.globalAlpha = palette.dark ? 0.4 : 0.9;
          context.strokeStyle = palette.halo;
          context.lineWidth = 6;
          context.stroke(edge.path);
        }
        context.globalAlpha = grown ? 1 : 0.62;
        this._stroke(context, edge, this.color(edge.sign), grown ? 2.2 : 1.3);
      } else if (edge.until === step) {
        context.globalAlpha = 0.75;
        context.setLineDash([4, 4]);
        this._stroke(context, edge, palette.muted, 1.3);
        context.setLineDash([]);
      }
    }
    context.globalAlpha = 1;
  }

  // --- pointers ---------------------------------------------------------------------------------

  /** Return the node, by its number, or the edge at a point; null where there is none. */
  find(x, y, finger) {
    let best = null, least = Math.max(this.radius + 4, finger ? 20 : 0);
    this.nodes.forEach((node, k) => {
      const distance = Math.hypot(node.px - x, node.py - y);
      if (distance <= least) [best, least] = [k, distance];
    });
    if (best !== null || this.film) return best;
    const ratio = this.canvas.width / this.width;
    this.context.lineWidth = finger ? 18 : 9;
    for (let e = this.edges.length - 1; e >= 0; e--) {
      if (this.context.isPointInStroke(this.edges[e].path, x * ratio, y * ratio)) return this.edges[e];
    }
    return null;
  }
}

const numbered = (text) => /^\d+$/.test(text);
const brief = (name) => (name.length > 14 ? name.slice(0, 13) + "…" : name);
