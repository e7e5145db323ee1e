// SMALLMIND_TEST_MODEL names a model with a vocabulary. Run with --expose-gc.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { Worker } from "node:worker_threads";

import { Model, SmallmindError, constants, options, version } from "../index.js";

const PATH = process.env.SMALLMIND_TEST_MODEL;
const MANY = { max_tokens: 1e6, ignore_end: true, context_full: "slide" };
const CHAT = { template: "chatml", max_tokens: 8 };

const load = () => Model.load(PATH);
const small = (model) => model.session({ n_ctx: 64, n_threads: 1 });
const ready = async () => small(await load());
const status = (code) => (error) => error instanceof SmallmindError && error.code === code;
const mapped = () => readFileSync("/proc/self/maps", "utf8").includes(PATH);

async function until(condition) {
  for (let i = 0; i < 400 && !condition(); i++) {
    globalThis.gc();
    await later(5);
  }
  assert.ok(condition());
}

async function list(stream) {
  const all = [];
  for await (const one of stream) all.push(one);
  return all;
}

test("texts there and back", async () => {
  const model = await load();
  const ids = model.encode("and the end\0!", { markers: false });
  assert.ok(ids instanceof Int32Array && ids.length > 2);
  assert.equal(model.decode(ids).trim(), "and the end\0!");
  assert.equal(model.encode("", { markers: false }).length, 0);
  assert.equal(model.info.architecture, "llama");
  assert.ok(model.info.n_vocab > 0);
  assert.throws(() => model.decode([1 << 30]), status(constants.SM_ERR_TOKEN));
  assert.throws(() => model.encode(5), TypeError);
  assert.match(version, /^\d+\.\d+\.\d+/);
});

test("errors have a status, a message, and the system's number", async () => {
  await assert.rejects(Model.load("/nonexistent/m.gguf"), (error) =>
    status(constants.SM_ERR_IO)(error) && error.system === 2 && /nonexistent/.test(error.message));
  const model = await load();
  assert.throws(() => model.session({ n_threads: 100000 }), (error) =>
    status(constants.SM_ERR_ARGUMENT)(error) && /n_threads/.test(error.message));
  const session = small(model);
  await assert.rejects(session.feed([1 << 30]), status(constants.SM_ERR_TOKEN));
  assert.throws(() => session.logits(), status(constants.SM_ERR_STATE));
  await assert.rejects(list(session.generate("Once", { n_logprobs: 1000 })),
                       status(constants.SM_ERR_ARGUMENT));
  await assert.rejects(list(session.chat([{ role: "user", content: "a" }], { template: "none" })),
                       status(constants.SM_ERR_ARGUMENT));
});

test("options are looked at before the library sees them", async () => {
  await assert.rejects(Model.load(PATH, { colour: "blue" }), /unknown option "colour"/);
  await assert.rejects(Model.load(PATH, { io: "sideways" }), RangeError);
  await assert.rejects(Model.load(`${PATH}\0x`), RangeError);
  const model = await load();
  for (const [wrong, how] of [[{ n_ctx: 2 ** 32 + 64 }, RangeError], [{ n_ctx: -1 }, RangeError],
    [{ n_ctx: 12.7 }, RangeError], [{ n_ctx: "12" }, TypeError], [{ n_contexts: 1 }, TypeError]]) {
    assert.throws(() => model.session(wrong), how);
  }
  const session = small(model);
  assert.throws(() => session.generate("Once", { regex: "a", schema: {} }), TypeError);
  assert.throws(() => session.generate("Once", { stop: [5] }), TypeError);
  assert.throws(() => session.generate(5), TypeError);
  assert.throws(() => session.chat(undefined), TypeError);
  await assert.rejects(session.feed([2 ** 32]), RangeError);
  await assert.rejects(session.rewind(2 ** 32), RangeError);
  assert.throws(() => new Model({}), TypeError);
  assert.ok(options().generate.max_tokens.length > 0);
  await list(session.generate("Once", { max_tokens: 2, seed: 2n ** 64n - 1n, top_k: undefined }));
});

