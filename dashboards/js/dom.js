// Elements and text. What a study names is shown as text, never read as markup.

/** An element; `on…` attributes are listeners, null ones are left out. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);

function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter(Boolean));
}

/** Text for plotly, which reads a little HTML in its labels. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Lines of at most so many characters, cut between words where that works. */
function wrapped(text, width = 58) {
  const lines = [""];
  for (const word of String(text).split(" ")) {
    const last = lines[lines.length - 1];
    if (last && last.length + word.length + 1 > width) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return lines.flatMap((line) => line.match(new RegExp(`.{1,${2 * width}}`, "g")) ?? [""]);
}

/** A number in four digits: 0.8125, 1.5e-7. */
function short(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const rounded = Number(value.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return rounded.toExponential().replace("e+", "e");
  return String(rounded);
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

function hours(value) {
  if (value >= 1) return `${short(value, 3)} h`;
  return value * 60 >= 1 ? `${short(value * 60, 3)} min` : `${short(value * 3600, 3)} s`;
}

function selectOf(label, options, value, chosen) {
  const select = el("select", { onchange: () => chosen(select.value) });
  for (const [key, text] of options) select.append(el("option", { value: key }, text));
  select.value = value;
  return el("label", {}, `${label} `, select);
}
