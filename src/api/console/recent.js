// The runs of this session, newest first.

import { byId, el } from "./dom.js";
import { call, RpcError } from "./rpc.js";
import { hasEnded, stateName, stateWords, time } from "./run.js";

const PAGE = 20;
const REFRESH_MS = 10_000;

export class Recent {
  #list = byId("recent-list");
  #panel = byId("recent-panel");
  #more = byId("recent-more");
  #runs = [];
  #next = "";
  #watched = "";
  #loading = null;

  constructor() {
    byId("recent-refresh").addEventListener("click", () => this.load());
    this.#more.addEventListener("click", () => this.#loadMore());
    setInterval(() => {
      const open = this.#runs.some((run) => !hasEnded(stateName(run.state)));
      if (open && !document.hidden) this.load();
    }, REFRESH_MS);
  }

  /** The newest run of the session, as far as is known. */
  get latestRunId() {
    return this.#runs[0]?.runId ?? "";
  }

  /** The run of the session that has not ended, if there is one. */
  get activeRunId() {
    return this.#runs.find((run) => !hasEnded(stateName(run.state)))?.runId ?? "";
  }

  /** Reads the first page anew. Two calls at a time become one. */
  load() {
    this.#loading ??= this.#load().finally(() => (this.#loading = null));
    return this.#loading;
  }

  /** Marks the run that is watched. */
  watching(runId) {
    this.#watched = runId;
    this.#draw();
  }

  /** Takes the state of a run that the page watches, so that the list does not lag behind. */
  update(runId, state) {
    const run = this.#runs.find((it) => it.runId === runId);
    if (!run || stateName(run.state) === state || !state) return;
    run.state = state;
    this.#draw();
  }

  async #load() {
    try {
      const answer = await call("ListRuns", { pageSize: PAGE });
      this.#runs = answer.runs ?? [];
      this.#next = answer.nextPageToken ?? "";
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
      // A browser without a session has no runs; when the gateway is away the last list is still the best there is.
      if (cause.isNoSession) this.#runs = [];
    }
    this.#draw();
  }

  async #loadMore() {
    try {
      const answer = await call("ListRuns", { pageSize: PAGE, pageToken: this.#next });
      const known = new Set(this.#runs.map((run) => run.runId));
      this.#runs.push(...(answer.runs ?? []).filter((run) => !known.has(run.runId)));
      this.#next = answer.nextPageToken ?? "";
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
      this.#next = "";
    }
    this.#draw();
  }

  #draw() {
    const focused = document.activeElement?.closest?.("#recent-list a")?.hash;
    this.#panel.hidden = this.#runs.length === 0;
    this.#more.hidden = !this.#next;
    this.#list.replaceChildren(...this.#runs.map((run) => this.#row(run)));
    const again = [...this.#list.querySelectorAll("a")].find((link) => focused && link.hash === focused);
    again?.focus({ preventScroll: true });
  }

  #row(run) {
    const state = stateName(run.state);
    const began = time(run.createdAt);
    const link = el(
      "a",
      { href: `#run=${run.runId}`, "data-run": run.runId, "data-testid": "recent-run" },
      el("span", { className: "recent-name" }, run.pipelineId || "run"),
      el("span", { className: "badge", "data-state": state }, stateWords(state)),
      began ? el("time", { dateTime: began.toISOString(), title: began.toLocaleString() }, shortTime(began)) : null,
    );
    if (run.runId === this.#watched) link.setAttribute("aria-current", "true");
    return el("li", {}, link);
  }
}

function shortTime(moment) {
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }) : moment.toLocaleDateString();
}
