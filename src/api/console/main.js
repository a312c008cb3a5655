// The console: starts runs, watches one at a time, and lets the person answer. The run that is watched stands in the
// address (`#run=…`), so a reload or a bookmark shows the same one.

import * as actions from "./actions.js";
import { Announcer } from "./announce.js";
import { Ask } from "./ask.js";
import { byId, focusOn } from "./dom.js";
import { Graph } from "./graph.js";
import { Header } from "./header.js";
import { listenForKeys } from "./keys.js";
import { Log } from "./log.js";
import { rememberStart, startOf } from "./memory.js";
import { Notice } from "./notice.js";
import { Recent } from "./recent.js";
import { Requests } from "./requests.js";
import { call } from "./rpc.js";
import { apply, describe, hasEnded, newRun } from "./run.js";
import { Start } from "./start.js";
import { Status } from "./status.js";
import { Talk } from "./talk.js";
import { Watch } from "./watch.js";
import { Workers } from "./workers.js";

const announcer = new Announcer();
const notice = new Notice();
const header = new Header(announcer);
const log = new Log();
const graph = new Graph();
const talk = new Talk();
const workers = new Workers();
const recent = new Recent();
const status = new Status(announcer, () => watch?.retryNow());
const ask = new Ask(announcer, sendAnswer);
const requests = new Requests(announcer, sendReply);
const startPanel = new Start((how) => start(how));

// The worker that executes what a conversation has planned, and what the person says by starting it.
const PLAN = "session_plan";
const RUN_PLAN = "Run the plan.";
// Who somebody is that has not said a name.
const NOBODY = "demo-user";

let run = null;
let watch = null;

/** Watches a run from its first event and shows it. */
function show(runId) {
  if (run?.runId === runId) return;
  watch?.stop();
  announcer.hush();
  const shown = newRun(runId);
  run = shown;
  document.body.dataset.view = "run";
  openStart(false);
  // On a small screen the link that was followed is folded away now.
  if (document.activeElement?.getClientRects().length === 0) focusOn(byId("run-title"));
  for (const part of [graph, workers, requests]) part.clear();
  log.clear(runId);
  byId("run").classList.remove("gone");
  talk.open(runId);
  recent.watching(runId);
  refresh();
  watch = new Watch(runId, { onEvents: take, onStatus });
  call("GetRun", { runId })
    .then((answer) => {
      if (run !== shown) return;
      describe(shown, answer.run ?? {});
      refresh();
    })
    // The watch tells what is wrong, and goes on trying.
    .catch(() => {});
}

/** Takes the new events of the run that is watched. */
function take(events) {
  let view = null;
  for (const event of events) {
    apply(run, event);
    talk.take(event);
    if (event.node) workers.show(event.node);
    if (event.clientView?.graph) view = event.clientView;
  }
  // Of several graphs that came together only the newest is drawn.
  if (view) graph.show(view.graph, view.phase);
  for (const event of events) if (event.node) graph.mark(event.node.workerKey, event.node.state);
  for (const text of log.add(events)) if (!hasEnded(run.state)) announcer.line(text);
  if (hasEnded(run.state)) announcer.hush();
  refresh();
}

function refresh() {
  header.show(run);
  const latest = recent.latestRunId;
  ask.show(run, latest === "" || latest === run.runId || !hasEnded(run.state));
  requests.show(run);
  const planned = run.state === "SUCCEEDED" && run.pipelineId === "plan_pipeline" && !run.asksToContinue;
  byId("run-plan").hidden = !planned || !startPanel.offers(PLAN);
  recent.update(run.runId, run.state);
}

function onStatus(told) {
  status.show(told);
  byId("gone-box").hidden = told.kind !== "gone";
  byId("gone-text").textContent = told.message ?? "";
  if (told.kind === "ended" || told.kind === "gone") {
    run.gone = told.kind === "gone";
    byId("run").classList.toggle("gone", run.gone);
    refresh();
    // A run may have changed the session, and with it what can be started.
    Promise.all([recent.load(), startPanel.loadWorkers()]).then(refreshIfAny);
    showSession();
  }
}

