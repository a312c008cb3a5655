// Runs one function of the page in Chromium: node browser.mjs FOLDER CHROMIUM FUNCTION OPTIONS
// The page comes from a server of its own, so that the gateway is another origin. Prints the answer as JSON.
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [folder, executablePath, name, options] = process.argv.slice(2);
const types = { "/": ["index.html", "text/html"], "/page.js": ["page.js", "text/javascript"] };
const server = createServer((request, response) => {
  const [file, type] = types[request.url] ?? [];
  if (!file) return response.writeHead(204).end();
  response.writeHead(200, { "content-type": type }).end(readFileSync(join(folder, file)));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const profile = mkdtempSync(join(tmpdir(), "rungate-browser-"));
const args = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  chromiumSandbox: false,
  args,
});
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on("pageerror", (error) => console.error(error));
  const { host = "localhost", ...rest } = JSON.parse(options);
  await page.goto(`http://${host}:${server.address().port}/`);
  const answer = await page.evaluate(([name, options]) => window.run(name, options), [name, rest]);
  console.log(JSON.stringify(answer));
} finally {
  await context.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}
