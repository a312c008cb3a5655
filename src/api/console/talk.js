// The conversation: what the runs say in words and what the person answered, over all runs that continue each other.

import { byId, el } from "./dom.js";
import { rememberTalk, talkOf } from "./memory.js";
import { beginsAgain, eventName } from "./run.js";
import { words } from "./words.js";

export class Talk {
  #panel = byId("talk-panel");
  #list = byId("talk-list");
  #frame = byId("talk-frame");
  #following = true;
  #parts = [];
  #runId = "";
  #stream = null;
  #asked = 0;

  constructor() {
    this.#frame.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#frame;
      this.#following = scrollTop + clientHeight > scrollHeight - 24;
    });
    // Words stream in, and a graph that appears makes the column narrower: the newest words stay in sight.
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.#list);
  }

  /** Shows the conversation of a run, with the run's own part empty: its events will fill it. */
  open(runId) {
    this.#runId = runId;
    this.#stream = null;
    this.#asked = 0;
    if (!this.#parts.some((part) => part.runId === runId)) this.#parts = talkOf(runId).map((part) => ({ ...part }));
    this.#part().entries = [];
    this.#list.replaceChildren();
    for (const part of this.#parts) {
      if (part.said) this.#append("you", part.said);
      for (const entry of part.entries) this.#append(entry.who, entry.text);
    }
    this.#refresh();
  }

  /** The person answered a question of the run that is shown. Gives a function that takes it back. */
  answered(text) {
    const part = this.#part();
    part.answers.push(text);
    const entry = this.#keep("you", text);
    rememberTalk(this.#parts);
    return () => {
      part.answers.pop();
      part.entries = part.entries.filter((it) => it !== entry.kept);
      entry.element.remove();
      this.#refresh();
    };
  }

  /** The person answered after a run had ended, and another run goes on from there. */
  continued(text, runId, nextRunId) {
    const here = this.#parts.findIndex((part) => part.runId === runId);
    this.#parts = [...this.#parts.slice(0, here + 1), { runId: nextRunId, said: text, entries: [], answers: [] }];
    rememberTalk(this.#parts);
  }

  /** Takes the words of an event, if it has any. */
  take(event) {
    const kind = eventName(event.eventType);
    // The words of an attempt that was cut short stay; those of the next one stand for themselves.
    if (beginsAgain(event)) this.#settle();
    if (kind === "DELTA") this.#grow(event.delta?.text ?? "");
    // An answer in words that comes with a drawing stands in the output: an event has room for one view.
    const answer = event.clientView?.llmResponse || event.result?.output?.assistant_message;
    if (typeof answer === "string" && answer) this.#answer(answer);
    if (kind === "INPUT_REQUIRED" && event.inputRequired?.prompt) this.#ask(event.inputRequired.prompt);
    if (["COMPLETE", "ERROR", "CANCELLED"].includes(kind)) {
      this.#settle();
      rememberTalk(this.#parts);
    }
  }

  #grow(text) {
    if (!this.#stream) {
      const element = this.#append("run", "");
      this.#stream = { element, text: "", node: document.createTextNode("") };
      element.querySelector(".talk-words").replaceChildren(el("p", { className: "streaming" }, this.#stream.node));
      this.#refresh();
    }
    this.#stream.text += text;
    this.#stream.node.appendData(text);
  }

  /** The whole of an answer. It takes the place of the pieces of it that were streamed. */
  #answer(text) {
    const last = this.#part().entries.at(-1);
    if (!this.#stream && last?.who === "run" && last.text === text) return;
    if (this.#stream) this.#stream.text = text;
    if (this.#stream) this.#settle();
    else this.#keep("run", text);
  }

  #ask(prompt) {
    this.#settle();
    const last = this.#part().entries.at(-1);
    if (last?.who !== "run" || last.text.trim() !== prompt.trim()) this.#keep("run", prompt);
    // Read again after a reload, a question is followed by the answer that it got then; no event repeats that.
    const answered = this.#part().answers[this.#asked];
    this.#asked += 1;
    if (answered !== undefined) this.#keep("you", answered);
  }

  /** The streamed answer is complete: now it is read as Markdown. */
  #settle() {
    if (!this.#stream) return;
    const { element, text } = this.#stream;
    this.#stream = null;
    element.querySelector(".talk-words").replaceChildren(...words(text));
    this.#part().entries.push({ who: "run", text });
  }

  #keep(who, text) {
    const kept = { who, text };
    this.#part().entries.push(kept);
    const element = this.#append(who, text);
    this.#refresh();
    return { kept, element };
  }

  #append(who, text) {
    const element = el(
      "li",
      { className: `talk-entry ${who}`, "data-who": who },
      el("span", { className: "talk-who" }, who === "you" ? "You" : "Run"),
      el("div", { className: "talk-words" }, ...words(text)),
    );
    this.#list.append(element);
    return element;
  }

  #part() {
    let part = this.#parts.find((it) => it.runId === this.#runId);
    if (!part) this.#parts.push((part = { runId: this.#runId, said: "", entries: [], answers: [] }));
    return part;
  }

  #refresh() {
    this.#panel.hidden = this.#list.childElementCount === 0;
    this.#toEnd();
  }

  #toEnd() {
    this.#following = true;
    this.#frame.scrollTop = this.#frame.scrollHeight;
  }
}
