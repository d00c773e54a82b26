// All that is known of a point: beside the pointer, and side by side for two that are pinned.

// [{group, numbers, details: [{name, words, value?, metric?, origin?}]}]: numbers first, then words.
function knownOf(point) {
  const { row } = point;
  const evaluations = [point.evaluation, ...(row.evaluations ?? []).filter((evaluation) => evaluation !== point.evaluation)].filter(Boolean);
  const savings = (row.savings ?? []).flatMap((saving, n) => (saving ? savingDetails(saving, data.savings[n]) : []));
  const view = data.views[point.view];
  const more = [["failed", row.error], ["called", row.label], ["counted", view.counted], ["ran at", view.ran], ...(row.details ?? [])];
  return [
    ...evaluations.map((evaluation) => [`Accuracy, ${evaluation.provenance}${evaluation.name ? `, ${evaluation.name}` : ""}`, [...metricDetails(evaluation.values, evaluation.intervals, "accuracy", { place: evaluation.place, verdicts: data.verdicts }), ...trainingDetails(evaluation)], true]),
    ["Cost", metricDetails(row.values, row.intervals, "cost", {}), true],
    ["On the device", metricDetails(row.values, row.intervals, "profile", { view, place: view.rows.indexOf(row), verdicts: view.verdicts }), true],
    ["Against the baseline", savings, true],
    ...evaluations.map((evaluation) => [`How it was ${evaluation.provenance}`, wordDetails(evaluation.details)]),
    ["More", wordDetails(more.filter(([, words]) => words))],
  ].filter(([, details]) => details.length).map(([group, details, numbers = false]) => ({ group, details, numbers }));
}

const wordDetails = (details) => (details ?? []).map(([name, words]) => ({ name, words }));

function metricDetails(values, intervals, section, origin) {
  return Object.values(data.metrics).filter((m) => m.section === section && known(values?.[m.name])).map((metric) => {
    const value = values[metric.name];
    const range = intervals?.[metric.name];
    const bounds = range ? ` [${show(metric, range[0])}, ${show(metric, range[1])}]` : "";
    return { name: title(metric), words: show(metric, value) + bounds, value, metric, origin };
  });
}

const trainingDetails = ({ trainings }) => (trainings ? [{ name: "trainings", words: trainings }] : []);

function savingDetails(saving, name) {
  const details = [];
  if (known(saving.counted)) {
    const executed = known(saving.executed) && showSaved(saving.executed, 2) !== showSaved(saving.counted, 2)
      ? ` (${showSaved(saving.executed, 2)} as executed)` : "";
    details.push({ name: `${name}, FLOPs`, words: showSaved(saving.counted, 2) + executed });
  }
  if (known(saving.realised)) details.push({ name: `${name}, time`, words: showRealised(saving) });
  return details;
}

function showRealised(saving) {
  const bounds = `[${showSaved(saving.high, 1)}, ${showSaved(saving.low, 1)}]`.replaceAll("%", "");
  if (saving.significant) return `${showSaved(saving.realised, 1)} ${bounds}`;
  return isClear(saving) ? `${showSaved(saving.realised, 1)} ${bounds}, too few samples` : `not significant ${bounds}`;
}

const isClear = ({ low, high }) => low > 0 || high < 0; // of no saving: not significant all the same is for want of samples

const shortRealised = (saving) => (isClear(saving) ? showSaved(saving.realised, 1) + (saving.significant ? "" : "?") : "n.s.");

function heading(point) {
  return [html("span", { class: "swatch", "--c": color(point.row) }), html("b", {}, nameOf(point)), " ", html("span", { class: "soft" }, backboneOf(point))];
}

let tipped = null; // the mark that the tip is of

function showTip(point, mark) {
  const tip = byId("tip");
  const groups = knownOf(point);
  const listed = ({ group, details }) => html("section", {}, html("h4", {}, group),
    html("dl", {}, details.map(({ name, words }) => html("div", {}, html("dt", {}, name), html("dd", {}, words)))));
  tip.replaceChildren(
    html("p", { class: "tip-title" }, heading(point)),
    html("div", { class: "tip-numbers" }, groups.filter((one) => one.numbers).map(listed)),
    html("div", { class: "tip-words" }, groups.filter((one) => !one.numbers).map(listed)),
  );
  tip.hidden = false;
  tipped = mark;
  placeTip();
  mark.setAttribute("aria-describedby", "tip");
}

function placeTip() {
  const tip = byId("tip");
  // Beside the mark, on the side with more room, inside the window.
  const [box, own] = [tipped.getBoundingClientRect(), tip.getBoundingClientRect()];
  const right = box.right + 12 + own.width <= innerWidth || box.left < innerWidth / 2;
  const left = right ? box.right + 12 : box.left - 12 - own.width;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - own.width - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(box.top - own.height / 3, innerHeight - own.height - 8))}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}

