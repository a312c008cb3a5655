// Drives the console of a gateway in headless Chromium.
//
//   node console.mjs SCENARIO URL [OPTIONS]     one scenario; OPTIONS is JSON
//   node console.mjs screenshots URL FOLDER     console.png and console-dark.png of a conversation about a repository,
//                                               and the page in its other states; docs/images has the first two
//
// The gateway runs already, with the workers of tests/it/support/workers.toml and tests/it/console.toml. Chromium is
// the one in the path, or $CHROMIUM. A scenario that needs something done to the gateway writes a line and waits for
// one; whoever started it does that. What does not hold ends the process with an error.

import * as connection from "./console/connection.mjs";
import * as looks from "./console/looks.mjs";
import * as runs from "./console/runs.mjs";
import * as start from "./console/start.mjs";
import { screenshots } from "./console/screenshots.mjs";
import { Browser } from "./console/browser.mjs";

const scenarios = { ...start, ...runs, ...connection, ...looks };

const [name, url, last] = process.argv.slice(2);
const scenario = name === "screenshots" ? screenshots : scenarios[name];
if (!scenario || !url) {
  console.error(`usage: node console.mjs SCENARIO URL [OPTIONS]\nscenarios: ${Object.keys(scenarios).join(", ")}, screenshots`);
  process.exit(2);
}
const browser = await Browser.launch();
let failed = false;
try {
  await scenario(browser, url, name === "screenshots" ? { folder: last } : JSON.parse(last ?? "null") ?? {});
  browser.checkFaults();
} catch (cause) {
  failed = true;
  console.error(cause);
  await browser.tellWhatIsShown();
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
