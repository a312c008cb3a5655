// What a run may be while it is watched: it waits, it is cancelled, it fails, it is in the way, it is hostile.

import assert from "node:assert/strict";
import { REFUSED } from "./browser.mjs";
import { checkLog, lines, logs, nextRun, open, reaches, shownRun, startWorker, the } from "./steps.mjs";

/** A run that asks is answered in the page; read again after a reload, question and answer stand where they stood. */
export async function answering(browser, url) {
  const page = await open(browser, url);
  const run = await startWorker(page, "ask");
  await reaches(page, "WAITING_INPUT");
  const conversation = the(page, "conversation");
  await conversation.getByText("How many?").waitFor();
  await page.waitForFunction(() => document.activeElement?.id === "answer-input", null, { timeout: 5000 }).catch(() => {
    throw new Error("the field for the answer has no focus");
  });
  await page.reload();
  await reaches(page, "WAITING_INPUT");
  await the(page, "answer-input").fill("42");
  await the(page, "answer-send").click();
  await reaches(page, "SUCCEEDED");
  const words = () => conversation.locator(".talk-words").allTextContents();
  assert.deepEqual(await words(), ["How many?", "42"]);
  assert.match(await the(page, "result-text").textContent(), /42/);
  assert.equal(await shownRun(page), run, "the same run goes on");
  await checkLog(page, run);
  await page.reload();
  await reaches(page, "SUCCEEDED");
  assert.deepEqual(await words(), ["How many?", "42"]);
}

/** A run asks for a tool and for approvals; one of them is answered by another client, the others in the page. */
export async function requests(browser, url) {
  const page = await open(browser, url);
  const run = await startWorker(page, "helper");
  const approvals = the(page, "approval");
  const tool = the(page, "tool-request");
  await approvals.nth(1).waitFor();
  await tool.waitFor();
  await reaches(page, "WAITING_APPROVAL");
  assert.match(await tool.textContent(), /place.*"exact": true/s);
  const elsewhere = await page.evaluate(async (runId) => {
    const body = JSON.stringify({ runId, approvalId: "send", decision: "DECISION_REJECT", reason: "not today" });
    const headers = { "content-type": "application/json" };
    return (await fetch("/rungate.v1.PipelineService/SubmitApproval", { method: "POST", headers, body })).status;
  }, run);
  assert.equal(elsewhere, 200);
  await approvals.nth(1).waitFor({ state: "detached" });
  await approvals.getByTestId("approve").click();
  await approvals.waitFor({ state: "detached" });
  await reaches(page, "WAITING_TOOL");
  await page.reload();
  await tool.waitFor();
  assert.equal(await approvals.count(), 0, "what is answered is not asked again");
  await tool.getByRole("textbox").fill('{"city": "Ulm"}');
  await tool.getByTestId("tool-send").click();
  await reaches(page, "SUCCEEDED");
  assert.equal(await tool.count(), 0);
  const answers = JSON.parse(await the(page, "result-text").textContent());
  assert.deepEqual(
    answers.map((it) => it.decision ?? it.result),
    ["reject", "approve", { city: "Ulm" }],
  );
  await checkLog(page, run);
}

/** A run that lasts is cancelled. */
export async function cancelling(browser, url) {
  const page = await open(browser, url);
  const run = await startWorker(page, "linger");
  await logs(page, "lingering");
  await the(page, "cancel").click();
  await reaches(page, "CANCELLED");
  assert.ok(await the(page, "cancel").isHidden());
  await the(page, "again").waitFor();
  await page.locator(`#recent-list a[data-run="${run}"] .badge[data-state=CANCELLED]`).waitFor();
  await checkLog(page, run);
}

/** A run that fails says how, and can be started again. */
export async function failing(browser, url) {
  const page = await open(browser, url);
  const run = await startWorker(page, "fail", { "a name": "<b>a value</b>" });
  await reaches(page, "FAILED");
  await the(page, "error-box").waitFor();
  assert.notEqual(await the(page, "error-code").textContent(), "");
  assert.match(await the(page, "error-message").textContent(), /no luck today/);
  assert.match(await the(page, "error-hint").textContent(), /starting again can help/);
  await the(page, "error-again").click();
  assert.notEqual(await nextRun(page, run), run);
  await reaches(page, "FAILED");
}

/** A session has one run at a time: whoever starts another is told what can be done instead. */
export async function busy(browser, url) {
  const page = await open(browser, url);
  browser.expect(REFUSED);
  const panel = the(page, "busy-panel");
  const first = await startWorker(page, "linger");
  await logs(page, "lingering");
  await the(page, "demo-start").click();
  await panel.waitFor();
  assert.ok(await the(page, "busy-watch").isHidden(), "the run that is watched already need not be offered");
  await page.locator(".brand").click();
  await the(page, "demo-start").click();
  await the(page, "busy-watch").click();
  assert.equal(await nextRun(page, ""), first);
  assert.ok(await panel.isHidden());
  // Mine waits until the other is over.
  await the(page, "demo-start").click();
  await the(page, "busy-queue").click();
  const queued = await nextRun(page, first);
  await reaches(page, "QUEUED");
  await logs(page, "Queued at place 1");
  assert.match(await the(page, "run-message").textContent(), /Place 1 in the queue/);
  await page.locator(`#recent-list a[data-run="${first}"]`).click();
  await reaches(page, "RUNNING");
  await the(page, "cancel").click();
  await reaches(page, "CANCELLED");
  await page.locator(`#recent-list a[data-run="${queued}"]`).click();
  await reaches(page, "SUCCEEDED");
  await checkLog(page, queued);
  // Mine takes the place of the other.
  const second = await startWorker(page, "linger");
  await logs(page, "lingering");
  await the(page, "demo-start").click();
  await the(page, "busy-cancel").click();
  const instead = await nextRun(page, second);
  await reaches(page, "SUCCEEDED");
  await checkLog(page, instead);
  await page.locator(`#recent-list a[data-run="${second}"]`).click();
  await reaches(page, "CANCELLED");
}

/** Whatever a worker writes is shown as text. */
export async function hostile(browser, url) {
  const page = await open(browser, url);
  const run = await startWorker(page, "hostile");
  await reaches(page, "FAILED");
  const probes = await page.evaluate(() => document.querySelectorAll("img[src=x], svg script, main script, iframe, a[href^=javascript]").length);
  assert.equal(probes, 0, "markup of a worker became an element");
  const shown = await lines(page);
  assert.ok(shown.some(({ text }) => text === '<img src=x onerror="probe(\'log\')">'));
  const conversation = await the(page, "conversation").textContent();
  for (const text of ["<img src=x onerror=\"probe('delta')\">", "[click](javascript:probe('link'))"]) {
    assert.ok(conversation.includes(text), conversation);
  }
  assert.ok((await page.locator("#graph-svg .node text").allTextContents()).some((text) => text.startsWith("<img src=x")));
  await page.locator("#graph-svg .node").first().click();
  assert.match(await the(page, "graph-detail").textContent(), /<img src=x/);
  assert.match(await the(page, "error-message").textContent(), /<img src=x/);
  await checkLog(page, run);
}