test("texts come piece by piece", async () => {
  const session = await ready();
  const whole = await session.complete("Once", { max_tokens: 12 });
  assert.ok(whole.length > 0);
  const pieces = await list(session.generate("Once", { max_tokens: 12 }));
  assert.equal(pieces.join(""), whole);
  const tokens = await list(session.stream("Once", { max_tokens: 12, n_logprobs: 2 }));
  assert.equal(tokens.map((token) => token.text).join(""), whole);
  for (const token of tokens.filter(({ id }) => id >= 0)) {
    assert.equal(token.top.length, 2);
    assert.deepEqual([token.top[0].id, token.top[0].logprob], [token.id, token.logprob]);
  }
  assert.equal(session.stats.finish, "length");
  assert.equal(session.stats.generated_tokens, 12);
  const echoed = await list(session.stream("Once", { max_tokens: 1, echo: true }));
  assert.ok(echoed[0].in_prompt && Number.isNaN(echoed[0].logprob));
  const stopped = await session.complete("Once", { max_tokens: 12, stop: whole.slice(-1) });
  assert.ok(whole.startsWith(stopped) && stopped.length < whole.length);
});

test("a loop that is left ends the work", async () => {
  const session = await ready();
  for (let i = 0; i < 20; i++) {
    for await (const piece of session.generate("Once", MANY)) {
      assert.ok(piece.length > 0);
      break;
    }
  }
  await assert.rejects(async () => {
    for await (const token of session.stream("Once", MANY)) throw new EvalError(String(token.id));
  }, EvalError);
  const stream = session.generate("Once", MANY);
  const first = stream.next();
  const both = [stream.next(), stream.next()];
  const left = stream.return("enough");
  assert.deepEqual(await left, { done: true, value: "enough" });
  await Promise.all([first, ...both]);
  assert.ok((await stream.next()).done);
  assert.ok((await session.complete("Once", { max_tokens: 3 })).length > 0);
});

test("Node goes on while the library computes", async () => {
  const session = await ready();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const feeding = session.feed(new Array(60).fill(1));
  assert.throws(() => session.logits(), status(constants.SM_ERR_STATE)); // one call at a time
  await feeding;
  for await (const piece of session.generate("Once", MANY)) {
    assert.ok(piece);
    if (ticks > 3) break; // otherwise it ends with its last token
  }
  clearInterval(timer);
  assert.ok(ticks > 3, String(ticks));
});

test("AbortSignals and signals cancel", async () => {
  const session = await ready();
  await assert.rejects(session.complete("Once", { ...MANY, signal: AbortSignal.timeout(20) }),
                       { name: "TimeoutError" });
  const given = AbortSignal.abort(new EvalError("before"));
  for (const call of [() => session.complete("Once", { signal: given }),
    () => session.feed([1], { signal: given }), () => Model.load(PATH, { signal: given })]) {
    await assert.rejects(call, EvalError);
  }
  const controller = new AbortController();
  await assert.rejects(async () => {
    for await (const piece of session.generate("Once", { ...MANY, signal: controller.signal })) {
      assert.ok(piece);
      controller.abort(new EvalError("meanwhile"));
    }
  }, EvalError);
  const told = new AbortController();
  process.once("SIGUSR2", () => told.abort());
  setTimeout(() => process.kill(process.pid, "SIGUSR2"), 5);
  await assert.rejects(session.complete("Once", { ...MANY, signal: told.signal }),
                       { name: "AbortError" });
  await session.rewind(0);
  await session.feed([1, 2]); // nothing is left of it
  const cut = assert.rejects(session.complete("Once", MANY), status(constants.SM_ERR_CANCELLED));
  setTimeout(() => session.close(), 5); // ends it
  await cut;
});

