// What the page does in the browser: every function is called by name with JSON and answers with JSON.
import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import grpcWeb from "grpc-web";
import { PipelineService, RunState, WatchRunResponseSchema } from "generated/rungate/v1/pipeline_pb.js";

const NOBODY = "run_01890000-0000-7000-8000-000000000000";

/** The events of a watch as JSON; stops after `count` of them when it is given. */
async function collect(stream, count = Infinity) {
  const events = [];
  for await (const event of stream) {
    events.push(toJson(WatchRunResponseSchema, event));
    if (events.length >= count) break;
  }
  return events;
}

/** A run from InitRun to its end, watched with a cut half-way, and an error. */
async function conversation(client) {
  const session = await client.initRun({ userId: "browser" });
  await collect(client.watchRun({ runId: session.bootstrapRunId }));
  // No session id: the cookie that the browser keeps names the session.
  const { runId } = await client.startRun({ pipelineId: "test_pipeline" });
  const events = await collect(client.watchRun({ runId }), 4);
  events.push(...(await collect(client.watchRun({ runId, after: events.at(-1).cursor }))));
  const read = await client.getRun({ runId });
  const error = await client.getRun({ runId: NOBODY }).then(() => null, describe);
  const streamError = await collect(client.watchRun({ runId: NOBODY })).then(() => null, describe);
  const lingering = await client.startRun({ pipelineId: "linger" });
  const late = await collect(client.watchRun({ runId: lingering.runId }, { timeoutMs: 700 })).then(() => null, describe);
  await client.cancelRun({ runId: lingering.runId });
  return { runId, events, state: RunState[read.run.state], error, streamError, late };
}

function describe(error) {
  const { code, rawMessage, details } = ConnectError.from(error);
  return { code: Code[code], message: rawMessage, details: details.map((it) => it.type) };
}

const withCookies = (input, init) => fetch(input, { ...init, credentials: "include" });

const scenarios = {
  connect: ({ url, binary }) =>
    conversation(
      createClient(
        PipelineService,
        createConnectTransport({ baseUrl: url, useBinaryFormat: binary, useHttpGet: true, fetch: withCookies }),
      ),
    ),

  connectGrpcWeb: ({ url, binary }) =>
    conversation(
      createClient(PipelineService, createGrpcWebTransport({ baseUrl: url, useBinaryFormat: binary, fetch: withCookies })),
    ),

  /** The `grpc-web` package: calls in the given format, watches until the end, is told of an error. */
  async grpcWeb({ url, format }) {
    const client = new grpcWeb.GrpcWebClientBase({ format, withCredentials: true });
    const session = await unary(client, url, "initRun", { userId: "browser" });
    await watch(client, url, { runId: session.bootstrapRunId });
    const { runId } = await unary(client, url, "startRun", { pipelineId: "test_pipeline" });
    const events = await watch(client, url, { runId });
    const failed = (error) => ({ code: error.code, message: error.message });
    const error = await unary(client, url, "getRun", { runId: NOBODY }).then(() => null, failed);
    const streamError = await watch(client, url, { runId: NOBODY }).then(() => null, failed);
    return { runId, events, error, streamError };
  },

  /** The browser's own EventSource: what it is given, until the gateway stops it for good. */
  eventSource: ({ url }) =>
    new Promise((resolve) => {
      const source = new EventSource(url);
      const seen = { events: [], ids: [], opened: 0, closes: 0 };
      source.onopen = () => (seen.opened += 1);
      source.onmessage = ({ data, lastEventId }) => {
        seen.events.push(JSON.parse(data));
        seen.ids.push(lastEventId);
        // Tells the proxy to cut the connection, which holds back what comes after these.
        if (seen.ids.length === 3) fetch(new URL("/healthz", url), { mode: "no-cors" });
      };
      source.addEventListener("close", () => (seen.closes += 1));
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) resolve(seen);
      };
    }),

  /** A page of a stranger can read nothing. */
  async fetchText({ url }) {
    return fetch(url, { credentials: "include" }).then((it) => it.text(), (error) => `refused: ${error.name}`);
  },
};

function descriptor(name) {
  const method = PipelineService.method[name];
  return new grpcWeb.MethodDescriptor(
    `/${PipelineService.typeName}/${method.name}`,
    method.methodKind === "unary" ? grpcWeb.MethodType.UNARY : grpcWeb.MethodType.SERVER_STREAMING,
    Object,
    Object,
    (request) => toBinary(method.input, create(method.input, request)),
    (bytes) => fromBinary(method.output, bytes),
  );
}

function unary(client, url, name, request) {
  const method = descriptor(name);
  return client.unaryCall(url + method.getName(), request, {}, method);
}

function watch(client, url, request) {
  const method = descriptor("watchRun");
  return new Promise((resolve, reject) => {
    const events = [];
    const stream = client.serverStreaming(url + method.getName(), request, {}, method);
    stream.on("data", (event) => events.push(toJson(WatchRunResponseSchema, event)));
    stream.on("error", reject);
    stream.on("end", () => resolve(events));
  });
}

window.run = async (name, options) => scenarios[name](options);
