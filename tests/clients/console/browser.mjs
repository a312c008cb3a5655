// Chromium, and the faults that its pages report.

import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ARGUMENTS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
// What is awaited longer than this does not come.
const PATIENCE_MS = 30_000;
// A browser without a session asks for it and is told that there is none.
const NO_SESSION = /the server responded with a status of 4\d\d .*(GetSession|ListRuns)$/;

/** What Chromium reports of requests that a cut ended. */
export const CUT = /net::ERR_(CONNECTION_|EMPTY_RESPONSE|INCOMPLETE_CHUNKED|SOCKET|NETWORK_)/;

/** What Chromium reports of requests that the gateway refused. */
export const REFUSED = /the server responded with a status of (4\d\d|501)/;

export class Browser {
  #profile;
  #context;
  #faults = [];
  #expected = [NO_SESSION];
  #lines = null;

  static async launch() {
    const browser = new Browser();
    browser.#profile = mkdtempSync(join(tmpdir(), "rungate-console-"));
    await browser.#start({});
    return browser;
  }

  /** Begins anew with other options of Playwright's: a smaller screen, a dark one. The session is kept. */
  async restart(options) {
    await this.#context.close();
    await this.#start(options);
  }

  async #start(options) {
    this.#context = await chromium.launchPersistentContext(this.#profile, {
      executablePath: process.env.CHROMIUM ?? found(),
      headless: true,
      chromiumSandbox: false,
      args: ARGUMENTS,
      viewport: { width: 1280, height: 860 },
      locale: "en-GB",
      ...options,
    });
    this.#context.setDefaultTimeout(PATIENCE_MS);
    // A probe that was executed, or a rule of the page's policy that was broken, is a fault wherever it happens.
    await this.#context.addInitScript(() => {
      window.probe = (what) => console.error(`the page executed ${what}`);
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    this.#context.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.#fault(`${message.text()} ${message.location().url}`);
    });
    this.#context.on("weberror", (error) => this.#fault(String(error.error())));
  }

  /** A page in a tab of its own. */
  async page(url) {
    const blank = this.#context.pages().find((page) => page.url() === "about:blank");
    const page = blank ?? (await this.#context.newPage());
    if (url) await page.goto(url);
    return page;
  }

  /** From now on pages may report what matches the pattern. */
  expect(pattern) {
    this.#expected.push(pattern);
  }

  /** Throws when a page has reported something. */
  checkFaults() {
    if (this.#faults.length > 0) throw new Error(`the page reported:\n${this.#faults.join("\n")}`);
  }

  /** Writes the text of each page to standard error, for whoever reads why a scenario failed. */
  async tellWhatIsShown() {
    for (const page of this.#context.pages()) {
      const text = await page.evaluate(() => document.body.innerText).catch(String);
      console.error(`--- ${page.url()}\n${text}`);
    }
    console.error(this.#faults.join("\n"));
  }

  /** Asks whoever started this process to do something to the gateway, and waits until it is done. */
  async ask(what) {
    this.#lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    console.log(what);
    return (await this.#lines.next()).value;
  }

  async close() {
    await this.#context.close();
    rmSync(this.#profile, { recursive: true, force: true });
  }

  #fault(text) {
    if (!this.#expected.some((pattern) => pattern.test(text))) this.#faults.push(text);
  }
}

function found() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const paths = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  const there = paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!there) throw new Error("Chromium is not installed");
  return there;
}
