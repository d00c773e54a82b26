// What is shown: a point for each accuracy of each row, the frontier through them, and the ticks of an axis.

const state = {
  view: data.start.view,
  data: "",
  x: data.start.x,
  y: data.start.y,
  xLog: false,
  yLog: false,
  hidden: new Set(), // backbones
  text: "",
  pins: [], // keys of points, two at most
  sort: { key: "", down: false },
  unit: "gflops",
  saving: 0,
  allBars: false,
};

const points = data.views.flatMap((view, v) =>
  view.rows.flatMap((row, r) => {
    const evaluations = row.evaluations ?? [];
    return (evaluations.length ? evaluations : [null]).map((evaluation, w) => ({ key: `${v}-${r}-${w}`, view: v, row, evaluation }));
  }),
);
const pointOf = new Map(points.map((point) => [point.key, point]));

function read(point, name) {
  const values = data.metrics[name].section === "accuracy" ? point.evaluation?.values : point.row.values;
  return values?.[name];
}

function interval(point, name) {
  const intervals = data.metrics[name].section === "accuracy" ? point.evaluation?.intervals : point.row.intervals;
  return intervals?.[name];
}

const nameOf = (point) => point.evaluation?.name ?? point.row.schedule;
const backboneOf = (point) => data.backbones[point.row.backbone].name;

// Of the chosen view and data. A row without an accuracy on these data stands there once, for its cost.
function shownPoints() {
  const rows = new Map();
  for (const point of points) {
    if (point.view !== state.view || state.hidden.has(point.row.backbone)) continue;
    const fits = point.evaluation?.data === state.data;
    const found = rows.get(point.row) ?? rows.set(point.row, []).get(point.row);
    if (fits) found.push(point);
  }
  return [...rows].flatMap(([row, found]) =>
    found.length ? found : [{ key: keyOf(row), view: state.view, row, evaluation: null }],
  );
}

function keyOf(row) {
  return points.find((point) => point.row === row).key;
}

function matches(point) {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [nameOf(point), point.row.label, backboneOf(point), point.evaluation?.provenance, point.row.error]
    .filter(Boolean).join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// The points that no other beats, from the best x on; of equal points all are there.
function frontier(candidates, x = state.x, y = state.y) {
  const sign = (name) => (data.metrics[name].better === "lower" ? 1 : -1);
  const costs = candidates
    .filter((point) => known(read(point, x)) && known(read(point, y)))
    .map((point) => ({ point, a: sign(x) * read(point, x), b: sign(y) * read(point, y) }))
    .sort((one, other) => one.a - other.a || one.b - other.b);
  const best = [];
  let last = null;
  for (const cost of costs) {
    if (last === null || cost.b < last.b || (cost.a === last.a && cost.b === last.b)) {
      last = cost;
      best.push(cost.point);
    }
  }
  return best;
}

function extent(values, log) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) {
    const room = Math.max((Math.log10(high) - Math.log10(low)) * 0.08, 0.03);
    return [10 ** (Math.log10(low) - room), 10 ** (Math.log10(high) + room)];
  }
  const room = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

// A function from values to pixels, with its ticks.
function scale([low, high], [from, to], log, count) {
  const f = log ? Math.log10 : (value) => value;
  const at = (value) => from + ((f(value) - f(low)) / (f(high) - f(low))) * (to - from);
  at.ticks = log ? logTicks(low, high, count) : linearTicks(low, high, count);
  return at;
}

function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) {
    ticks.push({ value: n * step, words: minus(fixed(n * step + 0, places)) }); // + 0: no tick says −0
  }
  return ticks;
}

function logTicks(low, high, count) {
  for (const factors of [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const factor of factors) {
        const value = factor * 10 ** power;
        if (value >= low && value <= high) ticks.push({ value, words: significant(value, 1) });
      }
    }
    if (ticks.length >= 3 && ticks.length <= count + 1) return ticks;
  }
  return linearTicks(low, high, count).filter((tick) => tick.value > 0);
}
