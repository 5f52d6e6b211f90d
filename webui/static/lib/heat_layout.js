// Where the map's cells are: each worker's cards run on in one piece, and runs follow each other like words in a line.

const SIZES = [24, 22, 20, 18, 16, 14, 12, 10, 8, 7, 6, 5, 4];

function placed(counts, width, size) {
  const gap = size >= 10 ? 2 : 1;
  const step = size + gap;
  const between = size >= 10 ? 8 : size >= 6 ? 3 : 1;
  const columns = Math.max(1, Math.floor((width + gap) / step));
  const cells = [];
  let x = 0;
  let y = 0;
  for (const [worker, count] of counts.entries()) {
    const run = Math.min(count, columns) * step - gap;
    if (x > 0 && x + run > width) {
      x = 0;
      y += step;
    }
    for (let card = 0; card < count; card += 1) {
      if (x > 0 && x + size > width) {
        x = 0;
        y += step;
      }
      cells.push({ x, y, worker, card });
      x += step;
    }
    x += between;
  }
  return { cells, size, gap, height: cells.length === 0 ? 0 : y + size };
}

/** Lay out `counts[i]` cards of worker i in `width` pixels, as large as fits into `height`, at least `least` pixels. */
export function layOut(counts, width, height, least = 4) {
  let best = null;
  for (const size of SIZES) {
    if (best !== null && size < least) break;
    best = placed(counts, width, size);
    if (best.height <= height) break;
  }
  const byLine = new Map();
  for (const [at, cell] of best.cells.entries()) {
    if (!byLine.has(cell.y)) byLine.set(cell.y, []);
    byLine.get(cell.y).push(at);
  }
  return { ...best, byLine, lines: [...byLine.keys()].sort((a, b) => a - b) };
}

/** Return which cell is at a point, as its number; -1 where there is none. */
export function cellAt(layout, x, y) {
  const { size, gap, byLine, cells } = layout;
  const step = size + gap;
  const line = Math.floor(y / step) * step;
  return (byLine.get(line) ?? []).find((at) => x >= cells[at].x && x < cells[at].x + step) ?? -1;
}

/** Return the cell that an arrow key leads to from cell `at`. */
export function cellTowards(layout, at, key) {
  const { cells, lines, byLine } = layout;
  if (key === "ArrowLeft") return Math.max(at - 1, 0);
  if (key === "ArrowRight") return Math.min(at + 1, cells.length - 1);
  if (key === "Home") return 0;
  if (key === "End") return cells.length - 1;
  const line = lines.indexOf(cells[at].y) + (key === "ArrowUp" ? -1 : 1);
  if (line < 0 || line >= lines.length) return at;
  const near = (other) => Math.abs(cells[other].x - cells[at].x);
  return byLine.get(lines[line]).reduce((best, other) => (near(other) < near(best) ? other : best));
}
