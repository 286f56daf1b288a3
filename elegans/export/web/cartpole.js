// The cart and pole of CartPole-v1, driven by the circuit.

/** Random numbers that are the same on every visit. */
class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  uniform() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

class CartPole {
  constructor(plant) {
    this.plant = plant;
    this.state = [0, 0, 0, 0];
  }

  /** Move by an explicit Euler step under a force in N; return whether the episode is over. */
  step(force) {
    const p = this.plant, [x, v, angle, spin] = this.state;
    const mass = p.cart_mass + p.pole_mass, lever = p.pole_mass * p.half_length;
    const cos = Math.cos(angle), sin = Math.sin(angle);
    const push = (force + lever * spin * spin * sin) / mass;
    const turn = (p.gravity * sin - cos * push) /
      (p.half_length * (4 / 3 - (p.pole_mass * cos * cos) / mass));
    const go = push - (lever * turn * cos) / mass;
    this.state = [x + p.step * v, v + p.step * go, angle + p.step * spin, spin + p.step * turn];
    return Math.abs(this.state[0]) > p.position || Math.abs(this.state[2]) > p.angle;
  }
}

const KICK = 0.6;  // rad/s
const PULL = [6, 8];  // N/m, and N at most
const SHOWN_FALL = 45;  // steps

class CartPoleDrive {
  constructor({ circuit, plain }) {
    this.circuit = circuit;
    this.plant = plain.drive.plant;
    this.dt = this.plant.step;
    this.random = new Random(11);
    this.cart = new CartPole(this.plant);
    this.noise = 0;
    this.delay = 0;
    this.best = 0;
    this.episodes = 0;
    this.pointer = null;
    this.stageLabel = "The cart and the pole. Click beside the pole to push it, drag to pull the cart.";
    this.hint = "Click beside the pole: push. Drag: pull.";
    this.touched = false;
    this.begin();
  }

  begin() {
    const { start } = this.plant;
    this.cart.state = Array.from({ length: 4 }, () => start * (2 * this.random.uniform() - 1));
    this.old = this.cart.state;
    this.seen = [];
    this.steps = 0;
    this.force = 0;
    this.fallen = 0;
    this.kicked = { side: 0, left: 0 };
    this.circuit.reset();
    this.episodes++;
  }

  reset() {
    this.best = 0;
    this.episodes = 0;
    this.begin();
  }

  kick(side) {
    if (this.fallen) return;
    const state = this.cart.state;
    this.cart.state = [state[0], state[1], state[2], state[3] + side * KICK];
    this.kicked = { side, left: 18 };
  }

  advance() {
    this.old = this.cart.state;
    this.kicked.left--;
    if (this.fallen) {
      this._fall();
      return;
    }
    const { position, angle, force } = this.plant, noisy = [position, 0, angle, 0].map(
      (limit, k) => this.cart.state[k] + (this.noise ? this.noise * limit * this.random.normal() : 0));
    this.seen.push(this.circuit.inputSize === 4 ? noisy : [noisy[0], noisy[2]]);
    while (this.seen.length > this.delay + 1) this.seen.shift();
    this.observed = this.seen[0];
    this.command = this.circuit.step(this.observed)[0];
    this.force = this.command > 0 ? force : -force;
    const pulled = this.pulled();
    this.steps++;
    this.best = Math.max(this.best, this.steps);
    if (this.cart.step(this.force + pulled)) this.fallen = SHOWN_FALL;
  }

  pulled() {
    if (!this.pointer || !this.pointer.dragging) return 0;
    const asked = PULL[0] * (this.pointer.metres - this.cart.state[0]);
    return Math.min(Math.max(asked, -PULL[1]), PULL[1]);
  }

  /** Let the pole lie down before the next episode. */
  _fall() {
    const state = this.cart.state;
    this.force = 0;
    if (Math.abs(state[2]) < Math.PI / 2) this.cart.step(0);
    const [x, v, angle, spin] = this.cart.state, most = this.plant.position + 0.2;
    this.cart.state = [Math.min(Math.max(x, -most), most), 0.9 * v,
      Math.min(Math.max(angle, -Math.PI / 2), Math.PI / 2), spin];
    if (--this.fallen === 0) this.begin();
  }

  stats() {
    return [["steps balanced", this.steps], ["best", this.best], ["episode", this.episodes]];
  }

  state() {
    if (this.fallen) return "fell";
    const { max_steps: most } = this.plant;
    return this.steps >= most ? `${most} steps passed: solved, and going on` : "balancing";
  }

  controls() {
    const { position, angle } = this.plant, degrees = (angle * 180) / Math.PI;
    const push = (side, text, label) => {
      const button = element("button", { type: "button", textContent: text });
      button.setAttribute("aria-label", label);
      button.addEventListener("click", () => this.kick(side));
      return button;
    };
    return {
      buttons: [push(-1, "◀ Push", "Push the pole to the left"), push(1, "Push ▶", "Push the pole to the right")],
      sliders: [
        slider("Sensor noise", { min: 0, max: 0.3, step: 0.01, value: 0, told: (share) => share
          ? `± ${shown(share * position, 2)} m, ± ${shown(share * degrees, 2)}°` : "none" },
        (value) => (this.noise = value)),
        slider("Sensor delay", { min: 0, max: 5, step: 1, value: 0, told: (steps) => steps
          ? `${Math.round(1000 * steps * this.dt)} ms` : "none" }, (value) => (this.delay = value)),
      ],
    };
  }

  // --- the stage --------------------------------------------------------------------------------