/** Starts a run and watches it. */
async function start(how, ifBusy) {
  notice.clear();
  try {
    const runId = await actions.start(how, ifBusy);
    if (how.said && run) talk.continued(how.said, run.runId, runId);
    rememberStart(runId, how);
    go(runId);
  } catch (cause) {
    if (cause instanceof actions.Busy) offerInstead(cause.activeRunId, how);
    else notice.error(cause.message);
  }
  showSession();
}

function offerInstead(activeRunId, how) {
  const active = activeRunId || recent.activeRunId;
  const isWorker = how.pipelineId !== undefined;
  notice.busy({
    watch: active && active !== run?.runId ? () => go(active) : null,
    cancel: async () => {
      if (isWorker) return start(how, "IF_BUSY_INTERRUPT");
      if (active && (await sendReply("CancelRun", { runId: active, reason: "another repository is opened" }))) {
        await actions.ended(active);
        await start(how);
      }
      return undefined;
    },
    queue: isWorker ? () => start(how, "IF_BUSY_ENQUEUE") : null,
  });
}

/** Puts the run into the address and watches it. */
function go(runId) {
  location.hash = `run=${runId}`;
  show(runId);
  recent.load().then(refreshIfAny);
  focusOn(byId("run-title"));
}

async function sendAnswer(text) {
  notice.clear();
  const answered = run;
  const [question] = answered.questions;
  // The next question may arrive before the reply does, so the answer is written down first.
  const takeBack = hasEnded(answered.state) ? null : talk.answered(text);
  try {
    const next = await actions.answer(answered.runId, text, question);
    if (next === answered.runId) {
      answered.questions = answered.questions.filter((it) => it !== question);
      if (run === answered) refresh();
    } else {
      takeBack?.();
      talk.continued(text, answered.runId, next);
      rememberStart(next, { pipelineId: "plan_pipeline", params: { user_input: text } });
      go(next);
    }
    return true;
  } catch (cause) {
    takeBack?.();
    notice.error(cause.message);
    return false;
  }
}

/** Calls a method for its effect alone. True when the gateway took it. */
async function sendReply(method, request) {
  notice.clear();
  try {
    await call(method, request);
    return true;
  } catch (cause) {
    notice.error(cause.message);
    return false;
  }
}

function cancel() {
  if (run.state === "CANCELLING") return;
  sendReply("CancelRun", { runId: run.runId, reason: "cancelled in the console" });
}

function again() {
  start(startOf(run.runId) ?? { pipelineId: run.pipelineId, params: {} });
}

function refreshIfAny() {
  if (run) refresh();
}

async function showSession() {
  const session = await actions.session().catch(() => undefined);
  if (session === undefined) return;
  const parts = session ? [session.repo || session.repoUrl, session.purpose, session.userId === NOBODY ? "" : session.userId] : [];
  byId("session-line").textContent = parts.filter(Boolean).join(" · ");
}

/** Where the start panel is folded away (a small screen that shows a run), opens or closes it. */
function openStart(open) {
  document.body.classList.toggle("start-open", open);
  byId("start-toggle").setAttribute("aria-expanded", String(open));
}

function route() {
  const runId = new URLSearchParams(location.hash.slice(1)).get("run");
  if (runId) return show(runId);
  watch?.stop();
  [run, watch] = [null, null];
  document.body.dataset.view = "start";
  document.title = "rungate";
  recent.watching("");
  return status.show({ kind: "idle" });
}

byId("cancel").addEventListener("click", cancel);
for (const id of ["again", "error-again"]) byId(id).addEventListener("click", again);
byId("run-plan").addEventListener("click", () => start({ pipelineId: PLAN, params: {}, said: RUN_PLAN }));
byId("start-toggle").addEventListener("click", () => openStart(!document.body.classList.contains("start-open")));
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  focusOn(byId(run ? "run-title" : "repo-input"));
});
window.addEventListener("hashchange", route);
listenForKeys({ openStart: () => openStart(true) });
route();
Promise.all([recent.load(), startPanel.loadWorkers()]).then(refreshIfAny);
showSession();
