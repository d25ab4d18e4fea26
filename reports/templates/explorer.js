"use strict";
// Errors are kept on the page too, so that a reader without a console and a test can see them.
window.addEventListener("error", (event) => {
  document.documentElement.dataset.error = event.message;
});
window.addEventListener("unhandledrejection", (event) => {
  document.documentElement.dataset.error = String(event.reason);
});

window.prunesim = (() => {
  const data = JSON.parse(document.getElementById("sweep-data").textContent);
  const plots = JSON.parse(document.getElementById("sweep-plots").textContent);
  const kinds = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
  const categories = ["#3b8fd1", "#e69f00", "#1fa37a", "#d784b3", "#dd6a1f", "#8d7be0",
    "#a7a83a", "#b04a6f", "#5fb8e8", "#55b3a6", "#9a7b5a", "#8c939c"];
  const ramps = {
    light: ["#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#9fd038"],
    dark: ["#5566b8", "#3a86a8", "#21a08c", "#3fbc73", "#8bd646", "#dde318"],
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const byId = (id) => document.getElementById(id);

  function unpack(item) {
    const text = atob(item.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new kinds[item.kind](bytes.buffer);
  }

  for (const name of ["number", "status", "feasible", "front", "trace", "reason"]) {
    data[name] = unpack(data[name]);
  }
  for (const column of data.columns) column.values = unpack(column.values);
  for (const axis of data.axes) axis.codes = unpack(axis.codes);
  // Points are compared within groups; without them there is one, of all points.
  const groups = data.groups;
  if (groups) groups.of = unpack(groups.of);
  const groupOf = (at) => groups ? groups.of[at] : 0;
  const groupTitle = groups ? groups.names.join(" and ") : "";
  const columns = new Map(data.columns.map((column) => [column.name, column]));
  const axes = new Map(data.axes.map((axis) => [axis.name, axis]));
  const objectives = Object.keys(data.objectives);
  const places = new Map(Array.from(data.number, (number, at) => [number, at]));

  const state = {
    x: objectives[0], y: objectives[1] ?? objectives[0], colour: data.groups ? "group" : data.colour ? `axis ${data.colour}` : "",
    logX: false, logY: false, feasible: false, front: false,
    allowed: new Map(data.axes.map((axis) => [axis.name, new Uint8Array(axis.values.length + 1).fill(1)])),
    picked: null,
  };
  let plot = null, view = null, shown = [];

  // ---- text ----
  function number(value, digits = 4) {
    if (!Number.isFinite(value)) return "-";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e7 || size < 1e-4) return value.toExponential(digits - 1);
    return value.toLocaleString("en", { maximumSignificantDigits: Math.max(digits, Math.ceil(Math.log10(size))) });
  }
  const amount = (column, at) => `${number(column.values[at] / column.factor)} ${column.unit}`.trim();
  const valueOf = (axis, at) => axis.codes[at] === 0 ? "-" : show(axis, axis.values[axis.codes[at] - 1]);
  const show = (axis, value) => axis.numeric ? number(value, 6) : value;
  const titled = (column) => column.unit ? `${column.label}, ${column.unit}` : column.label;

  const groupValue = (group) => groups.values[group].map((value) => typeof value === "number" ? number(value, 6) : value);
  const groupText = (group) => groupValue(group).map((value, i) => `${groups.names[i]} = ${value}`).join(", ");
  const ofFront = (at) => groups ? `on the front of ${groupText(groupOf(at))}` : "on the front";

  function element(tag, properties = {}, children = []) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }
  function facts(pairs) {
    const rows = pairs.map(([name, value]) => element("tr", {}, [
      element("td", { textContent: name }), element("td", { textContent: value })]));
    return element("table", { className: "facts" }, [element("tbody", {}, rows)]);
  }
  function command(at) {
    let machine = data.command.machine, settings = data.command.fixed;
    for (const axis of data.axes) {
      const code = axis.codes[at];
      if (code === 0) continue;
      settings += axis.parts[code - 1];
      if (axis.machines) machine = axis.machines[code - 1];
    }
    return `${data.command.start}${data.traces[data.trace[at]]}.trace --machine ${machine}${settings}`;
  }

  // ---- colours ----
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function mixed(share) {
    const stops = ramps[dark.matches ? "dark" : "light"];
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2), part = place - low;
    const channel = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
    const hex = [0, 1, 2].map((i) => Math.round(
      channel(stops[low], i) * (1 - part) + channel(stops[low + 1], i) * part).toString(16).padStart(2, "0"));
    return `#${hex.join("")}`;
  }
  // Returns a function from a point to its colour, and entries for the legend.
  function colouring(key) {
    const grey = dark.matches ? "#8d97a3" : "#7b838d";
    const [kind, ...rest] = key.split(" "), name = rest.join(" ");
    if (kind === "group") {
      const own = lineColours();
      return { ...own, of: (at) => own.of(groupOf(at)), title: groupTitle };
    }
    if (kind === "axis") {
      const axis = axes.get(name), count = axis.values.length;
      const spread = axis.numeric && count > 2;
      const colours = axis.values.map((value, i) => spread
        ? mixed(i / (count - 1)) : categories[i % categories.length]);
      const entries = count <= 16 ? axis.values.map((value, i) => [show(axis, value), colours[i]]) : null;
      const missing = axis.codes.includes(0);
      if (entries && missing) entries.push(["takes no part", grey]);
      return {
        of: (at) => axis.codes[at] === 0 ? grey : colours[axis.codes[at] - 1],
        title: axis.short, entries,
        ends: [show(axis, axis.values[0]), show(axis, axis.values[count - 1])],
      };
    }
    if (kind === "column") {
      const column = columns.get(name);
      let low = Infinity, high = -Infinity;
      for (let i = 0; i < data.count; i++) {
        const value = column.values[i];
        if (data.status[i] === 0 && Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
      }
      const log = low > 0 && high / low > 20;
      const scale = (value) => log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low || 1);
      return {
        of: (at) => Number.isFinite(column.values[at]) ? mixed(scale(column.values[at])) : grey,
        title: titled(column), entries: null,
        ends: [number(low / column.factor, 3), number(high / column.factor, 3)],
      };
    }
    return { of: (at) => data.front[at] ? css("--accent") : grey, title: "", entries: [["on the front", css("--accent")], ["other", grey]] };
  }
  // The colours of the fronts' lines.
  function lineColours() {
    if (!groups) return { of: () => css("--accent") };
    const count = groups.values.length;
    const of = (group) => groups.ordered ? mixed(group / (count - 1)) : categories[group];
    const text = (group) => groupValue(group).join(", ");
    return {
      of, title: `front lines, ${groupTitle}`, ends: [text(0), text(count - 1)],
      entries: count <= 16 ? groups.values.map((_, group) => [text(group), of(group)]) : null,
    };
  }
  function entriesOf(colours, className) {
    const found = colours.title ? [element("b", { textContent: colours.title })] : [];
    if (colours.entries) {
      for (const [text, colour] of colours.entries) {
        const mark = element("i", { className });
        mark.style.background = colour;
        found.push(element("span", {}, [mark, text]));
      }
    } else {
      const ramp = element("i", { className: "ramp" });
      ramp.style.background = `linear-gradient(90deg, ${ramps[dark.matches ? "dark" : "light"].join(",")})`;
      found.push(element("span", {}, [colours.ends[0], ramp, colours.ends[1]]));
    }
    return found;
  }
  function legend(colours, lines) {
    const box = byId("legend");
    box.replaceChildren(...entriesOf(colours, ""));
    if (groups && state.colour !== "group") box.append(...entriesOf(lines, "line"));
    const ring = groups ? `ringed: on the front of its ${groupTitle}, over all objectives` : "ringed: on the front of all objectives";
    box.append(element("span", {}, [element("i", { className: "ring" }), ring]));
    if (data.status.some((status, at) => status === 0 && !data.feasible[at])) box.append(element("span", {}, [element("i", { className: "faint" }), "faint: outside a constraint"]));
  }

  // ---- which points, and how ----
  function passes(at) {
    if (data.status[at] !== 0) return false;
    if (state.feasible && !data.feasible[at]) return false;
    if (state.front && !data.front[at]) return false;
    for (const axis of data.axes) {
      if (!state.allowed.get(axis.name)[axis.codes[at]]) return false;
    }
    const x = columns.get(state.x).values[at], y = columns.get(state.y).values[at];
    return Number.isFinite(x) && Number.isFinite(y) && (!state.logX || x > 0) && (!state.logY || y > 0);
  }
  // The staircase of each group: its shown feasible points that none of them beats in the two columns.
  function staircases(x, y) {
    const ways = [data.objectives[state.x], data.objectives[state.y]];
    if (!ways[0] || !ways[1] || state.x === state.y) return [];
    const better = ways.map((way) => way === "min" ? 1 : -1);
    const own = shown.filter((at) => data.feasible[at]).sort((a, b) =>
      better[0] * (x.values[a] - x.values[b]) || better[1] * (y.values[a] - y.values[b]));
    const found = new Map();  // group: its steps, from the best across to the worst
    for (const at of own) {
      if (!found.has(groupOf(at))) found.set(groupOf(at), []);
      const steps = found.get(groupOf(at));
      if (!steps.length || better[1] * (y.values[at] - y.values[steps.at(-1)]) < 0) steps.push(at);
    }
    return [...found].filter(([, steps]) => steps.length > 1);
  }
  // Along each step, then up or down to the next.
  function corners(steps, x, y) {
    const xs = [], ys = [];
    steps.forEach((at, i) => {
      if (i) { xs.push(x.values[at] / x.factor); ys.push(ys.at(-1)); }
      xs.push(x.values[at] / x.factor);
      ys.push(y.values[at] / y.factor);
    });
    return [xs, ys];
  }
  // Beside the first objective the one with the longest staircases tells most.
  function tellingPair() {
    shown = Array.from(data.number, (_, at) => at).filter((at) => data.feasible[at]);
    let most = 0, chosen = state.y;
    for (const name of objectives.slice(1)) {
      state.y = name;
      const found = staircases(columns.get(state.x), columns.get(name));
      const steps = found.reduce((sum, [, own]) => sum + own.length, 0);
      if (steps > most) { most = steps; chosen = name; }
    }
    state.y = chosen;
  }
  function refresh() {
    const x = columns.get(state.x), y = columns.get(state.y), colours = colouring(state.colour), own = lineColours();
    const ink = css("--ink"), many = data.count > 3000;
    shown = [];
    for (const layer of [0, 1, 2]) {  // faint ones first, the front last: it is drawn on top
      for (let at = 0; at < data.count; at++) {
        const place = data.front[at] ? 2 : data.feasible[at] ? 1 : 0;
        if (place === layer && passes(at)) shown.push(at);
      }
    }
    const count = shown.length;
    const columnsOf = {
      x: new Float64Array(count), y: new Float64Array(count), size: new Float64Array(count),
      fill: new Array(count), alpha: new Float64Array(count), edge: new Array(count), at: shown,
    };
    shown.forEach((at, i) => {
      const front = data.front[at] === 1;
      columnsOf.x[i] = x.values[at] / x.factor;
      columnsOf.y[i] = y.values[at] / y.factor;
      columnsOf.size[i] = front ? 11 : many ? 4.5 : 7;
      columnsOf.fill[i] = colours.of(at);
      columnsOf.alpha[i] = data.feasible[at] ? (front ? 1 : many ? 0.55 : 0.75) : 0.16;
      columnsOf.edge[i] = front ? ink : columnsOf.fill[i];
    });
    const model = (name) => plot.document.get_model_by_name(name);
    model("points").selected.indices = [];
    model("points").data = columnsOf;
    const lines = staircases(x, y), drawn = lines.map(([, steps]) => corners(steps, x, y));
    model("lines").data = {
      xs: drawn.map(([xs]) => xs), ys: drawn.map(([, ys]) => ys), colour: lines.map(([group]) => own.of(group)),
    };
    plot.below[0].axis_label = titled(x);
    plot.left[0].axis_label = titled(y);
    legend(colours, own);
    const feasible = shown.reduce((sum, at) => sum + data.feasible[at], 0);
    const front = shown.reduce((sum, at) => sum + data.front[at], 0);
    byId("count").textContent = `${count.toLocaleString("en")} of ${data.count.toLocaleString("en")} points shown, ` +
      `${feasible.toLocaleString("en")} feasible, ${front.toLocaleString("en")} on ${groups ? "a" : "the"} front. ` +
      (!lines.length ? "" : groups ? `A line joins what is best of one ${groupTitle} in the two columns shown.`
        : "The line joins what is best in the two columns shown.");
    document.documentElement.dataset.points = count;
    ring();
    theme();
  }
  function theme() {
    const ink = css("--ink"), soft = css("--soft"), line = css("--line"), card = css("--card");
    plot.setv({ background_fill_color: card, border_fill_color: card, outline_line_color: line });
    for (const axis of [...plot.below, ...plot.left]) {
      if (!axis.axis_label_text_color && axis.axis_label_text_color !== null) continue;
      axis.setv({
        axis_label_text_color: ink, major_label_text_color: soft, axis_line_color: soft,
        major_tick_line_color: soft, minor_tick_line_color: null,
      });
    }
    for (const grid of plot.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
    const model = (name) => plot.document.get_model_by_name(name);
    model("ring").glyph.line_color = css("--warn");
  }

  // ---- the plot ----
  async function build() {
    const kind = `${state.logX ? "log" : "linear"}-${state.logY ? "log" : "linear"}`;
    byId("plot").replaceChildren(element("div", { id: "plot-target" }));
    if (view) view.clear();
    view = await Bokeh.embed.embed_item(structuredClone(plots[kind]), "plot-target");
    plot = [...view.roots][0].model;
    if (window.matchMedia("(pointer: fine)").matches) plot.toolbar.tools[0].active = true;
    refresh();
  }

  // ---- hover, picking ----
  function hover(event) {
    const box = byId("hover"), found = event.index.indices;
    if (!found.length) { box.hidden = true; return; }
    const at = shown[found[found.length - 1]];
    const pairs = [["", `#${data.number[at]}${data.front[at] ? `, ${ofFront(at)}` : data.feasible[at] ? "" : ", outside a constraint"}`]];
    for (const name of new Set([...objectives, state.x, state.y])) pairs.push([columns.get(name).label, amount(columns.get(name), at)]);
    for (const axis of data.axes) if (axis.codes[at]) pairs.push([axis.short, valueOf(axis, at)]);
    if (found.length > 1) pairs.push(["", `and ${found.length - 1} more points here`]);
    box.replaceChildren(facts(pairs));
    box.hidden = false;
    const frame = byId("plot-target").getBoundingClientRect();
    const left = frame.left + event.geometry.sx, top = frame.top + event.geometry.sy;
    const size = box.getBoundingClientRect();
    box.style.left = `${Math.max(4, left + 18 + size.width > window.innerWidth ? left - size.width - 14 : left + 18)}px`;
    box.style.top = `${Math.max(4, Math.min(top + 12, window.innerHeight - size.height - 8))}px`;
  }
  function tap(indices) {
    if (indices.length) pick(shown[indices[indices.length - 1]]);
  }
  function ring() {
    const at = state.picked, x = columns.get(state.x), y = columns.get(state.y);
    const there = at !== null && data.status[at] === 0;
    plot.document.get_model_by_name("picked").data = there
      ? { x: [x.values[at] / x.factor], y: [y.values[at] / y.factor] } : { x: [], y: [] };
  }
  function pick(at) {
    state.picked = at;
    const box = byId("picked");
    const what = data.status[at] === 0
      ? data.front[at] ? ofFront(at) : data.feasible[at] ? "feasible" : "outside a constraint"
      : data.reasons[data.reason[at] - 1];
    const rest = data.columns.filter((column) => !objectives.includes(column.name));
    const text = command(at);
    const copy = element("button", { type: "button", textContent: "Copy" });
    const pre = element("pre", { id: "point-command", textContent: text });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(pre);
        copy.textContent = "Selected";
      }
    });
    const parts = [
      element("h3", { textContent: `Point #${data.number[at]}` }),
      element("p", { className: "best", textContent: what }),
      facts(data.axes.filter((axis) => axis.codes[at]).map((axis) => [axis.name, valueOf(axis, at)])),
    ];
    if (data.status[at] === 0) {
      parts.push(element("hr"), facts(objectives.map((name) => [columns.get(name).label, amount(columns.get(name), at)])),
        element("details", {}, [element("summary", { textContent: `${rest.length} more columns` }),
          facts(rest.map((column) => [column.label, amount(column, at)]))]));
    }
    parts.push(element("p", { className: "best", textContent: "Run it alone, on the trace that the sweep has kept:" }), pre, copy);
    box.replaceChildren(...parts);
    for (const row of document.querySelectorAll("tr.pick")) row.setAttribute("aria-selected", Number(row.dataset.point) === data.number[at]);
    if (plot) ring();
  }

  // ---- controls ----
  function choice(id, groups, value, changed) {
    const select = byId(id);
    for (const [label, options] of groups) {
      if (!options.length) continue;
      const made = options.map(([key, text]) => element("option", { value: key, textContent: text }));
      select.append(label ? element("optgroup", { label }, made) : made[0]);
    }
    select.value = value;
    select.addEventListener("change", () => changed(select.value));
  }
  function tick(id, name, rebuild) {
    byId(id).addEventListener("change", (event) => {
      state[name] = event.target.checked;
      if (rebuild) build(); else refresh();
    });
  }
  function filter(axis) {
    const allowed = state.allowed.get(axis.name);
    const set = element("fieldset", {}, [element("legend", { textContent: axis.short, title: axis.name })]);
    if (axis.numeric && axis.values.length > 12) {
      const last = axis.values.length - 1, spans = element("div", { className: "span" });
      const ends = ["from", "to"].map((text, i) => {
        const slider = element("input", { type: "range", min: 0, max: last, value: i ? last : 0, ariaLabel: `${axis.short} ${text}` });
        const value = element("output");
        spans.append(text, slider, value);
        return [slider, value];
      });
      const moved = () => {
        const [low, high] = ends.map(([slider]) => Number(slider.value));
        ends.forEach(([slider, value]) => { value.textContent = show(axis, axis.values[slider.value]); });
        axis.values.forEach((_, i) => { allowed[i + 1] = i >= low && i <= high ? 1 : 0; });
        allowed[0] = low === 0 && high === last ? 1 : 0;
      };
      moved();
      for (const [slider] of ends) slider.addEventListener("input", () => { moved(); refresh(); });
      set.append(spans);
      return set;
    }
    const box = element("div", { className: "values" });
    const entries = axis.values.map((value, i) => [show(axis, value), i + 1]);
    if (axis.codes.includes(0)) entries.push(["takes no part", 0]);
    for (const [text, code] of entries) {
      const input = element("input", { type: "checkbox", checked: true });
      input.addEventListener("change", () => { allowed[code] = input.checked ? 1 : 0; refresh(); });
      box.append(element("label", {}, [input, text]));
    }
    set.append(box);
    return set;
  }
  function reset() {
    for (const allowed of state.allowed.values()) allowed.fill(1);
    Object.assign(state, { feasible: false, front: false });
    byId("only-feasible").checked = byId("only-front").checked = false;
    byId("axis-filters").replaceChildren(...data.axes.filter((axis) => axis.values.length > 1 || axis.codes.includes(0)).map(filter));
    if (plot) refresh();
  }
  function sortable(table) {
    const heads = [...table.querySelectorAll("th")];
    heads.forEach((head, i) => head.querySelector("button.sort")?.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[i].dataset.v ?? row.cells[i].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [one, two] = [key(a), key(b)];
        const difference = one - two;
        return (up ? 1 : -1) * (Number.isNaN(difference) ? one.localeCompare(two) : difference);
      });
      table.tBodies[0].append(...rows);
    }));
  }

  async function start() {
    tellingPair();
    const own = objectives.map((name) => [name, columns.get(name).label]);
    const others = data.columns.filter((column) => !objectives.includes(column.name)).map((column) => [column.name, column.label]);
    const choices = [["objectives", own], ["other columns", others]];
    choice("choose-x", choices, state.x, (value) => { state.x = value; refresh(); });
    choice("choose-y", choices, state.y, (value) => { state.y = value; refresh(); });
    choice("choose-colour", [["", groups ? [["group", groupTitle], ["", "front"]] : [["", "front"]]],
      ["axes", data.axes.filter((axis) => axis.values.length > 1 || axis.codes.includes(0)).map((axis) => [`axis ${axis.name}`, axis.short])],
      ["columns", [...own, ...others].map(([name, label]) => [`column ${name}`, label])]],
      state.colour, (value) => { state.colour = value; refresh(); });
    tick("log-x", "logX", true);
    tick("log-y", "logY", true);
    tick("only-feasible", "feasible", false);
    tick("only-front", "front", false);
    byId("reset").addEventListener("click", reset);
    dark.addEventListener("change", () => refresh());
    for (const table of document.querySelectorAll("table.sortable")) sortable(table);
    for (const row of document.querySelectorAll("tr.pick")) {
      row.addEventListener("click", () => pick(places.get(Number(row.dataset.point))));
    }
    byId("plot").addEventListener("mouseleave", () => { byId("hover").hidden = true; });
    window.addEventListener("scroll", () => { byId("hover").hidden = true; }, { passive: true });
    reset();
    await build();
    const painted = () => requestAnimationFrame(() => setTimeout(() => {
      if (!plot.document.is_idle) return painted();
      document.documentElement.dataset.drawn = Math.round(performance.now());
    }));
    painted();
  }
  start();
  return { hover, tap, pick, command, data, state };
})();
