import type { EncoderInfo, EncoderOptions, ForkOptions, ModelInfo, ModelOptions, SamplingOptions,
              SessionOptions, Stats, TextOptions } from "./options.js";

export type { EncoderInfo, EncoderOptions, ForkOptions, ModelInfo, ModelOptions, SamplingOptions,
              SessionOptions, TextOptions };

declare global { // of later versions of the language
  interface SymbolConstructor {
    readonly dispose: unique symbol;
    readonly asyncDispose: unique symbol;
  }
}

/** Constants of the C headers: SM_ERR_IO, SM_FINISH_STOP … */
export const constants: Readonly<Record<string, number>>;
export const version: string;
/** What options there are, with their documentation. */
export function options(): Record<
  "Model" | "session" | "generate" | "sampling" | "fork" | "encoder", Record<string, string>>;

/** What the library refuses: its message, its status, the system's number of what failed or 0. */
export class SmallmindError extends Error {
  readonly code: number;
  readonly system: number;
}

interface Cancellable {
  /** Ends the call, which then throws signal.reason. */
  signal?: AbortSignal;
}

/** How tokens are chosen. */
export interface Sampling extends SamplingOptions {
  /** Texts that repetitions do not reach over. */
  dry_breaker_texts?: string | Iterable<string>;
  /** Added to the logits of tokens. */
  bias?: Map<number, number> | Record<number, number>;
}

/** Options of the text and of sampling. One of schema, grammar and regex may be given. */
export interface GenerateOptions extends TextOptions, Sampling, Cancellable {
  /** Texts that end the text. */
  stop?: string | Iterable<string>;
  /** Texts that the text must not hold. */
  ban?: string | Iterable<string>;
  /** A JSON Schema that the text must match. */
  schema?: string | object | boolean;
  /** A grammar in GBNF's notation that the text must match. */
  grammar?: string;
  /** An expression, of the library's own syntax, that the text must match as a whole. */
  regex?: string | RegExp;
}

export interface Choice {
  id: number;
  /** Natural, under the model's own distribution. */
  logprob: number;
  /** How many tokens were likelier. */
  rank: number;
}

export interface Token {
  /** -1 where only text comes that had been waiting. */
  id: number;
  /** Whole characters; may be empty. */
  text: string;
  logprob: number;
  /** The likeliest, best first (n_logprobs). */
  top: { id: number; logprob: number }[];
  /** With echo. */
  in_prompt: boolean;
}

export interface ChatOptions extends GenerateOptions {
  tools?: unknown[];
  /** "auto", "none", "required" or the name of a tool. */
  tool_choice?: string;
  /** A variant of the model's template, or a layout's name; otherwise the model's own. */
  template?: string;
  /** How the model writes calls; otherwise found from the template. */
  format?: string;
  /** More variables for the template. */
  variables?: Record<string, unknown>;
}

export interface ToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

export interface Message {
  role: string;
  content: unknown;
  reasoning_content?: string;
  tool_calls?: ToolCall[];
  [more: string]: unknown;
}

export interface Delta {
  content?: string;
  reasoning_content?: string;
  tool_calls?: (ToolCall & { index: number })[];
  /** Of the last delta: the whole answer. */
  message?: Message;
  finish_reason?: string;
  usage?: Record<string, number>;
}

/** Begins with the first next(); return(), which leaving a loop calls, ends the work. */
export interface Stream<T> extends AsyncIterableIterator<T> {
  return(value?: unknown): Promise<IteratorResult<T>>;
  [Symbol.asyncDispose](): Promise<void>;
}

export class Model {
  private constructor();
  /** progress is told of done and total units; what it throws ends the loading and comes out. */
  static load(path: string | URL, options?: ModelOptions & Cancellable & {
    progress?: (done: number, total: number) => void;
  }): Promise<Model>;
  readonly info: ModelInfo;
  encode(text: string, options?: { special?: boolean; markers?: boolean }): Int32Array;
  decode(ids: Iterable<number>, options?: { special?: boolean }): string;
  session(options?: SessionOptions): Session;
  encoder(options?: EncoderOptions): Encoder;
  close(): void;
  [Symbol.dispose](): void;
}

export class Session {
  private constructor();
  readonly length: number;
  readonly tokens: Int32Array;
  readonly stats: Omit<Stats, "finish"> & { finish: string };
  feed(ids: Iterable<number>, options?: Cancellable): Promise<void>;
  /** Makes it hold exactly these tokens; tells how many of them it held already. */
  sync(ids: Iterable<number>, options?: Cancellable): Promise<number>;
  rewind(length: number, options?: Cancellable): Promise<void>;
  /** A copy. */
  logits(): Float32Array;
  sample(options?: Sampling): Choice;
  fork(options?: ForkOptions & Cancellable): Promise<Session>;
  generate(prompt: string, options?: GenerateOptions): Stream<string>;
  stream(prompt: string, options?: GenerateOptions): Stream<Token>;
  complete(prompt: string, options?: GenerateOptions): Promise<string>;
  chat(messages: Message[], options?: ChatOptions): Stream<Delta>;
  /** Ends the call that the session is in, too. */
  close(): void;
  [Symbol.dispose](): void;
}

/** Vectors and scores of texts, of one text or of many together. */
export class Encoder {
  private constructor();
  readonly info: EncoderInfo;
  /** Names of the scores of a text. */
  readonly labels: (string | undefined)[];
  embed(text: string, options?: Cancellable): Promise<Float32Array>;
  embed(texts: Iterable<string>, options?: Cancellable): Promise<Float32Array[]>;
  /** By labels. */
  score(text: string, options?: Cancellable): Promise<Float32Array>;
  score(texts: Iterable<string>, options?: Cancellable): Promise<Float32Array[]>;
  /** How well documents answer a query, the greater the better. */
  rerank(query: string, documents: Iterable<string>, options?: Cancellable): Promise<Float32Array>;
  /** Ends the call that it is in, too. */
  close(): void;
  [Symbol.dispose](): void;
}
