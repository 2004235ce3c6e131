// Put together: the header, the theme, and the live page that asks again.

function drawHeader() {
  const own = study.trials.filter((trial) => trial.confirms === null);
  const count = (state) => own.filter((trial) => trial.state === state).length;
  document.title = `${study.study}: Pareto explorer`;
  byId("title").textContent = study.study;
  byId("state").textContent = study.state;
  byId("state").className = `badge ${study.state}`;
  const spent = study.trials.reduce((sum, trial) => sum + trial.seconds, 0) * study.devices;
  const again = study.trials.length - own.length;
  const others = own.filter((trial) => trial.of !== null).length;
  const limit = study.budget.trials ? ` of ${study.budget.trials}` : "";
  const parts = [
    study.owner ? `by ${study.owner}` : "",
    study.model,
    `${own.length}${limit} trials: ${count("completed")} completed`,
    count("paused") ? `${count("paused")} stopped early` : "",
    count("running") ? `${count("running")} running` : "",
    count("failed") ? `${count("failed")} failed` : "",
    others ? `${others} another seed of one` : "",
    again ? `${again} that confirm` : "",
    `${study.front.length} on the front`,
    `${hours(spent / 3600)} of ${study.device}`,
  ];
  byId("summary").textContent = parts.filter(Boolean).join(" · ");
}

function drawAxes() {
  const choices = study.metrics.map((metric) => [metric.name, metric.name]);
  const axis = (label, key) =>
    selectOf(label, [["", "trial"], ...choices], view[key] ?? "", (value) => {
      view[key] = value || null;
      drawFront();
    });
  fill(byId("axes"), axis("across", "x"), axis("upwards", "y"));
}

let waiting = 0;
/** A limit was moved: draw once a frame, however fast the slider goes. */
function limitsChanged(anew) {
  if (anew) drawLimits(limitsChanged);
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(drawFront);
}

function drawAll() {
  drawHeader();
  drawAxes();
  drawLimits(limitsChanged);
  drawPlots();
  drawTable();
}

// Sections below the screen are drawn when they come near it: a page of a thousand trials opens at
// once, and a live one redraws no more than what is looked at.
const LATER = { search: drawSearch, effects: drawEffects, maps: drawMaps };
const stale = new Set();
const near = new Set();

function drawPlots() {
  drawFront();
  drawCompare();
  for (const id of Object.keys(LATER)) stale.add(id);
  drawNear();
}

function drawNear(all = false) {
  for (const id of [...stale])
    if (all || near.has(id)) {
      stale.delete(id);
      LATER[id]();
      byId(id).dataset.drawn = "true";
    }
}

function watchSections() {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) near[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      drawNear();
    },
    { rootMargin: "300px" },
  );
  for (const id of Object.keys(LATER)) observer.observe(byId(id));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  drawPlots();
}

function listen() {
  byId("front-plot").on("plotly_click", (event) => {
    const number = event.points[0]?.customdata;
    if (number !== undefined) togglePin(number);
  });
  byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (!document.documentElement.dataset.theme) drawPlots();
    byId("theme").textContent = isDark() ? "Light" : "Dark";
  });
  byId("copy-do").addEventListener("click", copyShown);
  byId("copy-close").addEventListener("click", () => byId("copy").close());
  let before = null;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme ?? "";
    if (isDark()) setTheme("light");
    drawNear(true);
  });
  addEventListener("afterprint", () => {
    if (before === document.documentElement.dataset.theme) return;
    if (before) setTheme(before);
    else {
      delete document.documentElement.dataset.theme;
      drawPlots();
    }
  });
}

const KEPT = ["data-limit", "data-pin", "data-row-pin", "data-sort"];

/** Draw a newer document; what had the focus has it again. */
function renew(fresh) {
  const active = document.activeElement;
  const key = KEPT.find((name) => active?.hasAttribute(name));
  const mark = key && `[${key}="${CSS.escape(active.getAttribute(key))}"]`;
  take(fresh);
  drawAll();
  if (mark) document.querySelector(mark)?.focus();
}

/** Ask for the document until the study ends; a server that is away is asked on. */
async function poll(address) {
  const badge = byId("live");
  badge.hidden = false;
  let tag = null;
  for (;;) {
    // Not under a hand that drags a slider.
    if (document.querySelector("input:active, select:active")) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      continue;
    }
    try {
      const answer = await fetch(address, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        const fresh = await answer.json();
        const first = tag === null;
        tag = answer.headers.get("ETag");
        const news = fresh.trials.length !== study.trials.length || fresh.state !== study.state;
        if (!first || news) renew(fresh);
      }
      badge.textContent = "live";
    } catch {
      badge.textContent = "the server is away";
    }
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? 15000 : 3000));
  }
}

take(JSON.parse(byId("document").textContent));
byId("theme").textContent = isDark() ? "Light" : "Dark";
drawAll();
listen();
watchSections();
const address = JSON.parse(byId("live-address").textContent);
if (address) poll(address);
document.documentElement.dataset.ready = "true";
