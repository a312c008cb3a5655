// The ways to start: the demo run, a repository, any worker with parameters.

import { byId, el } from "./dom.js";
import { Params } from "./params.js";
import { call, RpcError } from "./rpc.js";

// What a worker is usually given, so that the first try needs no reading.
const PRESETS = { plan_pipeline: { user_input: "" }, init_purpose: { user_input: "" } };
const REPO = "rungate.repo";

export class Start {
  #select = byId("worker-select");
  #params = new Params();
  #workers = [];
  #busy = false;

  /** `start(how)` starts a run: `{repoUrl, userId}` or `{pipelineId, params}`. It throws nothing. */
  constructor(start) {
    const guarded = async (form, how) => {
      if (this.#busy) return;
      this.#busy = true;
      form.setAttribute("aria-busy", "true");
      await start(how);
      form.removeAttribute("aria-busy");
      this.#busy = false;
    };
    onSubmit("demo-form", (form) => guarded(form, { pipelineId: "test_pipeline", params: {} }));
    onSubmit("repo-form", (form) => {
      const repoUrl = byId("repo-input").value.trim();
      if (repoUrl === "") return byId("repo-input").focus();
      remember(repoUrl);
      return guarded(form, { repoUrl, userId: byId("user-input").value.trim() });
    });
    onSubmit("worker-form", (form) => guarded(form, { pipelineId: this.#select.value, params: this.#params.get() }));
    this.#select.addEventListener("change", () => this.#chosen());
    byId("repo-input").value = remembered();
    this.#offer([{ key: "test_pipeline" }, { key: "plan_pipeline" }, { key: "worker_DAG" }]);
  }

  /** Reads which workers there are. Without an answer those that are always there stay on offer. */
  async loadWorkers() {
    try {
      const { workers } = await call("ListWorkers", {});
      if (workers?.length > 0) this.#offer(workers);
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
    }
  }

  /** True when a worker of this key can be started. */
  offers(key) {
    return this.#workers.some((worker) => worker.key === key);
  }

  /** Fills the form for any worker, such as to start one again with other parameters. */
  prefill(pipelineId, params) {
    if (![...this.#select.options].some((option) => option.value === pipelineId)) {
      this.#select.append(el("option", { value: pipelineId }, pipelineId));
    }
    this.#select.value = pipelineId;
    this.#chosen();
    this.#params.set(params);
  }

  #offer(workers) {
    const before = this.#select.value;
    this.#workers = workers;
    this.#select.replaceChildren(...workers.map((worker) => el("option", { value: worker.key }, worker.key)));
    const keep = workers.some((worker) => worker.key === before);
    if (keep) this.#select.value = before;
    this.#chosen(keep);
  }

  #chosen(keepParams = false) {
    const worker = this.#workers.find((it) => it.key === this.#select.value);
    const requires = worker?.requires?.length > 0 ? `Runs first: ${worker.requires.join(", ")}.` : "";
    byId("worker-text").textContent = [worker?.description, requires].filter(Boolean).join(" ");
    if (!keepParams) this.#params.set(PRESETS[this.#select.value] ?? {});
  }
}

function onSubmit(id, act) {
  const form = byId(id);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(form);
  });
}

function remember(repoUrl) {
  try {
    localStorage.setItem(REPO, repoUrl);
  } catch {
    // Without storage the field is empty the next time.
  }
}

function remembered() {
  try {
    return localStorage.getItem(REPO) ?? "";
  } catch {
    return "";
  }
}
