// Drives an agent over a WebSocket, as a program in Node does, with the package `ws`.
//
//   node agent_ws.mjs URL AGENT WISH [APPROVE]     URL: http://HOST:PORT; APPROVE: `approve` (default) or `reject`
//
// Says hello, starts AGENT with WISH, gives it the tools that examples/agent calls, and decides what it asks. Writes every
// message of the gateway as a line of JSON, in the order in which they come. Exit code 0 when the run is done.

import WebSocket from "ws";

const [url, agent, wish, decision = "approve"] = process.argv.slice(2);
if (!wish) {
  console.error("usage: node agent_ws.mjs URL AGENT WISH [approve|reject]");
  process.exit(2);
}

/** What the agent may call. */
const tools = {
  read_clipboard: ({ format }) => {
    if (format !== "text") throw new Error(`the clipboard holds no ${format}`);
    return "a clipboard of a few grüße";
  },
  keep_note: ({ text }) => ({ kept: text.length }),
};

/** How many messages have been sent; each has an id that its `ack` repeats. */
let sent = 0;
/** Messages that are neither acknowledged nor refused yet. */
const unanswered = new Map();

const socket = new WebSocket(`${url.replace(/^http/, "ws")}/ws`);

function send(message) {
  const request_id = `request-${++sent}`;
  unanswered.set(request_id, message.type);
  socket.send(JSON.stringify({ ...message, request_id, ts: Date.now() }));
}

/** Does what a tool call asks; what the tool throws is why it has no result. */
function call({ run_id, tool_call_id, tool_name, args }) {
  const result = { type: "tool_result", run_id, tool_call_id };
  try {
    if (!(tool_name in tools)) throw new Error(`there is no tool ${tool_name}`);
    send({ ...result, ok: true, result: tools[tool_name](args) });
  } catch (error) {
    send({ ...result, ok: false, error: error.message });
  }
}

function settle(message) {
  if (!unanswered.delete(message.request_id)) fail(`an answer to nothing: ${JSON.stringify(message)}`);
}

function fail(why) {
  console.error(why);
  process.exitCode = 1;
  socket.terminate();
}

const handlers = {
  hello_ack: () => {
    send({ type: "agent_invoke", agent_id: agent, message: { role: "user", content: wish } });
  },
  ack: settle,
  tool_request: call,
  approval_required: ({ run_id, approval_id }) => {
    send({ type: "approval_decision", run_id, approval_id, decision, reason: "said by Node" });
  },
  done: () => socket.close(1000),
  cancelled: ({ reason }) => fail(`the run was cancelled: ${reason}`),
  error: ({ code, message }) => fail(`${code}: ${message}`),
};

socket.on("open", () => socket.send(JSON.stringify({ type: "hello", user_id: "node", ts: Date.now() })));
socket.on("message", (data) => {
  const message = JSON.parse(data);
  console.log(JSON.stringify(message));
  handlers[message.type]?.(message);
});
socket.on("error", (error) => fail(error.message));
socket.on("close", (code) => {
  if (process.exitCode) return;
  if (code !== 1000) fail(`closed with ${code}`);
  if (unanswered.size) fail(`never acknowledged: ${[...unanswered.values()].join(", ")}`);
});
