// The parameters of a run: rows of name and value.

import { byId, el } from "./dom.js";

// The gateway's own bound.
const MAX_ROWS = 256;

export class Params {
  #rows = byId("param-rows");

  constructor() {
    byId("param-add").addEventListener("click", () => this.#add("", "").querySelector("input").focus());
  }

  /** Replaces all rows. */
  set(params) {
    this.#rows.replaceChildren();
    for (const [key, value] of Object.entries(params)) this.#add(key, value);
  }

  /** The parameters as typed, rows without a name left out. */
  get() {
    const rows = [...this.#rows.children].map((row) => [...row.querySelectorAll("input, textarea")].map((it) => it.value));
    return Object.fromEntries(rows.map(([key, value]) => [key.trim(), value]).filter(([key]) => key !== ""));
  }

  #add(key, value) {
    const name = el("input", { value: key, placeholder: "name", autocomplete: "off", spellcheck: false, "aria-label": "Parameter name", "data-testid": "param-key" });
    const text = el("textarea", { value, rows: 1, placeholder: "value", spellcheck: false, "aria-label": "Parameter value", "data-testid": "param-value" });
    const remove = el("button", { type: "button", className: "plain", "aria-label": "Remove this parameter", "data-testid": "param-remove" }, "×");
    const row = el("div", { className: "param-row", "data-testid": "param-row" }, name, text, remove);
    remove.addEventListener("click", () => {
      const next = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (next?.querySelector("input") ?? byId("param-add")).focus();
    });
    if (this.#rows.childElementCount < MAX_ROWS) this.#rows.append(row);
    return row;
  }
}
