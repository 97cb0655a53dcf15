// The vendor's client and tagsyncd send the same requests to Vercel's Container Registry, and the vendor's client
// understands the fake.
//
// Both ask the fake the same, each through a proxy that writes down what goes over it; then the requests are compared: method,
// path, query, the headers that matter, and the body. What the two rightly do differently is listed in the tables
// below, with a date. Each answer of the REST API has to come out of the client's models as it went in.
//
//     npm install --prefix FOLDER @vercel/sdk@1.28.35
//     cargo build --example fakes && cargo build
//     node tests/peers/vercel_sdk.mjs --sdk FOLDER
//
// Exits with 0 when they agree, with 1 and the differences when they do not. Needs git and Node 18.3 or later. `--fakes` and
// `--tagsyncd` name the two programs where they are not in target/debug.

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isDeepStrictEqual, parseArgs } from "node:util";

const HOME = fileURLToPath(new URL("../..", import.meta.url));
const TOKEN = "secret";
const [TEAM, SLUG, PROJECT, REPOSITORY, IMAGE] = ["team_a1", "acme", "prj_1", "core", "acme/shop/core"];
// Enough for a second page together with the tags of the two commits.
const OTHERS = 100;

// What differs and may.
const ALLOWED = {
  // 2026-11-21: each names itself.
  "user-agent": "each has its own",
  // 2026-11-21: transport, not meaning.
  "accept-encoding": "each names what it decodes",
  "accept-language": "fetch adds one",
  "cache-control": "fetch adds one",
  "connection": "each keeps connections as it likes",
  // 2026-11-21: the client (1.28.35) sends an empty one with everything.
  "cookie": "the client sends an empty one",
  "content-length": "the bodies are compared",
  "host": "the proxies have different ports",
  "pragma": "fetch adds one",
  "sec-fetch-mode": "fetch adds one",
};

// What differs and may where a manifest is meant. 2026-11-21: the client (1.28.35) has the routes of the registry and nothing
// else of it: no way to name the kinds of manifest that are wanted, none to send one, and no login. What tagsyncd says there is
// checked in `wrongOfManifest`; the login is given to the client by hand.
const ALLOWED_OF_MANIFESTS = {
  ...ALLOWED,
  "accept": "the client says application/json, which is no manifest",
  "content-type": "the client names no media type",
};

// 2026-11-21: what the client (1.28.35) adds to a listing that asks for no order; the documentation has the same defaults
// (<https://vercel.com/docs/rest-api/sdk/vcr/list-repository-tags>).
const DEFAULT_ORDER = new Set(["sortBy=updatedAt", "sortOrder=desc"]);

// Answers that the client (1.28.35, 2026-11-21) has no model for: it wants JSON, and no such answer has any. Printed, so that
// it shows when that changes.
const WITHOUT_MODEL = new Set(["head tag", "head digest", "read manifest", "put manifest"]);

/** Passes requests on and keeps them. `refuse` may answer one in the server's place. */
class Proxy {
  requests = [];
  refuse = () => undefined;

