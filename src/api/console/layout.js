// Where the nodes of a graph go: layers by longest path, boxes inside boxes for groups. Pure: numbers in, numbers out.
//
// Every group is laid out by itself and then stands as one large node in the group around it, so an edge between two
// groups is, for the placing, an edge between their boxes at the level where they are neighbours.

import { orderLayers, placeAcross } from "./order.js";

const GAP_LAYER = { across: 56, down: 42 };
const GAP_ACROSS = 18;
const PADDING = 16;
const TITLE = 28;
// Bends of long edges cost time; with more than this many, long edges run straight.
const MAX_BENDS = 3000;

/**
 * Lays out `{nodes: [{uid, parent, w, h}], edges: [{from, to}]}`.
 *
 * `across` says which way layers follow each other: true left to right, false top to bottom. `previous` is an earlier
 * result, whose order is kept where it can be. Gives `{width, height, boxes: Map uid -> {x, y, w, h, group, depth},
 * routes: [{from, to, back, points}]}`, `x` and `y` being the upper left corner.
 */
export function layout({ nodes, edges }, { across, previous }) {
  const tree = new Tree(nodes);
  const levels = splitEdges(tree, edges);
  const rank = new Map();
  for (const [uid, box] of previous?.boxes ?? []) rank.set(uid, across ? box.y + box.h / 2 : box.x + box.w / 2);

  const placed = new Map();
  const size = (parent) => {
    const items = tree.children(parent).map((node) => {
      const inner = tree.children(node.uid).length > 0 ? size(node.uid) : null;
      if (!inner) return { id: node.uid, w: node.w, h: node.h };
      return { id: node.uid, w: Math.max(inner.w + 2 * PADDING, node.w), h: inner.h + TITLE + PADDING };
    });
    const level = placeLevel(items, levels.get(parent) ?? [], { across, rank });
    placed.set(parent, level);
    return level;
  };
  const whole = size("");

  const boxes = new Map();
  const bends = new Map();
  const settle = (parent, left, top, depth) => {
    const level = placed.get(parent);
    for (const item of level.items) {
      const group = placed.has(item.id);
      boxes.set(item.id, { x: left + item.x, y: top + item.y, w: item.w, h: item.h, group, depth });
      if (group) settle(item.id, left + item.x + PADDING, top + item.y + TITLE, depth + 1);
    }
    for (const [key, link] of level.links) {
      bends.set(`${parent}\n${key}`, {
        back: link.back,
        points: link.points.map((point) => ({ x: left + point.x, y: top + point.y })),
      });
    }
  };
  settle("", 0, 0, 0);
  const routes = edges.flatMap((edge) => route(edge, tree, boxes, bends, across));
  return { width: whole.w, height: whole.h, boxes, routes };
}

/** Who contains whom. A parent that does not exist, or that would make a circle, counts as none. */
class Tree {
  #parents = new Map();
  #children = new Map([["", []]]);

