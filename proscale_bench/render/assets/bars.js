// The cost by part, and the counted saving beside the realised one: a line for each schedule, in the table's order.

const MOST_BARS = 24; // until all are asked for
const ROW_PX = 26;

function drawBars(rows) {
  const timed = rows.some((row) => row.ms);
  byId("units").hidden = !timed;
  const ms = timed && state.unit === "ms";
  const read = (row) => (ms ? row.ms : row.gflops);
  const having = rows.filter((row) => read(row)?.length);
  const shown = state.allBars ? having : having.slice(0, MOST_BARS);
  const parts = data.parts.map((_, n) => n).filter((n) => shown.some((row) => read(row)[n] > 0));
  byId("parts").replaceChildren(...parts.map((n) =>
    html("li", {}, html("span", { class: "swatch square", "--c": `var(--part-${n})` }), data.parts[n])));
  const host = byId("bars");
  if (!shown.length) return host.replaceChildren(html("p", { class: "hint" }, "No configuration here has a cost."));
  const metric = data.metrics[ms ? "latency_median_ms" : "total_gflops"];
  const sums = shown.map((row) => read(row).reduce((sum, length) => sum + length, 0));
  const picture = lines(host, shown, [0, Math.max(...sums)], 78);
  shown.forEach((row, line) => drawStack(picture, row, read(row), line, metric, ms));
  finishLines(picture, host, `${ms ? "milliseconds of a batch" : "GFLOPs of one image"}, by part`,
    ms ? data.views[state.view].ran : data.views[state.view].counted);
  moreBars(having.length);
}

function drawStack(picture, row, lengths, line, metric, ms) {
  const y = picture.top(line);
  const stack = svg("g", { class: "stack", role: "img", "aria-label": spokenStack(row, lengths, metric) });
  let left = 0;
  lengths.forEach((length, n) => {
    if (!length) return;
    stack.append(svg("rect", {
      x: picture.at(left), y, width: Math.max(0.5, picture.at(left + length) - picture.at(left)), height: 16, "--c": `var(--part-${n})`,
    }, svg("title", {}, `${data.parts[n]}: ${show(metric, length)} ${metric.unit}`)));
    left += length;
  });
  const saving = row.savings?.[0];
  const saved = ms ? (known(saving?.realised) ? shortRealised(saving) : "")
    : known(saving?.counted) ? showSaved(saving.counted, 1) : "";
  stack.append(svg("text", { class: "beside", x: picture.at(left) + 6, y: y + 12.5 },
    `${show(metric, left)}`, saved ? svg("tspan", { class: "saved", dx: 6 }, saved) : null));
  picture.svg.append(stack);
}

function spokenStack(row, lengths, metric) {
  const parts = lengths.map((length, n) => (length ? `${data.parts[n]} ${show(metric, length)}` : "")).filter(Boolean);
  return `${row.schedule} on ${data.backbones[row.backbone].name}, ${metric.unit}: ${parts.join(", ")}`;
}

function moreBars(count) {
  const button = byId("more-bars");
  button.hidden = count <= MOST_BARS;
  button.textContent = state.allBars ? `Show the first ${MOST_BARS}` : `Show all ${count}`;
}

// The names to the left of their lines, or above them where that leaves too little room.
function lines(host, rows, range, beside) {
  const width = roomOf(host);
  const names = rows.map((row) => row.schedule + (data.backbones.length > 1 ? `  ${data.backbones[row.backbone].name}` : ""));
  const wide = Math.max(...names.map((name) => widthOf(name, 12.5)));
  const above = wide > width * 0.3;
  const pitch = above ? ROW_PX + 16 : ROW_PX;
  const frame = { left: above ? 2 : wide + 14, right: width - beside, top: 4, bottom: 4 + pitch * rows.length };
  const at = scale(range, [frame.left, frame.right], false, Math.max(3, Math.floor((frame.right - frame.left) / 85)));
  const height = frame.bottom + 60;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group" });
  for (const tick of at.ticks) {
    root.append(
      svg("line", { class: "grid", x1: at(tick.value), x2: at(tick.value), y1: frame.top, y2: frame.bottom, "aria-hidden": "true" }),
      svg("text", { class: "tick", x: at(tick.value), y: frame.bottom + 16, "text-anchor": tick.value === at.ticks[0].value && above ? "start" : "middle", "aria-hidden": "true" }, tick.words),
    );
  }
  rows.forEach((row, line) => root.append(svg("text", {
    class: `name${row.baseline ? " strong" : ""}`, "aria-hidden": "true",
    x: above ? frame.left : frame.left - 10, y: frame.top + pitch * line + (above ? 14 : 17), "text-anchor": above ? "start" : "end",
  }, row.schedule, data.backbones.length > 1 ? svg("tspan", { class: "soft", dx: 6 }, data.backbones[row.backbone].name) : null)));
  return { svg: root, at, frame, width, height, top: (line) => frame.top + pitch * line + (above ? 20 : 4) };
}

