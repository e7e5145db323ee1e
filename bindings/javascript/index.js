// libsmallmind: language models inside your program. See README.md; types are in index.d.ts.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import * as constants from "./constants.js";

export { constants };

/** What the library refuses: its message, its status (constants.SM_ERR_…), the system's number. */
export class SmallmindError extends Error {
  constructor(code, message, system = 0) {
    super(message);
    this.name = "SmallmindError";
    this.code = code;
    this.system = system;
  }
}

const beside = fileURLToPath(new URL("./smallmind.node", import.meta.url));
const native = createRequire(import.meta.url)(
  process.env.SMALLMIND_NODE ?? (existsSync(beside) ? beside : "smallmind.node"));

/** The library's version. */
export const version = native.setup(SmallmindError);

const FINISH = new Map(Object.entries(constants).filter(([name]) => name.startsWith("SM_FINISH_"))
  .map(([name, value]) => [value, name.slice("SM_FINISH_".length).toLowerCase()]));
const DISPOSE = Symbol.dispose ?? Symbol.for("Symbol.dispose");

// ---- options: by the library's own tables

const settable = new Set(["U32", "U64", "F64", "ENUM", "BOOL", "STRING"]
  .map((type) => constants[`SM_OPTION_${type}`]));

/** Map of name to {place, type, names, unit, doc, zero} of what is set from numbers and texts; the
 * length of a list goes with the list. */
function table(number) {
  const rows = native.options(number).map((row, place) => ({ ...row, place }));
  const names = new Set(rows.map((row) => row.name));
  return new Map(rows.filter((row) => settable.has(row.type))
    .filter((row) => !(row.name.startsWith("n_") && names.has(row.name.slice(2))))
    .map((row) => [row.name, row]));
}

const TABLES = {
  Model: table(constants.SM_OPTIONS_MODEL), session: table(constants.SM_OPTIONS_SESSION),
  generate: table(constants.SM_OPTIONS_GENERATE), sampling: table(constants.SM_OPTIONS_SAMPLING),
  fork: table(constants.SM_OPTIONS_FORK), encoder: table(constants.SM_OPTIONS_ENCODER),
};

/** What options there are: {Model, session, generate, sampling, fork, encoder}, of each {name: what
 * it is}. */
export function options() {
  return Object.fromEntries(Object.entries(TABLES).map(([name, rows]) => [name,
    Object.fromEntries([...rows.values()].map((row) => [row.name, row.doc]))]));
}

function whole(name, value, bits) {
  if (typeof value !== "bigint" && typeof value !== "number") {
    throw new TypeError(`${name} is no number`);
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`${name} is ${value}, no whole number that is exact`);
  }
  const number = BigInt(value);
  if (number < 0n || number >= 1n << BigInt(bits)) {
    throw new RangeError(`${name} is ${value}, not in 0..2**${bits} - 1`);
  }
  return bits === 64 ? number : Number(number);
}

function text(name, value) {
  if (typeof value !== "string") throw new TypeError(`${name} is no string`);
  return value;
}

function json(name, value) {
  const string = JSON.stringify(value);
  if (string === undefined) throw new TypeError(`${name} cannot be written as JSON`);
  return string;
}

/** A string that C reads up to a zero. */
function zeroEnded(name, value) {
  if (text(name, value).includes("\0")) throw new RangeError(`${name} holds a zero`);
  return value;
}

function place(row, value) {
  const found = native.find(row.names, value);
  if (found < 0) throw new RangeError(`${row.name}: "${value}" is none of ${row.names}`);
  return found;
}

function fieldValue(row, value) {
  switch (row.type) {
    case constants.SM_OPTION_STRING:
      return zeroEnded(row.name, value);
    case constants.SM_OPTION_F64:
      if (typeof value !== "number") throw new TypeError(`${row.name} is no number`);
      return value === 0 && row.zero ? row.zero : value;
    case constants.SM_OPTION_U64:
      return whole(row.name, value, 64);
    case constants.SM_OPTION_BOOL:
      return whole(row.name, typeof value === "boolean" ? Number(value) : value, 32);
    case constants.SM_OPTION_ENUM:
      return typeof value === "string" ? place(row, value) : whole(row.name, value, 32);
    default:
      return Number(value) === 0 && typeof value !== "string" && row.zero ? row.zero
        : whole(row.name, value, 32);
  }
}

