// The page: one circuit, what drives it, and its controls.

(() => {
  const byId = (id) => document.getElementById(id);
  const plain = JSON.parse(byId("document").textContent);
  const circuit = new Circuit(plain.circuit);
  const picture = new Picture(byId("circuit"), plain.picture, circuit);
  const kinds = { cartpole: CartPoleDrive, recording: RecordingDrive, hand: HandDrive };
  const drive = new kinds[plain.drive.kind]({ circuit, plain });
  const stage = byId("stage"), stageContext = stage.getContext("2d");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const inputs = circuit.inputSize;
  const closed = circuit.equation.endsWith("closed_form");
  let palette = new Palette(), playing = true, speed = 1, behind = 0, clock = 0, last = null;
  document.body.dataset.kind = plain.drive.kind;
  stage.setAttribute("aria-label", drive.stageLabel);
  byId("hint").textContent = drive.hint || "";

  // --- controls ---------------------------------------------------------------------------------

  const play = byId("play"), reset = byId("reset");
  const setPlaying = (on) => {
    playing = on;
    play.textContent = on ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(!on));
  };
  play.addEventListener("click", () => setPlaying(!playing));
  const restart = () => {
    drive.reset();
    picture.remember();
  };
  reset.addEventListener("click", restart);
  const controls = drive.controls();
  byId("buttons").append(...controls.buttons);
  byId("sliders").append(...controls.sliders, slider("Speed", { min: -4, max: 2, step: 1, value: 0,
    told: (power) => `× ${shown(2 ** power, 4)}` }, (power) => (speed = 2 ** power)));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tag = event.target.tagName, typing = /SELECT|TEXTAREA/.test(tag);
    if (event.key === " " && !typing && !/BUTTON|SUMMARY/.test(tag)) setPlaying(!playing);
    else if (event.key.toLowerCase() === "r" && !typing) restart();
    else if (/^Arrow(Left|Right)$/.test(event.key) && drive.kick && !typing && tag !== "INPUT") {
      drive.kick(event.key === "ArrowLeft" ? -1 : 1);
    } else return;
    event.preventDefault();
  });

  // --- lesions ----------------------------------------------------------------------------------

  const names = plain.picture.names;
  const chips = byId("lesions"), list = byId("neurons");
  const heal = byId("heal");
  const isSilenced = (node) => (node < inputs ? circuit.silencedInputs[node] : circuit.silencedNeurons[node - inputs]) === 1;
  const isJunction = (edge) => edge.set === "electrical";
  const isMutual = (edge) => isJunction(edge) && circuit.sets[edge.set].values.way[edge.k] === 0;
  const edgeName = (edge) => `${names[edge.from]} ${isMutual(edge) ? "↔" : "→"} ${names[edge.to]}`;
  const toggleNode = (node) => {
    if (node < inputs) circuit.silenceInput(node, !isSilenced(node));
    else circuit.silenceNeuron(node - inputs, !isSilenced(node));
    lesioned();
  };
  const toggleEdge = (edge) => {
    circuit.silenceSynapse(edge.set, edge.k, !circuit.sets[edge.set].silenced[edge.k]);
    lesioned();
  };
  let lesions = 0;
  function lesioned() {
    if (drive.lesioned) drive.lesioned();
    const made = [];
    names.forEach((name, node) => {
      if (isSilenced(node)) made.push([name, () => toggleNode(node)]);
      if (list.children[node]) list.children[node].setAttribute("aria-pressed", String(isSilenced(node)));
    });
    for (const edge of picture.edges) {
      if (circuit.sets[edge.set].silenced[edge.k]) made.push([edgeName(edge), () => toggleEdge(edge)]);
    }
    lesions = made.length;
    chips.replaceChildren(...made.map(([name, undo]) => {
      const chip = element("button", { type: "button", className: "chip", textContent: name });
      chip.setAttribute("aria-label", `Heal ${name}`);
      chip.addEventListener("click", undo);
      return chip;
    }));
    heal.hidden = !lesions;
    byId("lesions-hint").hidden = lesions > 0;
    certify();
    examine();
  }
  heal.addEventListener("click", () => {
    circuit.heal();
    lesioned();
  });
  names.forEach((name, node) => {
    const button = element("button", { type: "button", className: "chip", textContent: name });
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => toggleNode(node));
    list.append(button);
  });

  // --- pointers ---------------------------------------------------------------------------------

  const tip = byId("tip"), drawn = byId("circuit");
  const place = (event, canvas) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const describe = (found) => {
    if (typeof found === "number") {
      const i = found - inputs, layer = plain.picture.layers[plain.picture.nodes[found][2]].name;
      const value = i < 0 ? circuit.mapped[found] : circuit.state[i];
      const read = (plain.picture.read || []).includes(found) ? ", read as output" : "";
      return [names[found], `${layer}${read}, ${i < 0 ? "input" : "potential"} ${shown(value)}` +
        (isSilenced(found) ? ", silenced" : "")];
    }
    const set = circuit.sets[found.set], kind = found.sign > 0 ? "excitatory" : "inhibitory";
    const what = circuit.equation === "liquid" ? "conductance" : "signal";
    if (isJunction(found)) {
      return [edgeName(found), `gap junction, conductance ${shown(set.flow[found.k])}` +
        (set.silenced[found.k] ? ", silenced" : "")];
    }
    return [edgeName(found), `${found.sign ? kind + ", " : ""}${what} ${shown(set.flow[found.k])}` +
      (set.silenced[found.k] ? ", silenced" : "")];
  };
  const showTip = (x, y) => {
    if (picture.hovered === null) {
      tip.hidden = true;
      return;
    }
    const [name, text] = describe(picture.hovered);
    tip.replaceChildren(element("b", { textContent: name }), element("span", { textContent: text }));
    tip.hidden = false;
    const width = drawn.clientWidth, half = tip.offsetWidth / 2 + 6;
    tip.style.left = `${Math.min(Math.max(x, half), width - half)}px`;
    tip.style.top = `${y < 70 ? y + 24 : y - tip.offsetHeight - 14}px`;
  };
  let hover = null;
  drawn.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    hover = place(event, drawn);
    picture.hovered = picture.find(...hover, false);
    drawn.style.cursor = picture.hovered === null ? "default" : "pointer";
    showTip(...hover);
  });
  drawn.addEventListener("pointerleave", () => {
    hover = picture.hovered = null;
    tip.hidden = true;
  });
  drawn.addEventListener("click", (event) => {
    const found = picture.find(...place(event, drawn), event.pointerType === "touch");
    if (typeof found === "number") toggleNode(found);
    else if (found) toggleEdge(found);
  });

  const staged = (name) => (event) => {
    if (name === "pointerDown" && event.isPrimary) stage.setPointerCapture(event.pointerId);
    drive[name](...place(event, stage), stage.clientWidth, stage.clientHeight);
  };
  stage.addEventListener("pointerdown", staged("pointerDown"));
  stage.addEventListener("pointermove", staged("pointerMove"));
  stage.addEventListener("pointerup", staged("pointerUp"));
  stage.addEventListener("pointercancel", () => {
    drive.pointer = null;
    drive.held = false;
  });

  // --- what is certain, and the spectrum -----------------------------------------------------------

  const { unit, seconds } = plain.time;
  const inUnits = (time, written = shown) => {
    if (seconds) {
      const length = time * seconds;
      return length < 0.1 ? `${written(1000 * length)} ms` : `${written(length)} s`;
    }
    return `${written(time)} ${unit}${time === 1 || unit.includes(" ") ? "" : "s"}`;
  };
  const proof = plain.certificate;
  function certify() {
    if (!proof) return;
    const { origin, factor, shift } = plain.circuit, slack = 1e-6;
    const outside = circuit.mapped.some((u, j) => {
      const ends = [proof.low[j], proof.high[j]].map((end) => (end - origin[j]) * factor[j] + shift[j]);
      const room = slack * (1 + Math.abs(ends[1] - ends[0]));
      return u < Math.min(...ends) - room || u > Math.max(...ends) + room;
    });
    const text = lesions
      ? "The proof is about the intact circuit. Of the circuit with lesions nothing is proved here."
      : outside ? "An input is outside of the proved range now: the proof is silent about it."
        : "The circuit that runs is the one that the proof is about, and its inputs are in the range.";
    const box = byId("proof-now");
    if (box.textContent === text) return;
    box.className = lesions || outside ? "note warn" : "note good";
    box.textContent = text;
  }
  if (proof) {
    byId("proof").hidden = false;
    byId("proof-text").textContent = "Two states under the same inputs approach each other: distances fall to " +
      `1/e within ${inUnits(1 / proof.rate, atMost)} in the norm of the proof, ` +
      (proof.attracts ? "from every state in the end" : "from states in the proved box") +
      `, for all inputs between ${proof.low.map((low, j) =>
        `${atMost(low)} and ${atLeast(proof.high[j])} (${plain.circuit.input_names[j]})`).join(", ")}. ` +
      `Rate ${atLeast(proof.rate)} per ${unit} of the differential equation (${proof.level} arithmetic).` +
      (proof.step ? ` There, a step as this page takes it shrinks distances to ${atMost(proof.step)} of theirs.`
        : " Of a step as this page takes it nothing is proved.");
  }

  const spectrum = byId("spectrum");
  const few = circuit.size <= MOST_EIGENVALUES;
  if (!few) {
    byId("spectrum-text").textContent = `Shown for circuits of up to ${MOST_EIGENVALUES} neurons.`;
    spectrum.hidden = true;
  }
  let values = [];
  function examine() {
    if (!few) return;
    const t = plain.circuit.elapsed === null ? 1 : plain.circuit.elapsed / plain.circuit.unit;
    if (!closed) circuit._sense();
    values = eigenvalues(jacobian(circuit, t));
    const slowest = values.length ? Math.max(...values.map(([re, im]) => (closed ? Math.log(Math.hypot(re, im)) / t : re))) : NaN;
    const text = byId("spectrum-text");
    text.textContent = !values.length ? "Every neuron is silenced."
      : slowest < 0 ? `Slowest time constant here: ${inUnits(-1 / slowest)}.`
        : "Here a direction grows: nearby states part for now.";
  }
  let span = [1e-3, 1e-3];
  function drawSpectrum() {
    if (!few || !values.length) return;
    if (fitted(spectrum)) span = [1e-3, 1e-3];
    const context = spectrum.getContext("2d"), width = spectrum.clientWidth, height = spectrum.clientHeight;
    context.clearRect(0, 0, width, height);
    context.font = font(11);
    context.lineWidth = 1;
    context.strokeStyle = palette.line;
    if (closed) {
      const radius = height / 2 - 12, scale = radius / Math.max(1, ...values.map((v) => Math.hypot(...v)));
      line(context, 0, height / 2, width, height / 2);
      line(context, width / 2, 0, width / 2, height);
      context.strokeStyle = palette.warn;
      context.beginPath();
      context.arc(width / 2, height / 2, scale, 0, TURN);
      context.stroke();
      dots(context, (re) => width / 2 + re * scale, (im) => height / 2 - im * scale, ([re, im]) => Math.hypot(re, im) > 1);
      return;
    }
    // Rates spread over decades: distances from the axes are shown on a scale that is even near 0
    // and logarithmic far away.
    const soft = (value, size) => Math.asinh(value / size);
    const reals = values.map((v) => Math.abs(v[0])), size = Math.max(1e-9, Math.min(...reals));
    const want = [soft(Math.max(...reals), size), soft(Math.max(size / 3, ...values.map((v) => v[1])), size)];
    span = span.map((old, k) => (old < want[k] ? want[k] : old + 0.04 * (want[k] - old)));
    const axis = width - 34, x = (re) => axis + (soft(re, size) / span[0]) * (axis - 16);
    const y = (im) => height / 2 - (soft(im, size) / span[1]) * (height / 2 - 16);
    line(context, 0, height / 2, width, height / 2);
    context.strokeStyle = palette.warn;
    context.setLineDash([4, 4]);
    line(context, axis, 0, axis, height);
    context.setLineDash([]);
    context.fillStyle = palette.muted;
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.fillText("← faster", 6, height - 6);
    context.textAlign = "right";
    context.fillText("slower", axis - 6, height - 6);
    context.textAlign = "center";
    context.fillText("0", axis + 8, height / 2 + 13);
    dots(context, x, y, ([re]) => re > 0);
  }
  function dots(context, x, y, isBad) {
    for (const value of values) {
      context.globalAlpha = 0.85;
      context.fillStyle = isBad(value) ? palette.warn : palette.accent;
      context.beginPath();
      context.arc(x(value[0]), y(value[1]), 4, 0, TURN);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  // --- history ----------------------------------------------------------------------------------

  if (plain.history) {
    byId("history").hidden = false;
    historyPanel(byId("history"), plain.history, picture);
  }
  if (plain.picture.too_many) {
    byId("legend").textContent = `${plain.picture.synapses.toLocaleString("en")} synapses are too many to draw; neurons only.`;
  } else if (!plain.picture.edges.length) {
    byId("legend").textContent = "Every neuron reads all others: there are no single synapses to draw.";
  } else if (!plain.picture.signed) byId("legend").textContent = "Synapses have several weights each, of either sign.";

  // --- time -------------------------------------------------------------------------------------

  const numbers = byId("stats"), state = byId("state");
  let told = "";
  const tell = () => {
    const stats = drive.stats(), text = JSON.stringify(stats);
    if (text === told) return;
    if (numbers.children.length !== stats.length) {
      numbers.replaceChildren(...stats.map(() =>
        element("div", {}, element("dd"), element("dt"))));
    }
    stats.forEach(([name, value], k) => {
      const [dd, dt] = numbers.children[k].children;
      if (dd.textContent !== String(value)) dd.textContent = value;
      if (dt.textContent !== name) dt.textContent = name;
    });
    told = text;
    const said = drive.state();
    if (state.textContent !== said) state.textContent = said;
    if (drive.touched) byId("hint").textContent = "";
  };

  const refit = () => {
    const changed = fitted(drawn);
    if (changed || !picture.palette) picture.layout(palette);
    fitted(stage);
  };
  const recolor = () => {
    palette = new Palette();
    picture.layout(palette);
  };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);

  const timing = { frames: [], work: [] };
  let examined = 0, usual = 16;
  function frame(now) {
    const started = performance.now();
    const passed = last === null ? 0 : Math.min((now - last) / 1000, 0.1);
    if (last !== null) {
      keep(timing.frames, now - last);
      usual += 0.03 * (Math.min(now - last, 200) - usual);
      if (usual > 25) picture.isSlow = true;
    }
    last = now;
    if (playing) {
      behind += passed * speed;
      clock += passed;
      for (let done = 0; behind >= drive.dt && done < 20; done++) {
        picture.remember();
        drive.advance();
        behind -= drive.dt;
      }
      behind = Math.min(behind, drive.dt);
    }
    refit();
    const share = behind / drive.dt;
    picture.draw(share, clock, !still.matches);
    drive.draw(stageContext, stage.clientWidth, stage.clientHeight, share, palette);
    if (now - examined > 150) {
      examined = now;
      if (playing) examine();
      certify();
      tell();
      if (hover) showTip(...hover);
    }
    drawSpectrum();
    keep(timing.work, performance.now() - started);
    window.requestAnimationFrame(frame);
  }
  const keep = (list, value) => {
    list.push(value);
    if (list.length > 600) list.shift();
  };

  window.elegans = { circuit, picture, drive, timing, toggleNode, toggleEdge, plain, eigenvalues, jacobian };
  setPlaying(true);
  picture.remember();
  lesioned();
  tell();
  window.requestAnimationFrame((now) => {
    frame(now);
    document.body.dataset.ready = "true";
  });
})();
