// The Pareto plot: marks, intervals, the frontier, labels; every mark can be reached with pointer and keyboard.

const MARKS = {
  measured: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  published: (r) => `M0,${-1.25 * r}L${1.25 * r},0L0,${1.25 * r}L${-1.25 * r},0Z`,
  counted: (r) => `M${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}Z`,
  none: () => "M0,-5V5",
};
const REACH_PX = 28; // from a mark, of a pointer
const MOST_NAMES = 40; // of more marks, only those on the frontier, pinned ones and baselines are named
let drawn = []; // of the plot as it stands: {point, x, y, best}

function provenance(point) {
  return data.metrics[state.y].section === "accuracy" ? point.evaluation.provenance
    : data.metrics[state.y].section === "profile" ? "measured" : "counted";
}

function usable(name, log, value) {
  return known(value) && (!log || value > 0);
}

function drawPlot() {
  const host = byId("plot");
  const all = shownPoints();
  const both = all.filter((p) => usable(state.x, state.xLog, read(p, state.x)) && usable(state.y, state.yLog, read(p, state.y)));
  const ticks = all.filter((p) => usable(state.x, state.xLog, read(p, state.x)) && !known(read(p, state.y)));
  const best = new Set(frontier(both));
  const picture = canvas(host, both, ticks);
  const costOnly = ticks.filter((p) => inFrame(picture, picture.xScale(read(p, state.x))));
  if (!both.length) emptyPlot(picture);
  drawFrontier(picture, [...best]);
  both.forEach((point) => drawIntervals(picture, point));
  const order = [...costOnly, ...both].sort((a, b) => read(a, state.x) - read(b, state.x));
  drawn = order.map((point) => drawMark(picture, point, best.has(point)));
  drawLabels(picture, both, best);
  host.replaceChildren(picture.svg);
  host.querySelector(".mark")?.setAttribute("tabindex", "0");
  return best;
}

function canvas(host, both, costOnly) {
  const width = roomOf(host);
  const height = Math.round(Math.min(460, Math.max(330, width * 0.6)));
  const [mx, my] = [data.metrics[state.x], data.metrics[state.y]];
  const how = mx.section === "cost" && mx.name !== "params_m" ? data.views[state.view].counted
    : mx.section === "profile" ? data.views[state.view].ran : "";
  const lines = how ? wrapped(how, width - 60, 11.5) : [];
  const rug = costOnly.length ? 26 : 0;
  const values = (name, of) => of.flatMap((p) => [read(p, name), ...(interval(p, name) ?? [])]);
  // What has no accuracy sets no range, unless there is nothing else: the points would be pushed together.
  const xs = values(state.x, both.length ? both : costOnly).filter((v) => usable(state.x, state.xLog, v));
  const ys = values(state.y, both).filter((v) => usable(state.y, state.yLog, v));
  const frame = { top: 34, right: width - 14, bottom: height - 50 - 15 * lines.length, left: 0 };
  const yScale = ys.length ? scale(extent(ys, state.yLog), [frame.bottom - rug, frame.top], state.yLog, 6) : null;
  frame.left = 14 + Math.max(20, ...(yScale?.ticks ?? []).map((tick) => widthOf(tick.words)));
  const xScale = xs.length ? scale(extent(xs, state.xLog), [frame.left, frame.right], state.xLog, Math.floor(width / 85)) : null;
  const axes = svg("g", { class: "axes", "aria-hidden": "true" });
  for (const tick of xScale?.ticks ?? []) {
    const x = xScale(tick.value);
    axes.append(
      svg("line", { class: "grid", x1: x, x2: x, y1: frame.top, y2: frame.bottom }),
      svg("text", { x, y: frame.bottom + 18, "text-anchor": "middle", class: "tick" }, tick.words),
    );
  }
  for (const tick of yScale?.ticks ?? []) {
    const y = yScale(tick.value);
    axes.append(
      svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y, y2: y }),
      svg("text", { x: frame.left - 8, y: y + 4, "text-anchor": "end", class: "tick" }, tick.words),
    );
  }
  axes.append(
    svg("line", { class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }),
    svg("text", { class: "axis-title", x: 0, y: 16 }, `${title(my)}${state.yLog ? " (log)" : ""}${onData(my)}`),
    svg("text", { class: "axis-title", x: (frame.left + frame.right) / 2, y: frame.bottom + 40, "text-anchor": "middle" },
      `${title(mx)}${state.xLog ? " (log)" : ""}`),
    ...lines.map((line, n) =>
      svg("text", { class: "how", x: (frame.left + frame.right) / 2, y: frame.bottom + 57 + 15 * n, "text-anchor": "middle" }, line)),
  );
  const root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "group",
    "aria-label": `${title(my)} against ${title(mx)}: ${both.length} configurations. Arrow keys go from mark to mark, Enter pins one.`,
  }, axes);
  return { svg: root, frame, xScale, yScale, rug };
}

