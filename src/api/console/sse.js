// Reading a server-sent event stream from a fetch response, as the HTML standard parses it.

// The longest event that is taken in. The gateway's own bound is 4 MiB per message; JSON may double it.
const MAX_CHARS = 16 << 20;

/**
 * Yields arrays of `{id, type, data}`: all events that arrived together. Returns when the response ends.
 * `onBytes` is told of every arrival, so that the caller can notice a silent connection.
 */
export async function* serverSentEvents(response, onBytes) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      const events = parser.push(value);
      if (events.length > 0) yield events;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Cuts text into lines and lines into events. Exported for its own sake: it knows nothing of connections. */
export class Parser {
  #rest = "";
  #afterReturn = false;
  #id = "";
  #type = "";
  #data = [];

  push(text) {
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    if (this.#rest.length > MAX_CHARS) throw new Error("an event of the stream is too long");
    const events = [];
    for (const line of lines) {
      if (line === "") this.#finish(events);
      else this.#field(line);
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? "" : line.slice(colon + 1);
    const value = raw.startsWith(" ") ? raw.slice(1) : raw;
    if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
  }

  #finish(events) {
    if (this.#data.length > 0) {
      events.push({ id: this.#id, type: this.#type || "message", data: this.#data.join("\n") });
    }
    this.#type = "";
    this.#data = [];
  }
}
