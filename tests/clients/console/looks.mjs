// Small screens, dark ones, and whether words can be read.

import assert from "node:assert/strict";
import { checkWidth, connection, nextRun, open, reaches, startWorker, the } from "./steps.mjs";

// WCAG 2.2, 1.4.3: text of ordinary size.
const CONTRAST = 4.5;

/** On a telephone nothing is broader than the screen, and everything can be reached. */
export async function phone(browser, url, { repository }) {
  await browser.restart({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  const page = await open(browser, url);
  await checkWidth(page, "the first page");
  await the(page, "demo-start").tap();
  const demo = await nextRun(page, "");
  await reaches(page, "SUCCEEDED");
  await checkWidth(page, "a run");
  await the(page, "start-toggle").tap();
  await the(page, "repo-input").fill(repository);
  await checkWidth(page, "the panel that starts runs");
  await the(page, "start-conversation").tap();
  const greeting = await nextRun(page, demo);
  await reaches(page, "SUCCEEDED");
  await the(page, "answer-input").fill("Which packages are there?");
  await page.getByTestId("answer-send").tap();
  await nextRun(page, greeting);
  await reaches(page, "SUCCEEDED");
  await the(page, "graph-panel").waitFor();
  await checkWidth(page, "a conversation with a plan");
  for (const worker of ["hostile", "long_words"]) {
    await the(page, "start-toggle").tap();
    await startWorker(page, worker);
    await reaches(page, "FAILED");
    await checkWidth(page, worker);
  }
}

/** In the light and in the dark, words stand out from what is behind them. */
export async function contrast(browser, url, { repository }) {
  for (const colorScheme of ["light", "dark"]) {
    await browser.restart({ colorScheme, reducedMotion: "reduce" });
    const page = await open(browser, url);
    await checkContrast(page, `${colorScheme}: first page`);
    await the(page, "repo-input").fill(repository);
    await the(page, "start-conversation").click();
    let run = await nextRun(page, "");
    await reaches(page, "SUCCEEDED");
    await checkContrast(page, `${colorScheme}: a greeting`);
    await the(page, "answer-input").fill("Which packages are there?");
    await the(page, "answer-send").click();
    run = await nextRun(page, run);
    await reaches(page, "SUCCEEDED");
    await checkContrast(page, `${colorScheme}: a plan`);
    for (const [worker, state] of [["ask", "WAITING_INPUT"], ["fail", "FAILED"]]) {
      run = await startWorker(page, worker);
      await reaches(page, state);
      await checkContrast(page, `${colorScheme}: ${worker}`);
      if (state === "WAITING_INPUT") {
        await the(page, "answer-input").fill("1");
        await the(page, "answer-send").click();
        await reaches(page, "SUCCEEDED");
      }
    }
    await connection(page, "ended");
    await page.keyboard.press("?");
    await checkContrast(page, `${colorScheme}: help`);
  }
}

/** Computes, of each element that has words of its own and is seen, how its colour stands against its background. */
async function checkContrast(page, what) {
  const weak = await page.evaluate((least) => {
    const parse = (colour) => {
      const parts = colour.match(/[\d.]+/g).map(Number);
      const scale = colour.startsWith("color(") ? 255 : 1;
      return [...parts.slice(0, 3).map((it) => it * scale), parts[3] ?? 1];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((it, at) => it * a + below[at] * (1 - a));
    const behind = (element) => {
      const chain = [];
      for (let at = element; at; at = at.parentElement) chain.push(getComputedStyle(at).backgroundColor);
      return chain.reverse().reduce((below, colour) => over(parse(colour), below), [255, 255, 255]);
    };
    const light = (colour) => {
      const [r, g, b] = colour.map((it) => it / 255).map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest(".unseen, .skip, svg");
    const worded = [...document.querySelectorAll("body *")].filter(
      (element) => seen(element) && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== ""),
    );
    const fields = [...document.querySelectorAll("input, textarea, select")].filter(seen);
    const nodes = [...document.querySelectorAll("#graph-svg .node text")];
    const pairs = [...worded, ...fields].map((element) => [element, getComputedStyle(element).color, behind(element)]);
    for (const text of nodes) {
      const box = text.parentElement.querySelector("rect");
      const fill = getComputedStyle(box).fill;
      const ground = over([...parse(fill).slice(0, 3), Number(getComputedStyle(box).fillOpacity)], behind(text.ownerSVGElement));
      pairs.push([text, getComputedStyle(text).fill, ground]);
    }
    return pairs
      .map(([element, colour, ground]) => {
        const [a, b] = [light(over(parse(colour), ground)), light(ground)];
        return { text: (element.textContent || element.id).trim().slice(0, 40), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
      })
      .filter(({ ratio }) => !(ratio >= least));
  }, CONTRAST);
  assert.deepEqual(weak, [], `hard to read on ${what}`);
}
