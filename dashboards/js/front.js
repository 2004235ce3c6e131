// The front in two metrics, with what lies behind it; the pick under the limits.

let shown = { front: [], pick: null };

/** What the limits leave: the front among it, and the pick. */
function choose() {
  const limits = allLimits();
  const holds = holdsAll(limits);
  const front = frontOf(completed().filter(holds));
  shown = { limits, holds, front, pick: pickOf(front, view.prefer) };
}

function drawFront() {
  choose();
  const c = colours();
  const { holds, front, pick } = shown;
  const members = new Set(front);
  const drawn = study.points.filter(
    (t) => placeOf(t, view.x) !== null && placeOf(t, view.y) !== null && t.state !== "failed",
  );
  const kind = (trial) => {
    if (!holds(trial)) return "out";
    if (trial.baseline) return trial.state === "completed" ? "baseline" : "early baseline";
    if (members.has(trial)) return "front";
    return trial.state === "completed" ? "dominated" : "early";
  };
  const groups = Map.groupBy ? Map.groupBy(drawn, kind) : groupBy(drawn, kind);
  const styles = [
    ["out", "breaks a limit", { color: c.out, symbol: "x-thin-open", size: 7 }],
    ["early", "not trained to its end", { color: c.other, symbol: "circle-open", size: 8 }],
    ["dominated", "dominated", { color: c.other, symbol: "circle", size: 8, opacity: 0.55 }],
    ["early baseline", "baseline, not trained to its end", { color: c.baseline, symbol: "diamond-open", size: 11 }],
    ["baseline", "baseline", { color: c.baseline, symbol: "diamond", size: 12 }],
  ];
  const traces = styles.filter(([key]) => groups.get(key)).map(([key, name, marker]) =>
    points(name, groups.get(key), marker),
  );
  traces.push(...line(front, c));
  const best = groups.get("front") ?? [];
  if (best.length) traces.push(points("front", best, { color: c.front, size: 11 }, true));
  const ringed = front.filter((trial) => trial.baseline);
  if (ringed.length)
    traces.push(points("baseline on the front", ringed, ring("diamond-open", 17, c.front), true));
  if (pick) traces.push(points("pick", [pick], ring("circle-open", 21, c.pick)));
  traces.push(...pinned(c));
  draw("front-plot", traces, {
    xaxis: axisOf(view.x, drawn.map((t) => valueOf(t, view.x))),
    yaxis: axisOf(view.y, drawn.map((t) => valueOf(t, view.y))),
    uirevision: `${view.x} ${view.y}`, // a zoom stays when a slider moves
    height: innerWidth < 550 ? 430 : 560,
  });
  const missing = study.points.length - drawn.length;
  byId("front-note").textContent =
    "Click a point to pin it. Bars on the front: 95 % intervals of the validation metric" +
    (study.points.some((t) => t.mean) ? ", of the mean where there are seeds" : " of one run") +
    (missing ? `; ${plural(missing, "configuration")} without a result not drawn.` : ".");
  drawPick();
}

function groupBy(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return groups;
}

function ring(symbol, size, color) {
  return { symbol, size, color, line: { width: 3, color } };
}

function points(name, trials, marker, bars = false) {
  const interval = (metric) => {
    const half = trials.map((trial) => Z95 * errorOf(trial, metric));
    const visible = bars && half.some(Boolean);
    return { type: "data", array: half, visible, thickness: 1.2, width: 3, color: marker.color };
  };
  return {
    type: "scatter",
    mode: "markers",
    name: `${name} (${trials.length})`,
    x: trials.map((trial) => placeOf(trial, view.x)),
    y: trials.map((trial) => placeOf(trial, view.y)),
    customdata: trials.map((trial) => trial.number),
    text: trials.map(hoverOf),
    hovertemplate: "%{text}<extra></extra>",
    marker,
    error_x: interval(view.x),
    error_y: interval(view.y),
  };
}

const hovers = new WeakMap();
function hoverOf(trial) {
  if (!hovers.has(trial)) {
    const kind = trial.baseline ? "baseline" : "branch";
    const values = study.objectives.map((o) => `${o.metric}: ${told(trial, o.metric)}`);
    const lines = [
      ...wrapped(`#${trial.number} ${trial.name}`).map((text) => `<b>${plain(text)}</b>`),
      ...wrapped(`${kind} ${trial.branch} · ${seedsOf(trial)} · ${stateOf(trial)}`).map(plain),
      ...values.map(plain),
      ...(trial.why ? wrapped(trial.why).map((text) => `<i>${plain(text)}</i>`) : []),
    ];
    hovers.set(trial, lines.join("<br>"));
  }
  return hovers.get(trial);
}

