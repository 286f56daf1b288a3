// Colours, sizes and type of all canvases.

const TURN = 2 * Math.PI;

/** Colours of the page, as its style sheet has them, and what follows from them. */
class Palette {
  constructor() {
    this.dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "muted", "line", "paper", "card", "excitatory", "inhibitory",
      "neutral", "low", "middle", "high", "accent", "warn", "good", "second", "halo"]) {
      this[name] = style.getPropertyValue("--" + name).trim();
    }
    const [low, middle, high] = [this.low, this.middle, this.high].map(parsed);
    const mixed = (a, b, share) => a.map((part, k) => Math.round(part + share * (b[k] - part)));
    this.ramp = Array.from({ length: 65 }, (_, k) => {
      const at = (k - 32) / 32;
      return `rgb(${mixed(middle, at < 0 ? low : high, Math.abs(at) ** 0.8).join()})`;
    });
  }

  /** Colour of a value from -1 to 1. */
  of(value) {
    return this.ramp[Math.round(32 + 32 * Math.min(Math.max(value, -1), 1))];
  }

  /** Colour of a layer, light enough for a dark page. */
  layer(color) {
    if (!this.dark) return color;
    return `rgb(${parsed(color).map((part) => Math.round(part + 0.42 * (255 - part))).join()})`;
  }
}

const parsed = (color) => [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));

/** Fit a canvas to its place in physical pixels; return whether it has changed. */
function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width === w && canvas.height === h) return false;
  canvas.width = w;
  canvas.height = h;
  canvas.getContext("2d").setTransform(w / width, 0, 0, h / height, 0, 0);
  return true;
}

const font = (size, weight = 400) =>
  `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif`;
