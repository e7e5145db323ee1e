// Makes the addon: `node build.js [FILE]`; FILE is smallmind.node beside this script if it is not
// named. SMALLMIND_LIB_DIR and SMALLMIND_INCLUDE_DIR name the folders of the library and of its
// headers (without both pkg-config does), CC the compiler, npm_config_nodedir where node's headers
// are if not beside node. Does nothing where FILE is newer than what it is made of.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const { SMALLMIND_LIB_DIR: libraries, SMALLMIND_INCLUDE_DIR: headers, CC = "cc",
        npm_config_nodedir: nodedir } = process.env;
const out = resolve(process.argv[2] ?? join(here, "smallmind.node"));

const node = join(nodedir ?? join(dirname(realpathSync(process.execPath)), ".."), "include", "node");
if (!existsSync(join(node, "node_api.h"))) {
  console.error(`${node} has no node_api.h: install node's headers, or set npm_config_nodedir`);
  process.exit(1);
}

function found() {
  if (libraries && headers) return [`-I${headers}`, `-L${libraries}`, "-lsmallmind"];
  return execFileSync("pkg-config", ["--cflags", "--libs", "smallmind"], { encoding: "utf8" })
    .trim().split(/\s+/);
}

const inside = (folder, end) => readdirSync(folder).filter((name) => name.endsWith(end))
  .map((name) => join(folder, name));
const sources = inside(join(here, "addon"), ".c");
const parts = [...sources, join(here, "addon", "addon.h"), join(here, "fields.inc"),
               ...(headers ? inside(join(headers, "smallmind"), ".h") : [])];
const made = existsSync(out) ? statSync(out).mtimeMs : 0;
if (!headers || parts.some((part) => statSync(part).mtimeMs > made)) {
  const linking = process.platform === "darwin" ? ["-undefined", "dynamic_lookup"] : [];
  execFileSync(CC, [
    "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared",
    "-fvisibility=hidden", "-DNAPI_VERSION=8", "-isystem", node, ...sources, "-o", out, ...linking,
    ...(process.env.CFLAGS ?? "").split(/\s+/).filter(Boolean), ...found()], { stdio: "inherit" });
}
