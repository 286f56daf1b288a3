"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("charts"), graph = read("graph");
  const narrow = window.matchMedia("(max-width: 640px)");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const place = document.getElementById("chart-wiring");
  const slider = document.getElementById("moment"), play = document.getElementById("play");
  const shown = document.getElementById("time");
  const touch = window.matchMedia("(hover: none)").matches || narrow.matches;
  const config = {
    displaylogo: false, responsive: true, showSendToCloud: false, scrollZoom: false,
    displayModeBar: touch ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  };

  // A finger that moves across a chart scrolls the page.
  const settled = (layout) => Object.assign({}, layout, { dragmode: touch ? false : "zoom" });

  const drawGraph = () => {
    if (!place) return Promise.resolve();
    const figure = narrow.matches ? graph.tall : graph.wide;
    place.style.minHeight = figure.layout.height + "px";
    const layout = Object.assign({}, figure.layout, { dragmode: false });
    return Plotly.react(place, figure.data, layout, Object.assign({}, config, { displayModeBar: false }));
  };

  const show = (frame) => {
    shown.value = "time " + Number(graph.times[frame].toPrecision(4));
    slider.setAttribute("aria-valuetext", shown.value);
    const drawn = place ? [Plotly.restyle(
      place,
      { "marker.color": [graph.colors[frame]], customdata: [graph.values[frame]] },
      [graph.node_trace]
    )] : [];
    const map = document.getElementById("chart-activity");
    if (map && map.layout) {
      const at = graph.times[frame], line = { color: "#222222", width: 1.5, dash: "dot" };
      // To move a line is much faster than to replace it.
      drawn.push(Plotly.relayout(map, (map.layout.shapes || []).length
        ? { "shapes[0].x0": at, "shapes[0].x1": at }
        : { shapes: [{ type: "line", yref: "paper", x0: at, x1: at, y0: 0, y1: 1, line }] }));
    }
    return Promise.all(drawn);
  };

  let timer = null;
  const stop = () => {
    clearTimeout(timer);
    timer = null;
    play.textContent = "▶ Play";
    play.setAttribute("aria-pressed", "false");
  };
  const start = () => {
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    play.textContent = "❚❚ Pause";
    play.setAttribute("aria-pressed", "true");
    const pause = still.matches ? 500 : 90;
    const step = () => {
      const next = Number(slider.value) + 1, mine = timer;
      if (next > Number(slider.max)) return stop();
      slider.value = next;
      // The next moment waits until this one is drawn, so that a slow machine hears a click.
      show(next).then(() => { if (timer === mine) timer = setTimeout(step, pause); });
    };
    timer = setTimeout(step, pause);
  };
  play.addEventListener("click", () => (timer === null ? start() : stop()));
  play.disabled = slider.disabled;
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });

  document.getElementById("download").addEventListener("click", () => {
    const text = document.getElementById("content").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "stability-report.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  const drawn = [drawGraph()];
  for (const [name, figure] of Object.entries(charts)) {
    const element = document.getElementById("chart-" + name);
    if (element) drawn.push(Plotly.newPlot(element, figure.data, settled(figure.layout), config));
  }
  Promise.all(drawn).then(() => {
    show(Number(slider.value));
    document.body.dataset.ready = "true";
  });
  narrow.addEventListener("change", () => drawGraph().then(() => show(Number(slider.value))));
})();
