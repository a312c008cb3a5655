// Generates messages from proto/ and bundles the page: node build.mjs FOLDER
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const folder = process.argv[2];
const generated = join(folder, "generated");
mkdirSync(generated, { recursive: true });

const template = {
  version: "v2",
  plugins: [
    {
      local: [process.execPath, join(modules, "@bufbuild/protoc-gen-es/bin/protoc-gen-es")],
      out: generated,
      opt: ["target=js"],
    },
  ],
};
const buf = join(modules, "@bufbuild/buf/bin/buf");
execFileSync(process.execPath, [buf, "generate", join(here, "../../proto"), "--template", JSON.stringify(template)], {
  stdio: ["ignore", "inherit", "inherit"],
});
await build({
  entryPoints: [join(here, "page.mjs")],
  outfile: join(folder, "page.js"),
  bundle: true,
  format: "iife",
  alias: { generated: generated },
  nodePaths: [modules],
  logLevel: "warning",
});
writeFileSync(join(folder, "index.html"), '<!doctype html><title>clients</title><script src="page.js"></script>');
