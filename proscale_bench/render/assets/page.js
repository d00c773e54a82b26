// Wires the controls to the state, and draws everything anew when it changes.

function update() {
  const focused = document.activeElement;
  const host = focused?.closest("#plot, #aside, #table");
  const best = drawPlot();
  drawKey(best);
  drawAside([...best]);
  const rows = drawTable(best);
  const inOrder = [...new Set(rows.map((point) => point.row))];
  drawBars(inOrder);
  drawSavings(inOrder);
  if (host && !focused.isConnected) refocus(host, focused.dataset);
}

// What is drawn anew keeps the focus: the same mark, header or name, else what holds it.
function refocus(host, { key, pin, sort }) {
  const selector = key ? `.mark[data-key="${key}"]` : pin ? `[data-pin="${pin}"]` : `[data-sort="${sort}"]`;
  (host.querySelector(selector) ?? host).focus({ preventScroll: true });
}

// Which metrics, views and data there are: what has no value anywhere is no choice.
function metricsOf(sections) {
  return Object.values(data.metrics).filter((metric) =>
    sections.includes(metric.section) && points.some((point) => known(read(point, metric.name))));
}

function options(select, choices, chosen, least = 2) {
  select.replaceChildren(...choices.map(([value, words]) => html("option", { value, selected: value === chosen }, words)));
  select.closest("label").hidden = choices.length < least;
}

function fillControls() {
  const costs = [...new Set([...metricsOf(["cost", "profile"]), data.metrics[state.x]])];
  const accuracies = [...new Set([...metricsOf(["accuracy"]), data.metrics[state.y]])];
  const choices = (metrics) => metrics.map((metric) => [metric.name, title(metric)]);
  options(byId("x"), choices(costs), state.x, 1);
  options(byId("y"), choices(accuracies), state.y, 1);
  options(byId("view"), data.views.map((view, n) => [String(n), view.name]), String(state.view));
  chooseData();
  options(byId("saving"), data.savings.map((name, n) => [String(n), name]), String(state.saving));
}

function chooseData() {
  const names = data.views[state.view].data ?? [];
  if (!names.includes(state.data)) state.data = names[0] ?? "";
  options(byId("dataset"), names.map((name) => [name, name]), state.data);
}

function wire() {
  const choose = (id, set) => byId(id).addEventListener("change", (event) => {
    set(event.target.type === "checkbox" ? event.target.checked : event.target.value);
    hideTip();
    update();
  });
  choose("x", (value) => { state.x = value; });
  choose("y", (value) => { state.y = value; });
  choose("x-log", (value) => { state.xLog = value; });
  choose("y-log", (value) => { state.yLog = value; });
  choose("view", (value) => { state.view = Number(value); chooseData(); });
  choose("dataset", (value) => { state.data = value; });
  choose("saving", (value) => { state.saving = Number(value); });
  for (const radio of document.querySelectorAll("[name=unit]")) {
    radio.addEventListener("change", () => { state.unit = radio.value; update(); });
  }
  byId("filter").addEventListener("input", (event) => { state.text = event.target.value; update(); });
  byId("more-bars").addEventListener("click", () => { state.allBars = !state.allBars; update(); });
  byId("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  wirePointer();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's bars coming and going
    width = innerWidth;
    hideTip();
    update();
  });
  addEventListener("beforeprint", () => { hideTip(); onPaper = true; update(); });
  addEventListener("afterprint", () => { onPaper = false; update(); });
  addEventListener("scroll", () => { if (!byId("tip").hidden) placeTip(); }, { passive: true });
}

function wirePointer() {
  const plot = byId("plot");
  let hovered = null;
  const leave = () => {
    hovered?.mark.classList.remove("hover");
    if (hovered) hideTip();
    hovered = null;
    plot.classList.remove("near");
  };
  plot.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const found = nearest(event);
    if (found?.point.key === hovered?.point.key) return;
    leave();
    if (!found) return;
    hovered = found;
    found.mark.classList.add("hover");
    plot.classList.add("near");
    showTip(found.point, found.mark);
  });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("click", (event) => {
    const found = nearest(event);
    if (found) togglePin(found.point.key);
  });
}

// What each colour and mark means, of what is there; backbones can be switched off.
function drawKey(best) {
  const marks = drawn.filter(({ point }) => known(read(point, state.y)));
  const kinds = [...new Set(marks.map(({ point }) => provenance(point)))];
  const sample = (kind, classes) => svg("svg", { viewBox: "-9 -9 18 18", width: 18, height: 18, "aria-hidden": "true" },
    svg("g", { class: `sample ${classes}`, "--c": "var(--ink)" }, svg("path", { d: MARKS[kind](5) })));
  const items = kinds.map((kind) => html("li", {}, sample(kind, "best"), kind));
  if (marks.length) items.push(html("li", {}, svg("svg", { viewBox: "0 0 22 18", width: 22, height: 18, "aria-hidden": "true" },
    svg("polyline", { class: "frontier", points: "1,14 10,14 10,5 21,5" })), "frontier"));
  if (marks.some(({ best: isBest }) => !isBest)) items.push(html("li", {}, sample(kinds[0], "dominated"), "dominated: hollow"));
  if (marks.length < drawn.length) items.push(html("li", {}, sample("none", "cost-only"), `no ${data.metrics[state.y].title} known`));
  byId("key").replaceChildren(...items);
  if (byId("backbones").childElementCount !== data.backbones.length) {
    byId("backbones").replaceChildren(...data.backbones.map((backbone, n) => html("label", { class: "chip" },
      html("input", { type: "checkbox", checked: true, onchange: (event) => toggleBackbone(n, event.target.checked) }),
      html("span", { class: "swatch", "--c": `var(${backbone.color})` }), backbone.name)));
  }
}

function toggleBackbone(n, on) {
  if (on) state.hidden.delete(n);
  else state.hidden.add(n);
  update();
}

const theme = () => document.documentElement.dataset.theme
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light theme" : "Dark theme";
  try { localStorage.setItem("proscale-bench-theme", name); } catch { /* a page opened from disk may keep nothing */ }
}

function storedTheme() {
  try { return localStorage.getItem("proscale-bench-theme"); } catch { return null; }
}

setTheme(storedTheme() ?? theme());
fillControls();
wire();
update();
