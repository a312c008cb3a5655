// Unary calls to the gateway: Connect JSON over fetch.

const SERVICE = "/rungate.v1.PipelineService/";
const TIMEOUT_MS = 30_000;

/** What went wrong with a call. `code` is a Connect code; `unreachable` when no gateway answered at all. */
export class RpcError extends Error {
  constructor(code, message, details = []) {
    super(message);
    this.name = "RpcError";
    this.code = code;
    this.details = details;
  }

  /** The session already has a run that is not finished, or the run is not in the state that the call needs. */
  get isPrecondition() {
    return this.code === "failed_precondition";
  }

  /** The gateway does not know this browser's session, or it has none. */
  get isNoSession() {
    return ["not_found", "invalid_argument", "unauthenticated"].includes(this.code);
  }
}

/** Calls one method and gives its answer, or throws an [`RpcError`]. */
export async function call(method, request = {}) {
  let response;
  let text;
  try {
    response = await fetch(SERVICE + method, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "connect-protocol-version": "1",
        "connect-timeout-ms": String(TIMEOUT_MS),
      },
      body: JSON.stringify(request),
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS + 5_000),
    });
    text = await response.text();
  } catch (cause) {
    const late = cause.name === "TimeoutError";
    throw new RpcError(
      late ? "deadline_exceeded" : "unreachable",
      late ? "The gateway did not answer in time." : "The gateway cannot be reached. Is it running?",
    );
  }
  const body = parse(text);
  if (!response.ok) {
    const code = body?.code ?? `http_${response.status}`;
    throw new RpcError(code, body?.message || `The gateway answered with status ${response.status}.`, body?.details);
  }
  if (body === null) throw new RpcError("internal", "The answer of the gateway could not be read.");
  return body;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
