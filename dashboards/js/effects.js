// What mattered: effects of the space's choices, with what the trials leave open of them.

function drawEffects() {
  const body = byId("effects-body");
  fill(body);
  for (const told of study.effects) {
    body.append(el("h3", {}, told.metric));
    if (told.silent || !told.effects.length) {
      body.append(el("p", { class: "empty" }, `No effects: ${told.silent || "the space leaves nothing to choose"}.`));
      continue;
    }
    const better = study.objectives.find((o) => o.metric === told.metric).goal;
    body.append(
      el(
        "p",
        { class: "note" },
        `Change of ${told.metric}${told.relative ? " as a share" : ""} against the mean of all levels, over configurations drawn from the space, the other choices as they come (on: against off); 95 % intervals by the surrogate. ` +
          `Filled: the interval leaves 0 out. The surrogate leaves ${short(100 * told.left_out_error, 2)} % of the trials' variance open when it predicts each from the others.`,
      ),
    );
    const box = el("div", { class: "pair" });
    body.append(box);
    const scopes = [...new Set(told.effects.map((effect) => effect.scope))];
    const all = told.effects.flatMap((effect) => [effect.low, effect.high]);
    const range = [Math.min(...all, 0), Math.max(...all, 0)];
    const margin = 0.04 * (range[1] - range[0]);
    for (const scope of scopes) {
      const holder = el("div", { class: "plot" });
      box.append(el("div", {}, el("h3", {}, scope ? `in ${scope}` : "branches"), holder));
      const own = told.effects.filter((effect) => effect.scope === scope);
      drawScope(holder, own, told, better, [range[0] - margin, range[1] + margin]);
    }
  }
}

function drawScope(holder, effects, told, goal, range) {
  const c = colours();
  const ticks = [];
  const rows = [];
  const factors = [...new Set(effects.map((effect) => effect.factor))];
  for (const factor of factors) {
    const own = effects.filter((effect) => effect.factor === factor);
    const single = own.length === 1;
    if (!single) ticks.push(`<b>${plain(wrapped(nameOf(factor), 30)[0])}</b>`);
    for (const effect of own) {
      rows.push({ y: ticks.length, effect });
      ticks.push(plain((single ? nameOf(factor) : effect.level).slice(0, 34)));
    }
  }
  const sure = ({ low, high }) => low > 0 || high < 0;
  const good = ({ change }) => (goal === "maximize" ? change > 0 : change < 0);
  const kinds = [
    ["better", (e) => sure(e) && good(e), { color: c.front, symbol: "circle" }],
    ["worse", (e) => sure(e) && !good(e), { color: c.baseline, symbol: "diamond" }],
    ["not told apart from 0", (e) => !sure(e), { color: c.other, symbol: "circle-open" }],
  ];
  const traces = kinds.map(([name, belongs, marker]) => {
    const own = rows.filter((row) => belongs(row.effect));
    return {
      type: "scatter", mode: "markers", name, x: own.map((row) => row.effect.change), y: own.map((row) => row.y),
      marker: { ...marker, size: 9 },
      error_x: {
        type: "data", symmetric: false, color: marker.color, thickness: 1.5, width: 0,
        array: own.map((row) => row.effect.high - row.effect.change),
        arrayminus: own.map((row) => row.effect.change - row.effect.low),
      },
      text: own.map(({ effect: e }) => plain(`${nameOf(e.factor)} ${e.level}: ${signed(e.change)} (${signed(e.low)} to ${signed(e.high)})`)),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  draw(holder, traces, {
    xaxis: { title: { text: plain(`change of ${told.metric}`) }, range, tickformat: told.relative ? "+.0%" : "" },
    yaxis: { tickvals: ticks.map((_, i) => i), ticktext: ticks, range: [ticks.length - 0.4, -0.6], showgrid: false, zeroline: false },
    shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: c.soft, width: 1 } }],
    showlegend: true,
    legend: { orientation: "h", yanchor: "bottom", y: 1.0, x: 0, font: { color: c.ink } },
    height: 110 + 21 * ticks.length,
  });
}

/** `modules[0].r` -> `r`, `training.learning_rate` -> `learning_rate`. */
function nameOf(factor) {
  return factor.replace(/modules\[0\]\./, "").replace(/^training\./, "");
}

function signed(value) {
  return `${value > 0 ? "+" : ""}${short(value, 3)}`;
}
