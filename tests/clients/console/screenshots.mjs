// Pictures of the page: two for the documentation, the others for whoever changes how it looks.

import { join } from "node:path";
import { REFUSED } from "./browser.mjs";
import { nextRun, open, reaches, startWorker, the } from "./steps.mjs";

const QUESTION = "Which packages are there, and who depends on whom?";
const DESKTOP = { viewport: { width: 1280, height: 860 }, deviceScaleFactor: 1 };
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

/** `RUNGATE_REPOSITORY` is what is opened; without it, the folder in which this is started. */
export async function screenshots(browser, url, { folder }) {
  browser.expect(REFUSED);
  const repository = process.env.RUNGATE_REPOSITORY ?? process.cwd();
  for (const [name, options] of [
    ["console", { ...DESKTOP, colorScheme: "light" }],
    ["console-dark", { ...DESKTOP, colorScheme: "dark" }],
    ["phone", { ...PHONE, colorScheme: "light" }],
  ]) {
    await browser.restart({ ...options, reducedMotion: "reduce" });
    const page = await open(browser, url);
    const picture = async (what, whole = false) => {
      // Fonts and the drawing of the graph are there with the next frame.
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
      await page.screenshot({ path: join(folder, `${name}-${what}.png`), fullPage: whole });
    };
    const folded = () => the(page, "start-toggle").isVisible();
    const unfold = async () => (await folded()) && the(page, "start-toggle").click();
    await picture("first", true);
    await the(page, "demo-start").click();
    let run = await nextRun(page, "");
    await page.waitForFunction(() => document.getElementById("run-progress").value >= 50);
    await picture("demo", true);
    await reaches(page, "SUCCEEDED");
    await unfold();
    await the(page, "repo-input").fill(repository);
    await the(page, "start-conversation").click();
    run = await nextRun(page, run);
    await reaches(page, "SUCCEEDED");
    await picture("greeting", true);
    await the(page, "answer-input").fill(QUESTION);
    await the(page, "answer-send").click();
    run = await nextRun(page, run);
    await the(page, "run-plan").waitFor();
    await picture("plan", true);
    await the(page, "run-plan").click();
    run = await nextRun(page, run);
    await reaches(page, "SUCCEEDED");
    // The graph and the conversation that led to it.
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true, clip: await upTo(page, "#talk-panel") });
    await picture("packages", true);
    for (const [worker, state] of [["ask", "WAITING_INPUT"], ["fail", "FAILED"], ["speak", "SUCCEEDED"], ["linger", "RUNNING"]]) {
      await unfold();
      run = await startWorker(page, worker);
      await reaches(page, state);
      await picture(worker, true);
      if (worker === "ask") {
        await the(page, "answer-input").fill("7");
        await the(page, "answer-send").click();
        await reaches(page, "SUCCEEDED");
      }
    }
    await unfold();
    await the(page, "demo-start").click();
    await the(page, "busy-panel").waitFor();
    await picture("busy");
    await page.getByRole("link", { name: "rungate" }).click();
    await page.goto(`${url}/#run=${run}`);
    await the(page, "cancel").click();
    await reaches(page, "CANCELLED");
    await page.goto(`${url}/#run=run_00000000-0000-7000-8000-000000000000`);
    await the(page, "gone-box").waitFor();
    await picture("gone");
  }
}

/** The page from its top to the end of an element. */
async function upTo(page, selector) {
  return page.evaluate((selector) => {
    const end = document.querySelector(selector).getBoundingClientRect().bottom + scrollY;
    return { x: 0, y: 0, width: innerWidth, height: Math.ceil(end) + 12 };
  }, selector);
}
