// A `serve` of this checkout and a headless Chromium that looks at it, for .ci/inspector-axe and .ci/inspector-picture.
// It needs Node 20, chromium and chromedriver, and no packages.
"use strict";

const { spawn, execFileSync } = require("node:child_process");
const { mkdtempSync, rmSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
];

// The command line: the program in the first argument, or a new build.
function program() {
  if (process.argv[2]) return process.argv[2];
  execFileSync("cargo", ["build", "--quiet", "--package", "sonotheia-cli"], { stdio: "inherit" });
  return join(process.env.CARGO_TARGET_DIR || "target", "debug", "sonotheia");
}

// Starts a program that goes on, and waits for the line of its output that has an address.
function start(command, args, pattern) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
  return new Promise((resolve, reject) => {
    let output = "";
    child.on("error", reject);
    child.on("exit", (status) => reject(new Error(`${command} ended with ${status} after: ${output}`)));
    child.stdout.on("data", (data) => {
      output += data;
      const found = output.match(pattern);
      if (found) resolve({ child, found, output: () => output });
    });
  });
}

// Starts the driver. A start can fail: it chooses a free port of IPv6, which may not be free in IPv4.
async function startDriver() {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start("chromedriver", ["--port=0"], /successfully on port (\d+)/);
    } catch (error) {
      if (attempt === 10) throw error;
    }
  }
}

class Browser {
  constructor(url, capabilities) {
    this.url = url;
    this.capabilities = capabilities;
  }

  async call(path, body) {
    const answer = await fetch(this.url + path, { method: "POST", body: JSON.stringify(body) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${path}: ${value.message}`);
    return value;
  }

  async open() {
    const { sessionId } = await this.call("/session", { capabilities: { alwaysMatch: this.capabilities } });
    this.url += `/session/${sessionId}`;
  }

  goto(url) {
    return this.call("/url", { url });
  }

  script(script, ...args) {
    return this.call("/execute/sync", { script, args });
  }

  wait(script, ...args) {
    return this.call("/execute/async", { script, args });
  }

  devtools(cmd, params) {
    return this.call("/goog/cdp/execute", { cmd, params });
  }

  // The window: its size, and the colours that its user prefers.
  async look(width, height, scheme) {
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await this.devtools("Emulation.setDeviceMetricsOverride", metrics);
    await this.devtools("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }

  // Waits until a script returns something true.
  async until(script) {
    const end = Date.now() + 60_000;
    while (!(await this.script(script))) {
      if (Date.now() > end) throw new Error(`the page does not come to: ${script}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  // Presses a button of the page, and waits for its deliveries.
  async press(what, deliveries) {
    await this.script(`document.querySelector("button[data-what='${what}']").click()`);
    await this.until(`return document.querySelectorAll('#deliveries > li').length >= ${deliveries}`);
  }
}

// Runs `work` with a browser and the address of a new `serve`, and stops both.
async function withInspector(work) {
  const profile = mkdtempSync(join(tmpdir(), "inspector-"));
  const children = [];
  try {
    const sonotheia = program();
    const serve = await start(sonotheia, ["serve", "--port", "0"], /Inspector: (http:\S+)[^]*curl http/);
    children.push(serve.child);
    const driver = await startDriver();
    children.push(driver.child);
    const args = [...ARGUMENTS, `--user-data-dir=${profile}`];
    const browser = new Browser(`http://127.0.0.1:${driver.found[1]}`, { "goog:chromeOptions": { args } });
    await browser.open();
    await work({ browser, url: serve.found[1], sonotheia, serve, start, children });
    await fetch(browser.url, { method: "DELETE" });
  } finally {
    for (const child of children) {
      if (child.removeAllListeners) child.removeAllListeners("exit");
      child.kill();
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

module.exports = { withInspector };
