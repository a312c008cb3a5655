// The live log: one line per event that says something, the newest 2,000 of them.

import { byId, cut, el } from "./dom.js";
import { beginsAgain, completeWords, eventName, stateName, stateWords, time } from "./run.js";

// More lines make the page slow and nobody reads them here; the complete log is a link away.
const MAX_LINES = 2000;
const MAX_TEXT = 4000;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export class Log {
  #list = byId("log-list");
  #frame = byId("log-frame");
  #note = byId("log-note");
  #jump = byId("log-jump");
  #hidden = 0;
  #following = true;
  #nodeStates = new Map();

  constructor() {
    this.#frame.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#frame;
      this.#following = scrollTop + clientHeight > scrollHeight - 24;
      if (this.#following) this.#jump.hidden = true;
    });
    this.#jump.addEventListener("click", () => {
      this.#toEnd();
      this.#frame.focus({ preventScroll: true });
    });
  }

  clear(runId) {
    this.#list.replaceChildren();
    this.#nodeStates.clear();
    this.#hidden = 0;
    this.#following = true;
    this.#jump.hidden = true;
    this.#note.hidden = true;
    byId("log-full").href = `/v1/runs/${encodeURIComponent(runId)}/events?format=ndjson`;
  }

  /** Adds the lines of a batch in one go. Gives the texts that were added. */
  add(events) {
    const lines = events.map((event) => ({ event, ...this.#line(event) })).filter(({ text }) => text);
    if (lines.length === 0) return [];
    const kept = lines.slice(-MAX_LINES);
    this.#list.append(...kept.map(row));
    this.#hidden += lines.length - kept.length;
    while (this.#list.childElementCount > MAX_LINES) {
      this.#list.firstElementChild.remove();
      this.#hidden += 1;
    }
    this.#note.hidden = this.#hidden === 0;
    byId("log-hidden").textContent = `${this.#hidden.toLocaleString()} older lines are hidden.`;
    if (this.#following) this.#toEnd();
    else this.#jump.hidden = false;
    return lines.map(({ text }) => text);
  }

  #toEnd() {
    this.#following = true;
    this.#jump.hidden = true;
    this.#frame.scrollTop = this.#frame.scrollHeight;
  }

  /** What to write of an event, and in which colour; no text for those that are shown elsewhere. */
  #line(event) {
    const text = event.message ?? "";
    switch (eventName(event.eventType)) {
      case "LOG":
        if (event.closed) return { kind: "state", text };
        return { kind: "log", text: text || (event.clientView?.graph ? "The graph changed." : "") };
      case "PROGRESS":
        return { kind: "progress", text: `${event.progressPercent ?? 0} %${text && ` ${text}`}` };
      case "STATE":
        if (beginsAgain(event)) return { kind: "state", text: `Attempt ${event.state.attempt}: ${event.message}` };
        return { kind: "state", text: sentence(stateWords(stateName(event.state?.state))) };
      case "QUEUED":
        return { kind: "state", text: queued(event.queue ?? {}) };
      case "NODE":
        return this.#node(event.node ?? {});
      case "INPUT_REQUIRED":
        return { kind: "ask", text: event.inputRequired?.prompt || text || "The run asks for input." };
      case "TOOL_REQUEST":
        return { kind: "ask", text: `The run asks for the tool ${event.toolRequest?.toolName ?? ""}.` };
      case "APPROVAL_REQUIRED":
        return { kind: "ask", text: `The run asks for approval: ${event.approvalRequired?.summary || event.approvalRequired?.toolName || ""}` };
      case "COMPLETE":
        return { kind: "good", text: completeWords(text) };
      case "ERROR":
        return { kind: "bad", text: [event.error?.code, event.error?.message || text].filter(Boolean).join(": ") };
      case "CANCELLED":
        return { kind: "state", text: text || "Cancelled" };
      default:
        return { kind: "log", text: "" };
    }
  }

  /** A worker's state when it changes; its progress is in the list of workers. */
  #node({ workerKey, state, error }) {
    if (this.#nodeStates.get(workerKey) === state) return { kind: "node", text: "" };
    this.#nodeStates.set(workerKey, state);
    return { kind: state === "failed" ? "bad" : "node", text: `${workerKey}: ${state}${error ? ` (${error})` : ""}` };
  }
}

function row({ event, kind, text }) {
  const moment = time(event.time);
  const stamp = el("time", {}, moment ? CLOCK.format(moment) : "");
  if (moment) stamp.dateTime = moment.toISOString();
  return el("li", { className: "line", "data-sequence": event.sequence, "data-kind": kind }, stamp, el("span", {}, cut(text, MAX_TEXT)));
}

function queued({ position, ahead, reason }) {
  const place = position ? ` at place ${position}${ahead ? `, ${ahead} ahead` : ""}` : "";
  return `Queued${place}${reason ? `: ${reason}` : ""}`;
}

function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
