// What the person can make the gateway do, with the steps that a fresh browser needs before.

import { call, RpcError } from "./rpc.js";
import { hasEnded, stateName } from "./run.js";

const BOOTSTRAP_WAIT_MS = 10_000;
const POLL_MS = 150;

/** The session has a run already; `activeRunId` may be empty where it is not known. */
export class Busy extends Error {
  constructor(activeRunId) {
    super("This session already has a run that has not ended.");
    this.activeRunId = activeRunId;
  }
}

/** Starts what `how` says and gives the run's id: `{repoUrl, userId}` or `{pipelineId, params}`. */
export async function start(how, ifBusy = "IF_BUSY_REJECT") {
  if (how.repoUrl !== undefined) return openRepository(how);
  const own = await ensureSession();
  if (own) await ended(own);
  const request = { pipelineId: how.pipelineId, params: how.params, ifBusy };
  try {
    return (await call("StartRun", request)).runId;
  } catch (cause) {
    throw await explained(cause);
  }
}

/** Answers a question of a run, or goes on after it. Gives the id of the run that handles the input. */
export async function answer(runId, input, question) {
  return (await call("SubmitRunInput", { runId, input, inputRequestId: question?.requestId })).runId;
}

/** The session as stored, or null when this browser has none. */
export async function session() {
  try {
    return (await call("GetSession", {})).session ?? null;
  } catch (cause) {
    if (cause instanceof RpcError && cause.isNoSession) return null;
    throw cause;
  }
}

async function openRepository({ repoUrl, userId }) {
  // The bootstrap run belongs to the repository named now: a run that is still under way for another one is in its way.
  const before = await session();
  if (before?.running && before.repoUrl !== repoUrl) throw new Busy(before.activeRunId ?? "");
  try {
    return (await call("InitRun", { repoUrl, userId })).bootstrapRunId;
  } catch (cause) {
    throw await explained(cause);
  }
}

/** Makes sure of a session. Gives the id of the greeting run that came with a new one, else an empty text. */
async function ensureSession() {
  if ((await session()) !== null) return "";
  return (await call("InitRun", {})).bootstrapRunId ?? "";
}

/** Waits until a run has ended, for a while: the greeting of a new session, or a run that was told to stop. */
export async function ended(runId) {
  const until = performance.now() + BOOTSTRAP_WAIT_MS;
  while (performance.now() < until) {
    const { run } = await call("GetRun", { runId });
    if (hasEnded(stateName(run?.state))) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The error as it is, or [`Busy`] when its cause is that the session has an active run. */
async function explained(cause) {
  if (!(cause instanceof RpcError) || !cause.isPrecondition) return cause;
  const now = await session().catch(() => null);
  return now?.running || now?.activeRunId ? new Busy(now.activeRunId ?? "") : cause;
}
