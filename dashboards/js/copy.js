// A configuration as text to take away: YAML of a space file, and PEFT's Python.

function names(positions) {
  return positions.map((position) => study.names[position][0]);
}

/** Fields of the document with the full names of modules in their place. */
function whole(fields) {
  const found = {};
  for (const [name, value] of Object.entries(fields))
    found[name] = value?.$names ? names(value.$names) : value;
  return found;
}

/** One branch of a space file: JSON values are YAML, so nothing is quoted by hand. */
function yamlOf(trial) {
  const architecture = study.architectures[trial.architecture];
  const lines = [
    `# trial ${trial.number} of the study ${JSON.stringify(study.study)}: a branch for \`space:\``,
    `${JSON.stringify(trial.branch)}:`,
  ];
  if (architecture.full) lines.push("  full_fine_tuning: true");
  if (architecture.modules.length) lines.push("  modules:");
  for (const module of architecture.modules) {
    lines.push(`    - peft_type: ${module.type}`);
    if (module.size !== null && !(module.size_field in module.fields))
      lines.push(`      ${module.size_field}: ${module.size}`);
    for (const [name, value] of Object.entries(whole(module.fields)))
      lines.push(...yamlField(name, value, "      "));
    if (module.targets.length) lines.push(...yamlField("target_modules", names(module.targets), "      "));
    lines.push(`      layers: ${JSON.stringify(module.layers)}`);
  }
  const [strategy, options] = architecture.allocation;
  if (strategy !== "uniform")
    lines.push(
      Object.keys(options).length
        ? `  allocation: {${strategy}: ${JSON.stringify(options)}}`
        : `  allocation: ${strategy}`,
    );
  for (const [part, values] of [["parameters", trial.parameters], ["training", trial.recipe]]) {
    const fields = Object.entries(values);
    if (fields.length) lines.push(`  ${part}:`);
    for (const [name, value] of fields) lines.push(...yamlField(JSON.stringify(name), value, "    "));
  }
  return lines.join("\n") + "\n";
}

function yamlField(name, value, indent) {
  if (!Array.isArray(value) || value.length < 4)
    return [`${indent}${name}: ${JSON.stringify(value)}`];
  return [`${indent}${name}:`, ...value.map((each) => `${indent}  - ${JSON.stringify(each)}`)];
}

/** PEFT's own configuration, one dictionary a module, in the order of injection. */
function pythonOf(trial) {
  const architecture = study.architectures[trial.architecture];
  const recipe = Object.entries(trial.recipe).map(([name, value]) => `${name}=${pythonLiteral(value, "")}`);
  const head = [`# trial ${trial.number} of the study ${JSON.stringify(study.study)}`];
  if (architecture.refused) return [...head, `# ${architecture.refused}`, ""].join("\n");
  if (architecture.own.length)
    head.push(`import autopeft.tuners  # makes ${architecture.own.join(", ")} known to PEFT`);
  const configs = architecture.peft.map((each) => `get_peft_config(${pythonLiteral(whole(each), "")})`);
  if (configs.length > 1)
    return [
      ...head,
      "from peft import get_peft_config",
      "from autopeft.tuners.composite import inject_composite",
      "",
      "configs = [",
      ...configs.map((config) => `    ${config.replaceAll("\n", "\n    ")},`),
      "]",
      `model = inject_composite(model, configs, head=${pythonLiteral(study.head, "")})`,
      `# trained with ${recipe.join(", ")}`,
      "",
    ].join("\n");
  return [
    ...head,
    "from peft import get_peft_config, get_peft_model",
    "",
    `config = ${configs[0]}`,
    "model = get_peft_model(model, config)",
    `# trained with ${recipe.join(", ")}`,
    "",
  ].join("\n");
}

function pythonLiteral(value, indent) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inside = `${indent}    `;
  if (Array.isArray(value)) {
    const flat = `[${value.map((each) => pythonLiteral(each, inside)).join(", ")}]`;
    if (flat.length < 70) return flat;
    return `[\n${value.map((each) => `${inside}${pythonLiteral(each, inside)},`).join("\n")}\n${indent}]`;
  }
  const entries = Object.entries(value);
  if (!entries.length) return "{}";
  const lines = entries.map(([k, v]) => `${inside}${JSON.stringify(k)}: ${pythonLiteral(v, inside)},`);
  return `{\n${lines.join("\n")}\n${indent}}`;
}

/** Show text to copy. Without the browser's leave to copy it can still be marked and copied. */
function offer(title, text, note = "") {
  byId("copy-title").textContent = title;
  byId("copy-note").textContent = note;
  byId("copy-text").textContent = text;
  byId("copy-done").textContent = "";
  byId("copy").showModal();
}

async function copyShown() {
  const shown = byId("copy-text");
  const selection = getSelection();
  selection.selectAllChildren(shown);
  try {
    await navigator.clipboard.writeText(shown.textContent);
    byId("copy-done").textContent = "Copied";
  } catch {
    byId("copy-done").textContent = document.execCommand("copy")
      ? "Copied"
      : "The browser does not let a page copy here: the text is marked, press Ctrl-C";
  }
}
