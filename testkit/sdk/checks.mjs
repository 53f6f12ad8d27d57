// What the official TypeScript SDK must get out of the API, or of a proxy before
// it. Runs in the folder in which ./install has put the SDK.
//
// The environment says where: BASE_URL and API_KEY are what the SDK is given,
// SIMULATOR_URL is where faults are scripted, PROVIDER is `plan` or `bedrock`: who
// answers in the end. Prints a line for each check and ends with 1 when one failed.
// checks.py has the same list.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { default: Anthropic } = require("@anthropic-ai/sdk");

const { BASE_URL, API_KEY, SIMULATOR_URL, PROVIDER } = process.env;

const MODEL = "claude-sonnet-4-6";
const WEATHER = {
  name: "get_weather",
  description: "The weather of a city",
  input_schema: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
  },
};

// A red dot, and a page with nothing on it.
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQ" +
  "DwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
const PDF = "JVBERi0xLjQKJSVFT0YK";

const client = (options = {}) =>
  new Anthropic({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0, timeout: 60_000, ...options });

// Replaces what the simulator answers next.
async function script(...rules) {
  const answer = await fetch(`${SIMULATOR_URL}/_script`, {
    method: "POST",
    body: JSON.stringify(rules),
  });
  assert.equal(answer.status, 200, await answer.text());
}

const always = (reply) => script({ times: null, reply });

async function requestsSoFar() {
  const counts = await fetch(`${SIMULATOR_URL}/_counts`);
  return (await counts.json()).requests;
}

const ask = (text, fields = {}) => ({
  model: MODEL,
  max_tokens: 4096,
  messages: [{ role: "user", content: text }],
  ...fields,
});