/** Pairs of place and value for the addon, of those in `given`, which loses them. */
function pairs(rows, given) {
  const found = [];
  for (const [name, row] of rows) {
    if (!Object.hasOwn(given, name)) continue;
    if (given[name] !== undefined) found.push(row.place, fieldValue(row, given[name]));
    delete given[name];
  }
  return found;
}

function refuse(given) {
  for (const name in given) {
    if (given[name] !== undefined) throw new TypeError(`unknown option "${name}"`);
  }
}

function texts(name, value) {
  const list = value === undefined ? [] : typeof value === "string" ? [value] : [...value];
  return list.map((one) => text(name, one));
}

/** Lists of texts; `given` loses them. */
function lists(given, ...names) {
  return names.map((name) => {
    const found = texts(name, given[name]);
    delete given[name];
    return found;
  });
}

/** What the addon takes of options of sampling; `given` loses them. */
function samplingOptions(given) {
  const bias = [...(given.bias instanceof Map ? given.bias : Object.entries(given.bias ?? {}))];
  delete given.bias;
  const tokens = idArray(bias.map(([id]) => Number(id)));
  const values = Float64Array.from(bias, ([, value]) => value);
  return [pairs(TABLES.sampling, given), [...lists(given, "dry_breaker_texts"), tokens, values]];
}

const CONSTRAINTS = { schema: 0, grammar: constants.SM_CONSTRAINT_GRAMMAR,
  regex: constants.SM_CONSTRAINT_REGEX };

/** What the text must match: [kind, text]; `given` loses it. */
function constraint(given) {
  const asked = Object.keys(CONSTRAINTS).filter((name) => given[name] !== undefined);
  if (asked.length > 1) throw new TypeError(`${asked.join(" and ")} cannot go together`);
  const [name] = asked;
  const value = given[name];
  for (const one in CONSTRAINTS) delete given[one];
  if (name === undefined) return undefined;
  const written = name === "schema" && typeof value !== "string" ? json(name, value)
    : value instanceof RegExp ? value.source : text(name, value);
  return [CONSTRAINTS[name], written];
}

/** What the addon takes of options of generating and sampling; `given` loses them. */
function textOptions(given) {
  return [pairs(TABLES.generate, given), lists(given, "stop", "ban"), samplingOptions(given),
          constraint(given)];
}

function idArray(ids) {
  if (ids instanceof Int32Array) return ids;
  for (const id of ids) {
    if (!Number.isInteger(id) || id !== (id | 0)) throw new RangeError(`${id} is no token's id`);
  }
  return Int32Array.from(ids);
}

// ---- calls in threads of their own

/** A call that ends once. begin(callback) gives its job. */
function once(begin, signal, progress) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    let job;
    let failure = null;
    const abort = () => native.cancel(job);
    const told = (value, error, outcome) => {
      if (value !== undefined) {
        native.taken(job);
        try {
          if (failure === null) progress(...value);
        } catch (thrown) {
          failure = { thrown };
          native.cancel(job);
        }
        return;
      }
      signal?.removeEventListener("abort", abort);
      if (failure !== null) reject(failure.thrown);
      else if (error !== undefined && signal?.aborted) reject(signal.reason);
      else if (error !== undefined) reject(error);
      else resolve(outcome);
    };
    job = begin(told);
    signal?.addEventListener("abort", abort);
  });
}

/** What a job has told and nobody has read. The addon's callback knows this alone, so that a stream
 * which nobody holds any more can be collected, which ends its job. */
class Inbox {
  items = [];
  ended = false;
  error = undefined;
  wake = () => {};

  told = (value, error) => {
    if (value !== undefined) {
      this.items.push(value);
    } else {
      this.ended = true;
      this.error = error;
    }
    this.wake();
  };
}

const abandoned = new FinalizationRegistry((job) => native.cancel(job));

/** Gives what a call tells, piece by piece; the call begins with the first next(). */
class Stream {
  #begin;
  #signal;
  #read;
  #job = null;
  #inbox = new Inbox();
  #over = false;
  #left = false; // return() has been called
  #last = Promise.resolve();
  #abort = null;

  constructor(begin, signal, read) {
    this.#begin = begin;
    this.#signal = signal;
    this.#read = read;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() { // one after the other, whoever calls
    return this.#queued(() => this.#next());
  }