const inFrame = ({ frame }, x) => x >= frame.left && x <= frame.right;

function onData(metric) {
  return metric.section === "accuracy" && state.data ? ` (${state.data})` : "";
}

function emptyPlot({ svg: root, frame }) {
  const words = `No configuration here has both ${data.metrics[state.x].title} and ${data.metrics[state.y].title}.`;
  wrapped(words, frame.right - frame.left - 40, 14).forEach((line, n) =>
    root.append(svg("text", {
      class: "empty", x: (frame.left + frame.right) / 2, y: (frame.top + frame.bottom) / 2 - 20 + 20 * n, "text-anchor": "middle",
    }, line)));
}

const at = (picture, point) => [picture.xScale(read(point, state.x)), picture.yScale(read(point, state.y))];

// Steps: a value between two points is not reached by buying half the way. Its last value holds to the frame's edge.
function frontierCorners(picture, best) {
  const corners = [];
  for (const point of best) {
    const [x, y] = at(picture, point);
    if (corners.length) corners.push([x, corners.at(-1)[1]]);
    corners.push([x, y]);
  }
  const edge = data.metrics[state.x].better === "lower" ? picture.frame.right : picture.frame.left;
  return corners.length ? [...corners, [edge, corners.at(-1)[1]]] : [];
}

function drawFrontier(picture, best) {
  const corners = frontierCorners(picture, best);
  if (corners.length) picture.svg.append(svg("polyline", { class: "frontier", points: corners.join(" "), "aria-hidden": "true" }));
}

// The lines of a point's intervals, from corner to corner: across, along, or none.
function intervalLines(picture, point) {
  const [x, y] = at(picture, point);
  const across = interval(point, state.x)?.filter((v) => usable(state.x, state.xLog, v)).map(picture.xScale);
  const along = interval(point, state.y)?.filter((v) => usable(state.y, state.yLog, v)).map(picture.yScale);
  return [
    ...(across?.length === 2 ? [[[across[0], y], [across[1], y]]] : []),
    ...(along?.length === 2 ? [[[x, along[0]], [x, along[1]]]] : []),
  ];
}

function drawIntervals(picture, point) {
  const shared = { class: `interval${matches(point) ? "" : " dim"}`, "--c": color(point.row), "aria-hidden": "true" };
  for (const [[x1, y1], [x2, y2]] of intervalLines(picture, point)) picture.svg.append(svg("line", { ...shared, x1, x2, y1, y2 }));
}

function drawMark(picture, point, best) {
  const hasValue = known(read(point, state.y));
  const kind = hasValue ? provenance(point) : "none";
  const rows = Math.max(1, data.backbones.length - 1);
  const [x, y] = hasValue ? at(picture, point)
    : [picture.xScale(read(point, state.x)), picture.frame.bottom - 7 - (point.row.backbone / rows) * 12];
  const pinned = state.pins.includes(point.key);
  const classes = ["mark", kind, hasValue ? (best ? "best" : "dominated") : "cost-only"];
  if (pinned) classes.push("pinned");
  if (!matches(point)) classes.push("dim");
  const mark = svg("g", {
    class: classes.join(" "), "--c": color(point.row), transform: `translate(${x.toFixed(2)},${y.toFixed(2)})`,
    tabindex: "-1", role: "button", "aria-pressed": String(pinned), "aria-label": spoken(point, best), "data-key": point.key,
    onfocus: () => onMarkFocus(point, mark),
    onblur: hideTip,
    onkeydown: (event) => onMarkKey(event, point),
  },
  pinned ? svg("circle", { class: "ring", r: 11 }) : null,
  svg("path", { d: MARKS[kind](6) }));
  picture.svg.append(mark);
  return { point, x, y, best, mark };
}