/** The front's line, where both axes say which way is better. */
function line(front, c) {
  const goals = [view.x, view.y].map((metric) => study.metric.get(metric)?.goal ?? null);
  const there = front.filter((t) => placeOf(t, view.x) !== null && placeOf(t, view.y) !== null);
  if (goals.includes(null) || there.length < 2) return [];
  const sign = goals.map((goal) => (goal === "maximize" ? 1 : -1));
  const rows = there.map((t) => [placeOf(t, view.x), placeOf(t, view.y)]);
  rows.sort((a, b) => sign[0] * (b[0] - a[0]) || sign[1] * (b[1] - a[1]));
  const steps = [];
  let best = -Infinity;
  for (const [x, y] of rows) {
    if (sign[1] * y <= best) continue;
    best = sign[1] * y;
    steps.push([x, y]);
  }
  steps.sort((a, b) => a[0] - b[0]);
  return [
    {
      type: "scatter",
      mode: "lines",
      x: steps.map((step) => step[0]),
      y: steps.map((step) => step[1]),
      // Up to the next point only what the last one reached is known to be possible.
      line: { shape: goals[0] === "minimize" ? "hv" : "vh", color: c.front, width: 2 },
      hoverinfo: "skip",
      showlegend: false,
    },
  ];
}

function pinned(c) {
  const trials = view.pins
    .map((number) => study.byNumber.get(number))
    .filter((t) => placeOf(t, view.x) !== null && placeOf(t, view.y) !== null);
  if (!trials.length) return [];
  return [
    {
      ...points("pinned", trials, ring("square-open", 17, c.ink)),
      mode: "markers+text",
      texttemplate: trials.map((trial) => `<b>${letterOf(trial.number)}</b>`),
      textposition: "top right",
      textfont: { color: c.ink, size: 15 },
    },
  ];
}

function letterOf(number) {
  return String.fromCharCode(65 + view.pins.indexOf(number));
}

function drawPick() {
  const { pick, front, limits } = shown;
  const options = [["knee", "the knee"]];
  for (const metric of study.metrics)
    if (metric.goal) options.push([metric.name, `best ${metric.name}`]);
  const prefer = selectOf("Take", options, view.prefer, (value) => {
    view.prefer = value;
    drawFront();
  });
  if (!pick) {
    const why = completed().length ? "No completed trial holds the limits." : "Nothing is completed yet.";
    fill(byId("pick"), el("h3", {}, "Pick"), prefer, el("p", { id: "pick-name" }, why));
    return;
  }
  const when = whenText(limits);
  const command =
    `autopeft best ${quoted(study.study)}` +
    (when ? ` --when ${quoted(when)}` : "") +
    (view.prefer === "knee" ? "" : ` --prefer ${view.prefer}`);
  fill(
    byId("pick"),
    el("h3", {}, `Pick of ${plural(front.length, "configuration")} on the front`),
    prefer,
    el("p", { id: "pick-name", "data-trial": pick.number }, el("b", {}, `#${pick.number} ${pick.name}`)),
    el("p", {}, study.objectives.map((o) => el("span", { class: "chip" }, `${o.metric} ${told(pick, o.metric)}`))),
    el("p", { class: "note" }, priceOf(pick, front)),
    when === null
      ? el("p", { class: "note" }, "A constraint of the study is loosened: `best` keeps to it.")
      : el("p", {}, el("code", { id: "pick-command" }, command)),
    buttonsOf(pick),
  );
}

function quoted(text) {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What the next better value of the first objective would cost. */
function priceOf(pick, front) {
  const [first, ...others] = study.objectives;
  const own = score(first, valueOf(pick, first.metric));
  const better = front.filter((t) => score(first, valueOf(t, first.metric)) > own);
  if (!others.length) return "";
  if (!better.length) return `Nothing on the front has a better ${first.metric}.`;
  const next = better.reduce((a, b) =>
    score(first, valueOf(a, first.metric)) <= score(first, valueOf(b, first.metric)) ? a : b,
  );
  const gain = Math.abs(valueOf(next, first.metric) - valueOf(pick, first.metric));
  const price = others.map(
    (o) => `${o.metric} ${amount(o.metric, valueOf(pick, o.metric))} → ${amount(o.metric, valueOf(next, o.metric))}`,
  );
  return `${amount(first.metric, gain)} better ${first.metric} would cost ${price.join(", ")} (#${next.number}).`;
}

function buttonsOf(trial) {
  const pinned = view.pins.includes(trial.number);
  return el(
    "p",
    { class: "row" },
    el(
      "button",
      {
        type: "button",
        "data-pin": trial.number,
        "aria-pressed": String(pinned),
        onclick: () => togglePin(trial.number),
      },
      pinned ? "Unpin" : "Pin",
    ),
    el(
      "button",
      {
        type: "button",
        "data-copy": "yaml",
        onclick: () => offer(`Trial ${trial.number} as YAML`, yamlOf(trial), "A branch of a space file."),
      },
      "YAML",
    ),
    el(
      "button",
      {
        type: "button",
        "data-copy": "python",
        onclick: () =>
          offer(`Trial ${trial.number} as Python`, pythonOf(trial), "Untrained: `autopeft export` writes the trained adapter and its train.py."),
      },
      "Python",
    ),
  );
}
