// The person's answer: to a question of a run that waits, or to go on after a run that ended by asking.

import { byId } from "./dom.js";
import { hasEnded } from "./run.js";

// After these the conversation goes on with the next input.
const TALKS = new Set(["plan_pipeline", "init_purpose", "session_plan"]);

export class Ask {
  #panel = byId("ask-panel");
  #form = byId("ask-form");
  #input = byId("answer-input");
  #label = byId("ask-label");
  #send;
  #announcer;
  #sending = false;
  #mode = "";
  #question = undefined;

  /** `send(text)` answers; it throws nothing and gives true when the answer was taken. */
  constructor(announcer, send) {
    this.#announcer = announcer;
    this.#send = send;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#input.addEventListener("input", () => this.#fitHeight());
  }

  /** Shows or hides the field for the state of the run. `latest` says that no later run has gone on from this one. */
  show(run, latest) {
    const mode = this.#wanted(run, latest);
    const question = run.questions[0];
    const prompt = question?.prompt ?? "";
    this.#panel.hidden = mode === "";
    this.#panel.classList.toggle("quiet", mode === "more");
    this.#label.textContent = mode === "more" ? "Ask for something else" : "Your answer";
    const asked = ["question", "continue"].includes(mode) && (mode !== this.#mode || question !== this.#question);
    this.#mode = mode;
    this.#question = question;
    if (!asked) return;
    this.#announcer.say(`Your answer is needed. ${prompt}`);
    // The focus moves only when the person is not busy elsewhere.
    if ([document.body, byId("run-title"), null].includes(document.activeElement)) this.#input.focus({ preventScroll: true });
  }

  #wanted(run, latest) {
    if (run.questions.length > 0 || run.state === "WAITING_INPUT") return "question";
    if (!hasEnded(run.state) || !latest) return "";
    if (run.asksToContinue) return "continue";
    return run.state === "SUCCEEDED" && TALKS.has(run.pipelineId) ? "more" : "";
  }

  async #submit() {
    const text = this.#input.value.trim();
    if (text === "" || this.#sending) return;
    this.#sending = true;
    this.#form.setAttribute("aria-busy", "true");
    const taken = await this.#send(text);
    this.#sending = false;
    this.#form.removeAttribute("aria-busy");
    if (taken) this.#input.value = "";
    this.#fitHeight();
  }

  #fitHeight() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(this.#input.scrollHeight + 2, 240)}px`;
  }
}
