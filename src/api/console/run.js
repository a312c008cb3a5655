// What a run's events add up to. Pure: no page, no network.

/** Run states as a person reads them. */
const STATE_WORDS = {
  QUEUED: "queued",
  RUNNING: "running",
  WAITING_INPUT: "waiting for you",
  WAITING_TOOL: "waiting for a tool",
  WAITING_APPROVAL: "waiting for approval",
  CANCELLING: "cancelling",
  SUCCEEDED: "succeeded",
  FAILED: "failed",
  CANCELLED: "cancelled",
};

const ENDED = new Set(["SUCCEEDED", "FAILED", "CANCELLED"]);
const PREFIX = { state: "RUN_STATE_", event: "EVENT_TYPE_" };

/** `RUN_STATE_RUNNING` becomes `RUNNING`. */
export const stateName = (state) => (state ?? "").replace(PREFIX.state, "");

/** `EVENT_TYPE_LOG` becomes `LOG`. */
export const eventName = (type) => (type ?? "").replace(PREFIX.event, "");

/** The words for a state's name. */
export const stateWords = (name) => STATE_WORDS[name] ?? "starting";

/** What the message of a COMPLETE event means to a person: two of them are words of the protocol. */
export function completeWords(message) {
  if (message === "INPUT_REQUIRED") return "The run asks for your input to go on.";
  return message === "" || message === "COMPLETE" ? "Done" : message;
}

/** True for the states that a run never leaves. */
export const hasEnded = (name) => ENDED.has(name);

/** A run of which nothing is known yet. */
export function newRun(runId) {
  return {
    runId,
    pipelineId: "",
    state: "",
    progress: 0,
    message: "",
    createdAt: null,
    finishedAt: null,
    queue: null,
    nodes: new Map(),
    questions: [],
    tools: [],
    approvals: [],
    error: null,
    output: null,
    usage: null,
    /** The run ended by asking: an input starts the run that continues it. */
    asksToContinue: false,
    /** The gateway does not keep it (any more), so nothing further will be heard of it. */
    gone: false,
  };
}

/** Takes what GetRun tells. Events know better once there are any. */
export function describe(run, stored) {
  run.pipelineId = stored.pipelineId ?? "";
  run.createdAt = time(stored.createdAt) ?? run.createdAt;
  run.finishedAt ??= time(stored.finishedAt);
  run.state ||= stateName(stored.state);
  if (stored.error && run.state === "FAILED") run.error ??= stored.error;
}

/** Takes one event. */
export function apply(run, event) {
  run.progress = Math.max(run.progress, event.progressPercent ?? 0);
  run.createdAt ??= time(event.time);
  const kind = eventName(event.eventType);
  const take = {
    STATE: () => {
      if (beginsAgain(event)) {
        run.nodes.clear();
        clearRequests(run);
      }
      enter(run, stateName(event.state?.state));
    },
    QUEUED: () => (run.queue = event.queue ?? {}),
    NODE: () => event.node && run.nodes.set(event.node.workerKey, event.node),
    INPUT_REQUIRED: () => run.questions.push(event.inputRequired ?? {}),
    TOOL_REQUEST: () => run.tools.push(event.toolRequest ?? {}),
    APPROVAL_REQUIRED: () => run.approvals.push(event.approvalRequired ?? {}),
    COMPLETE: () => {
      run.progress = 100;
      run.output = event.result?.output ?? null;
      run.usage = event.result?.usage ?? null;
      run.asksToContinue = event.message === "INPUT_REQUIRED";
      end(run, event, "SUCCEEDED");
    },
    ERROR: () => {
      run.error = event.error ?? { code: "internal_error", message: event.message, retryable: false };
      end(run, event, "FAILED");
    },
    CANCELLED: () => end(run, event, "CANCELLED"),
  }[kind];
  take?.();
  if (event.closed) close(run, event.closed);
  if (event.message && (kind === "LOG" || kind === "PROGRESS")) run.message = event.message;
}

/** True for the event that begins a run again from the start, after the gateway had ended under it. */
export const beginsAgain = ({ state }) => state?.attempt > 1 && stateName(state.state) === "QUEUED";

/** A moment of the protocol as a date, or null. */
export function time(text) {
  const moment = new Date(text ?? NaN);
  return Number.isNaN(moment.getTime()) ? null : moment;
}

function enter(run, state) {
  run.state = state;
  if (state !== "QUEUED") run.queue = null;
  // Back at work: whatever was asked is answered. Needed when an old log is read again.
  if (state === "RUNNING" || state === "CANCELLING") clearRequests(run);
}

/** What was asked is answered, here or by another client, or is not waited for any more. */
function close(run, { kind, requestId }) {
  run.questions = run.questions.filter((it) => kind !== "REQUEST_KIND_INPUT" || it.requestId !== requestId);
  run.tools = run.tools.filter((it) => kind !== "REQUEST_KIND_TOOL" || it.toolCallId !== requestId);
  run.approvals = run.approvals.filter((it) => kind !== "REQUEST_KIND_APPROVAL" || it.approvalId !== requestId);
}

function end(run, event, state) {
  run.finishedAt = time(event.time);
  run.message = state === "SUCCEEDED" ? completeWords(event.message ?? "") : (event.message ?? "");
  enter(run, state);
  clearRequests(run);
}

function clearRequests(run) {
  run.questions = [];
  run.tools = [];
  run.approvals = [];
}
