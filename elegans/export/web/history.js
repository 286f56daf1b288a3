// The wiring while prune-and-rewire changed it.

/** Put a slider over the history into a panel; `picture` shows the wiring of the moment. */
function historyPanel(panel, history, picture) {
  const { steps, synapses } = history, last = steps.length - 1;
  const film = { synapses, step: 0, edges: [] };
  const note = element("p", { className: "note" });
  let timer = null;
  const told = (k) => (k === last ? "now" : `step ${steps[k].toLocaleString("en")}`);
  const show = (k) => {
    const step = steps[k];
    const grown = synapses.filter((one) => one[3] === step && step > 0).length;
    const cut = synapses.filter((one) => one[4] === step).length;
    if (k === last && !timer) {
      picture.showFilm(null);
      note.textContent = `How prune-and-rewire made this wiring, in ${last} moments.`;
      return;
    }
    picture.showFilm(Object.assign(film, { step }));
    note.textContent = (step ? `${cut} cut (dashed), ${grown} grown (bright)` : "Before training") +
      ": a drawing; the final circuit runs on.";
  };
  const row = slider("Wiring", { min: 0, max: last, step: 1, value: last, told }, (k) => {
    if (!row.playing) stop();
    show(k);
  });
  const button = element("button", { type: "button", className: "small", textContent: "Replay" });
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Replay";
  };
  button.addEventListener("click", () => {
    if (timer) {
      stop();
      row.set(last);
      return;
    }
    let k = 0;
    button.textContent = "Stop";
    const next = () => {
      if (k >= last) stop();
      row.playing = true;
      row.set(k++);
      row.playing = false;
    };
    timer = setInterval(next, Math.max(60, Math.min(420, 9000 / (last + 1))));
    next();
  });
  row.classList.add("line");
  row.append(button);
  panel.append(row, note);
  show(last);
}
