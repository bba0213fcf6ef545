"use strict";
// The page of a report: choices on the left, panels that plotly draws, tables that are sorted by a click.
// All that is shown comes from the JSON text in the element #data (page.py writes it).

const data = JSON.parse(document.getElementById("data").textContent);
const chosen = new Map(data.choices.map((choice) => [choice.name, new Set(choice.begin)]));

function element(tag, parent, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

// Numbers travel as the bytes of an array, little-endian: "f" of 32, "d" of 64 bits each.
function numbers(packed) {
  if (Array.isArray(packed)) return packed;
  const bytes = Uint8Array.from(atob(packed.f ?? packed.d), (letter) => letter.charCodeAt(0));
  return "f" in packed ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
}

// Where there is one option only, nothing is to be chosen and there is no choice of that name.
function isChosen(name, option) {
  return !chosen.has(name) || chosen.get(name).has(option);
}

function isShown(of) {
  return Object.entries(of).every(([name, option]) => isChosen(name, option));
}

// ------------------------------------------------------------------------------------- choices

const fieldsets = data.choices.map((choice) => {
  const set = element("fieldset", document.querySelector("nav"));
  element("legend", set, { textContent: choice.title });
  if (!choice.several) {
    const select = element("select", set, { name: choice.name });
    select.setAttribute("aria-label", choice.title);
    choice.options.forEach((text, i) => element("option", select, { textContent: text, value: i }));
    select.value = choice.begin[0];
    select.onchange = () => {
      chosen.set(choice.name, new Set([Number(select.value)]));
      show();
    };
    return set;
  }
  const list = element("div", set);
  choice.options.forEach((text, i) => {
    const label = element("label", list);
    const box = element("input", label, { type: "checkbox", name: choice.name, value: i });
    box.checked = choice.begin.includes(i);
    label.append(` ${text}`);
    box.onchange = () => {
      chosen.get(choice.name)[box.checked ? "add" : "delete"](i);
      show();
    };
  });
  return set;
});

// -------------------------------------------------------------------------------------- panels

const LINES = { line: 2, thin: 0.8, dashed: 1.5, "dotted line": 1.5 };

function trace(curve) {
  const x = numbers(curve.x);
  const y = numbers(curve.y);
  const made = { x, y, name: curve.name, showlegend: curve.key && curve.name !== "", type: "scatter", mode: "lines" };
  if (curve.look === "map") {
    const flat = numbers(curve.error);
    const z = Array.from(y, (_, row) => flat.slice(row * x.length, (row + 1) * x.length));
    const signed = curve.name === "correlation";
    return { x, y, z, type: "heatmap", ...(signed ? { zmin: -1, zmax: 1, colorscale: "RdBu" }
      : { colorscale: "Viridis" }), colorbar: { exponentformat: "power", thickness: 12 } };
  }
  if (curve.look === "band") {
    const low = numbers(curve.error);
    const kept = Array.from(x.keys()).filter((i) => Number.isFinite(low[i]) && Number.isFinite(y[i]));
    const back = [...kept].reverse();
    return { ...made, x: [...kept, ...back].map((i) => x[i]), y: [...kept.map((i) => y[i]), ...back.map((i) => low[i])],
      fill: "toself", fillcolor: `${curve.colour}33`, line: { width: 0 }, hoverinfo: "skip" };
  }
  made.mode = { dots: "markers", "dotted line": "lines+markers" }[curve.look] ?? "lines";
  made.line = { color: curve.colour, width: LINES[curve.look], dash: curve.look === "dashed" ? "dash" : "solid" };
  made.marker = { color: curve.colour, size: curve.look === "dots" ? 4 : 5 };
  made.opacity = curve.look === "thin" ? 0.6 : 1;
  if (curve.texts.length) made.text = curve.texts;
  if (curve.error) made[curve.across ? "error_x" : "error_y"] = { array: numbers(curve.error), color: curve.colour };
  return made;
}

function layout(x, y, logX, logY, legend, categories) {
  return {
    margin: { l: 60, r: 35, t: 10, b: 45 },
    modebar: { orientation: "v" },
    font: { size: 12 },
    hovermode: "closest",
    showlegend: true,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", font: { size: 10 }, title: { text: legend } },
    xaxis: { title: { text: x }, automargin: true, ...(logX ? { type: "log" } : {}), exponentformat: "power" },
    yaxis: { title: { text: y }, automargin: true, ...(logY ? { type: "log" } : {}), exponentformat: "power",
      ...(categories ? { type: "category", autorange: "reversed" } : {}) },
    uirevision: `${x} ${y}`, // what the reader has zoomed into stays when other curves are chosen
  };
}

const CONFIG = {
  displaylogo: false,
  responsive: true,
  toImageButtonOptions: { format: "svg" },
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]], // none that shares
};

