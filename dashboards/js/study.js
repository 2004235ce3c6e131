// The study's document and what follows from it. Directions are known here alone.

const Z95 = 1.96;
let study = null;
const view = { x: null, y: null, limits: new Map(), prefer: "knee", pins: [], hours: false };

/** Take in a document: the one of the page, or a newer one of a live study. */
function take(document_) {
  const first = study === null;
  study = document_;
  study.byNumber = new Map(study.trials.map((trial) => [trial.number, trial]));
  study.metric = new Map(study.metrics.map((metric) => [metric.name, metric]));
  // A configuration with several seeds is one point, at their mean.
  study.points = study.trials.filter((trial) => trial.of === null);
  if (first) [view.x, view.y] = study.axes;
  view.pins = view.pins.filter((number) => study.byNumber.has(number));
}

function valueOf(trial, metric) {
  if (metric === null) return trial.number;
  return (trial.mean ?? trial).metrics[metric] ?? null;
}

function errorOf(trial, metric) {
  return (trial.mean ?? trial).stderr[metric] ?? 0;
}

/** A metric's value as people read it; with `error`, also half the width of its 95 % interval. */
function amount(metric, value, error = 0) {
  if (value === null || value === undefined) return "–";
  const unit = study.metric.get(metric)?.unit ?? "";
  const counted = unit === "parameters" || unit === "bytes";
  const text = counted ? Math.round(value).toLocaleString("en-US") : short(value);
  const interval = error ? ` ± ${short(Z95 * error, 2)}` : "";
  return `${text}${interval}${["GiB", "s", "ms", "h", "tokens/s"].includes(unit) ? ` ${unit}` : ""}`;
}

function told(trial, metric) {
  return amount(metric, valueOf(trial, metric), errorOf(trial, metric));
}

function titleOf(metric) {
  if (metric === null) return "trial";
  const { unit, goal } = study.metric.get(metric);
  const better = { maximize: ", more is better", minimize: ", less is better" }[goal] ?? "";
  return `${metric}${unit ? ` [${unit}]` : ""}${better}`;
}

/** As `Objective.score`: larger is better. */
function score(objective, value) {
  const { least } = study.metric.get(objective.metric);
  const scaled = objective.scale === "log" ? Math.log(value === 0 ? least : value) : value;
  return objective.goal === "maximize" ? scaled : -scaled;
}

function scores(trial) {
  return study.objectives.map((o) => score(o, valueOf(trial, o.metric)));
}

/** The trials that may be on the front: what a confirmation passed over may not. */
function completed() {
  return study.points.filter(
    (trial) =>
      trial.state === "completed" &&
      trial.stands &&
      study.objectives.every((o) => valueOf(trial, o.metric) !== null),
  );
}

/** Of the trials, those that no other dominates; best first objective first. */
function frontOf(trials) {
  const rows = trials.map((trial) => ({ trial, y: scores(trial) }));
  // Whatever dominates a row stands before it in this order.
  rows.sort((a, b) => {
    for (let j = 0; j < a.y.length; j++) if (a.y[j] !== b.y[j]) return b.y[j] - a.y[j];
    return a.trial.number - b.trial.number;
  });
  const kept = [];
  for (const row of rows) {
    const beaten = kept.some(
      (other) =>
        other.y.every((value, j) => value >= row.y[j]) &&
        other.y.some((value, j) => value > row.y[j]),
    );
    if (!beaten) kept.push(row);
  }
  kept.sort((a, b) => b.y[0] - a.y[0] || a.trial.number - b.trial.number); // as `front` has them
  return kept.map((row) => row.trial);
}

/** As `autopeft best`: the knee of the members, or the best of one metric. */
function pickOf(members, prefer) {
  if (!members.length) return null;
  let worth;
  if (prefer === "knee") {
    const rows = members.map(scores);
    const low = rows[0].map((_, j) => Math.min(...rows.map((row) => row[j])));
    const high = rows[0].map((_, j) => Math.max(...rows.map((row) => row[j])));
    worth = rows.map((row) =>
      row.reduce((sum, v, j) => sum + (v - low[j]) / (high[j] > low[j] ? high[j] - low[j] : 1), 0),
    );
  } else {
    const sign = study.metric.get(prefer).goal === "maximize" ? 1 : -1;
    worth = members.map((t) => (valueOf(t, prefer) === null ? -Infinity : sign * valueOf(t, prefer)));
  }
  return members[worth.indexOf(Math.max(...worth))];
}

function stateOf(trial) {
  if (trial.state === "paused") return `stopped early, after step ${trial.rungs.at(-1)?.[0]}`;
  return trial.state;
}

function seedsOf(trial) {
  const [done, tried] = trial.seeds;
  if (tried <= 1) return `seed ${trial.seed}`;
  return done === tried ? `mean of ${done} seeds` : `mean of ${done} of ${tried} seeds`;
}
