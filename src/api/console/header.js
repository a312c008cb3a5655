// The head of a run: its name, state, progress, times, its error and its result.

import { byId, cut } from "./dom.js";
import { hasEnded, stateWords } from "./run.js";

const MAX_OUTPUT = 50_000;
const TICK_MS = 1000;

export class Header {
  #run = null;
  #state = "";
  #announced = 0;
  #announcer;

  constructor(announcer) {
    this.#announcer = announcer;
    setInterval(() => this.#run && this.#elapsed(), TICK_MS);
    byId("run-copy").addEventListener("click", async (event) => {
      const button = event.currentTarget;
      await navigator.clipboard?.writeText(this.#run?.runId ?? "").then(() => (button.textContent = "Copied"));
      setTimeout(() => (button.textContent = "Copy id"), 1500);
    });
  }

  /** Shows the run as it stands now. */
  show(run) {
    const other = this.#run !== run;
    this.#run = run;
    const ended = hasEnded(run.state) || run.gone;
    byId("run-title").textContent = run.pipelineId || "Run";
    byId("run-id").textContent = run.runId;
    const badge = byId("run-state");
    badge.textContent = run.gone && !hasEnded(run.state) ? "not available" : stateWords(run.state);
    badge.dataset.state = run.gone && !hasEnded(run.state) ? "" : run.state;
    byId("run-progress").value = run.progress;
    byId("run-progress").dataset.state = run.state;
    byId("run-percent").textContent = `${run.progress} %`;
    byId("run-message").textContent = run.queue ? queueText(run.queue) : cut(messageOf(run), 200);
    byId("cancel").hidden = ended || run.state === "";
    byId("cancel").textContent = run.state === "CANCELLING" ? "Cancelling…" : "Cancel run";
    byId("cancel").setAttribute("aria-disabled", String(run.state === "CANCELLING"));
    byId("again").hidden = !ended || run.state === "FAILED" || !run.pipelineId;
    document.title = `${ended ? badge.textContent : `${run.progress} %`} · ${run.pipelineId || "run"} · rungate`;
    this.#elapsed();
    this.#error(run);
    this.#result(run);
    this.#announce(run, other);
  }

  #elapsed() {
    const { createdAt, finishedAt, state, gone } = this.#run;
    const open = !hasEnded(state) && !gone;
    const known = createdAt && (open || finishedAt);
    byId("run-elapsed").textContent = known ? duration((finishedAt ?? new Date()) - createdAt, !open) : "";
  }

  #error(run) {
    byId("error-box").hidden = !run.error;
    if (!run.error) return;
    byId("error-code").textContent = run.error.code ?? "error";
    byId("error-message").textContent = run.error.message ?? "";
    byId("error-hint").textContent = run.error.retryable
      ? "This may pass: starting again can help."
      : "Starting again will likely end the same way until the cause is mended.";
  }

  #result(run) {
    const empty = run.output === null || run.output === undefined;
    byId("result-panel").hidden = empty && !run.usage;
    byId("result-text").hidden = empty;
    if (!empty) {
      const text = typeof run.output === "string" ? run.output : JSON.stringify(run.output, null, 2);
      if (byId("result-text").textContent !== text) byId("result-text").textContent = cut(text, MAX_OUTPUT);
    }
    const { inputTokens = 0, outputTokens = 0 } = run.usage ?? {};
    byId("result-usage").textContent = run.usage ? `Language model: ${inputTokens} tokens read, ${outputTokens} written.` : "";
  }

  /** A change of state, and each further quarter of the way. */
  #announce(run, other) {
    const quarter = Math.floor(run.progress / 25);
    if (run.state && run.state !== this.#state) this.#announcer.say(`Run ${stateWords(run.state)}`);
    else if (!other && quarter > this.#announced && !hasEnded(run.state)) this.#announcer.say(`${run.progress} percent`);
    this.#state = run.state;
    this.#announced = quarter;
  }
}

function messageOf(run) {
  return run.error ? "" : run.message;
}

function queueText({ position, ahead, reason }) {
  const place = position ? `Place ${position} in the queue${ahead ? `, ${ahead} ahead` : ""}.` : "Waiting in the queue.";
  return reason ? `${place} ${reason}` : place;
}

function duration(milliseconds, exact) {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 60) return exact ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