  static async to(upstream) {
    const proxy = new Proxy();
    const target = new URL(upstream);
    proxy.server = http.createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const { method, url, headers } = request;
      const kept = { method, target: url, headers, body };
      proxy.requests.push(kept);
      const refusal = proxy.refuse(kept);
      if (refusal) {
        response.writeHead(refusal.status, { "content-type": "application/json" });
        response.end(JSON.stringify(refusal.body));
        return;
      }
      const passed = http.request({ host: target.hostname, port: target.port, path: url, method, headers, agent: false });
      passed.on("response", async (answer) => {
        const parts = [];
        for await (const part of answer) parts.push(part);
        kept.answer = { status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) };
        delete answer.headers["transfer-encoding"];
        delete answer.headers["connection"];
        response.writeHead(answer.statusCode, answer.headers);
        response.end(kept.answer.body);
      });
      passed.on("error", (fault) => response.destroy(fault));
      passed.end(body);
    });
    await new Promise((listening) => proxy.server.listen(0, "127.0.0.1", listening));
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** What came since the last time. */
  taken() {
    return this.requests.splice(0);
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

/** The operation that a request of tagsyncd to the REST API is. */
function kindOfRest({ method, target }) {
  const url = new URL(target, "http://any");
  const root = `/v1/vcr/repository/${REPOSITORY}`;
  const team = url.searchParams.has("slug") ? " by slug" : "";
  if (method !== "GET") return `${method} ${target}`;
  if (url.pathname === root) return `repository${team}`;
  if (url.pathname === `${root}/tags/v1.0`) return `tag${team}`;
  if (url.pathname !== `${root}/tags`) return `${method} ${target}`;
  if (url.searchParams.has("cursor")) return "next page";
  return url.searchParams.get("limit") === "1" ? "shown" : "list";
}

/** The operation that a request of tagsyncd to the registry is. */
function kindOfRegistry({ method, target }) {
  const url = new URL(target, "http://any");
  const [, reference] = url.pathname.split(`/v2/${IMAGE}/manifests/`);
  if (url.pathname === `/v2/${IMAGE}/tags/list`) return `${method === "GET" ? "" : method}names`;
  if (reference === undefined) return `${method} ${target}`;
  const digest = reference.startsWith("sha256:");
  const kinds = { GET: digest && "read manifest", HEAD: digest ? "head digest" : "head tag", PUT: !digest && "put manifest" };
  return kinds[method] || `${method} ${target}`;
}

/** What the vendor's client sends for the same requests, by the name of the operation, and what it misread. */
async function vendor(Vercel, rest, registry, written, refused) {
  const sent = { rest: new Map(), registry: new Map() };
  const [misread, unread] = [[], []];
  let read = 0;
  const retryConfig = { strategy: "none" };
  const client = new Vercel({ bearerToken: TOKEN, serverURL: rest.url, retryConfig }).vcr;
  const images = new Vercel({ serverURL: registry.url, retryConfig }).vcr;

  const note = async (where, proxy, operation, call) => {
    let answer;
    try {
      answer = await call;
    } catch (fault) {
      answer = fault;
    }
    const [request, ...more] = proxy.taken();
    if (!request || more.length) throw new Error(`${operation}: the client sent ${more.length + (request ? 1 : 0)} requests`);
    sent[where].set(operation, request);
    if (WITHOUT_MODEL.has(operation)) {
      const says = answer instanceof Error ? answer.message.split("\n")[0] : `${answer}`;
      unread.push(`${operation}: the client makes of ${request.answer.status} "${says}"`);
      return answer;
    }
    read += 1;
    const said = JSON.parse(request.answer.body);
    if (answer instanceof Error) misread.push(`${operation}: ${answer.name}: ${answer.message}`);
    else if (!isDeepStrictEqual(said, answer)) {
      misread.push(`${operation}: the fake says ${JSON.stringify(said)}, the client reads ${JSON.stringify(answer)}`);
    }
    return answer;
  };
  const onRest = (operation, call) => note("rest", rest, operation, call);
  const onRegistry = (operation, call) => note("registry", registry, operation, call);

  const place = { projectId: PROJECT, idOrName: REPOSITORY };
  const byId = { ...place, teamId: TEAM };
  const sorted = { ...byId, limit: 100, sortBy: "tag", sortOrder: "asc" };
  await onRest("repository", client.getRepository(byId));
  await onRest("shown", client.listRepositoryTags({ ...byId, limit: 1 }));
  const page = await onRest("list", client.listRepositoryTags(sorted));
  const next = await onRest("next page", client.listRepositoryTags({ ...sorted, cursor: page.nextCursor }));
  const names = new Set([...page.tags, ...next.tags].map(({ tag }) => tag));
  if (names.size !== OTHERS + 3 || next.nextCursor !== undefined) misread.push(`the pages have ${names.size} names`);
  const { tag } = await onRest("tag", client.getRepositoryTag({ ...byId, tag: "v1.0" }));
  if (tag.manifestDigest !== written) misread.push(`tag: ${tag.manifestDigest} is not ${written}, which was written`);
  await onRest("tag by slug", client.getRepositoryTag({ ...place, slug: SLUG, tag: "v1.0" }));
  // An error of the fake is one that the client understands.
  const fault = await client.getRepositoryTag({ ...byId, tag: "none" }).catch((fault) => fault);
  const { error } = JSON.parse(fault.body ?? "{}");
  read += 1;
  if (fault.statusCode !== 404 || error?.code !== "not_found") misread.push(`no tag: ${fault}`);
  rest.taken();

  const [teamSlug, projectSlug, repositoryName] = IMAGE.split("/");
  const image = { teamSlug, projectSlug, repositoryName };
  const route = (verb, of) => `${verb}ByTeamSlugByProjectSlugByRepositoryName${of}`;
  // The client cannot log in to the registry; this is done for it, so that there is an answer.
  const login = { headers: { authorization: basic() } };
  await onRegistry("names", images[route("get", "TagsList")]({ ...image, n: 1 }, login));
  const manifests = (verb, reference) => images[route(verb, "ManifestsByReference")]({ ...image, reference }, login);
  await onRegistry("head tag", manifests("head", "v1.0"));
  await onRegistry("head digest", manifests("head", refused));
  await onRegistry("read manifest", manifests("get", written));
  await onRegistry("put manifest", manifests("replace", "v1.0"));
  return { sent, misread, unread, read };
}

const basic = () => `Basic ${Buffer.from(`${TEAM}:${TOKEN}`).toString("base64")}`;

/** Commits and tags, made of nothing but fixed words and dates. */
class Core {
  constructor(folder) {
    this.path = join(folder, "core.git");
    execFileSync("git", ["init", "--quiet", "--bare", this.path]);
    const tree = this.git("mktree");
    this.commits = ["one", "two"].map((text) => this.git("commit-tree", tree, "-m", text));
  }

  git(...given) {
    const who = { NAME: "A", EMAIL: "a@example.com", DATE: "1700000000 +0000" };
    const env = { PATH: process.env.PATH, HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
    for (const [key, value] of Object.entries(who)) env[`GIT_AUTHOR_${key}`] = env[`GIT_COMMITTER_${key}`] = value;
    return execFileSync("git", ["-C", this.path, ...given], { env, input: "", encoding: "utf8" }).trim();
  }
}

/** What tagsyncd sends. */
async function ours(tagsyncd, folder, core, rest, registry) {
  const token = join(folder, "token");
  writeFileSync(token, TOKEN, { mode: 0o600 });
  const run = async (team, code, ...given) => {
    const config = join(folder, `${team}.toml`);
    writeFileSync(
      config,
      `[repository.core]
      path = "${core.path}"
      [remote.images]
      provider = "vercel"
      url = "${rest.url}"
      registry = "${registry.url}"
      team = "${team}"
      username = "${TEAM}"
      project = "${PROJECT}"
      repository = "${REPOSITORY}"
      image = "${IMAGE}"
      token = { file = "${token}" }
      target = { tag = "sha-{commit:12}" }
      [job.core]
      from = "core"
      to = ["images"]
      policy = "mirror"
      `,
    );
    const env = { PATH: process.env.PATH, TAGSYNCD_CONFIG: config, STATE_DIRECTORY: join(folder, "state") };
    // Not synchronously: the proxies run in this process.
    const started = spawn(tagsyncd, given, { env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [started.stdout, started.stderr]) stream.on("data", (text) => (said += text));
    const ended = await new Promise((done, failed) => started.on("close", done).on("error", failed));
    if (ended !== code) throw new Error(`${given.join(" ")} ended with ${ended}, not ${code}\n${said}`);
  };

  const tag = (commit) => core.git("tag", "-f", "v1.0", core.commits[commit]);
  tag(0);
  // A token that does not reach the repository itself is shown its tags; a plan keeps nothing of that.
  const hidden = { error: { code: "not_found", message: "VCR Repository not found" } };
  rest.refuse = (request) => (kindOfRest(request) === "repository" ? { status: 404, body: hidden } : undefined);
  await run(TEAM, 0, "plan");
  rest.refuse = () => undefined;
  await run(TEAM, 0, "--sync");
  await run(TEAM, 0, "explain", "core", "v1.0");
  await run(SLUG, 0, "explain", "core", "v1.0");
  // A manifest that the registry refuses is looked for.
  tag(1);
  const unknown = { errors: [{ code: "MANIFEST_BLOB_UNKNOWN", message: "blob unknown to registry" }] };
  registry.refuse = ({ method }) => (method === "PUT" ? { status: 404, body: unknown } : undefined);
  await run(TEAM, 1, "--sync");
  registry.refuse = () => undefined;

  const first = (requests, kind) => {
    const found = new Map();
    for (const request of requests) if (!found.has(kind(request))) found.set(kind(request), request);
    return found;
  };
  return { rest: first(rest.taken(), kindOfRest), registry: first(registry.taken(), kindOfRegistry) };
}

/**
 * A path, and its query in any order, because a server looks parameters up by name; both as they are sent, but for the colon:
 * the client writes `%3A`, which RFC 3986 (sections 2.2 and 3.3) makes the same in a path and in a query.
 */
function parts(target) {
  const [path, query = ""] = target.replaceAll("%3A", ":").split("?");
  return [path, query.split("&").sort()];
}

function* differences(theirs, our, allowed) {
  const [[path, query], [ourPath, ourQuery]] = [parts(theirs.target), parts(our.target)];
  const inOrder = ourQuery.some((part) => part.startsWith("sort"));
  const asked = inOrder ? query : query.filter((part) => !DEFAULT_ORDER.has(part));
  const pairs = [
    ["method", theirs.method, our.method],
    ["path", path, ourPath],
    ["query", asked.join("&"), ourQuery.join("&")],
  ];
  for (const name of new Set([...Object.keys(theirs.headers), ...Object.keys(our.headers)].sort())) {
    if (!(name in allowed)) pairs.push([`header ${name}`, theirs.headers[name], our.headers[name]]);
  }
  if (our.method !== "PUT") pairs.push(["body", theirs.body.toString(), our.body.toString()]);
  for (const [what, one, other] of pairs) {
    if (one !== other) yield `${what}: vendor ${JSON.stringify(one)}, tagsyncd ${JSON.stringify(other)}`;
  }
}

/** What of a request about a manifest the client cannot be asked about. `read` is one that tagsyncd has read before. */
function* wrongOfManifest(our, read) {
  const mediaType = read.answer.headers["content-type"];
  if (our.method !== "PUT") {
    const accepted = (our.headers.accept ?? "").split(",").map((kind) => kind.trim());
    if (!accepted.includes(mediaType)) yield `tagsyncd does not accept ${mediaType}`;
    return;
  }
  const digest = `sha256:${createHash("sha256").update(our.body).digest("hex")}`;
  if (!read.target.endsWith(`/${digest}`)) yield `tagsyncd puts ${digest}, which is not what it has read`;
  if (our.headers["content-type"] !== mediaType) yield `tagsyncd puts ${our.headers["content-type"]}, and not ${mediaType}`;
}

async function main() {
  const { values } = parseArgs({
    options: {
      sdk: { type: "string" },
      fakes: { type: "string", default: join(HOME, "target/debug/examples/fakes") },
      tagsyncd: { type: "string", default: join(HOME, "target/debug/tagsyncd") },
    },
  });
  if (!values.sdk) throw new Error("--sdk FOLDER: where npm has installed @vercel/sdk");
  const require = createRequire(pathToFileURL(join(resolve(values.sdk), "any.js")));
  const { version } = require("@vercel/sdk/package.json");
  const { Vercel } = await import(pathToFileURL(require.resolve("@vercel/sdk")));
  console.log(`@vercel/sdk ${version}`);

  const folder = mkdtempSync(join(tmpdir(), "vercel-sdk-"));
  const core = new Core(folder);
  const built = core.commits.map((commit) => `sha-${commit.slice(0, 12)}`);
  const others = Array.from({ length: OTHERS }, (_, at) => `other-${String(at).padStart(3, "0")}`);
  const fakes = spawn(values.fakes, [...built, ...others], { stdio: ["pipe", "pipe", "inherit"] });
  const proxies = [];
  let [failed, lacking] = [0, 0];
  try {
    let upstream;
    for await (const line of createInterface(fakes.stdout)) {
      const [name, ...rest] = line.split(" ");
      if (name === "vercel") {
        upstream = rest;
        break;
      }
    }
    for (const url of upstream) proxies.push(await Proxy.to(url));
    const our = await ours(values.tagsyncd, folder, core, ...proxies);
    const digestIn = (operation) => our.registry.get(operation).target.split("/").at(-1);
    const [written, refused] = ["read manifest", "head digest"].map(digestIn);
    const { sent, misread, unread, read } = await vendor(Vercel, ...proxies, written, refused);
    for (const what of misread) console.log(`misread  ${what}`);
    failed += misread.length;
    for (const what of unread) console.log(`no model ${what}`);
    let compared = 0;
    for (const [where, theirs] of Object.entries(sent)) {
      for (const [operation, request] of theirs) {
        const sentByUs = our[where].get(operation);
        const ofManifest = WITHOUT_MODEL.has(operation);
        const found = [];
        if (!sentByUs) found.push("is never sent by tagsyncd");
        else found.push(...differences(request, sentByUs, ofManifest ? ALLOWED_OF_MANIFESTS : ALLOWED));
        if (sentByUs && ofManifest) found.push(...wrongOfManifest(sentByUs, our.registry.get("read manifest")));
        failed += found.length;
        compared += 1;
        console.log(`${found.length ? "differs" : "agrees "}  ${operation.padEnd(14)}  ${request.method} ${request.target}`);
        for (const difference of found) console.log(`         ${difference}`);
      }
      for (const operation of our[where].keys()) {
        if (theirs.has(operation)) continue;
        lacking += 1;
        console.log(`differs  ${operation}: tagsyncd sends it, and the vendor's client does not`);
      }
    }
    console.log(`${compared} requests compared, ${failed - misread.length} differences; ${lacking} more that the client has no route for`);
    console.log(`${read} answers of the fake read by the client's models, ${misread.length} misread`);
  } finally {
    fakes.stdin.end();
    for (const proxy of proxies) proxy.stop();
    rmSync(folder, { recursive: true });
  }
  process.exitCode = failed + lacking ? 1 : 0;
}

await main();
