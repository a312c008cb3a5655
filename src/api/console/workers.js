// The workers of the run: where each stands, and how far it is.

import { byId, el } from "./dom.js";

const WORDS = { running: "running", cached: "taken from before", succeeded: "done", failed: "failed", cancelled: "cancelled", skipped: "skipped" };
// A pipeline of more workers than this shows the first ones.
const MAX_ROWS = 300;

export class Workers {
  #panel = byId("workers-panel");
  #list = byId("worker-list");
  #rows = new Map();

  clear() {
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#panel.hidden = true;
  }

  /** Takes the detail of a NODE event. */
  show({ workerKey, state, progressPercent = 0, error }) {
    let row = this.#rows.get(workerKey);
    if (!row) {
      if (this.#rows.size >= MAX_ROWS) return;
      row = newRow(workerKey);
      this.#rows.set(workerKey, row);
      this.#list.append(row.item);
      // One alone is the run itself, of which the head of the page tells all.
      this.#panel.hidden = this.#rows.size < 2;
    }
    row.item.dataset.state = state;
    row.state.textContent = state === "running" ? `${progressPercent} %` : (WORDS[state] ?? state);
    row.bar.value = ["succeeded", "cached"].includes(state) ? 100 : progressPercent;
    row.error.textContent = error ?? "";
    row.error.hidden = !error;
    const done = [...this.#rows.values()].filter(({ item }) => item.dataset.state !== "running").length;
    byId("workers-note").textContent = `${done} of ${this.#rows.size} ended`;
  }
}

function newRow(key) {
  const state = el("span", { className: "worker-state" });
  const bar = el("progress", { max: 100, value: 0, "aria-label": `Progress of ${key}` });
  const error = el("p", { className: "worker-error", hidden: true });
  const item = el("li", { "data-worker": key }, el("span", { className: "worker-key" }, key), state, bar, error);
  return { item, state, bar, error };
}
