/** Parse an AsyncAPI document; print what is wrong, and exit with 1 if it is not one. */
const { createRequire } = require("node:module");
const fs = require("node:fs");

const [modules, path] = process.argv.slice(2);
const { Parser } = createRequire(modules)("@asyncapi/parser");

new Parser().parse(fs.readFileSync(path, "utf8")).then(({ document, diagnostics }) => {
  const errors = diagnostics.filter((each) => each.severity === 0);
  for (const each of errors) console.error(each.path.join("/"), each.message);
  process.exit(document === undefined || errors.length > 0 ? 1 : 0);
});
