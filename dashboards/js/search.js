// How the search went: hypervolume, where trials came from, rungs, failures.

function drawSearch() {
  const body = byId("search-body");
  if (!byId("volume-plot")) {
    fill(
      body,
      el("div", { class: "pair" },
        el("div", {},
          el("h3", {}, "Hypervolume"),
          el("div", { class: "controls", id: "volume-axis" }),
          el("div", { id: "volume-plot", class: "plot" }),
          el("p", { class: "note", id: "volume-note" }),
        ),
        el("div", {},
          el("h3", {}, "Where trials came from"),
          el("div", { id: "reasons-plot", class: "plot" }),
          el("p", { class: "note" }, "Number of trials by branch and by why they were proposed; the pattern says how they ended."),
        ),
        el("div", {}, el("h3", {}, "Rungs"), el("div", { id: "rungs-box" })),
        el("div", {}, el("h3", {}, "Failures"), el("div", { id: "failures" })),
      ),
    );
  }
  drawVolume();
  drawReasons();
  drawRungs();
  drawFailures();
}

function drawVolume() {
  const c = colours();
  const device = `${study.device} hours`;
  const toggle = (text, on) =>
    el("button", { type: "button", "aria-pressed": String(view.hours === on), onclick: () => ((view.hours = on), drawVolume()) }, text);
  fill(byId("volume-axis"), toggle("by trial", false), toggle(`by ${device}`, true));
  const steps = study.progress;
  const at = steps.map((step, i) => (view.hours ? step[1] : i + 1));
  const level = study.chance;
  const each = (level.seconds * study.devices) / 3600;
  const random = level.at.map((n) => (view.hours ? n * each : n));
  const band = { type: "scatter", x: random, mode: "lines", hoverinfo: "skip", showlegend: false };
  const traces = [];
  if (!level.silent)
    traces.push(
      { ...band, y: level.low, line: { width: 0 } },
      { ...band, y: level.high, line: { width: 0 }, fill: "tonexty", fillcolor: isDark() ? "rgba(230,159,0,.22)" : "rgba(230,159,0,.25)" },
      {
        ...band, y: level.mean, name: "random search, by the model", showlegend: true,
        line: { color: isDark() ? "#E69F00" : "#a86f00", dash: "dash", width: 2 }, hoverinfo: "y+name",
      },
    );
  traces.push({
    type: "scatter", mode: "lines", name: "this search", x: at, y: steps.map((step) => step[2]),
    line: { shape: "hv", color: c.front, width: 2.5 },
    text: steps.map((step) => plain(`after trial ${step[0]}, ${hours(step[1])}`)),
    hovertemplate: "%{y:.4f}<br>%{text}<extra></extra>",
  });
  draw("volume-plot", traces, {
    xaxis: { title: { text: view.hours ? `${device} of all trials` : "trials that have ended" }, rangemode: "tozero" },
    yaxis: { title: { text: "hypervolume" }, rangemode: "tozero" },
    height: 330,
  });
  byId("volume-note").textContent =
    "Objectives on the scale of the study's end, by the search's own trials: a confirmation may leave " +
    "`autopeft status` with another value. " +
    (level.silent
      ? `No random level: ${level.silent}.`
      : "Random level: not run, but told by the surrogate: configurations drawn from the space, " +
        "outcomes drawn from its posterior with a trial's noise and chance to fail; mean of 32 draws, " +
        `the band holds 80 %. Every random trial trains to its end${each ? ` (${hours(each)})` : ""}; baselines stay where they stood.`);
}

