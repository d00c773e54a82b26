// Every configuration as a table that can be sorted and filtered; names pin.

// What comes first. The others are a scroll away; on paper they are left to report.csv.
const ORDER = [
  "encoder_gflops", "encoder_gflops-saved", "total_gflops", "total_gflops-saved", "latency_median_ms", "time-saved",
  "pq", "ap", "miou", "params_m", "provenance", "error",
];
const REST = ["peak_memory_mib", "energy_j", "throughput_ips", "token_layers_gflops", "token_layers_gflops-saved"];

function columns() {
  const shown = shownPoints();
  const saving = (n, key) => (point) => point.row.savings?.[n]?.[key];
  const time = savedColumn("time-saved", "time saved", saving(0, "realised"), (value) => showSaved(value, 1));
  const list = [
    ...Object.values(data.metrics).filter(({ name }) => !name.endsWith("_saving_pct")).map(metricColumn), // "time saved" is it
    savedColumn("encoder_gflops-saved", "saved", saving(1, "counted"), (value) => showSaved(value, 2)),
    savedColumn("token_layers_gflops-saved", "tokens saved", saving(2, "counted"), (value) => showSaved(value, 2)),
    savedColumn("total_gflops-saved", "saved", saving(0, "counted"), (value) => showSaved(value, 2)),
    { ...time, text: (p) => (known(time.value(p)) ? shortRealised(p.row.savings[0]) : "") },
    { key: "provenance", head: "accuracy", text: (p) => originOf(p) ?? "", value: originOf },
    { key: "error", head: "failed", text: (p) => p.row.error ?? "", value: (p) => (p.row.values || p.evaluation ? p.row.error : null) },
  ].filter((column) => shown.some((point) => known(column.value(point))));
  const order = [...ORDER, ...REST];
  const place = ({ key }) => (order.includes(key) ? order.indexOf(key) : order.length);
  return [
    { key: "schedule", head: "schedule", text: nameOf, value: nameOf },
    { key: "backbone", head: "backbone", text: backboneOf, value: (p) => p.row.backbone },
    ...list.sort((a, b) => place(a) - place(b)),
  ];
}

// Where an accuracy comes from, and of which trainings it is the mean.
function originOf(point) {
  const { provenance: origin, trainings } = point.evaluation ?? {};
  return trainings ? `${origin}, ${trainings}` : origin;
}

function classOf({ key, number }) {
  const rest = number && !ORDER.includes(key);
  return [number ? "number" : "", rest ? "rest" : ""].filter(Boolean).join(" ") || null;
}

function metricColumn(metric) {
  const value = (point) => read(point, metric.name);
  return {
    key: metric.name, head: metric.title, sub: metric.unit, number: true, value,
    text: (point) => (known(value(point)) ? show(metric, value(point)) : ""),
    beside: (point) => spread(metric, point),
  };
}

function savedColumn(key, head, value, words) {
  return { key, head, sub: "%", number: true, value, text: (p) => (known(value(p)) ? words(value(p)) : "") };
}

// ±, where both sides are shown alike; else the interval as it is, and never as its wider half.
function spread(metric, point) {
  const range = interval(point, metric.name);
  if (!range) return "";
  const value = read(point, metric.name);
  const [below, above] = [show(metric, value - range[0]), show(metric, range[1] - value)];
  return below === above ? ` ±${above}` : ` [${show(metric, range[0])}, ${show(metric, range[1])}]`;
}

function sorted(shown, list) {
  const column = list.find((one) => one.key === state.sort.key);
  if (!column) return shown;
  const sign = state.sort.down ? -1 : 1;
  return [...shown].sort((a, b) => {
    const [one, other] = [column.value(a), column.value(b)];
    if (!known(one) || !known(other)) return known(other) - known(one); // what is not known comes last, either way
    return sign * (typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other);
  });
}

function drawTable(best) {
  const list = columns();
  const all = shownPoints();
  const rows = sorted(all.filter(matches), list);
  byId("count").textContent = rows.length === all.length ? `${all.length} rows` : `${rows.length} of ${all.length} rows`;
  byId("table").replaceChildren(
    html("caption", { class: "unseen" }, `Every configuration at ${data.views[state.view].name}; headers sort.`),
    html("thead", {}, html("tr", {}, list.map(headCell))),
    html("tbody", {}, rows.length ? rows.map((point) => tableRow(point, list, best)) :
      html("tr", {}, html("td", { colspan: list.length, class: "hint" }, "Nothing matches the filter."))),
  );
  return rows;
}

function headCell(column) {
  const { key, down } = state.sort;
  const order = key === column.key ? (down ? "descending" : "ascending") : "none";
  return html("th", { scope: "col", "aria-sort": order, class: classOf(column) },
    html("button", { type: "button", "data-sort": column.key, onclick: () => sortBy(column) },
      html("span", {}, column.head, column.sub ? html("span", { class: "unit" }, column.sub) : null),
      html("span", { class: "arrow", "aria-hidden": "true" }, order === "none" ? "" : down ? "▾" : "▴")));
}

// Upwards, then downwards, then as the records come.
function sortBy({ key }) {
  const same = state.sort.key === key;
  state.sort = same && state.sort.down ? { key: "", down: false } : { key, down: same };
  update();
}

function tableRow(point, list, best) {
  const classes = [point.row.baseline ? "strong" : "", state.pins.includes(point.key) ? "pinned" : ""].join(" ").trim();
  return html("tr", { class: classes || null }, list.map((column, n) => {
    if (n === 0) return html("th", { scope: "row" }, pinButtonOfTable(point, best.has(point)));
    const nothing = point.row.error && !point.row.values && !point.evaluation; // of one that failed: why, in place of numbers
    if (nothing && n === 2) return html("td", { colspan: list.length - 2, class: "failed" }, `failed: ${point.row.error}`);
    if (nothing && n > 2) return null;
    return html("td", { class: column.key === "error" ? "failed" : classOf(column) }, column.text(point), column.beside ? html("span", { class: "soft" }, column.beside(point)) : null);
  }));
}

function pinButtonOfTable(point, best) {
  return html("button", {
    type: "button", class: "pin", "aria-pressed": String(state.pins.includes(point.key)), "data-pin": point.key,
    onclick: () => togglePin(point.key),
  }, html("span", { class: `swatch${best ? "" : " hollow"}`, "--c": color(point.row) }), nameOf(point),
  best ? html("span", { class: "unseen" }, ", on the frontier") : null);
}
