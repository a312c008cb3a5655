// Messages about what the person just did: a call that failed, a session that is busy.

import { byId } from "./dom.js";

export class Notice {
  #box = byId("notice");
  #busy = byId("busy-panel");
  #act = {};

  constructor() {
    byId("notice-close").addEventListener("click", () => this.clear());
    for (const name of ["watch", "cancel", "queue"]) byId(`busy-${name}`).addEventListener("click", () => this.#choose(name));
  }

  clear() {
    this.#box.hidden = true;
    this.#busy.hidden = true;
  }

  /** Shows why something did not work. */
  error(message) {
    this.clear();
    byId("notice-text").textContent = message;
    this.#box.hidden = false;
    this.#box.scrollIntoView({ block: "nearest" });
  }

  /** Says that a run is under way, and offers `{watch, cancel, queue}`: what to do instead. */
  busy(act) {
    this.clear();
    this.#act = act;
    byId("busy-watch").hidden = !act.watch;
    byId("busy-queue").hidden = !act.queue;
    this.#busy.hidden = false;
    byId(act.watch ? "busy-watch" : "busy-cancel").focus();
  }

  #choose(name) {
    this.clear();
    this.#act[name]?.();
  }
}
