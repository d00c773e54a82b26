// Places labels beside points so that none overlaps another, a mark or the frame; what has no free place is left out.

const DIRECTIONS = [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -1], [-1, -1], [1, 1], [-1, 1]];
const CROSSING = 6; // rings that a label would rather move than lie over a line, of the frontier or an interval

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const grown = (box, by) => ({
  left: box.left - by, right: box.right + by, top: box.top - by, bottom: box.bottom + by,
});
const inside = (box, frame) =>
  box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;

// wanted: [{x, y, width, height, gap}], the most important first. Returns a box or null for each.
function place(wanted, frame, marks, lines) {
  const taken = [...marks];
  return wanted.map((label) => {
    let best = null;
    for (let ring = 0; ring < 3; ring += 1) {
      for (const [dx, dy] of DIRECTIONS) {
        const distance = (label.gap + (ring * label.height) / 2) * (dx && dy ? 0.7 : 1);
        const x = label.x + dx * (distance + label.width / 2);
        const y = label.y + dy * (distance + label.height / 2);
        const box = {
          left: x - label.width / 2, right: x + label.width / 2,
          top: y - label.height / 2, bottom: y + label.height / 2,
        };
        const room = grown(box, 2);
        if (!inside(box, frame) || taken.some((other) => overlap(room, other))) continue;
        const price = ring + (lines.some((line) => overlap(box, line)) ? CROSSING : 0);
        if (!best || price < best.price) best = { ...box, price };
      }
    }
    if (best) taken.push(best);
    return best;
  });
}
