// Within the layers of a graph: who stands beside whom (few crossings), and how far apart (short edges). Pure.
//
// A row is an array of cells `{before, after, rank, size}`; `before` and `after` are the cells of the neighbouring
// rows that an edge leads from and to, `rank` is where the cell stood in the drawing before, if it was there.

const SWEEPS = 8;

/** The same rows, each in an order that makes the edges cross as little as the barycentre rule finds. */
export function orderLayers(rows) {
  let best = rows.map(startOrder);
  number(best);
  let fewest = crossings(best);
  let rowsNow = best;
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep += 1) {
    const side = sweep % 2 === 0 ? "before" : "after";
    rowsNow = rowsNow.map((row) => [...row]);
    number(rowsNow);
    const turn = side === "before" ? rowsNow : [...rowsNow].reverse();
    for (const row of turn) {
      for (const cell of row) cell.pull = mean(cell[side].map((other) => other.index)) ?? cell.index;
      row.sort((a, b) => a.pull - b.pull || a.index - b.index);
      row.forEach((cell, index) => (cell.index = index));
    }
    const now = crossings(rowsNow);
    // Only a better order replaces the one before, so that a graph that grows keeps its look.
    if (now < fewest) [best, fewest] = [rowsNow, now];
  }
  number(best);
  return best;
}

/** Sets `at`, the centre of each cell across the layers: near its neighbours, never nearer than `gap` to the next. */
export function placeAcross(rows, gap) {
  for (const row of rows) {
    let at = 0;
    for (const cell of row) {
      cell.at = at + cell.size / 2;
      at += cell.size + gap;
    }
    for (const cell of row) cell.at -= (at - gap) / 2;
  }
  for (const sides of [["before"], ["after"], ["before"], ["after"], ["before", "after"], ["before", "after"]]) {
    const turn = sides[0] === "before" ? rows : [...rows].reverse();
    for (const row of turn) {
      const wanted = row.map((cell) => mean(sides.flatMap((side) => cell[side].map((other) => other.at))) ?? cell.at);
      spread(row, wanted, gap);
    }
  }
}

/** The order of the drawing before; a newcomer stands by its neighbours that were there, else at the end. */
function startOrder(row) {
  const key = (cell) => cell.rank ?? mean([...cell.before, ...cell.after].map((it) => it.rank).filter(Number.isFinite));
  return row
    .map((cell, place) => ({ cell, place, key: key(cell) ?? Infinity }))
    .sort((a, b) => (a.key === b.key ? a.place - b.place : a.key - b.key))
    .map(({ cell }) => cell);
}

function number(rows) {
  for (const row of rows) row.forEach((cell, index) => (cell.index = index));
}

function crossings(rows) {
  return rows.reduce((sum, row, index) => sum + crossingsAfter(row, rows[index + 1]?.length ?? 0), 0);
}

/** Pairs of edges to the next row that cross, counted with a Fenwick tree in n log n. */
function crossingsAfter(row, breadth) {
  const tree = new Array(breadth + 1).fill(0);
  let seen = 0;
  let count = 0;
  for (const cell of row) {
    const targets = cell.after.map((other) => other.index).sort((a, b) => a - b);
    for (const target of targets) {
      let notRight = 0;
      for (let i = target + 1; i > 0; i -= i & -i) notRight += tree[i];
      count += seen - notRight;
    }
    for (const target of targets) {
      for (let i = target + 1; i <= breadth; i += i & -i) tree[i] += 1;
      seen += 1;
    }
  }
  return count;
}

/**
 * The places nearest to the wanted ones, in the mean square, that keep order and distance: isotonic regression by
 * pooling neighbours that would overlap.
 */
function spread(row, wanted, gap) {
  const pools = [];
  let offset = 0;
  row.forEach((cell, index) => {
    if (index > 0) offset += (row[index - 1].size + cell.size) / 2 + gap;
    cell.offset = offset;
    let pool = { sum: wanted[index] - offset, count: 1 };
    while (pools.length > 0 && pools.at(-1).sum / pools.at(-1).count > pool.sum / pool.count) {
      const last = pools.pop();
      pool = { sum: last.sum + pool.sum, count: last.count + pool.count };
    }
    pools.push(pool);
  });
  let index = 0;
  for (const { sum, count } of pools) {
    for (let i = 0; i < count; i += 1, index += 1) row[index].at = sum / count + row[index].offset;
  }
}

function mean(numbers) {
  return numbers.length === 0 ? undefined : numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