  _scene(width, height) {
    const scale = width / (2 * this.plant.position + 0.7), ground = height - 46;
    return { scale, ground, middle: width / 2, pole: Math.min(ground - 54, 1.15 * scale + 34) };
  }

  pointerDown(x, y, width, height) {
    const { scale, middle } = this._scene(width, height);
    this.pointer = { x, y, startX: x, startY: y, dragging: false, metres: (x - middle) / scale };
  }

  pointerMove(x, y, width, height) {
    if (!this.pointer) return;
    const { scale, middle } = this._scene(width, height);
    Object.assign(this.pointer, { x, y, metres: (x - middle) / scale });
    if (Math.abs(x - this.pointer.startX) > 7) this.pointer.dragging = true;
  }

  pointerUp() {
    this.touched = true;
    if (this.pointer && !this.pointer.dragging) {
      this.kick(this.pointer.metres > this.cart.state[0] ? -1 : 1);
    }
    this.pointer = null;
  }

  draw(context, width, height, share, palette) {
    const { scale, ground, middle, pole } = this._scene(width, height);
    const [x, , angle] = this.old.map((value, k) => value + share * (this.cart.state[k] - value));
    const { position, angle: limit } = this.plant;
    context.clearRect(0, 0, width, height);
    context.lineCap = "round";
    // the track
    context.strokeStyle = palette.line;
    context.lineWidth = 3;
    line(context, 0, ground + 19, width, ground + 19);
    context.font = font(11);
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillStyle = palette.muted;
    for (let metre = -2; metre <= 2; metre++) {
      context.lineWidth = 1.5;
      line(context, middle + metre * scale, ground + 19, middle + metre * scale, ground + 24);
      context.fillText(shown(metre) + (metre === 0 ? " m" : ""), middle + metre * scale, ground + 28);
    }
    context.strokeStyle = palette.warn;
    context.globalAlpha = 0.75;
    context.setLineDash([4, 5]);
    context.lineWidth = 1.5;
    for (const side of [-1, 1]) {
      const at = middle + side * position * scale;
      line(context, at, ground - 26, at, ground + 19);
    }
    context.setLineDash([]);
    const cx = middle + x * scale, w = Math.max(54, 0.46 * scale), h = 26, pivot = ground - 8;
    // where the episode ends
    context.globalAlpha = this.fallen ? 0 : palette.dark ? 0.14 : 0.1;
    context.fillStyle = palette.accent;
    context.beginPath();
    context.moveTo(cx, pivot);
    context.arc(cx, pivot, pole + 14, -Math.PI / 2 - limit, -Math.PI / 2 + limit);
    context.fill();
    // what the circuit is told, where that is not the truth
    if (this.observed && (this.noise || this.delay) && !this.fallen) {
      const seen = this.observed, [ox, oa] = seen.length === 4 ? [seen[0], seen[2]] : seen;
      context.globalAlpha = 0.5;
      context.strokeStyle = palette.muted;
      context.lineWidth = 2;
      context.setLineDash([5, 5]);
      const sx = middle + ox * scale;
      line(context, sx, pivot, sx + pole * Math.sin(oa), pivot - pole * Math.cos(oa));
      context.setLineDash([]);
    }
    context.globalAlpha = 1;
    // the cart
    context.fillStyle = palette.dark ? "#55636c" : "#44525b";
    context.beginPath();
    context.roundRect(cx - w / 2, ground - 14, w, h, 7);
    context.fill();
    for (const side of [-1, 1]) {
      context.fillStyle = palette.ink;
      context.beginPath();
      context.arc(cx + side * 0.3 * w, ground + 12, 7, 0, TURN);
      context.fill();
      context.fillStyle = palette.card;
      context.beginPath();
      context.arc(cx + side * 0.3 * w, ground + 12, 2.4, 0, TURN);
      context.fill();
    }
    // the pole
    const tip = [cx + pole * Math.sin(angle), pivot - pole * Math.cos(angle)];
    context.strokeStyle = this.fallen ? palette.warn : palette.second;
    context.lineWidth = 9;
    line(context, cx, pivot, ...tip);
    context.fillStyle = palette.ink;
    context.beginPath();
    context.arc(cx, pivot, 5, 0, TURN);
    context.fill();
    if (this.force) {
      const side = Math.sign(this.force), from = cx + side * (w / 2 + 5);
      arrow(context, from, ground, from + side * 26, ground, palette.accent);
    }
    if (this.kicked.left > 0) {
      const side = this.kicked.side;
      context.globalAlpha = this.kicked.left / 18;
      arrow(context, tip[0] - side * 52, tip[1] + 12, tip[0] - side * 14, tip[1] + 12, palette.warn);
      context.globalAlpha = 1;
    }
    if (this.pointer && this.pointer.dragging) {
      context.strokeStyle = palette.warn;
      context.lineWidth = 2;
      context.setLineDash([3, 4]);
      line(context, cx, ground, this.pointer.x, ground);
      context.setLineDash([]);
      context.fillStyle = palette.warn;
      context.beginPath();
      context.arc(this.pointer.x, ground, 6, 0, TURN);
      context.fill();
    }
    if (this.fallen) {
      context.fillStyle = palette.warn;
      context.font = font(15, 600);
      context.textAlign = "center";
      context.fillText(`fell after ${this.steps} steps`, middle, 16);
    }
  }
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function arrow(context, x0, y0, x1, y1, color) {
  const back = 7 * Math.sign(x1 - x0);
  context.strokeStyle = color;
  context.lineWidth = 3;
  line(context, x0, y0, x1, y1);
  line(context, x1 - back, y1 - 6, x1, y1);
  line(context, x1 - back, y1 + 6, x1, y1);
}
