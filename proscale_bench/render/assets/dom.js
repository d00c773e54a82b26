// Elements, numbers and words. Text is always set as text: a name can hold no markup.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function filled(parent, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) parent.style.setProperty(name, value);
    else if (name.startsWith("on")) parent.addEventListener(name.slice(2), value);
    else if (value === true) parent.setAttribute(name, "");
    else if (value !== false && value != null) parent.setAttribute(name, value);
  }
  parent.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return parent;
}

function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

const color = (row) => `var(${data.backbones[row.backbone].color})`;
const known = (value) => value !== undefined && value !== null;

const formats = []; // by places; to make one takes longer than all that a page says with it
function fixed(value, places) {
  formats[places] ??= new Intl.NumberFormat("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  return formats[places].format(value);
}

function significant(value, digits) {
  if (value === 0) return "0";
  return fixed(value, Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)))));
}

const SHOWN = {
  "GFLOPs": (value) => (Math.abs(value) >= 1 ? fixed(value, 2) : significant(value, 3)),
  "millions": (value) => fixed(value, 2),
  "ms": (value) => (value >= 100 ? fixed(value, 1) : value >= 1 ? fixed(value, 2) : significant(value, 3)),
  "images/s": (value) => significant(value, 3),
  "MiB": (value) => fixed(value, 0),
  "J": (value) => significant(value, 3),
  "%": (value) => fixed(value, 2),
};

// Of a figure, in px: on paper, that of an A4 or letter page's text.
const PAPER_PX = 680;
let onPaper = false;
const roomOf = (host) => (onPaper ? PAPER_PX : Math.max(300, host.clientWidth));

const minus = (words) => words.replace("-", "−");
const show = (metric, value) => minus(SHOWN[metric.unit](value));
// A saving carries a minus sign, as in the papers.
const showSaved = (pct, places) => {
  const rounded = Number(pct.toFixed(places));
  return rounded === 0 ? `${fixed(0, places)}%` : `${rounded > 0 ? "−" : "+"}${fixed(Math.abs(pct), places)}%`;
};
const title = (metric) => (metric.unit === "GFLOPs" ? `${metric.title} GFLOPs` : `${metric.title}, ${metric.unit}`);

const ruler = document.createElement("canvas").getContext("2d");
const family = getComputedStyle(document.body).fontFamily;
function widthOf(words, px = 12) {
  ruler.font = `${px}px ${family}`;
  return ruler.measureText(words).width;
}

function wrapped(words, width, px = 12) {
  const lines = [];
  for (const word of words.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && widthOf(longer, px) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