test("what a callback throws comes out of the call", async () => {
  let told = 0;
  await assert.rejects(Model.load(PATH, { progress: () => {
    told++;
    throw new EvalError("enough");
  } }), EvalError);
  assert.equal(told, 1);
  const seen = [];
  await Model.load(PATH, { progress: (...numbers) => seen.push(numbers) });
  const [done, total] = seen.at(-1);
  assert.ok(done > 0 && done === total);
});

test("token by token", async () => {
  const model = await load();
  const session = small(model);
  const ids = model.encode("Once upon a time");
  await session.feed(ids);
  assert.deepEqual(session.tokens, ids);
  const logits = session.logits();
  assert.ok(logits instanceof Float32Array && logits.length === model.info.n_vocab);
  const greedy = session.sample();
  assert.equal(greedy.id, logits.indexOf(Math.max(...logits)));
  assert.equal(greedy.rank, 0);
  const draw = (seed, more) => session.sample({ temperature: 100, seed, ...more }).id;
  const seeds = Array.from({ length: 40 }, (_, i) => i);
  assert.ok(seeds.every((seed) => draw(seed, { top_p: 0 }) === greedy.id)); // zero can be said
  assert.ok(seeds.some((seed) => draw(seed) !== greedy.id));
  assert.notEqual(session.sample({ bias: { [greedy.id]: -Infinity } }).id, greedy.id);
  assert.notEqual(session.sample({ bias: new Map([[greedy.id, -1000]]) }).id, greedy.id);
  const fork = await session.fork();
  session.close();
  model.close();
  assert.deepEqual(fork.logits(), logits);
  await fork.rewind(1);
  assert.equal(fork.length, 1);
  assert.equal(await fork.sync(ids), 1);
  assert.deepEqual(fork.logits(), logits);
});

test("chats", async () => {
  const model = await load();
  const session = model.session({ n_threads: 1 });
  const messages = [{ role: "user", content: 'A "quoted"\nline \u0001 ä' }];
  const deltas = await list(session.chat(messages, CHAT));
  const { message, finish_reason, usage } = deltas.at(-1);
  assert.equal(message.role, "assistant");
  assert.equal(deltas.map(({ content }) => content ?? "").join(""), message.content);
  assert.ok(["stop", "length"].includes(finish_reason) && usage.completion_tokens > 0);
  const tools = [{ type: "function", function: { name: "f", parameters: {} } }];
  await assert.rejects(list(session.chat(messages, { ...CHAT, tools, tool_choice: "g" })),
                       SmallmindError);
  for await (const delta of session.chat(messages, { ...CHAT, ...MANY })) {
    await later(20); // its thread waits to tell one more: the end comes behind that
    assert.ok(delta);
    break;
  }
  const schema = { enum: ["a", "b"] };
  const chosen = await list(session.chat(messages, { ...CHAT, max_tokens: 20, schema }));
  assert.ok(schema.enum.includes(JSON.parse(chosen.at(-1).message.content)));
});

test("texts that match something", async () => {
  const session = await ready();
  assert.ok(["a", "b"].includes(JSON.parse(
    await session.complete("Once", { max_tokens: 20, schema: { enum: ["a", "b"] } }))));
  assert.match(await session.complete("Once", { max_tokens: 20, regex: /[0-9]{3}/ }), /^\d{3}$/);
  assert.match(await session.complete("Once", { max_tokens: 20, grammar: 'root ::= "x"+ "y"' }),
               /^x+(y|$)/);
  await assert.rejects(session.complete("Once", { schema: "{" }), status(constants.SM_ERR_FORMAT));
});