function spoken(point, best) {
  const words = [`${nameOf(point)} on ${backboneOf(point)}`];
  for (const name of [state.x, state.y]) {
    const value = read(point, name);
    if (known(value)) words.push(`${data.metrics[name].title} ${show(data.metrics[name], value)} ${data.metrics[name].unit}`);
    else words.push(`${data.metrics[name].title} not known`);
  }
  if (data.metrics[state.y].section === "accuracy" && point.evaluation?.trainings) words.push(point.evaluation.trainings);
  if (known(read(point, state.y))) words.push(provenance(point), best ? "on the frontier" : "dominated");
  return words.join(", ");
}

function drawLabels(picture, both, best) {
  const pins = new Set(state.pins);
  const important = (p) => (pins.has(p.key) ? 0 : best.has(p) ? 1 : p.row.baseline ? 2 : 3);
  const crowded = both.length > MOST_NAMES;
  const named = both.filter((p) => matches(p) && (!crowded || important(p) < 3)).sort((a, b) => important(a) - important(b));
  const corners = frontierCorners(picture, [...best]);
  const steps = corners.slice(1).map((corner, n) => [corners[n], corner]);
  const lines = [...steps, ...both.flatMap((p) => intervalLines(picture, p))].map(([[x1, y1], [x2, y2]]) => grown({
    left: Math.min(x1, x2), right: Math.max(x1, x2), top: Math.min(y1, y2), bottom: Math.max(y1, y2),
  }, 2));
  const wanted = named.map((p) => {
    const [x, y] = at(picture, p);
    return { x, y, width: widthOf(nameOf(p)) + 2, height: 15, gap: pins.has(p.key) ? 14 : 9 };
  });
  const marks = drawn.map(({ x, y }) => grown({ left: x, right: x, top: y, bottom: y }, 7.5));
  const frame = { ...picture.frame, bottom: picture.frame.bottom - picture.rug };
  const boxes = place(wanted, frame, marks, lines);
  boxes.forEach((box, n) => {
    if (!box) return;
    picture.svg.append(svg("text", {
      class: "label", x: box.left + 1, y: box.bottom - 3.5, "aria-hidden": "true", "data-key": named[n].key,
    }, nameOf(named[n])));
  });
}

// One mark at a time is in the tab order; arrows go along x.
function roam(mark) {
  for (const other of byId("plot").querySelectorAll(".mark[tabindex='0']")) other.setAttribute("tabindex", "-1");
  mark.setAttribute("tabindex", "0");
}

function onMarkFocus(point, mark) {
  roam(mark);
  if (mark.matches(":focus-visible")) showTip(point, mark); // a finger gets what is known below the plot
}

function onMarkKey(event, point) {
  const marks = drawn.map((one) => one.mark);
  const here = drawn.findIndex((one) => one.point.key === point.key);
  const next = { ArrowRight: here + 1, ArrowUp: here + 1, ArrowLeft: here - 1, ArrowDown: here - 1, Home: 0, End: marks.length - 1 };
  if (event.key === "Enter" || event.key === " ") togglePin(point.key);
  else if (event.key === "Escape") hideTip();
  else if (event.key in next) marks[Math.min(Math.max(next[event.key], 0), marks.length - 1)].focus();
  else return;
  event.preventDefault();
}

// The mark nearest to a pointer, if one is near.
function nearest(event) {
  const box = byId("plot").firstElementChild?.getBoundingClientRect();
  if (!box) return null;
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let found = null;
  for (const one of drawn) {
    const distance = Math.hypot(one.x - x, one.y - y);
    if (distance <= REACH_PX && (!found || distance < found.distance)) found = { ...one, distance };
  }
  return found;
}
