// One slider a limit: the study's constraints, and an open one for every other metric.

const HOLDS = {
  "<=": (value, bound) => value <= bound,
  ">=": (value, bound) => value >= bound,
  "<": (value, bound) => value < bound,
  ">": (value, bound) => value > bound,
};

/** [{key, metric, operator, start, text}]: start is the study's bound; null: none. */
function allLimits() {
  const limits = study.constraints.map((constraint) => ({
    key: constraint.text,
    metric: constraint.metric,
    operator: constraint.operator,
    start: constraint.bound,
    text: constraint.text,
  }));
  for (const metric of study.metrics) {
    if (metric.goal === null || limits.some((limit) => limit.metric === metric.name)) continue;
    const operator = metric.goal === "maximize" ? ">=" : "<=";
    limits.push({ key: metric.name, metric: metric.name, operator, start: null, text: "" });
  }
  return limits;
}

/** The bound that a limit has now; null: it is open. */
function boundOf(limit) {
  return view.limits.has(limit.key) ? view.limits.get(limit.key) : limit.start;
}

/** Missing values refuse nothing, as in the search. */
function holdsAll(limits) {
  const set = limits.map((l) => [l, boundOf(l)]).filter(([, bound]) => bound !== null);
  return (trial) =>
    set.every(([limit, bound]) => {
      const value = valueOf(trial, limit.metric);
      return value === null || HOLDS[limit.operator](value, bound);
    });
}

/** What `autopeft best --when` would be told; null where a constraint of the study is loosened. */
function whenText(limits) {
  const parts = [];
  for (const limit of limits) {
    const bound = boundOf(limit);
    if (bound === limit.start) continue;
    const looser =
      bound === null || (limit.start !== null && HOLDS[limit.operator](limit.start, bound));
    if (limit.start !== null && looser) return null;
    parts.push(`${limit.metric} ${limit.operator} ${bound}`);
  }
  return parts.join(" and ");
}

/** The places of a slider, from the tightest to none: all values of the metric, and null. */
function placesOf(limit) {
  const values = study.points.map((trial) => valueOf(trial, limit.metric));
  values.push(limit.start, boundOf(limit));
  const places = [...new Set(values.filter((value) => value !== null))].sort((a, b) => a - b);
  if (limit.operator.startsWith(">")) places.reverse();
  return [...places, null];
}

function drawLimits(changed) {
  const limits = allLimits();
  const rows = limits.map((limit) => limitRow(limit, changed)).filter(Boolean);
  const reset = el(
    "button",
    { type: "button", id: "limits-reset", onclick: () => (view.limits.clear(), changed(true)) },
    "Reset limits",
  );
  fill(
    byId("limits"),
    el("h3", {}, "Limits"),
    el("p", { class: "note" }, "What breaks a limit turns grey, and the pick moves."),
    rows.length ? rows : el("p", {}, "No metric was measured yet."),
    el("p", { class: "row" }, reset),
  );
}

function limitRow(limit, changed) {
  const places = placesOf(limit);
  if (places.length < 3) return null; // nothing to choose between
  const now = boundOf(limit);
  const output = el("output", {});
  const slider = el("input", {
    type: "range",
    min: 0,
    max: places.length - 1,
    step: 1,
    "data-limit": limit.key,
    "aria-label": `Limit of ${limit.metric}`,
  });
  slider.value = places.indexOf(now);
  const row = el(
    "div",
    { class: "limit" },
    el("div", { class: "top" }, el("span", {}, limit.metric), output),
    slider,
    limit.text ? el("div", { class: "of-study" }, `the study's: ${limit.text}`) : null,
  );
  const show = () => {
    const bound = places[slider.value];
    const text = bound === null ? "any" : `${limit.operator} ${amount(limit.metric, bound)}`;
    output.value = text;
    slider.setAttribute("aria-valuetext", text);
    row.classList.toggle("set", bound !== null);
  };
  slider.addEventListener("input", () => {
    view.limits.set(limit.key, places[slider.value]);
    show();
    changed(false);
  });
  show();
  return row;
}