function finishLines(picture, host, words, how) {
  const { frame, width, svg: root } = picture;
  const middle = (frame.left + frame.right) / 2;
  const told = wrapped(how, width - 20, 11.5);
  root.append(svg("text", { class: "axis-title", x: middle, y: frame.bottom + 37, "text-anchor": "middle", "aria-hidden": "true" }, words),
    ...told.map((line, n) => svg("text", { class: "how", x: width / 2, y: frame.bottom + 54 + 15 * n, "text-anchor": "middle", "aria-hidden": "true" }, line)));
  const height = frame.bottom + 46 + 15 * told.length;
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.setAttribute("height", height);
  root.setAttribute("aria-label", words);
  host.replaceChildren(root);
}

function drawSavings(rows) {
  const host = byId("savings");
  const having = rows.filter((row) => known(row.savings?.[state.saving]?.realised) && known(row.savings[state.saving].counted));
  byId("saving-parts").hidden = !rows.some((row) => row.savings?.some((saving) => known(saving?.realised)));
  if (!having.length) {
    const words = byId("saving-parts").hidden
      ? "Nothing here was timed on a device. Run proscale-bench profile to time it on yours."
      : `Of the ${data.savings[state.saving]} no saving was both counted and timed.`;
    return host.replaceChildren(html("p", { class: "hint" }, words));
  }
  const shown = state.allBars ? having : having.slice(0, MOST_BARS);
  const all = shown.flatMap((row) => Object.values(row.savings[state.saving]).filter((value) => typeof value === "number"));
  const picture = lines(host, shown, [Math.min(0, ...all) - 2, Math.max(0, ...all) + 2], 66);
  picture.svg.append(svg("line", { class: "axis", x1: picture.at(0), x2: picture.at(0), y1: picture.frame.top, y2: picture.frame.bottom }));
  shown.forEach((row, line) => drawSaving(picture, row.savings[state.saving], line, row));
  finishLines(picture, host, `saved against the baseline, % (${data.savings[state.saving]})`, data.views[state.view].ran);
}

function drawSaving(picture, saving, line, row) {
  const y = picture.top(line) + 8;
  const { at } = picture;
  const name = `${row.schedule} on ${data.backbones[row.backbone].name}: counted ${showSaved(saving.counted, 2)}, time ${showRealised(saving)}`;
  picture.svg.append(svg("g", { class: `saving${saving.significant ? "" : " unsure"}`, role: "img", "aria-label": name, "--c": color(row) },
    svg("title", {}, name),
    svg("line", { class: "gap", x1: at(saving.counted), x2: at(saving.realised), y1: y, y2: y }),
    known(saving.executed) ? svg("line", { class: "executed", x1: at(saving.executed), x2: at(saving.executed), y1: y - 6, y2: y + 6 }) : null,
    svg("path", { class: "counted", d: MARKS.counted(4.5), transform: `translate(${at(saving.counted)},${y})` }),
    svg("line", { class: "bounds", x1: at(saving.low), x2: at(saving.high), y1: y, y2: y }),
    svg("path", { class: "realised", d: MARKS.measured(5), transform: `translate(${at(saving.realised)},${y})` }),
    svg("text", { class: "beside", x: picture.width, y: y + 4.5, "text-anchor": "end" },
      shortRealised(saving))));
}
