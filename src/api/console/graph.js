// The graph view of a run: an SVG drawing, and the same as a list for those who do not see the drawing.

import { byId, cut, el, svgEl } from "./dom.js";
import { layout } from "./layout.js";
import { PanZoom } from "./panzoom.js";

// What a browser still draws and moves smoothly. Nodes beyond it are left out, and the page says so.
const MAX_NODES = 800;
const MAX_EDGES = 4000;
const MAX_LABEL = 30;
const NODE_HEIGHT = 38;
// Below this scale labels are hard to read.
const SMALL = 0.8;

export class Graph {
  #svg = byId("graph-svg");
  #world = byId("graph-world");
  #list = byId("node-list");
  #panel = byId("graph-panel");
  #dialogue = byId("dialogue");
  #note = byId("graph-note");
  #detail = byId("graph-detail");
  #panZoom = new PanZoom(this.#svg, this.#world);
  #measure = document.createElement("canvas").getContext("2d");
  #shown = "";
  #layout = null;
  #across = true;
  #edges = [];
  #nodes = new Map();
  #drawn = new Map();
  #items = new Map();
  #states = new Map();
  #selected = "";
  #pause = null;
  #next = null;

  constructor() {
    this.#measure.font = `500 13px ${getComputedStyle(document.body).fontFamily}`;
    byId("graph-in").addEventListener("click", () => this.#panZoom.zoom(1.25));
    byId("graph-out").addEventListener("click", () => this.#panZoom.zoom(0.8));
    byId("graph-fit").addEventListener("click", () => this.#panZoom.fit());
    byId("graph-larger").addEventListener("click", (event) => {
      const larger = this.#panel.classList.toggle("larger");
      event.currentTarget.setAttribute("aria-pressed", String(larger));
      event.currentTarget.textContent = larger ? "Smaller" : "Larger";
      this.#turnIfBetter();
    });
    this.#svg.addEventListener("click", (event) => this.#clicked(event));
    this.clear();
  }

  clear() {
    clearTimeout(this.#pause);
    [this.#pause, this.#next] = [null, null];
    this.#shown = "";
    this.#layout = null;
    this.#nodes.clear();
    this.#drawn.clear();
    this.#items.clear();
    this.#states.clear();
    this.#world.replaceChildren();
    this.#list.replaceChildren();
    this.#panel.hidden = true;
    this.#panel.classList.remove("broad");
    this.#dialogue.after(this.#panel);
    this.#select("");
  }

  /**
   * Shows `{nodes, edges}` of a client view; the newest replaces the one before. Of graphs that come quicker than they
   * can be laid out only the newest is drawn.
   */
  show(graph, phase) {
    if (this.#pause !== null) {
      this.#next = [graph, phase];
      return;
    }
    const begun = performance.now();
    this.#show(graph, phase);
    this.#pause = setTimeout(() => {
      const next = this.#next;
      [this.#pause, this.#next] = [null, null];
      if (next) this.show(...next);
    }, 3 * (performance.now() - begun));
  }

  #show(graph, phase) {
    byId("graph-title").textContent = title(phase);
    const text = JSON.stringify(graph);
    if (text === this.#shown) return;
    this.#shown = text;
    const all = (graph.nodes ?? []).filter((node) => node.uid);
    this.#nodes = new Map(all.slice(0, MAX_NODES).map((node) => [node.uid, node]));
    const known = ({ from, to }) => this.#nodes.has(from) && this.#nodes.has(to) && from !== to;
    const edges = (graph.edges ?? []).filter(known).slice(0, MAX_EDGES);
    this.#panel.hidden = this.#nodes.size === 0;
    this.#arrange(edges);
    this.#draw();
    this.#fillList(edges);
    const summary = `${count(this.#nodes.size, "node")}, ${count(edges.length, "edge")}`;
    const hidden = all.length - this.#nodes.size;
    this.#note.textContent = hidden > 0 ? `${summary} (${hidden} more nodes are not drawn)` : summary;
    this.#svg.setAttribute("aria-label", `Graph of ${summary}. Arrow keys move it, plus and minus scale it, 0 fits it.`);
    if (this.#selected && !this.#nodes.has(this.#selected)) this.#select("");
  }

  /** Marks the node that is labelled with a worker's key with the worker's state. */
  mark(workerKey, state) {
    this.#states.set(workerKey.toLowerCase(), state);
    for (const [uid, node] of this.#nodes) {
      if (node.label?.trim().toLowerCase() === workerKey.toLowerCase()) this.#drawn.get(uid)?.setAttribute("data-state", state);
    }
  }

  /** The panel has another shape now: the layers may run the other way. */
  #turnIfBetter() {
    this.#layout = null;
    this.#arrange(this.#edges);
    this.#draw();
    this.#panZoom.fit();
  }

  #arrange(edges) {
    this.#edges = edges;
    const nodes = [...this.#nodes.values()].map((node) => ({
      uid: node.uid,
      parent: node.parentUid,
      w: Math.max(72, Math.ceil(this.#measure.measureText(cut(node.label || node.uid, MAX_LABEL)).width) + 40),
      h: NODE_HEIGHT,
    }));
    const draw = (across) => layout({ nodes, edges }, { across, previous: across === this.#across ? this.#layout : null });
    const [same, other] = [draw(this.#across), draw(!this.#across)];
    const best = Math.max(this.#scale(same), this.#scale(other));
    if (best < SMALL && !this.#panel.classList.contains("broad")) {
      // Too much for a part of the width: the panel takes all of it, before what else there is, and keeps it while
      // the graph grows.
      this.#panel.classList.add("broad");
      this.#dialogue.before(this.#panel);
      this.#layout = null;
    }
    // The way the layers run changes only for a good deal more room, and freely for the first drawing.
    const turn = this.#scale(other) > this.#scale(same) * (this.#layout ? 1.6 : 1.1);
    if (turn) this.#across = !this.#across;
    this.#layout = turn ? other : same;
  }

  /** How large the drawing would be shown. */
  #scale(drawing) {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    return Math.min((width || 800) / drawing.width, (height || 400) / drawing.height, 1.25);
  }

  #draw() {
    const { boxes, routes, width, height } = this.#layout;
    const first = this.#drawn.size === 0;
    const lines = routes.map((route) =>
      svgEl("path", {
        class: route.back ? "edge back" : "edge",
        d: curve(route.points, this.#across),
        "marker-end": "url(#arrow)",
        "data-from": route.from,
        "data-to": route.to,
      }),
    );
    const before = this.#drawn;
    this.#drawn = new Map();
    const shapes = [...boxes].sort(([, a], [, b]) => a.depth - b.depth);
    for (const [uid, box] of shapes) {
      const fresh = !first && !before.has(uid);
      this.#drawn.set(uid, this.#node(uid, box, fresh));
    }
    const groups = shapes.filter(([, box]) => box.group).map(([uid]) => this.#drawn.get(uid));
    const leaves = shapes.filter(([, box]) => !box.group).map(([uid]) => this.#drawn.get(uid));
    this.#world.replaceChildren(...groups, ...lines, ...leaves);
    this.#panZoom.resize(width, height);
    this.#highlight();
  }

  #node(uid, box, fresh) {
    const node = this.#nodes.get(uid);
    const label = node.label || uid;
    const state = this.#states.get(label.trim().toLowerCase());
    const made = svgEl(
      "g",
      {
        class: `${box.group ? "node group" : "node"}${fresh ? " fresh" : ""}`,
        transform: `translate(${box.x.toFixed(1)} ${box.y.toFixed(1)})`,
        "data-uid": uid,
        ...(state && { "data-state": state }),
      },
      svgEl("title"),
      svgEl("rect", { width: box.w.toFixed(1), height: box.h.toFixed(1), rx: box.group ? 12 : 9 }),
      svgEl("circle", { cx: 16, cy: box.group ? 15 : NODE_HEIGHT / 2, r: 4 }),
      svgEl("text", { x: 28, y: (box.group ? 15 : NODE_HEIGHT / 2) + 4.5 }),
    );
    made.querySelector("title").textContent = node.description ? `${label}: ${node.description}` : label;
    made.querySelector("text").textContent = cut(label, MAX_LABEL);
    return made;
  }

  #fillList(edges) {
    const names = (uids) => uids.map((uid) => this.#nodes.get(uid).label || uid).join(", ");
    const after = new Map();
    for (const { from, to } of edges) after.set(from, [...(after.get(from) ?? []), to]);
    const rows = [...this.#nodes.values()].map((node) => {
      const parent = this.#nodes.get(node.parentUid);
      const extra = [
        parent && `inside ${parent.label || parent.uid}`,
        after.has(node.uid) && `leads to ${names(after.get(node.uid))}`,
      ].filter(Boolean);
      const button = el("button", { type: "button", className: "node-button", on: { click: () => this.#select(node.uid, true) } }, node.label || node.uid);
      return el(
        "li",
        { "data-uid": node.uid },
        button,
        node.description ? el("span", { className: "node-text" }, cut(node.description, 400)) : null,
        extra.length > 0 ? el("span", { className: "node-links" }, extra.join(" · ")) : null,
      );
    });
    this.#items = new Map(rows.map((row) => [row.dataset.uid, row]));
    this.#list.replaceChildren(...rows);
  }

  #clicked(event) {
    if (this.#panZoom.moved) return;
    this.#select(event.target.closest?.(".node")?.dataset.uid ?? "");
  }

  #select(uid, reveal = false) {
    this.#selected = uid;
    const node = this.#nodes.get(uid);
    this.#detail.hidden = !node;
    this.#detail.replaceChildren(
      ...(node ? [el("strong", {}, node.label || uid), el("span", {}, node.description || "No description.")] : []),
    );
    this.#highlight();
    if (reveal && node) this.#panZoom.reveal(this.#layout.boxes.get(uid));
  }

  #highlight() {
    const uid = this.#selected;
    this.#svg.classList.toggle("has-selection", uid !== "");
    for (const [other, shape] of this.#drawn) shape.classList.toggle("selected", other === uid);
    for (const [other, row] of this.#items) row.classList.toggle("selected", other === uid);
    for (const line of this.#world.querySelectorAll(".edge")) {
      line.classList.toggle("near", uid !== "" && (line.dataset.from === uid || line.dataset.to === uid));
    }
  }
}

/** A smooth line through the points that leaves and arrives along the layers. */
function curve(points, across) {
  const number = (value) => value.toFixed(1);
  const parts = [`M${number(points[0].x)} ${number(points[0].y)}`];
  for (let i = 1; i < points.length; i += 1) {
    const [a, b] = [points[i - 1], points[i]];
    const middle = across ? (a.x + b.x) / 2 : (a.y + b.y) / 2;
    const [c, d] = across ? [{ x: middle, y: a.y }, { x: middle, y: b.y }] : [{ x: a.x, y: middle }, { x: b.x, y: middle }];
    parts.push(`C${[c.x, c.y, d.x, d.y, b.x, b.y].map(number).join(" ")}`);
  }
  return parts.join("");
}

/** `package_graph` becomes `Package graph`, `plan` becomes `Graph: plan`. */
function title(phase) {
  const words = (phase ?? "").replaceAll("_", " ").trim();
  if (!/\bgraph\b/i.test(words)) return words ? `Graph: ${words}` : "Graph";
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