// The error of exactly this class that an action ends with.
async function raised(kind, action) {
  try {
    await action();
  } catch (error) {
    assert.equal(error.constructor, kind, `${error.constructor.name}: ${error}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

// The error that an action ends with.
async function failure(action) {
  try {
    await action();
  } catch (error) {
    return error;
  }
  assert.fail("no error");
}

async function textsOf(stream) {
  const texts = [];
  stream.on("text", (text) => texts.push(text));
  // Also when the stream fails.
  await stream.done().catch(() => {});
  return texts;
}

const checks = {
  async "a message"() {
    const message = await client().messages.create(ask("say: hello world"));
    assert.equal(message.type, "message");
    assert.equal(message.role, "assistant");
    assert.equal(message.content[0].text, "hello world");
    assert.equal(message.stop_reason, "end_turn");
    assert.ok(message.usage.input_tokens > 0);
    assert.equal(message.usage.output_tokens, 3);
    assert.match(message._request_id, /^req_/);
  },

  async "a login in place of a key"() {
    const login = client({ apiKey: null, authToken: API_KEY });
    const message = await login.messages.create(ask("say: hi"));
    assert.equal(message.content[0].text, "hi");
  },

  async "a stream"() {
    const stream = client().messages.stream(ask("say: one two three"));
    const texts = await textsOf(stream);
    const message = await stream.finalMessage();
    assert.deepEqual(texts, ["one ", "two ", "three"]);
    assert.equal(message.content[0].text, "one two three");
    assert.equal(message.usage.output_tokens, 4);
    assert.ok(message.usage.input_tokens > 0);
  },

  async "raw events"() {
    const events = [];
    for await (const event of await client().messages.create(ask("say: one", { stream: true }))) {
      events.push(event);
    }
    assert.equal(events.at(0).type, "message_start");
    assert.equal(events.at(-1).type, "message_stop");
    assert.equal(events.at(-2).usage.output_tokens, 1);
    assert.equal(events.at(-2).delta.stop_reason, "end_turn");
  },

  async "a tool turn"() {
    const question = ask('use: get_weather {"city": "Paris"}', { tools: [WEATHER] });
    const message = await client().messages.create(question);
    assert.equal(message.stop_reason, "tool_use");
    const [use] = message.content;
    assert.equal(use.name, "get_weather");
    assert.deepEqual(use.input, { city: "Paris" });
    const result = { type: "tool_result", tool_use_id: use.id, content: "22 degrees" };
    question.messages.push(
      { role: "assistant", content: message.content },
      { role: "user", content: [result] },
    );
    const answer = await client().messages.create(question);
    assert.match(answer.content[0].text, /22 degrees/);
  },

  async "a streamed tool turn"() {
    const question = ask('use: get_weather {"city": "Rio de Janeiro"}', { tools: [WEATHER] });
    const message = await client().messages.stream(question).finalMessage();
    assert.deepEqual(message.content[0].input, { city: "Rio de Janeiro" });
    assert.equal(message.stop_reason, "tool_use");
  },

  async "several tools at once"() {
    const calls = ['use: get_weather {"city": "Paris"}', 'use: get_weather {"city": "Oslo"}'];
    const question = ask(calls.join("\n"), { tools: [WEATHER] });
    const message = await client().messages.stream(question).finalMessage();
    assert.deepEqual(message.content.map((use) => use.input.city), ["Paris", "Oslo"]);
    const results = message.content.map(({ id, input }) => {
      return { type: "tool_result", tool_use_id: id, content: `${input.city} is sunny` };
    });
    question.messages.push(
      { role: "assistant", content: message.content },
      { role: "user", content: results },
    );
    const answer = await client().messages.create(question);
    assert.match(answer.content[0].text, /is sunny/);
  },

  async "a tool that must be used"() {
    const tool_choice = { type: "tool", name: "get_weather" };
    const message = await client().messages.create(ask("hello", { tools: [WEATHER], tool_choice }));
    assert.deepEqual(message.content[0].input, { city: "example" });
  },

  async thinking() {
    const question = ask("say: done", { thinking: { type: "enabled", budget_tokens: 2000 } });
    const message = await client().messages.create(question);
    assert.deepEqual(message.content.map((block) => block.type), ["thinking", "text"]);
    assert.ok(message.content[0].thinking && message.content[0].signature);
    question.messages.push(
      { role: "assistant", content: message.content },
      { role: "user", content: "say: again" },
    );
    assert.equal((await client().messages.create(question)).content[1].text, "again");
  },

  async "streamed thinking"() {
    const question = ask("say: done", { thinking: { type: "adaptive" } });
    const stream = client().messages.stream(question);
    const kinds = new Set();
    for (const kind of ["thinking", "signature", "text"]) {
      stream.on(kind, () => kinds.add(kind));
    }
    const message = await stream.finalMessage();
    assert.deepEqual([...kinds], ["thinking", "signature", "text"]);
    assert.ok(message.content[0].thinking && message.content[0].signature);
  },

  async "thinking before a tool"() {
    const fields = { tools: [WEATHER], thinking: { type: "adaptive" } };
    const question = ask('use: get_weather {"city": "Paris"}', fields);
    const message = await client().messages.stream(question).finalMessage();
    const [thought, use] = message.content;
    assert.ok(thought.type === "thinking" && thought.signature && use.type === "tool_use");
    const result = { type: "tool_result", tool_use_id: use.id, content: "22 degrees" };
    question.messages.push(
      { role: "assistant", content: message.content },
      { role: "user", content: [result] },
    );
    const answer = await client().messages.create(question);
    assert.match(answer.content[0].text, /22 degrees/);
  },

  async "an image and a document"() {
    const content = (type, media_type, data) => ({
      type,
      source: { type: "base64", media_type, data },
    });
    const parts = [
      content("image", "image/png", PNG),
      content("document", "application/pdf", PDF),
      { type: "text", text: "say: seen" },
    ];
    assert.equal((await client().messages.create(ask(parts))).content[0].text, "seen");
    assert.equal(await client().messages.stream(ask(parts)).finalText(), "seen");
  },

  async "cached prompts"() {
    const unique = String(process.hrtime.bigint());
    const system = [
      { type: "text", text: unique.repeat(200), cache_control: { type: "ephemeral", ttl: "1h" } },
    ];
    const first = (await client().messages.create(ask("say: one", { system }))).usage;
    assert.ok(first.cache_creation_input_tokens > 400);
    const split = first.cache_creation;
    assert.equal(split.ephemeral_1h_input_tokens, first.cache_creation_input_tokens);
    const second = await client().messages.stream(ask("say: two", { system })).finalMessage();
    assert.equal(second.usage.cache_read_input_tokens, first.cache_creation_input_tokens);
  },

  async "token counting"() {
    const { max_tokens, ...question } = ask("four words are here");
    const count = await client().messages.countTokens(question);
    assert.ok(count.input_tokens > 3);
  },

  async models() {
    const listed = [];
    for await (const model of client().models.list({ limit: 2 })) listed.push(model.id);
    assert.ok(listed.length > 4 && new Set(listed).size === listed.length);
    const page = await client().models.list({ limit: 1000 });
    assert.deepEqual(page.data.map((model) => model.id), listed);
    assert.equal(page.has_more, false);
    const before = await client().models.list({ before_id: listed[3], limit: 2 });
    assert.deepEqual(before.data.map((model) => model.id), listed.slice(1, 3));
    const model = await client().models.retrieve(listed[0]);
    assert.equal(model.id, listed[0]);
    assert.ok(model.display_name && model.created_at);
    await raised(Anthropic.NotFoundError, () => client().models.retrieve("no-such-model"));
  },

  async retries() {
    const error = { error: { status: 529 } };
    await script(
      { times: 2, reply: { content: error, headers: [["retry-after-ms", "10"]] } },
      { reply: { content: { text: "at last" } } },
    );
    const message = await client({ maxRetries: 2 }).messages.create(ask("hi"));
    assert.equal(message.content[0].text, "at last");
  },

  async "retry after is a minimum"() {
    const error = { error: { status: 429 } };
    await script({ reply: { content: error, headers: [["retry-after", "1"]] } });
    const start = performance.now();
    await client({ maxRetries: 1 }).messages.create(ask("hi"));
    assert.ok(performance.now() - start >= 990);
  },

  async "events that arrive in pieces"() {
    await always({ writes: { bytes: 7 } });
    const stream = client().messages.stream(ask("say: äöü 漢字"));
    assert.equal(await stream.finalText(), "äöü 漢字");
  },

  async "large questions and answers"() {
    const text = ("word".repeat(250) + " ").repeat(1000);
    await always({ content: { text }, writes: { events: 100 } });
    assert.equal(await client().messages.stream(ask(text)).finalText(), text);
    assert.equal((await client().messages.create(ask(text))).content[0].text, text);
  },
};

// Of what Bedrock does not have, or does in another way.
const checksOfThePlan = {
  async "every error is typed"() {
    const errors = require("@anthropic-ai/sdk/core/error");
    const kinds = {
      400: errors.BadRequestError,
      401: errors.AuthenticationError,
      402: errors.PaymentRequiredError,
      403: errors.PermissionDeniedError,
      404: errors.NotFoundError,
      408: errors.RequestTimeoutError,
      409: errors.ConflictError,
      413: errors.ContentTooLargeError,
      422: errors.UnprocessableEntityError,
      429: errors.RateLimitError,
      500: errors.InternalServerError,
      503: errors.ServiceUnavailableError,
      529: errors.OverloadedError,
    };
    for (const [status, kind] of Object.entries(kinds)) {
      const message = `because of ${status}`;
      await always({ content: { error: { status: Number(status), message } } });
      for (const stream of [false, true]) {
        const error = await raised(kind, () => client().messages.create(ask("hi", { stream })));
        assert.equal(error.status, Number(status));
        assert.equal(error.error.error.message, message);
        assert.ok(error.error.error.type);
        assert.match(error.requestID, /^req_/);
      }
    }
  },

  async "an error that is not JSON"() {
    const body = { status: 403, content_type: "text/html", body: "<html>blocked</html>" };
    await always({ content: { body } });
    const error = await raised(Anthropic.PermissionDeniedError, () =>
      client().messages.create(ask("hi")),
    );
    assert.match(error.message, /blocked/);
  },

  async "an error inside a stream"() {
    const how = { error: { status: 529 } };
    await always({ ending: { at: { events: 5 }, how } });
    const stream = client().messages.stream(ask("say: one two three"));
    const texts = await textsOf(stream);
    const error = await stream.finalMessage().catch((error) => error);
    assert.ok(error instanceof Anthropic.APIError, String(error));
    assert.equal(error.error.error.type, "overloaded_error");
    assert.deepEqual(texts, ["one ", "two "]);
  },

  async "a stream that breaks"() {
    await always({ ending: { at: { events: 5 }, how: "reset" } });
    const stream = client().messages.stream(ask("say: one two three"));
    const texts = await textsOf(stream);
    await assert.rejects(stream.finalMessage());
    assert.deepEqual(texts, ["one ", "two "]);
  },

  async "no retry when told so"() {
    const error = { error: { status: 429 } };
    await always({ content: error, headers: [["x-should-retry", "false"]] });
    const before = await requestsSoFar();
    await raised(Anthropic.RateLimitError, () =>
      client({ maxRetries: 2 }).messages.create(ask("hi")),
    );
    assert.equal(await requestsSoFar(), before + 1);
  },

  async "a retry when told so"() {
    const headers = [["x-should-retry", "true"], ["retry-after-ms", "10"]];
    await script({ reply: { content: { error: { status: 400 } }, headers } });
    const message = await client({ maxRetries: 1 }).messages.create(ask("say: hi"));
    assert.equal(message.content[0].text, "hi");
  },

  async "compressed answers"() {
    for (const encoding of ["accepted", "gzip", "deflate", "br"]) {
      await always({ encoding });
      const message = await client().messages.create(ask("say: one two"));
      assert.equal(message.content[0].text, "one two");
      const stream = client().messages.stream(ask("say: one two"));
      assert.deepEqual(await textsOf(stream), ["one ", "two"]);
    }
  },

  async "the headers of the API"() {
    const { data, response } = await client().messages.create(ask("say: hi")).withResponse();
    assert.match(response.headers.get("request-id"), /^req_/);
    assert.ok(response.headers.get("anthropic-organization-id"));
    assert.ok(Number(response.headers.get("anthropic-ratelimit-requests-limit")) > 0);
    assert.equal(data.content[0].text, "hi");
  },
};

const checksOfBedrock = {
  async "every exception is an error of the API"() {
    const expected = {
      400: [400, "invalid_request_error"],
      403: [503, "api_error"],
      404: [404, "not_found_error"],
      408: [504, "api_error"],
      424: [500, "api_error"],
      429: [429, "rate_limit_error"],
      500: [500, "api_error"],
      503: [529, "overloaded_error"],
    };
    for (const [status, said] of Object.entries(expected)) {
      await always({ content: { error: { status: Number(status) } } });
      for (const stream of [false, true]) {
        const error = await failure(() => client().messages.create(ask("hi", { stream })));
        assert.deepEqual([error.status, error.error.error.type], said);
        assert.ok(error.error.error.message);
        assert.match(error.requestID, /^req_/);
      }
    }
  },

  async "a stream with another end"() {
    for (const how of [{ error: { status: 503 } }, "reset", "clean"]) {
      await always({ ending: { at: { events: 4 }, how } });
      const stream = client().messages.stream(ask("say: one two three"));
      const texts = await textsOf(stream);
      const error = await failure(() => stream.finalMessage());
      assert.deepEqual(texts, ["one ", "two ", "three"].slice(0, texts.length));
      if (how.error) {
        assert.ok(texts.length > 0);
        assert.match(error.error.error.type, /^(overloaded|api)_error$/);
      }
    }
  },

  async "no retry with a credential that Bedrock refuses"() {
    await always({ content: { error: { status: 403 } } });
    const before = await requestsSoFar();
    const error = await failure(() => client({ maxRetries: 2 }).messages.create(ask("hi")));
    assert.equal(error.status, 503);
    assert.equal(await requestsSoFar(), before + 1);
  },
};

const chosen = {
  ...checks,
  ...(PROVIDER === "bedrock" ? checksOfBedrock : checksOfThePlan),
};
let failures = 0;
for (const [name, check] of Object.entries(chosen)) {
  await script();
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
await script();
const { version } = JSON.parse(
  readFileSync(join(process.cwd(), "node_modules/@anthropic-ai/sdk/package.json")),
);
const total = Object.keys(chosen).length;
console.log(`@anthropic-ai/sdk ${version} for TypeScript: ${failures} of ${total} failed`);
process.exitCode = failures > 0 ? 1 : 0;
