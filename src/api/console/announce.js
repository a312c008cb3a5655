// What a screen reader is told: changes at once, log lines only now and then.

import { byId } from "./dom.js";

const LOG_EVERY_MS = 6_000;

export class Announcer {
  #region = byId("announcer");
  #waiting = 0;
  #newest = "";
  #timer = null;

  /** Something the person should know now: a state, a question, an end. */
  say(text) {
    this.#region.textContent = text;
  }

  /** A log line. Of many that come quickly only the newest is read, with the number of the others. */
  line(text) {
    this.#waiting += 1;
    this.#newest = text;
    this.#timer ??= setTimeout(() => {
      const others = this.#waiting - 1;
      this.say(others > 0 ? `${this.#newest} (and ${others} lines before)` : this.#newest);
      this.#waiting = 0;
      this.#timer = null;
    }, LOG_EVERY_MS);
  }

  /** Forgets lines that were not read yet. */
  hush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting = 0;
  }
}