  return(value) { // at once: a next() that waits ends by it
    this.#left = true;
    if (this.#job !== null && !this.#inbox.ended) native.cancel(this.#job);
    return this.#queued(async () => {
      await this.#finish();
      return { done: true, value };
    });
  }

  async [Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]() {
    await this.return();
  }

  #queued(work) {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  #start() {
    this.#signal?.throwIfAborted();
    const job = this.#begin(this.#inbox.told);
    this.#job = job;
    this.#begin = null;
    this.#abort = () => native.cancel(job);
    this.#signal?.addEventListener("abort", this.#abort);
    abandoned.register(this, job, this);
  }

  async #wait() { // the program goes on while somebody waits, else it may end
    native.hold(this.#job, true);
    await new Promise((resolve) => { this.#inbox.wake = resolve; });
    native.hold(this.#job, false);
  }

  async #next() {
    try {
      while (!this.#over && !this.#left) {
        const value = await this.#take();
        if (value === undefined) break;
        const piece = this.#read(value);
        if (piece !== "") return { done: false, value: piece };
      }
    } catch (failure) {
      await this.#finish();
      if (!this.#left) throw failure;
    }
    await this.#finish();
    return { done: true, value: undefined };
  }

  /** What is told next; undefined at the end. */
  async #take() {
    const inbox = this.#inbox;
    if (this.#job === null) this.#start();
    while (inbox.items.length === 0 && !inbox.ended) await this.#wait();
    if (inbox.items.length > 0 && !this.#signal?.aborted) {
      if (!inbox.ended) native.taken(this.#job);
      return inbox.items.shift();
    }
    if (this.#signal?.aborted && inbox.error !== undefined) throw this.#signal.reason;
    if (inbox.items.length > 0) return inbox.items.shift();
    if (inbox.error !== undefined) throw inbox.error;
    return undefined;
  }

  async #finish() {
    this.#over = true;
    if (this.#job === null) return;
    if (!this.#inbox.ended) native.cancel(this.#job);
    while (!this.#inbox.ended) await this.#wait();
    this.#inbox.items.length = 0;
    this.#signal?.removeEventListener("abort", this.#abort);
    abandoned.unregister(this);
  }
}

// ---- handles

/** A model of a GGUF file, or of a Hugging Face directory: await Model.load(path, options). */
export class Model {
  #handle;

  constructor(handle, key) {
    if (key !== native) throw new TypeError("use Model.load(path, options)");
    this.#handle = handle;
  }

  static async load(path, { progress, signal, ...given } = {}) {
    const name = zeroEnded("path", path instanceof URL ? fileURLToPath(path) : path);
    const how = pairs(TABLES.Model, given);
    refuse(given);
    const handle = await once((told) => native.load(name, how, progress !== undefined, told),
                              signal, progress);
    return new Model(handle, native);
  }

  get info() {
    return native.modelInfo(this.#handle);
  }

  /** The ids of a text, an Int32Array. */
  encode(string, { special = false, markers = true } = {}) {
    const flags = (special ? constants.SM_ENCODE_SPECIAL : 0)
      | (markers ? constants.SM_ENCODE_MARKERS : 0);
    return native.encode(this.#handle, text("text", string), flags);
  }

  /** The text of ids; what is no UTF-8 becomes U+FFFD. */
  decode(ids, { special = false } = {}) {
    return native.decode(this.#handle, idArray(ids),
                         constants.SM_DECODE_TEXT | (special ? constants.SM_DECODE_SPECIAL : 0));
  }

  session(given = {}) {
    const rest = { ...given };
    const how = pairs(TABLES.session, rest);
    refuse(rest);
    return new Session(native.session(this.#handle, how), native);
  }

  /** What makes vectors and scores of texts. */
  encoder(given = {}) {
    const rest = { ...given };
    const how = pairs(TABLES.encoder, rest);
    refuse(rest);
    return new Encoder(native.encoder(this.#handle, how), native);
  }

  close() {
    native.close(this.#handle);
  }

  [DISPOSE]() {
    this.close();
  }
}

/** A sequence of tokens with a model, which it keeps. One call at a time. */
export class Session {
  #handle;

  constructor(handle, key) {
    if (key !== native) throw new TypeError("use model.session(options)");
    this.#handle = handle;
  }

  get length() {
    return native.length(this.#handle);
  }

  get tokens() {
    return native.tokens(this.#handle);
  }

  /** About the last text that was generated. */
  get stats() {
    const stats = native.stats(this.#handle);
    return { ...stats, finish: FINISH.get(stats.finish) ?? "other" };
  }

  /** Appends tokens and computes them. */
  async feed(ids, { signal } = {}) {
    const array = idArray(ids);
    await once((told) => native.feed(this.#handle, array, told), signal);
  }

  /** Makes it hold exactly these tokens; tells how many of them it held already. */
  async sync(ids, { signal } = {}) {
    const array = idArray(ids);
    return once((told) => native.sync(this.#handle, array, told), signal);
  }

  /** Forgets all tokens from position `length` on. */
  async rewind(length, { signal } = {}) {
    const kept = whole("length", length, 32);
    await once((told) => native.rewind(this.#handle, kept, told), signal);
  }

  /** After the last token: a copy, a Float32Array. */
  logits() {
    return native.logits(this.#handle);
  }

  /** Chooses a next token: {id, logprob, rank}. */
  sample(given = {}) {
    const rest = { ...given };
    const how = samplingOptions(rest);
    refuse(rest);
    return native.sample(this.#handle, how);
  }

  /** A second session with the same tokens, cache and logits. */
  async fork({ signal, ...given } = {}) {
    const how = pairs(TABLES.fork, given);
    refuse(given);
    const handle = await once((told) => native.fork(this.#handle, how, told), signal);
    return new Session(handle, native);
  }

  /** Continues a text: an async iterator of its pieces. Leaving the loop ends the work. */
  generate(prompt, given = {}) {
    return this.#text(prompt, given, (token) => token.text);
  }

  /** The same as tokens: {id, text, logprob, top, in_prompt}. */
  stream(prompt, given = {}) {
    return this.#text(prompt, given, (token) => token);
  }

  #text(prompt, { signal, ...given }, read) {
    const start = text("prompt", prompt);
    const how = textOptions(given);
    refuse(given);
    return new Stream((told) => native.generate(this.#handle, start, how, told), signal, read);
  }

  /** The whole continuation. */
  async complete(prompt, given = {}) {
    let whole = "";
    for await (const piece of this.generate(prompt, given)) whole += piece;
    return whole;
  }

  /** Answers messages as in OpenAI's API: an async iterator of deltas, of which the last has the
   * whole "message", the "finish_reason" and the "usage". */
  chat(messages, { tools, template, tool_choice, format, variables, signal, ...given } = {}) {
    const asked = [json("messages", messages),
                   tools === undefined ? undefined : json("tools", tools),
                   ...Object.entries({ template, tool_choice, format }).map(([name, value]) =>
                     value === undefined ? undefined : zeroEnded(name, value)),
                   variables === undefined ? undefined : json("variables", variables)];
    const how = textOptions(given);
    refuse(given);
    return new Stream((told) => native.chat(this.#handle, asked, how, told), signal, JSON.parse);
  }

  /** Ends the call that the session is in. */
  close() {
    native.close(this.#handle);
  }

  [DISPOSE]() {
    this.close();
  }
}

/** Vectors and scores of texts, of one text or of many together. One call at a time. */
export class Encoder {
  #handle;

  constructor(handle, key) {
    if (key !== native) throw new TypeError("use model.encoder(options)");
    this.#handle = handle;
  }

  /** {pooling, n_dims, n_embd, max_tokens, n_labels} */
  get info() {
    return native.encoderInfo(this.#handle);
  }

  /** Names of the scores of a text. */
  get labels() {
    return native.labels(this.#handle);
  }

  /** The vector of a text, a Float32Array, or those of a list of texts. */
  embed(given, { signal } = {}) {
    return this.#rows(native.embed, given, signal);
  }

  /** The scores of a text by labels, or those of a list of texts. */
  score(given, { signal } = {}) {
    return this.#rows(native.score, given, signal);
  }

  /** How well documents answer a query, the greater the better: a Float32Array. */
  async rerank(query, documents, { signal } = {}) {
    const asked = [texts("documents", documents), text("query", query)];
    return once((told) => native.rerank(this.#handle, asked, told), signal);
  }

  async #rows(call, given, signal) {
    const list = texts("texts", given);
    const all = await once((told) => call(this.#handle, [list], told), signal);
    const width = list.length > 0 ? all.length / list.length : 0;
    const rows = list.map((_, i) => all.subarray(i * width, (i + 1) * width));
    return typeof given === "string" ? rows[0] : rows;
  }

  /** Ends the call that it is in. */
  close() {
    native.close(this.#handle);
  }

  [DISPOSE]() {
    this.close();
  }
}
