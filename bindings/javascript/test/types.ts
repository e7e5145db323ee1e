// Is compiled, not run: what tsc has to accept, and where "@ts-expect-error" stands, to refuse.
import { Choice, Delta, Encoder, Message, Model, Session, SmallmindError, Token, constants,
         options } from "smallmind";

export async function program(path: string): Promise<string> {
  const model: Model = await Model.load(new URL(path), {
    io: "read", progress: (done: number, total: number) => console.log(done / total),
  });
  const width: number = model.info.n_embd;
  const ids: Int32Array = model.encode("text", { special: true });
  const session: Session = model.session({ n_ctx: 64, kv_type: "q8_0" });
  await session.feed(ids, { signal: new AbortController().signal });
  const reused: number = await session.sync([1, 2, 3]);
  const logits: Float32Array = session.logits();
  const choice: Choice = session.sample({ temperature: 0.5, bias: { 5: -1 }, seed: 5n });
  let text = "";
  for await (const piece of session.generate("Once", { max_tokens: 5, stop: ["\n"], top_k: 4 })) {
    text += piece.toUpperCase();
  }
  for await (const token of session.stream("Once", { regex: /a+/, n_logprobs: 2 })) {
    const one: Token = token;
    text += one.top.map(({ id, logprob }) => `${id} ${logprob}`).join();
  }
  const messages: Message[] = [{ role: "user", content: "Hello" }];
  for await (const delta of session.chat(messages, { tools: [], schema: { type: "object" } })) {
    const one: Delta = delta;
    text += one.content ?? one.message?.content ?? "";
  }
  const fork: Session = await session.fork({ n_threads: 1 });
  fork[Symbol.dispose]();
  const encoder: Encoder = model.encoder({ pooling: "mean", n_dims: 8 });
  const vector: Float32Array = await encoder.embed("one");
  const vectors: Float32Array[] = await encoder.embed(new Set(["one", "two"]));
  const scores: Float32Array = await encoder.rerank("query", ["one"]);
  text += vector[0] + vectors[1][0] + scores[0] + encoder.info.n_labels;
  const documented: string = options().sampling.temperature + constants.SM_OK;
  // @ts-expect-error: no such option
  session.generate("Once", { max_token: 5 });
  // @ts-expect-error: no such word
  model.session({ kv_type: "q9_0" });
  // @ts-expect-error: a text is asked for
  session.generate(5);
  // @ts-expect-error: it is a promise
  Model.load("m.gguf").session();
  // @ts-expect-error: made by Model.load
  new Model();
  // @ts-expect-error: a string is no list of ids
  await session.feed("1 2");
  try {
    session.close();
  } catch (error) {
    if (error instanceof SmallmindError) return `${error.code} ${error.system} ${error.message}`;
  }
  return `${text} ${width} ${reused} ${logits[0]} ${choice.id} ${documented}`;
}