function drawReasons() {
  const patterns = { completed: "", paused: "/", failed: "x", running: "." };
  const words = { completed: "", paused: ", stopped early", failed: ", failed", running: ", running" };
  const reasons = [...new Set(study.trials.map((trial) => trial.reason))];
  const branches = [...new Set(study.trials.map((trial) => trial.branch))];
  const traces = [];
  reasons.forEach((reason, i) => {
    for (const state of Object.keys(patterns)) {
      const own = study.trials.filter((t) => t.reason === reason && t.state === state);
      if (!own.length) continue;
      const count = branches.map((b) => own.filter((t) => t.branch === b).length);
      traces.push({
        type: "bar", orientation: "h", y: branches.map(plain), x: count,
        name: plain(wrapped(reason, 32)[0] + words[state]),
        marker: { color: OKABE[i % OKABE.length], pattern: { shape: patterns[state], fillmode: "overlay", fgcolor: "#111", fgopacity: 0.65, size: 6 } },
        hovertemplate: `%{x} of %{y}: ${plain(reason + words[state])}<extra></extra>`,
      });
    }
  });
  draw("reasons-plot", traces, {
    barmode: "stack",
    xaxis: {},
    yaxis: { autorange: "reversed" },
    legend: { orientation: "h", yanchor: "top", y: -0.12, x: 0, font: { color: colours().ink } },
    margin: { l: 60, r: 16, t: 10, b: 50 },
    height: Math.max(330, 190 + 34 * branches.length + 12 * traces.length),
  });
}

function drawRungs() {
  const box = byId("rungs-box");
  const metric = study.axes[1];
  const several = study.trials.filter((trial) => trial.rungs.length);
  if (!study.rungs || !several.length) {
    const why = study.rungs ? "No trial has reached a rung yet." : "This study has no rungs: every trial trains to its end.";
    fill(box, el("p", { class: "empty" }, why));
    return;
  }
  if (!byId("rungs-plot"))
    fill(box, el("div", { id: "rungs-plot", class: "plot" }), el("p", { class: "note", id: "rungs-note" }));
  const c = colours();
  const members = new Set(study.front);
  const kinds = [
    ["stopped early", (t) => t.state === "paused", { color: c.other, symbol: "circle-open" }, 0.5],
    ["went to the end", (t) => t.state === "completed" && !members.has(t.number), { color: isDark() ? "#E69F00" : "#a86f00", symbol: "circle" }, 0.6],
    ["on the front", (t) => members.has(t.number), { color: c.front, symbol: "circle" }, 1],
    ["runs or failed", (t) => t.state === "running" || t.state === "failed", { color: c.other, symbol: "x" }, 0.5],
  ];
  const traces = [];
  for (const [name, belongs, marker, opacity] of kinds) {
    const own = several.filter(belongs);
    if (!own.length) continue;
    const x = own.flatMap((t) => [...t.rungs.map((rung) => rung[0]), null]);
    const y = own.flatMap((t) => [...t.rungs.map((rung) => rung[1][metric] ?? null), null]);
    const text = own.flatMap((t) => [...t.rungs.map(() => plain(`#${t.number} ${t.name}`)), ""]);
    traces.push({
      type: "scatter", mode: "lines+markers", name: `${name} (${own.length})`, x, y, text, opacity,
      line: { color: marker.color, width: 1.2 }, marker: { ...marker, size: 7 },
      hovertemplate: "%{text}<br>step %{x}: %{y:.4g}<extra></extra>",
    });
  }
  draw("rungs-plot", traces, {
    xaxis: { title: { text: "optimiser steps" } },
    yaxis: { title: { text: plain(titleOf(metric)) } },
    height: 330,
  });
  const paused = study.trials.filter((t) => t.state === "paused").length;
  byId("rungs-note").textContent =
    `Pauses after ${study.rungs.at.join(", ")} ${study.rungs.unit}, the best 1/${study.rungs.eta} go on. ` +
    `${plural(paused, "trial")} of ${study.trials.length} not trained to the end.`;
}

function drawFailures() {
  const failed = study.trials.filter((trial) => trial.failure);
  if (!failed.length) {
    fill(byId("failures"), el("p", { class: "empty" }, "No trial failed."));
    return;
  }
  const head = ["trial", "configuration", "reason", "message"].map((text) => el("th", { scope: "col" }, text));
  const rows = failed.slice(0, 50).map((t) =>
    el("tr", {}, [t.number, t.name, t.failure.reason.replaceAll("_", " "), t.failure.message].map((text) => el("td", {}, String(text)))),
  );
  fill(
    byId("failures"),
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))),
    failed.length > 50 ? el("p", { class: "note" }, `and ${failed.length - 50} more`) : null,
  );
}
