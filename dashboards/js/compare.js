// Pinned configurations side by side; what differs is marked, in the architecture cell by cell.

const MOST_PINS = 6;

function togglePin(number) {
  const at = view.pins.indexOf(number);
  if (at >= 0) view.pins.splice(at, 1);
  else view.pins = [...view.pins, number].slice(-MOST_PINS);
  drawFront();
  drawCompare();
  markTable();
}

function drawCompare() {
  const trials = view.pins.map((number) => study.byNumber.get(number));
  if (!trials.length) {
    const button = el(
      "button",
      { type: "button", id: "pin-front", onclick: pinFront, disabled: !shown.front.length },
      "Pin the pick and the ends of the front",
    );
    fill(
      byId("compare-body"),
      el("p", { class: "empty" }, "Nothing is pinned: click points of the front, or Pin in the table of trials. ", button),
    );
    return;
  }
  const row = (label, cells, texts = cells) => {
    const differs = trials.length > 1 && new Set(texts).size > 1;
    return el("tr", { class: differs ? "differs" : null }, el("th", { scope: "row" }, label), cells.map((cell) => el("td", {}, cell)));
  };
  const head = trials.map((trial) =>
    el("th", { scope: "col" }, el("span", { class: "letter" }, letterOf(trial.number)), `#${trial.number} ${trial.name}`),
  );
  const rows = [
    row("", trials.map(buttonsOf), [""]),
    row("state", trials.map((t) => `${stateOf(t)}${t.baseline ? ", baseline" : ""}, ${seedsOf(t)}`)),
    row("proposed", trials.map((t) => t.why || "–"), [""]),
    row("layers × modules", gridsOf(trials), trials.map((t) => JSON.stringify([...cellsOf(t)].sort()))),
    row("branch", trials.map((t) => t.branch)),
  ];
  const metrics = study.metrics.map((m) => m.name).filter((m) => trials.some((t) => valueOf(t, m) !== null));
  for (const m of metrics) rows.push(row(m, trials.map((t) => told(t, m))));
  for (const part of ["fields", "recipe"]) {
    const keys = [...new Set(trials.flatMap((t) => Object.keys(t[part])))];
    for (const key of keys) {
      const texts = trials.map((t) => fieldText(t[part][key]));
      rows.push(row(key, texts.map(cut), texts));
    }
  }
  fill(
    byId("compare-body"),
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Pinned configurations" },
      el(
        "table",
        { class: "compare" },
        el("thead", {}, el("tr", {}, el("th", { scope: "row" }, ""), head)),
        el("tbody", {}, rows),
      ),
    ),
    el(
      "p",
      { class: "note" },
      `Cells hold the size (rank, width, tokens) by layer and module. Rows that differ are marked ≠; dashed cells differ from ${letterOf(trials[0].number)}.`,
    ),
  );
}

function pinFront() {
  const chosen = [shown.pick, shown.front[0], shown.front.at(-1)];
  view.pins = [...new Set(chosen.filter(Boolean).map((trial) => trial.number))];
  drawFront();
  drawCompare();
  markTable();
}

function fieldText(value) {
  if (value === undefined) return "–";
  return typeof value === "number" ? short(value) : String(typeof value === "object" ? JSON.stringify(value) : value);
}

/** A long value in short; all of it shows when pointed at. */
function cut(text) {
  return text.length < 90 ? text : el("span", { title: text }, `${text.slice(0, 80)} …`);
}

/** "layer|kind" -> sizes of what is there, as text. */
function cellsOf(trial) {
  const cells = new Map();
  const add = (layer, kind, text) => {
    const key = `${layer}|${kind}`;
    cells.set(key, cells.has(key) ? `${cells.get(key)}+${text}` : text);
  };
  const architecture = study.architectures[trial.architecture];
  for (const module of architecture.modules) {
    const size = (i) => String(module.sizes ? module.sizes[i] : (module.size ?? "✓"));
    module.targets.forEach((position, i) => {
      const [, layer, kind] = study.names[position];
      add(layer, kind, size(i));
    });
    if (!module.targets.length) for (const layer of module.layers) add(layer, module.type, size(0));
  }
  return cells;
}

/** One grid a trial, all over the same layers and kinds of modules. */
function gridsOf(trials) {
  const every = trials.map(cellsOf);
  const keys = every.flatMap((cells) => [...cells.keys()].map((key) => key.split("|")));
  const layers = [...new Set(keys.map(([layer]) => Number(layer)))];
  const most = Math.max(...layers, lastLayer());
  const kinds = [...new Set(keys.map(([, kind]) => kind))].sort();
  const sizes = every.flatMap((cells) => [...cells.values()].map(Number)).filter((v) => v > 0);
  const large = Math.max(...sizes, 1);
  return every.map((cells, i) => {
    if (study.architectures[trials[i].architecture].full) return "the whole backbone is trained";
    if (!kinds.length) return "no module in any layer";
    const rows = [];
    for (let layer = most; layer >= 0; layer--)
      rows.push(
        el(
          "tr",
          {},
          el("th", { scope: "row" }, String(layer)),
          kinds.map((kind) => {
            const text = cells.get(`${layer}|${kind}`) ?? "";
            const light = text && Number(text) < large / 2;
            const other = i > 0 && text !== (every[0].get(`${layer}|${kind}`) ?? "");
            const classes = [text ? "on" : "", light ? "light" : "", other ? "other" : ""];
            return el("td", { class: classes.join(" ").trim() || null }, text);
          }),
        ),
      );
    const head = kinds.map((kind) => el("th", { scope: "col" }, el("span", {}, kind)));
    return el(
      "table",
      { class: "grid", "aria-label": `Architecture of trial ${trials[i].number}` },
      el("thead", {}, el("tr", {}, el("th", {}, ""), head)),
      el("tbody", {}, rows),
    );
  });
}

function lastLayer() {
  let last = 0;
  for (const [, layer] of study.names) if (layer !== null) last = Math.max(last, layer);
  return last;
}
