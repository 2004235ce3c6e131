// All trials as a table: sorted, searched, and pinned by keyboard.

const PAGE = 25;
const tableView = { sort: "number", down: false, text: "", all: false };

function drawTable() {
  if (!byId("rows")) {
    const search = el("input", { type: "search", id: "find", size: 32, placeholder: "configuration, branch, reason …", "aria-label": "Search trials" });
    search.addEventListener("input", () => ((tableView.text = search.value.toLowerCase()), drawRows()));
    fill(byId("table-body"), el("div", { class: "controls" }, search), el("div", { class: "scroll" }, el("table", { id: "rows" })), el("p", { class: "row", id: "more" }));
  }
  drawRows();
}

function columns() {
  return [
    { key: "number", title: "trial", value: (t) => t.number, text: (t) => String(t.number), number: true },
    { key: "name", title: "configuration", value: (t) => t.name, text: (t) => t.name },
    { key: "branch", title: "branch", value: (t) => t.branch, text: (t) => t.branch + (t.baseline ? " (baseline)" : "") },
    { key: "state", title: "state", value: (t) => t.state, text: (t) => (study.front.includes(t.number) ? "on the front" : stateOf(t)) },
    ...study.objectives.map((o) => ({
      key: `metric ${o.metric}`,
      title: o.metric,
      value: (t) => valueOf(t, o.metric),
      text: (t) => told(t, o.metric),
      number: true,
    })),
    { key: "reason", title: "proposed", value: (t) => t.reason, text: (t) => t.reason },
  ];
}

function drawRows() {
  const all = columns();
  const by = all.find((column) => column.key === tableView.sort) ?? all[0];
  const sign = tableView.down ? -1 : 1;
  const order = (a, b) => {
    const [x, y] = [by.value(a), by.value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "number" ? x - y : x.localeCompare(y)) || a.number - b.number;
  };
  const found = study.trials.filter((t) => !tableView.text || all.some((column) => column.text(t).toLowerCase().includes(tableView.text)));
  found.sort(order);
  const rows = tableView.all ? found : found.slice(0, PAGE);
  const head = all.map((column) => {
    const on = column.key === by.key;
    const sort = () => {
      tableView.down = on ? !tableView.down : false;
      tableView.sort = column.key;
      drawRows();
      byId("rows").querySelector(`[data-sort="${CSS.escape(column.key)}"]`).focus();
    };
    const arrow = on ? (tableView.down ? " ▾" : " ▴") : "";
    return el(
      "th",
      { scope: "col", class: column.number ? "number" : null, "aria-sort": on ? (tableView.down ? "descending" : "ascending") : null },
      el("button", { type: "button", "data-sort": column.key, onclick: sort }, column.title + arrow),
    );
  });
  fill(
    byId("rows"),
    el("thead", {}, el("tr", {}, el("th", {}, ""), head)),
    el("tbody", {}, rows.map((trial) =>
      el("tr", {},
        el("td", {}, el("button", { type: "button", "data-row-pin": trial.number, "aria-label": `Pin trial ${trial.number}`, onclick: () => togglePin(trial.number) }, "Pin")),
        all.map((column) => el("td", { class: column.number ? "number" : null }, column.text(trial))),
      ),
    )),
  );
  const more = found.length > PAGE
    ? el("button", { type: "button", id: "show-all", onclick: () => ((tableView.all = !tableView.all), drawRows()) }, tableView.all ? `Show ${PAGE}` : `Show all ${found.length}`)
    : null;
  fill(byId("more"), el("span", { class: "note" }, `${plural(rows.length, "trial")} of ${found.length} shown`), more);
  markTable();
}

/** Show in the table what is pinned, without drawing it anew. */
function markTable() {
  for (const button of document.querySelectorAll("[data-row-pin]"))
    button.setAttribute("aria-pressed", String(view.pins.includes(Number(button.dataset.rowPin))));
}
