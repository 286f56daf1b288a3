// Lines over time, on canvases.

/** Draw lines [{ values, color, width, dash }] from `first` to `last`, in a box, all on one scale. */
function plotLines(context, box, lines, first, last, [low, high], palette) {
  const { x, y, width, height } = box, span = high - low || 1;
  context.save();
  context.beginPath();
  context.rect(x, y - 2, width, height + 4);
  context.clip();
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  const level = low < 0 && high > 0 ? y + height - (height * (0 - low)) / span : y + height;
  context.beginPath();
  context.moveTo(x, level);
  context.lineTo(x + width, level);
  context.stroke();
  context.lineJoin = "round";
  for (const { values, color, width: stroke, dash } of lines) {
    context.strokeStyle = color;
    context.lineWidth = stroke || 1.6;
    context.setLineDash(dash || []);
    context.beginPath();
    let going = false;
    // No more points than pixels can show.
    const stride = Math.max(1, Math.floor((last - first) / (1.5 * width)));
    for (let t = Math.max(first, 0); t <= Math.min(last, values.length - 1); t += stride) {
      const value = values[t];
      if (value === null || value === undefined || Number.isNaN(value)) {
        going = false;
        continue;
      }
      const px = x + (width * (t - first)) / (last - first || 1);
      const py = y + height - (height * (value - low)) / span;
      if (going) context.lineTo(px, py);
      else context.moveTo(px, py);
      going = true;
    }
    context.stroke();
  }
  context.restore();
}

/** Least and greatest of many lines, a little apart. */
function rangeOf(lines) {
  let low = Infinity, high = -Infinity;
  for (const values of lines) {
    for (const value of values) {
      if (value === null || Number.isNaN(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (!(low <= high)) return [-1, 1];
  const room = 0.06 * (high - low) || Math.abs(high) || 1;
  return [low - room, high + room];
}

/** A number for readers: three digits, a true minus sign; towards +1 or -1 for a bound. */
function shown(value, digits = 3, towards = 0) {
  if (!Number.isFinite(value)) return "–";
  const short = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3);
  const written = (x) => short ? x.toExponential(1) : String(Number(x.toPrecision(digits)));
  let text = written(value);
  if ((Number(text) - value) * towards < 0) {
    const last = Math.floor(Math.log10(Math.abs(value))) - (short ? 1 : digits - 1);
    text = written(Number(text) + towards * 10 ** last);
  }
  return text.replace("-", "−");
}

/** A bound for readers, never above or below what it bounds. */
const atLeast = (value) => shown(value, 3, -1), atMost = (value) => shown(value, 3, 1);

/** Make an element with attributes and children. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

let sliders = 0;

/** A labelled slider that says its value; `told` turns a value into words. */
function slider(label, { min, max, step, value, told }, changed) {
  const id = "slider-" + sliders++;
  const output = element("output", { textContent: told(value) });
  output.setAttribute("for", id);
  const input = element("input", { type: "range", id, min, max, step, value });
  input.setAttribute("aria-valuetext", told(value));
  const update = () => {
    output.textContent = told(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
    changed(Number(input.value));
  };
  input.addEventListener("input", update);
  const row = element("div", { className: "slider" }, element("label", { for: id }, label), output, input);
  row.set = (given) => {
    input.value = given;
    update();
  };
  return row;
}
