// What a run asks beside words: approvals, and the results of tools that are on the client's side.

import { byId, cut, el } from "./dom.js";
import { time } from "./run.js";

const MAX_ARGS = 10_000;

export class Requests {
  #list = byId("requests");
  #announcer;
  #send;
  #cards = new Map();

  /** `send(method, request)` calls the gateway; it throws nothing and gives true when the answer was taken. */
  constructor(announcer, send) {
    this.#announcer = announcer;
    this.#send = send;
  }

  clear() {
    this.#cards.clear();
    this.#list.replaceChildren();
  }

  /** Shows a card for each open request of the run. */
  show(run) {
    const open = new Map([
      ...run.approvals.map((it) => [`approval ${it.approvalId}`, () => this.#approval(run, it)]),
      ...run.tools.map((it) => [`tool ${it.toolCallId}`, () => this.#tool(run, it)]),
    ]);
    for (const [key, card] of this.#cards) {
      if (open.has(key)) continue;
      card.remove();
      this.#cards.delete(key);
    }
    for (const [key, make] of open) {
      if (this.#cards.has(key)) continue;
      const card = make();
      this.#cards.set(key, card);
      this.#list.append(card);
      this.#announcer.say(card.querySelector("h3").textContent);
    }
  }

  #approval(run, request) {
    const reason = el("input", { placeholder: "optional", "aria-label": "Reason", maxLength: 2000 });
    const decide = async (decision) => {
      const { approvalId } = request;
      const taken = await this.#send("SubmitApproval", { runId: run.runId, approvalId, decision, reason: reason.value });
      if (taken) this.#done(run, "approvals", request);
    };
    return card(
      "Approve this step?",
      "approval",
      el("p", {}, request.summary || request.toolName || "The run asks for approval."),
      expiry(request.expiresAt),
      el("label", { className: "field" }, "Reason", reason),
      el(
        "div",
        { className: "buttons" },
        button("Approve", "primary", () => decide("DECISION_APPROVE"), "approve"),
        button("Reject", "", () => decide("DECISION_REJECT"), "reject"),
      ),
    );
  }

  #tool(run, request) {
    const result = el("textarea", { rows: 3, spellcheck: false, "aria-label": "Result, as JSON or text" });
    const answer = async (ok) => {
      const text = result.value;
      const body = { runId: run.runId, toolCallId: request.toolCallId, ok, ...(ok ? { result: value(text) } : { error: text || "refused" }) };
      if (await this.#send("SubmitToolResult", body)) this.#done(run, "tools", request);
    };
    return card(
      `The run asks for the tool ${request.toolName ?? ""}`,
      "tool-request",
      el("pre", {}, cut(JSON.stringify(request.args ?? null, null, 2), MAX_ARGS)),
      expiry(request.deadline),
      el("label", { className: "field" }, "Result, as JSON or text", result),
      el(
        "div",
        { className: "buttons" },
        button("Send the result", "primary", () => answer(true), "tool-send"),
        button("Answer with an error", "", () => answer(false), "tool-fail"),
      ),
    );
  }

  #done(run, kind, request) {
    run[kind] = run[kind].filter((it) => it !== request);
    this.show(run);
  }
}

function card(title, testId, ...children) {
  return el("section", { className: "card request", "data-testid": testId }, el("h3", {}, title), ...children);
}

function button(text, className, click, testId) {
  return el("button", { type: "button", className, "data-testid": testId, on: { click } }, text);
}

function expiry(moment) {
  const date = time(moment);
  return date && el("p", { className: "soft" }, `The run waits until ${date.toLocaleTimeString()}.`);
}

/** What was typed, as JSON where it is that, else as text. */
function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
