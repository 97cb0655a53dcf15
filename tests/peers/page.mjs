// The status page in a real browser: node tests/peers/page.mjs MODULES PAGE [FOLDER]
//
// MODULES is a folder of node modules with playwright-core and axe-core, PAGE the example `page`, FOLDER takes screenshots
// for people to look at. The browser is $CHROMIUM, else /usr/bin/chromium.
//
// Good and bad days, few and many repositories, light and dark, wide and as narrow as a phone: axe finds nothing to object
// to, nothing is loaded or run, the policy is never hurt, and the body never has to be scrolled sideways.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

const [modules, program, folder] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "page.js"));
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;

const DAYS = [["12"], ["3", "calm"], ["12", "alarm"], ["0"], ["1000"]];
const VIEWS = [
  { name: "desk", viewport: { width: 1280, height: 900 } },
  { name: "phone", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
  { name: "narrow", viewport: { width: 320, height: 640 } },
];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const BOUND = 400_000;

const faults = [];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

for (const day of DAYS) {
  const server = spawn(program, day, { stdio: ["pipe", "pipe", "inherit"] });
  const url = await new Promise((found, failed) => {
    readline.createInterface({ input: server.stdout }).once("line", found);
    server.once("exit", (code) => failed(new Error(`${program} ${day} ended with ${code}`)));
  });
  for (const { name, ...view } of VIEWS) {
    for (const colorScheme of ["light", "dark"]) {
      const where = `${day.join("-")}-${name}-${colorScheme}`;
      const fault = (what) => faults.push(`${where}: ${what}`);
      // The checks bring a script of their own, which the page's policy would refuse.
      const context = await browser.newContext({ ...view, colorScheme, bypassCSP: true });
      const page = await context.newPage();
      page.on("request", (request) => request.url() === url || request.url().startsWith("data:") || fault(`asks for ${request.url()}`));
      page.on("pageerror", (error) => fault(error.message));
      const answer = await page.goto(url);
      if (answer.status() !== 200) fault(`status ${answer.status()}`);
      const { length } = await answer.body();
      if (length > BOUND) fault(`${length} bytes`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) fault(`the body is ${wide} pixels too wide`);
      const scripts = await page.locator("script, iframe, form, img, [onclick], [style]").count();
      if (scripts > 0) fault(`${scripts} elements that there must not be`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate((rules) => globalThis.axe.run({ runOnly: rules }), RULES);
      for (const { id, help, nodes } of violations) fault(`${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
      if (folder) await page.screenshot({ path: path.join(folder, `${where}.png`), fullPage: day[0] !== "1000" });
      await context.close();
    }
  }
  // With the policy in force the page must look the same: its style counts, and nothing is refused.
  const page = await browser.newPage();
  page.on("console", (message) => faults.push(`${day}: the console says ${message.text()}`));
  await page.goto(url);
  const family = await page.evaluate(() => getComputedStyle(document.body).fontFamily);
  if (!family.includes("system-ui")) faults.push(`${day}: the style does not count (${family})`);
  await page.close();
  server.removeAllListeners("exit");
  server.stdin.end();
}
await browser.close();
console.log(faults.length ? faults.join("\n") : `${DAYS.length * VIEWS.length * 2} views in order`);
process.exit(faults.length ? 1 : 0);