  constructor(nodes) {
    const known = new Set(nodes.map((node) => node.uid));
    for (const { uid, parent } of nodes) {
      const circular = this.#pathOf(parent ?? "").includes(uid);
      this.#parents.set(uid, parent && known.has(parent) && !circular ? parent : "");
    }
    for (const node of nodes) {
      const parent = this.#parents.get(node.uid);
      if (!this.#children.has(parent)) this.#children.set(parent, []);
      this.#children.get(parent).push(node);
    }
  }

  children(uid) {
    return this.#children.get(uid) ?? [];
  }

  /** From the outermost container down to the node itself. */
  path(uid) {
    return this.#pathOf(uid).reverse();
  }

  has(uid) {
    return this.#parents.has(uid);
  }

  #pathOf(uid) {
    const path = [];
    for (let at = uid; at; at = this.#parents.get(at) ?? "") path.push(at);
    return path;
  }
}

/** The edges of each level, between neighbours of that level, by the container's uid. */
function splitEdges(tree, edges) {
  const levels = new Map();
  for (const edge of edges) {
    const lifted = lift(tree, edge);
    if (!lifted) continue;
    if (!levels.has(lifted.parent)) levels.set(lifted.parent, new Map());
    levels.get(lifted.parent).set(`${lifted.from}\n${lifted.to}`, { from: lifted.from, to: lifted.to });
  }
  return new Map([...levels].map(([parent, links]) => [parent, [...links.values()]]));
}

/** The same edge between the two neighbours that contain its ends; null when one end contains the other. */
function lift(tree, { from, to }) {
  if (!tree.has(from) || !tree.has(to)) return null;
  const [a, b] = [tree.path(from), tree.path(to)];
  let depth = 0;
  while (depth < a.length && depth < b.length && a[depth] === b[depth]) depth += 1;
  if (depth === a.length || depth === b.length) return null;
  return { parent: depth === 0 ? "" : a[depth - 1], from: a[depth], to: b[depth] };
}

/** One level: the linked items in layers, the others in a grid below them. */
function placeLevel(items, links, { across, rank }) {
  const linked = new Set(links.flatMap(({ from, to }) => [from, to]));
  const layered = items.filter((item) => linked.has(item.id));
  const alone = items.filter((item) => !linked.has(item.id));
  const { routes, w, h } = placeLayers(layered, links, { across, rank });
  const grid = placeGrid(alone, Math.max(w, across ? 0 : 280), across);
  const top = layered.length > 0 && alone.length > 0 ? h + 2 * GAP_ACROSS : h;
  for (const item of alone) item.y += top;
  return { items, links: routes, w: Math.max(w, grid.w), h: top + grid.h };
}

function placeLayers(items, links, { across, rank }) {
  if (items.length === 0) return { routes: new Map(), w: 0, h: 0 };
  const flow = acyclic(items, links);
  const layers = splitLayers(layersOf(items, flow), items.length, across);
  const cells = new Map(items.map((item) => [item.id, { id: item.id, item, before: [], after: [], rank: rank.get(item.id) }]));
  const rows = layers.map((layer) => layer.map((id) => cells.get(id)));
  const paths = addBends(rows, flow, cells);
  const ordered = orderLayers(rows);
  for (const cell of ordered.flat()) cell.size = cell.item ? (across ? cell.item.h : cell.item.w) : 4;
  placeAcross(ordered, GAP_ACROSS);

  const gap = across ? GAP_LAYER.across : GAP_LAYER.down;
  let along = 0;
  for (const row of ordered) {
    const depth = Math.max(...row.map((cell) => (cell.item ? (across ? cell.item.w : cell.item.h) : 0)));
    for (const cell of row) cell.along = along + depth / 2;
    along += depth + gap;
  }
  const low = Math.min(...ordered.flat().map((cell) => cell.at - cell.size / 2));
  const high = Math.max(...ordered.flat().map((cell) => cell.at + cell.size / 2));
  const spot = (cell) => (across ? { x: cell.along, y: cell.at - low } : { x: cell.at - low, y: cell.along });
  for (const cell of cells.values()) {
    const centre = spot(cell);
    cell.item.x = centre.x - cell.item.w / 2;
    cell.item.y = centre.y - cell.item.h / 2;
  }
  const routes = new Map([...paths].map(([key, path]) => [key, { back: path.back, points: path.cells.map(spot) }]));
  const [length, breadth] = [along - gap, high - low];
  return { routes, w: across ? length : breadth, h: across ? breadth : length };
}

/** The links with every circle broken: one that leads back is turned round and marked. */
function acyclic(items, links) {
  const after = new Map(items.map((item) => [item.id, []]));
  for (const link of links) after.get(link.from).push(link);
  const state = new Map();
  const flow = [];
  for (const start of items) {
    const stack = state.has(start.id) ? [] : [{ id: start.id, next: 0 }];
    if (stack.length > 0) state.set(start.id, "open");
    while (stack.length > 0) {
      const top = stack.at(-1);
      const link = after.get(top.id)[top.next++];
      if (!link) {
        state.set(top.id, "done");
        stack.pop();
        continue;
      }
      const back = state.get(link.to) === "open";
      flow.push({ from: back ? link.to : link.from, to: back ? link.from : link.to, link, back });
      if (!state.has(link.to)) {
        state.set(link.to, "open");
        stack.push({ id: link.to, next: 0 });
      }
    }
  }
  return flow;
}

/** The ids by layer: each one layer after the last of those that lead to it, starts as near to their first as can be. */
function layersOf(items, flow) {
  const before = new Map(items.map((item) => [item.id, 0]));
  const after = new Map(items.map((item) => [item.id, []]));
  for (const { from, to } of flow) {
    before.set(to, before.get(to) + 1);
    after.get(from).push(to);
  }
  const starts = items.map((item) => item.id).filter((id) => before.get(id) === 0);
  const depth = new Map(starts.map((id) => [id, 0]));
  const ready = [...starts];
  for (let i = 0; i < ready.length; i += 1) {
    for (const to of after.get(ready[i])) {
      depth.set(to, Math.max(depth.get(to) ?? 0, depth.get(ready[i]) + 1));
      before.set(to, before.get(to) - 1);
      if (before.get(to) === 0) ready.push(to);
    }
  }
  for (const id of starts) {
    const nearest = Math.min(...after.get(id).map((to) => depth.get(to)));
    depth.set(id, nearest - 1);
  }
  const layers = [];
  for (const item of items) (layers[depth.get(item.id)] ??= []).push(item.id);
  return layers.filter(Boolean);
}

/** A layer that is far broader than the drawing is deep becomes several, one after the other. */
function splitLayers(layers, count, across) {
  const most = across ? Math.max(8, Math.ceil(Math.sqrt(count * 2.6))) : Math.max(3, Math.ceil(Math.sqrt(count * 0.6)));
  return layers.flatMap((layer) => {
    const parts = Math.ceil(layer.length / most);
    const length = Math.ceil(layer.length / parts);
    return Array.from({ length: parts }, (_, part) => layer.slice(part * length, (part + 1) * length));
  });
}

/** Joins neighbours, and gives a link that passes layers a bend in each of them. */
function addBends(rows, flow, cells) {
  const layerOf = new Map(rows.flatMap((row, index) => row.map((cell) => [cell.id, index])));
  const span = flow.reduce((sum, { from, to }) => sum + Math.max(0, layerOf.get(to) - layerOf.get(from) - 1), 0);
  const paths = new Map();
  for (const { from, to, link, back } of flow) {
    const bends = [];
    let last = cells.get(from);
    for (let layer = layerOf.get(from) + 1; span <= MAX_BENDS && layer < layerOf.get(to); layer += 1) {
      const bend = { id: null, item: null, before: [last], after: [], rank: undefined };
      last.after.push(bend);
      rows[layer].push(bend);
      bends.push(bend);
      last = bend;
    }
    last.after.push(cells.get(to));
    cells.get(to).before.push(last);
    paths.set(`${link.from}\n${link.to}`, { back, cells: back ? bends.reverse() : bends });
  }
  return paths;
}

function placeGrid(items, width, across) {
  if (items.length === 0) return { w: 0, h: 0 };
  const widest = Math.max(...items.map((item) => item.w)) + GAP_ACROSS;
  const wanted = Math.ceil(Math.sqrt(items.length * (across ? 0.9 : 0.4)));
  const columns = Math.max(1, Math.min(items.length, Math.max(wanted, Math.floor((width + GAP_ACROSS) / widest))));
  let top = 0;
  for (let start = 0; start < items.length; start += columns) {
    const row = items.slice(start, start + columns);
    row.forEach((item, column) => Object.assign(item, { x: column * widest, y: top }));
    top += Math.max(...row.map((item) => item.h)) + GAP_ACROSS;
  }
  return { w: Math.min(columns, items.length) * widest - GAP_ACROSS, h: top - GAP_ACROSS };
}

/** The line of one edge, from border to border. */
function route(edge, tree, boxes, bends, across) {
  const lifted = lift(tree, edge);
  if (!lifted) return [];
  const { back, points } = bends.get(`${lifted.parent}\n${lifted.from}\n${lifted.to}`);
  const [from, to] = [boxes.get(edge.from), boxes.get(edge.to)];
  const port = (box, far) => {
    if (across) return { x: far ? box.x + box.w : box.x, y: box.y + box.h / 2 };
    return { x: box.x + box.w / 2, y: far ? box.y + box.h : box.y };
  };
  return [{ from: edge.from, to: edge.to, back, points: [port(from, !back), ...points, port(to, back)] }];
}
