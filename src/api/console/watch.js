// Watching one run until its end, through any number of cuts: nothing lost, nothing twice.

import { serverSentEvents } from "./sse.js";

// The server says something at least every 15 s; after twice that and some the connection counts as cut.
const SILENCE_MS = 40_000;
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;

/** A refusal that no further try would change. */
class Refused extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

/**
 * Follows `GET /v1/runs/{id}/events`.
 *
 * `onEvents(events)` gets the new events, in order, each once. `onStatus(status)` gets one of
 * `{kind: "connecting"}`, `{kind: "live"}`, `{kind: "waiting", seconds, reachable}`, `{kind: "ended"}`,
 * `{kind: "gone", message}`; "waiting" is told anew each second.
 */
export class Watch {
  #runId;
  #onEvents;
  #onStatus;
  #cursor = "";
  #sequence = 0;
  #failures = 0;
  #gapAt = 0;
  #stopped = new AbortController();
  #hurry = null;

  constructor(runId, { onEvents, onStatus }) {
    this.#runId = runId;
    this.#onEvents = onEvents;
    this.#onStatus = onStatus;
    const signal = this.#stopped.signal;
    window.addEventListener("online", () => this.retryNow(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.retryNow(), { signal });
    this.#follow();
  }

  /** Ends the watch; the run goes on. */
  stop() {
    this.#stopped.abort();
  }

  /** Cuts a pause between two tries short. */
  retryNow() {
    this.#hurry?.();
  }

  async #follow() {
    while (!this.#stopped.signal.aborted) {
      let reachable = true;
      try {
        this.#tell({ kind: "connecting" });
        if (await this.#readOnce()) return this.#tell({ kind: "ended" });
      } catch (cause) {
        if (this.#stopped.signal.aborted) return;
        if (cause instanceof Refused) return this.#tell({ kind: cause.reason, message: cause.message });
        reachable = cause.answered === true;
      }
      await this.#pause(reachable);
    }
  }

  /** Reads one response to its end. True when the run ended, false when only the connection did. */
  async #readOnce() {
    const connection = new AbortController();
    const abort = () => connection.abort();
    this.#stopped.signal.addEventListener("abort", abort);
    let silence = setTimeout(abort, SILENCE_MS);
    let answered = false;
    try {
      const response = await fetch(`/v1/runs/${encodeURIComponent(this.#runId)}/events`, {
        headers: { accept: "text/event-stream", ...(this.#cursor && { "last-event-id": this.#cursor }) },
        credentials: "same-origin",
        cache: "no-store",
        signal: connection.signal,
      });
      answered = true;
      if (response.status === 204) return true;
      if (!response.ok) return await this.#refused(response);
      this.#tell({ kind: "live" });
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(abort, SILENCE_MS);
      };
      for await (const batch of serverSentEvents(response, heard)) {
        if (this.#stopped.signal.aborted) return false;
        if (this.#take(batch)) return true;
      }
      return false;
    } catch (cause) {
      if (answered && !(cause instanceof Refused)) cause.answered = true;
      throw cause;
    } finally {
      clearTimeout(silence);
      this.#stopped.signal.removeEventListener("abort", abort);
      connection.abort();
    }
  }

  /** Hands the new events of a batch on. True when the server said that there will be no more. */
  #take(batch) {
    const fresh = [];
    let closed = false;
    let gap = false;
    for (const { id, type, data } of batch) {
      if (type === "close") closed = true;
      if (type !== "message") continue;
      const event = JSON.parse(data);
      const sequence = Number(event.sequence ?? 0);
      if (sequence !== 0 && sequence <= this.#sequence) continue;
      if (sequence > this.#sequence + 1 && this.#gapAt !== sequence) {
        this.#gapAt = sequence;
        gap = true;
        break;
      }
      if (sequence !== 0) this.#sequence = sequence;
      this.#cursor = id || event.cursor || this.#cursor;
      this.#failures = 0;
      fresh.push(event);
    }
    if (fresh.length > 0) this.#handOver(fresh);
    // Something between was not delivered: ask again from the last event that was. At the second time it is not there.
    if (gap) throw Object.assign(new Error("the stream skipped an event"), { answered: true });
    return closed;
  }

  /** A fault while showing events is the page's own; it must not look like a cut. */
  #handOver(events) {
    try {
      this.#onEvents(events);
    } catch (fault) {
      reportError(fault);
    }
  }

  async #refused(response) {
    const told = await response.json().catch(() => ({}));
    const { status } = response;
    if (status === 404) {
      throw new Refused("gone", "The gateway does not keep this run: runs that have ended are kept for a limited time, and not all outlast a restart.");
    }
    if (status === 401 || status === 403) throw new Refused("gone", told.message || "This run belongs to another session.");
    if (status === 400 && this.#cursor) {
      // The cursor is not one of this log any more. From the start then; what was seen is not shown twice.
      this.#cursor = "";
    } else if (status >= 400 && status < 500 && status !== 429 && status !== 408) {
      throw new Refused("gone", told.message || `The gateway refused with status ${status}.`);
    }
    throw Object.assign(new Error(`status ${status}`), { answered: true });
  }

  /** Waits before the next try: doubling, with jitter, so that many pages do not come back at the same moment. */
  async #pause(reachable) {
    const longest = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    const until = performance.now() + longest * (0.5 + Math.random() / 2);
    let hurried = false;
    while (!hurried && !this.#stopped.signal.aborted) {
      const left = until - performance.now();
      if (left <= 0) break;
      this.#tell({ kind: "waiting", seconds: Math.ceil(left / 1000), reachable });
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.min(1000, left));
        this.#hurry = () => {
          hurried = true;
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#hurry = null;
  }

  #tell(status) {
    if (!this.#stopped.signal.aborted) this.#onStatus(status);
  }
}