function curvesOf(panel) {
  const traces = panel.curves.filter((curve) => isShown(curve.of)).map(trace);
  const categories = panel.curves.some((curve) => Array.isArray(curve.y));
  const look = layout(panel.x, panel.y, panel.log_x, panel.log_y, panel.legend, categories);
  if (panel.curves.some((curve) => Array.isArray(curve.x))) look.xaxis.showticklabels = false; // the same names as on y
  return [traces, look];
}

function pairsOf(panel, frame) {
  const [across, up] = frame.selects.map((select) => panel.columns[Number(select.value)]);
  const group = numbers(panel.group);
  const [x, y] = [numbers(across.values), numbers(up.values)];
  const traces = panel.colours.flatMap((colour, option) => {
    if (panel.by && !isChosen(panel.by, option)) return [];
    const kept = Array.from(group.keys()).filter((i) => group[i] === option);
    const name = data.choices.find((choice) => choice.name === panel.by)?.escaped[option] ?? "";
    return [{ type: "scatter", mode: "markers", name, showlegend: name !== "", marker: { color: colour, size: 5 },
      x: kept.map((i) => x[i]), y: kept.map((i) => y[i]), text: kept.map((i) => panel.texts[i % panel.texts.length]) }];
  });
  return [traces, layout(across.label, up.label, across.positive, up.positive, panel.legend, false)];
}

const frames = data.panels.map((panel) => {
  const box = element("section", document.getElementById("panels"), { className: "panel" });
  element("h2", box, { textContent: panel.title });
  const frame = { panel, box, selects: [] };
  if (panel.columns) {
    frame.selects = panel.begin.map((column, i) => {
      const select = element("select", box);
      select.setAttribute("aria-label", i ? "upwards" : "across");
      panel.columns.forEach((each, k) => element("option", select, { textContent: each.plain, value: k }));
      select.value = column;
      select.onchange = show;
      return select;
    });
  }
  frame.plot = element("div", box, { className: "plot" });
  if (panel.note) element("p", box, { textContent: panel.note });
  return frame;
});

function show() {
  fieldsets.forEach((set, i) => { set.hidden = !isShown(data.choices[i].of); });
  document.querySelectorAll("[data-of]").forEach((block) => { block.hidden = !isShown(JSON.parse(block.dataset.of)); });
  for (const frame of frames) {
    frame.box.hidden = !isShown(frame.panel.of);
    if (frame.box.hidden) continue;
    const [traces, look] = frame.panel.columns ? pairsOf(frame.panel, frame) : curvesOf(frame.panel);
    Plotly.react(frame.plot, traces, look, CONFIG);
  }
  document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
}

// -------------------------------------------------------------------------------------- tables

function sort(table, column, heading) {
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  table.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const rows = Array.from(table.tBodies[0].rows);
  const numeric = rows.some((row) => "value" in row.cells[column].dataset);
  const key = (row) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent;
    return cell.dataset.value ? Number(cell.dataset.value) : null; // what has no number comes last
  };
  const order = (a, b) => (numeric ? a - b : a.localeCompare(b));
  rows.map((row) => [key(row), row])
    .sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : (rising ? 1 : -1) * order(a, b)))
    .forEach(([, row]) => table.tBodies[0].append(row));
}

document.querySelectorAll("table.sortable").forEach((table) => {
  table.querySelectorAll("th").forEach((heading, column) => {
    heading.querySelector("button").onclick = () => sort(table, column, heading);
  });
});

show();