test("vectors of texts", async () => {
  const model = await load();
  const encoder = model.encoder({ n_threads: 1 });
  model.close();
  const { n_dims, n_labels } = encoder.info;
  const words = ["Once upon a time", "and the end", ""];
  const vectors = await encoder.embed(words);
  assert.equal(vectors.length, 3);
  for (const vector of vectors) assert.ok(vector instanceof Float32Array && vector.length === n_dims);
  assert.ok(Math.abs(vectors[0].reduce((sum, x) => sum + x * x, 0) - 1) < 1e-4);
  assert.notDeepEqual(vectors[0], vectors[1]);
  assert.deepEqual(await encoder.embed(words[1]), vectors[1]); // alone the same
  assert.deepEqual(await encoder.embed([]), []);
  assert.equal(n_labels, 0);
  assert.deepEqual(encoder.labels, []);
  await assert.rejects(encoder.score("Once"), status(constants.SM_ERR_UNSUPPORTED));
  await assert.rejects(encoder.rerank("Once", words), status(constants.SM_ERR_UNSUPPORTED));
  await assert.rejects(encoder.embed([5]), TypeError);
  await assert.rejects(encoder.embed("Once", { signal: AbortSignal.abort(new EvalError()) }),
                       EvalError);
  const other = encoder.embed(new Array(2000).fill("Once upon a time there was"));
  await assert.rejects(encoder.embed("Once"), status(constants.SM_ERR_STATE)); // one at a time
  encoder.close(); // ends it
  await assert.rejects(other, status(constants.SM_ERR_CANCELLED));
  await assert.rejects(encoder.embed("Once"), status(constants.SM_ERR_STATE));
  const short = await load();
  const few = short.encoder({ n_dims: 8, raw: true, pooling: "mean", n_threads: 1 });
  assert.equal((await few.embed("Once")).length, 8);
  assert.throws(() => short.encoder({ pooling: "max" }), RangeError);
  few.close();
  short.close();
});

test("handles end in any order", async () => {
  await until(() => !mapped());
  let model = await load();
  let session = small(model);
  assert.ok(mapped());
  model.close();
  model.close();
  assert.throws(() => model.info, status(constants.SM_ERR_STATE));
  assert.throws(() => model.session(), status(constants.SM_ERR_STATE));
  const stream = session.generate("Once", { max_tokens: 3 });
  assert.equal((await list(stream)).length > 0, true);
  session.close(); // at once, although the stream is still there
  assert.ok(!mapped());
  assert.throws(() => session.length, status(constants.SM_ERR_STATE));
  await assert.rejects(list(session.generate("Once")), status(constants.SM_ERR_STATE));
  assert.ok(stream);
  model = await load();
  model[Symbol.dispose ?? Symbol.for("Symbol.dispose")]();
  assert.ok(!mapped());

  for (let i = 0; i < 50; i++) small(await load()).generate("Once"); // never closed
  model = session = null;
  assert.ok(mapped());
  await until(() => !mapped());
});

test("streams that nobody holds end", async () => {
  let session = await ready();
  await (async () => {
    const stream = session.generate("Once", MANY);
    await stream.next();
  })();
  await until(() => {
    try {
      session.logits();
      return true;
    } catch {
      return false;
    }
  });
  session.close();
  session = null;
  await until(() => !mapped());
});

test("sessions at the same time", async () => {
  const model = await load();
  const want = await small(model).complete("Once", { max_tokens: 8 });
  const all = await Promise.all(Array.from({ length: 6 }, () =>
    small(model).complete("Once", { max_tokens: 8 })));
  assert.deepEqual(all, new Array(6).fill(want));
});

test("worker threads, also such as are ended meanwhile", async () => {
  const program = `
    import { parentPort } from "node:worker_threads";
    const { Model } = await import(${JSON.stringify(new URL("../index.js", import.meta.url).href)});
    const model = await Model.load(${JSON.stringify(PATH)});
    const session = model.session({ n_ctx: 64, n_threads: 1 });
    parentPort.postMessage(await session.complete("Once", { max_tokens: 8 }));
    for await (const piece of session.generate("Once", ${JSON.stringify(MANY)})) piece;`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  const text = await new Promise((resolve, reject) => worker.on("message", resolve)
    .on("error", reject));
  assert.equal(text, await (await ready()).complete("Once", { max_tokens: 8 }));
  await worker.terminate();
});
