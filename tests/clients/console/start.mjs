// From the first look to the end of a run.

import assert from "node:assert/strict";
import { checkLog, nextRun, open, reaches, shownRun, startWorker, the } from "./steps.mjs";

/** What a newcomer sees, and what the page may do. */
export async function first_open(browser, url) {
  const page = await browser.page();
  const response = await page.goto(url);
  const policy = response.headers()["content-security-policy"] ?? "";
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
  await page.getByRole("heading", { level: 1 }).waitFor();
  for (const id of ["demo-start", "repo-input", "worker-select"]) assert.ok(await the(page, id).isVisible(), id);
  for (const id of ["run-title", "recent-runs", "notice", "busy-panel", "connection-status"]) {
    assert.ok(await the(page, id).isHidden(), id);
  }
  await page.waitForFunction(() => document.querySelector("#worker-select option[value=linger]"));
  assert.notEqual(await the(page, "worker-description").textContent(), "");
  browser.expect(/inline/);
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.inlineRan = true";
    document.body.append(script);
    return window.inlineRan === true;
  });
  assert.equal(ran, false, "the policy lets an inline script run");
}

/** The demo run, watched to its end. */
export async function demo(browser, url) {
  const page = await open(browser, url);
  await the(page, "demo-start").click();
  const run = await nextRun(page, "");
  await reaches(page, "SUCCEEDED");
  await the(page, "run-title").and(page.getByText("test_pipeline")).waitFor();
  assert.equal(await the(page, "progress-text").textContent(), "100 %");
  assert.equal(await the(page, "progress-bar").evaluate((it) => it.value), 100);
  assert.deepEqual(await page.locator("#graph-svg .node text").allTextContents(), ["Initialize", "Load Data", "Process", "Output"]);
  assert.equal(await page.locator("#graph-svg .edge").count(), 3);
  assert.equal(await the(page, "run-message").textContent(), "Done");
  assert.ok((await checkLog(page, run)).length >= 6);
  await the(page, "again").waitFor();
  for (const id of ["cancel", "error-box"]) assert.ok(await the(page, id).isHidden(), id);
}

/** A repository: greeting, answer, plan, the plan run, the graph of its packages. */
export async function repository(browser, url, { repository, packages }) {
  const page = await open(browser, url);
  await the(page, "repo-input").fill(repository);
  await the(page, "start-conversation").click();
  const greeting = await nextRun(page, "");
  await reaches(page, "SUCCEEDED");
  const entries = the(page, "conversation").locator("li");
  await entries.first().waitFor();
  assert.equal(await entries.count(), 1);
  await the(page, "answer-input").fill("Which packages are there, and who depends on whom?");
  await the(page, "answer-input").press("Enter");
  const plan = await nextRun(page, greeting);
  await the(page, "run-plan").waitFor();
  assert.deepEqual(await entries.evaluateAll((all) => all.map((it) => it.dataset.who)), ["run", "you", "run"]);
  assert.ok(await page.locator("#graph-svg .node").first().isVisible(), "the plan is drawn");
  await checkLog(page, plan);
  await the(page, "run-plan").click();
  const executed = await nextRun(page, plan);
  await reaches(page, "SUCCEEDED");
  const drawn = await page.locator("#graph-svg .node text").allTextContents();
  for (const name of packages) assert.ok(drawn.includes(name), `${name} is not in ${drawn}`);
  assert.equal(await page.locator("#graph-svg .edge").count(), 6);
  // The conversation is still there, and goes on.
  assert.deepEqual(await entries.evaluateAll((all) => all.map((it) => it.dataset.who)), ["run", "you", "run", "you"]);
  await checkLog(page, executed);
  await the(page, "answer-input").fill("How large is it?");
  await the(page, "answer-send").click();
  await nextRun(page, executed);
  await the(page, "run-plan").waitFor();
  assert.equal(await entries.count(), 6);
}

/** The list of recent runs leads back to each. */
export async function recent_runs(browser, url) {
  const page = await open(browser, url);
  await the(page, "demo-start").click();
  const demo = await nextRun(page, "");
  await reaches(page, "SUCCEEDED");
  const dag = await startWorker(page, "worker_DAG");
  await reaches(page, "SUCCEEDED");
  await page.locator(`#recent-list a[data-run="${dag}"][aria-current=true]`).waitFor();
  await page.locator(`#recent-list a[data-run="${demo}"]`).click();
  await page.waitForFunction(() => document.getElementById("run-title").textContent === "test_pipeline");
  await reaches(page, "SUCCEEDED");
  assert.equal(await shownRun(page), demo);
  await checkLog(page, demo);
  // The page knows how the run stands before it has read what happened.
  await page.route("**/events", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await route.continue();
  });
  await page.goBack();
  await page.waitForFunction(() => document.getElementById("run-title").textContent === "worker_DAG");
  await reaches(page, "SUCCEEDED");
  await checkLog(page, dag);
}

/** The demo run without a mouse. */
export async function keyboard(browser, url) {
  const page = await open(browser, url);
  const focused = () => page.evaluate(() => document.activeElement?.dataset.testid ?? "");
  for (let steps = 0; (await focused()) !== "demo-start"; steps += 1) {
    assert.ok(steps < 20, "Tab does not reach the demo run");
    await page.keyboard.press("Tab");
  }
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus cannot be seen");
  await page.keyboard.press("Enter");
  await nextRun(page, "");
  await reaches(page, "SUCCEEDED");
  assert.equal(await focused(), "run-title", "the focus goes to the run");
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.keyboard.press("g");
  assert.equal(await focused(), "graph-svg");
}
