// The state of the connection in a few words: a cut is not an end.

import { byId } from "./dom.js";

const WORDS = {
  idle: "Not watching",
  connecting: "Connecting…",
  live: "Live",
  ended: "Ended",
  gone: "Not available",
};

export class Status {
  #pill = byId("connection-status");
  #retry = byId("retry-now");
  #announcer;
  #said = "";

  constructor(announcer, onRetry) {
    this.#announcer = announcer;
    this.#retry.addEventListener("click", onRetry);
  }

  /** Shows a status of a [`Watch`], or `{kind: "idle"}`. */
  show(status) {
    const kind = status.kind === "waiting" ? (status.reachable ? "reconnecting" : "unreachable") : status.kind;
    // Between two tries the words would flicker: a try after a cut keeps them until it succeeds.
    if (kind === "connecting" && ["reconnecting", "unreachable"].includes(this.#pill.dataset.status)) return;
    this.#pill.dataset.status = kind;
    this.#pill.textContent =
      kind === "reconnecting"
        ? `Reconnecting in ${status.seconds} s`
        : kind === "unreachable"
          ? `Gateway unreachable, next try in ${status.seconds} s`
          : WORDS[kind];
    this.#retry.hidden = status.kind !== "waiting";
    const spoken = { reconnecting: "Connection cut, reconnecting", unreachable: "Gateway unreachable", live: "Connected" }[kind];
    if (spoken && this.#said && spoken !== this.#said) this.#announcer.say(spoken);
    this.#said = spoken ?? "";
  }
}
