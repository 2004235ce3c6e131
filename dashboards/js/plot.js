// Plotly, in the colours of the theme.

const CONFIG = {
  displaylogo: false,
  responsive: true,
  showSendToCloud: false, // one click would send the data to a service of a third party
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

/** Okabe and Ito (2008): told apart with every common colour blindness, and in print. */
const OKABE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"];

function isDark() {
  const forced = document.documentElement.dataset.theme;
  return forced ? forced === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function colours() {
  return isDark()
    ? {
        front: "#56B4E9", baseline: "#E69F00", pick: "#2fd6a3", other: "#9aa3ad", out: "#59616b",
        ink: "#e6e8eb", soft: "#a2a9b2", line: "#383e46", ground: "#15181c", card: "#1d2126",
      }
    : {
        front: "#0072B2", baseline: "#D55E00", pick: "#009E73", other: "#7F7F7F", out: "#c9cdd2",
        ink: "#1c1e21", soft: "#5a6068", line: "#e3e6e9", ground: "#ffffff", card: "#f6f7f8",
      };
}

/** Draw or redraw a plot in place. `layout` wins over the theme, axis by axis. */
function draw(id, traces, layout) {
  const c = colours();
  const axis = { gridcolor: c.line, zerolinecolor: c.line, linecolor: c.line, automargin: true };
  const axes = Object.keys(layout).filter((key) => /^[xy]axis/.test(key));
  const themed = Object.fromEntries(axes.map((key) => [key, { ...axis, ...layout[key] }]));
  return Plotly.react(
    id,
    traces,
    {
      font: { family: "system-ui, Liberation Sans, sans-serif", size: 13, color: c.ink },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 60, r: 16, t: 36, b: 50 },
      hovermode: "closest",
      hoverlabel: {
        align: "left", bgcolor: c.card, bordercolor: c.soft, font: { color: c.ink, size: 13 },
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.ink },
      legend: { orientation: "h", yanchor: "bottom", y: 1.01, x: 0, font: { color: c.ink } },
      ...layout,
      ...themed,
    },
    CONFIG,
  );
}

/** The axis of a metric; null: the trial's number. */
function axisOf(metric, values) {
  const text = titleOf(metric);
  const axis = { title: { text: plain(innerWidth < 550 ? text.split(",")[0] : text) } };
  if (metric === null || !study.metric.get(metric).log) return axis;
  const there = values.filter((value) => value > 0);
  axis.type = "log";
  axis.exponentformat = "SI";
  if (Math.max(...there) >= 100 * Math.min(...there)) axis.dtick = 1; // decades
  return axis;
}

/** Where a trial is drawn; 0 stands on a log scale where its score does. */
function placeOf(trial, metric) {
  const value = valueOf(trial, metric);
  if (value === null || metric === null || !study.metric.get(metric).log) return value;
  if (value === 0) return study.metric.get(metric).least;
  return value > 0 ? value : null;
}
