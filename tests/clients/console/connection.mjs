// Cuts, reloads, several tabs: what is shown stays complete.

import assert from "node:assert/strict";
import { CUT, REFUSED } from "./browser.mjs";
import { Proxy } from "./proxy.mjs";
import { checkLog, connection, lines, logs, open, reaches, shownRun, startWorker, the } from "./steps.mjs";

/** A page that is loaded anew while its run goes on shows the same run, complete. */
export async function reload(browser, url) {
  const page = await open(browser, url);
  const run = await startWorker(page, "tick");
  await logs(page, "tick 10.");
  await page.reload();
  await the(page, "log-list").waitFor();
  assert.equal(await shownRun(page), run);
  await logs(page, "tick 11.");
  await reaches(page, "RUNNING");
  await reaches(page, "SUCCEEDED");
  await checkLog(page, run);
}

/** Two tabs that watch one run show the same. */
export async function two_tabs(browser, url) {
  const [one, other] = [await open(browser, url), await browser.page()];
  const run = await startWorker(one, "tick");
  await logs(one, "tick 10.");
  await other.goto(`${url}/#run=${run}`);
  for (const page of [one, other]) await reaches(page, "SUCCEEDED");
  assert.deepEqual(await lines(other), await lines(one));
  await checkLog(other, run);
  await the(other, "again").waitFor();
  await the(one, "again").waitFor();
  for (const id of ["progress-text", "run-title", "run-elapsed", "result-text"]) {
    assert.equal(await the(other, id).textContent(), await the(one, id).textContent(), id);
  }
}

/** The connection is cut while a run goes on, and nothing gets through for two seconds. */
export async function cut(browser, url) {
  const proxy = await Proxy.start(url);
  const page = await open(browser, proxy.url);
  browser.expect(CUT);
  const run = await startWorker(page, "tick");
  await logs(page, "tick 10.");
  await proxy.cut();
  await connection(page, "reconnecting", "unreachable");
  const before = await lines(page);
  await proxy.refuseFor(2000);
  assert.ok(await the(page, "retry-now").isVisible());
  await connection(page, "live", "ended");
  await reaches(page, "SUCCEEDED");
  const after = await checkLog(page, run);
  assert.deepEqual(after.slice(0, before.length), before, "what was shown stays");
  await proxy.close();
}

/** The gateway dies under a run of `worker` once `words` are seen, and is back; gives the page and the run that it shows. */
async function dies(browser, url, worker = "linger", words = "lingering") {
  const page = await open(browser, url);
  browser.expect(CUT);
  const run = await startWorker(page, worker);
  await page.getByText(words).first().waitFor();
  await browser.ask("kill");
  await connection(page, "unreachable");
  await the(page, "demo-start").click();
  await the(page, "notice").getByText("cannot be reached").waitFor();
  browser.expect(REFUSED);
  await browser.ask("start");
  await the(page, "retry-now").click({ timeout: 2000 }).catch(() => {});
  return { page, run };
}

/** The gateway dies and comes back; the page shows how the run ended. */
export async function killed(browser, url) {
  const { page, run } = await dies(browser, url);
  await reaches(page, "FAILED");
  assert.equal(await the(page, "error-code").textContent(), "interrupted");
  assert.match(await the(page, "error-hint").textContent(), /starting again can help/);
  await checkLog(page, run);
  await the(page, "demo-start").click();
  await reaches(page, "SUCCEEDED");
}

/** The gateway dies and comes back, and the run begins again: its words are those of one attempt. */
export async function begins_again(browser, url) {
  const { page, run } = await dies(browser, url, "second_time", "What I say");
  await reaches(page, "SUCCEEDED");
  const said = await the(page, "conversation").locator("[data-who=run] .talk-words").allTextContents();
  assert.deepEqual(said.map((words) => words.trim()), ["What I say", "What I say is whole."]);
  await logs(page, "Attempt 2: ");
  await checkLog(page, run);
}

/** The gateway dies and comes back without the run. */
export async function forgotten(browser, url) {
  const { page, run } = await dies(browser, url);
  await connection(page, "gone");
  await the(page, "gone-box").waitFor();
  assert.match(await the(page, "gone-box").textContent(), /does not keep this run/);
  assert.equal(await the(page, "run-state").textContent(), "not available");
  assert.equal(await shownRun(page), run);
  // The session has outlived its gateway.
  await the(page, "demo-start").click();
  await reaches(page, "SUCCEEDED");
  assert.ok(await the(page, "gone-box").isHidden());
}
