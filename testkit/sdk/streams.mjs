// What the official TypeScript SDK makes of streams, whichever way they end. Runs
// in the folder in which ./install has put the SDK.
//
// Standard input has a line of JSON for each stream to ask for: the `base_url` that
// the SDK is given, and the `session` that the request names. Standard output gets
// one for each, in any order: the `session` again, and what an application would
// have got of the SDK: a `message`, or an `error` by its class and its type. Either
// way `starts` counts how often a message began.
// streams.py does the same.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.cwd(), "package.json"));
const { default: Anthropic } = require("@anthropic-ai/sdk");

const { API_KEY } = process.env;
const AT_ONCE = 8;

const QUESTION = {
  model: "claude-sonnet-4-6",
  max_tokens: 1024,
  messages: [{ role: "user", content: "hello" }],
};

const clients = new Map();

function client(baseURL) {
  if (!clients.has(baseURL)) {
    const options = { baseURL, apiKey: API_KEY, maxRetries: 0, timeout: 60_000 };
    clients.set(baseURL, new Anthropic(options));
  }
  return clients.get(baseURL);
}

async function ask({ base_url, session }) {
  const headers = { "x-claude-code-session-id": session };
  const heard = { session, starts: 0 };
  try {
    const stream = client(base_url).messages.stream(QUESTION, { headers });
    stream.on("streamEvent", ({ type }) => (heard.starts += type === "message_start"));
    heard.message = await stream.finalMessage();
  } catch (error) {
    heard.error = { class: error.constructor.name, type: error.error?.error?.type ?? null };
  }
  return heard;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function askOneAfterTheOther() {
  for await (const line of lines) console.log(JSON.stringify(await ask(JSON.parse(line))));
}

await Promise.all(Array.from({ length: AT_ONCE }, askOneAfterTheOther));
