// Layer maps: the ranks that allocation strategies chose, and the scores that they gave layers.

const mapView = { ranks: null, scores: null };

function drawMaps() {
  const { ranks, mean, scores } = study.maps;
  if (!ranks.length && !scores.length) {
    fill(
      byId("maps-body"),
      el("p", { class: "empty" }, "No completed trial has a map: allocations that choose ranks (adalora, increlora, eva, spt, random) or score layers (ist) give one."),
    );
    return;
  }
  fill(byId("maps-body"), el("div", { class: "pair" }, ranks.length ? el("div", { id: "ranks" }) : null, scores.length ? el("div", { id: "scores" }) : null));
  if (ranks.length) drawRanks(ranks, mean);
  if (scores.length) drawScores(scores);
}

function trialOption(entry) {
  const trial = study.byNumber.get(entry.trial);
  const front = study.front.includes(entry.trial) ? ", on the front" : "";
  return [String(entry.trial), `#${entry.trial} ${trial.name}${front}`];
}

function drawRanks(ranks, mean) {
  const options = ranks.map(trialOption);
  if (mean) options.push(["mean", `mean of ${mean.trials.length} trials`]);
  mapView.ranks ??= options[0][0];
  const entry = mapView.ranks === "mean" ? mean : ranks.find((each) => String(each.trial) === mapView.ranks);
  const text = entry.pattern.map((module) => patternText(module)).join("\n");
  const title = mapView.ranks === "mean" ? `Mean ranks of trials ${mean.trials.join(", ")}` : `Ranks of trial ${mapView.ranks}`;
  fill(
    byId("ranks"),
    el("h3", {}, "Ranks"),
    el("div", { class: "controls" },
      selectOf("of", options, mapView.ranks, (value) => ((mapView.ranks = value), drawRanks(ranks, mean))),
      el("button", { type: "button", id: "copy-pattern", onclick: () => offer(title, text, "A plain LORA of these ranks for `modules:` of a space file, or arguments of LoraConfig; every module keeps its alpha / rank.") }, "rank_pattern"),
    ),
    el("div", { id: "ranks-plot", class: "plot" }),
    el("p", { class: "note" }, `Allocation ${entry.allocation}; empty cells hold no adapter.`),
  );
  const kinds = [...new Set(entry.cells.map(([, kind]) => kind))];
  const top = Math.max(...entry.cells.map(([layer]) => layer ?? 0));
  const layers = Array.from({ length: top + 1 }, (_, layer) => layer);
  const z = layers.map((layer) => kinds.map((kind) => entry.cells.find((cell) => cell[0] === layer && cell[1] === kind)?.[2] ?? null));
  heatmap("ranks-plot", kinds, layers, z);
}

function heatmap(id, kinds, layers, z) {
  const values = z.flat().filter((value) => value !== null);
  // Cividis (Nunez 2018) reads the same with and without colour blindness.
  draw(
    id,
    [{ type: "heatmap", x: kinds.map((kind) => plain(kind)), y: layers, z, colorscale: "Cividis", zmin: 0, zmax: Math.max(...values, 1), texttemplate: "%{z}", xgap: 2, ygap: 2, colorbar: { title: { text: "rank" }, thickness: 12 }, hovertemplate: "layer %{y}, %{x}: rank %{z}<extra></extra>" }],
    { xaxis: { type: "category", showgrid: false }, yaxis: { title: { text: "layer" }, showgrid: false, dtick: layers.length > 16 ? 4 : 1 }, height: Math.max(300, 130 + 24 * layers.length) },
  );
}

function patternText(module) {
  const lines = ["- peft_type: LORA"];
  for (const [name, value] of Object.entries(module)) {
    if (name === "peft_type") continue;
    if (name.endsWith("_pattern")) {
      lines.push(`  ${name}:`);
      for (const [key, each] of Object.entries(value)) lines.push(`    ${JSON.stringify(key)}: ${each}`);
    } else lines.push(...yamlField(name, value, "  "));
  }
  return lines.join("\n") + "\n";
}

function drawScores(scores) {
  const options = scores.map(trialOption);
  mapView.scores ??= options[0][0];
  const entry = scores.find((each) => String(each.trial) === mapView.scores);
  fill(
    byId("scores"),
    el("h3", {}, "Scores of layers"),
    el("div", { class: "controls" }, selectOf("of", options, mapView.scores, (value) => ((mapView.scores = value), drawScores(scores)))),
    el("div", { id: "scores-plot", class: "plot" }),
    el("p", { class: "note" }, "As IST gives them: the lower, the more important the layer, and the oftener it was updated."),
  );
  const layers = Object.keys(entry.scores).map(Number);
  draw(
    "scores-plot",
    [{ type: "bar", orientation: "h", y: layers, x: layers.map((layer) => entry.scores[layer]), marker: { color: colours().front }, hovertemplate: "layer %{y}: %{x:.4g}<extra></extra>" }],
    { xaxis: { title: { text: "score" } }, yaxis: { title: { text: "layer" }, dtick: layers.length > 16 ? 4 : 1 }, height: Math.max(300, 110 + 22 * layers.length) },
  );
}
