// Steps that scenarios share, in the words of the person who takes them.

import assert from "node:assert/strict";

/** An element by its test id. */
export const the = (page, id) => page.getByTestId(id);

/** Opens the console and waits until its lists are loaded. */
export async function open(browser, url) {
  const page = await browser.page(url);
  await the(page, "demo-start").waitFor();
  return page;
}

/** Starts any worker, with parameters; waits until its run is shown. Gives the run's id. */
export async function startWorker(page, key, params = {}) {
  await page.waitForFunction(
    (key) => [...document.querySelectorAll("#worker-select option")].some((option) => option.value === key),
    key,
  );
  const before = await shownRun(page);
  await the(page, "worker-select").selectOption(key);
  for (const [name, value] of Object.entries(params)) {
    await the(page, "param-add").click();
    await the(page, "param-key").last().fill(name);
    await the(page, "param-value").last().fill(value);
  }
  await the(page, "start-run").click();
  return nextRun(page, before);
}

/** The id of the run that the page shows; empty where it shows none. */
export function shownRun(page) {
  return page.evaluate(() => new URLSearchParams(location.hash.slice(1)).get("run") ?? "");
}

/** Waits until another run than `before` is shown. Gives its id. */
export async function nextRun(page, before) {
  await page.waitForFunction((before) => {
    const shown = new URLSearchParams(location.hash.slice(1)).get("run") ?? "";
    return shown !== before && document.getElementById("run-id").textContent === shown;
  }, before);
  return shownRun(page);
}

/**
 * Waits until the run that is shown is in one of the states. Of a run that has ended the page knows so before it has
 * read the log; this waits until all of it is shown.
 */
export async function reaches(page, ...states) {
  await page.waitForFunction((states) => {
    const shown = document.getElementById("run-state").dataset.state;
    const ended = ["SUCCEEDED", "FAILED", "CANCELLED"].includes(shown);
    return states.includes(shown) && (!ended || document.getElementById("connection-status").dataset.status === "ended");
  }, states);
}

/** Waits until the status of the connection is one of these. */
export async function connection(page, ...kinds) {
  await page.waitForFunction((kinds) => kinds.includes(document.getElementById("connection-status").dataset.status), kinds);
}

/** Waits until the log has a line with this text. */
export async function logs(page, text) {
  await the(page, "log-list").locator("li", { hasText: text }).first().waitFor();
}

/** The log as shown: `{sequence, text}` of each line. */
export function lines(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("#log-list li")].map((line) => ({
      sequence: Number(line.dataset.sequence),
      text: line.querySelector("span").textContent,
    })),
  );
}

/** Checks that the log shown has no line twice, and each LOG event of the gateway's log in its place. Gives the lines. */
export async function checkLog(page, runId) {
  const shown = await lines(page);
  for (let at = 1; at < shown.length; at += 1) {
    assert.ok(shown[at].sequence > shown[at - 1].sequence, `line ${at} stands twice or in the wrong place`);
  }
  const kept = await page.evaluate(async (runId) => {
    const response = await fetch(`/v1/runs/${runId}/events?format=json`);
    return response.json();
  }, runId);
  const events = Array.isArray(kept) ? kept : kept.events;
  const said = events.filter((event) => event.eventType === "EVENT_TYPE_LOG" && event.message);
  const texts = new Map(shown.map(({ sequence, text }) => [sequence, text]));
  for (const event of said) assert.equal(texts.get(Number(event.sequence)), event.message);
  assert.equal(shown.at(-1).sequence, events.length, "the terminal event has the last line");
  return shown;
}

/** Checks that nothing stands beyond the right edge of the screen. */
export async function checkWidth(page, what) {
  const beyond = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    return document.documentElement.scrollWidth <= width
      ? []
      : [...document.querySelectorAll("body *")].filter((it) => it.getBoundingClientRect().right > width + 1).map((it) => it.outerHTML.slice(0, 120));
  });
  assert.deepEqual(beyond, [], `${what} is broader than the screen`);
}