function togglePin(key) {
  state.pins = state.pins.includes(key) ? state.pins.filter((pin) => pin !== key) : [...state.pins, key].slice(-2);
  update();
  const [a, b] = state.pins.map((pin) => pointOf.get(pin));
  const names = [a, b].filter(Boolean).map((point) => `${nameOf(point)} on ${backboneOf(point)}`);
  byId("said").textContent = b ? `Comparing ${names.join(" with ")}` : a ? `Pinned ${names[0]}` : "Nothing is pinned";
}

function drawAside(best) {
  const pinned = state.pins.map((key) => pointOf.get(key));
  byId("aside").replaceChildren(...(pinned.length ? comparison(pinned) : frontierList(best)));
}

function frontierList(best) {
  const [mx, my] = [data.metrics[state.x], data.metrics[state.y]];
  const hint = "Point at a mark for all that is known of it. Click or tap to pin it, and a second one to compare the two.";
  if (!best.length) return [html("p", { class: "hint" }, hint)];
  return [
    html("h3", {}, "On the frontier"),
    html("p", { class: "hint" }, hint),
    html("table", { class: "facts" },
      html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "schedule"),
        ...[mx, my].map((m) => html("th", { scope: "col", class: "number" }, title(m))))),
      html("tbody", {}, best.map((point) => html("tr", {},
        html("th", { scope: "row" }, pinButton(point)),
        ...[mx, my].map((m) => html("td", { class: "number" }, show(m, read(point, m.name)))))))),
  ];
}

function pinButton(point) {
  return html("button", {
    type: "button", class: "pin", "aria-pressed": String(state.pins.includes(point.key)), "data-pin": point.key,
    onclick: () => togglePin(point.key),
  }, html("span", { class: "swatch", "--c": color(point.row) }), nameOf(point),
  data.backbones.length > 1 ? html("span", { class: "soft" }, ` ${backboneOf(point)}`) : null);
}

function comparison(pinned) {
  const both = pinned.map((point) => new Map(knownOf(point).flatMap(({ group, details }) =>
    details.map((detail, n) => [`${group}|${detail.name}|${details.slice(0, n).filter((other) => other.name === detail.name).length}`, detail]))));
  const keys = [...new Set(both.flatMap((details) => [...details.keys()]))];
  const groups = [...new Set(keys.map((key) => key.split("|")[0]))];
  const columns = pinned.length;
  return [
    html("h3", {}, columns > 1 ? "Side by side" : "Pinned"),
    columns > 1 ? null : html("p", { class: "hint" }, "Pin a second mark to compare."),
    html("table", { class: "facts compared" },
      html("thead", {}, html("tr", {}, html("td"), pinned.map((point) => html("th", { scope: "col" }, html("button", {
        type: "button", class: "unpin", "aria-label": `Unpin ${nameOf(point)} on ${backboneOf(point)}`, onclick: () => togglePin(point.key),
      }, "×"), heading(point))))),
      groups.map((group) => html("tbody", {},
        html("tr", { class: "group" }, html("th", { scope: "rowgroup", colspan: columns + 1 }, group)),
        keys.filter((key) => key.split("|")[0] === group).map((key) => comparedRow(key, both))))),
  ].filter(Boolean);
}

function comparedRow(key, both) {
  const details = both.map((one) => one.get(key));
  const cells = details.map((detail) => html("td", {}, detail?.words ?? "–"));
  const [a, b] = details;
  if (a?.metric && b?.metric) {
    const [better, words] = change(a.metric, a.value, b.value);
    const doubt = unsure(a, b); // which is neither better nor worse
    if (words) cells[1].append(html("span", { class: `change ${doubt ? "apart" : better}` }, doubt ? `${words}, ${doubt}` : words));
  }
  return html("tr", {}, html("th", { scope: "row" }, key.split("|")[1]), cells);
}

// Why nothing says that two numbers differ by more than chance: in the word that `compare` has for them. Counts are exact;
// what was measured in two views is of two sessions; and of many models the page was not told.
function unsure(a, b) {
  if (a.metric.section === "cost") return "";
  if (a.origin.view !== b.origin.view) return "another session";
  const word = data.words[a.origin.verdicts?.[a.metric.name]?.[a.origin.place]?.[b.origin.place]] ?? "see compare";
  return word === "significant" ? "" : word;
}

// From the first to the second: points for what is in percent, percent of the first for all else.
function change(metric, from, to) {
  const difference = metric.unit === "%" ? to - from : from ? 100 * (to / from - 1) : null;
  if (difference === null || from === to) return ["", ""];
  const sign = difference > 0 ? "+" : "−";
  const better = (to > from) === (metric.better === "higher") ? "better" : "worse";
  return [better, ` ${sign}${fixed(Math.abs(difference), 2)}${metric.unit === "%" ? " points" : "%"}`];
}
