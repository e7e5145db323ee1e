using System;
using System.Collections.Generic;
using System.Text;
using SmallMind.Abi;

namespace SmallMind
{
    public sealed partial class Sampling
    {
        /// <summary>Added to the logits of tokens.</summary>
        public IDictionary<int, double> Bias { get; set; }

        /// <summary>Texts that repetitions do not reach over.</summary>
        public IList<string> DryBreakerTexts { get; set; }

        private unsafe void Lists(sm_sampling* c, Arena arena)
        {
            c->dry_breaker_texts = arena.Texts(DryBreakerTexts, out c->n_dry_breaker_texts);
            if (Bias == null || Bias.Count == 0)
                return;
            c->bias = (sm_logit_bias*)arena.Take(sizeof(sm_logit_bias) * Bias.Count);
            foreach (KeyValuePair<int, double> one in Bias)
                c->bias[c->n_bias++] = new sm_logit_bias { token = one.Key, bias = one.Value };
        }
    }

    public sealed partial class GenerateOptions
    {
        /// <summary>How tokens are chosen.</summary>
        public Sampling Sampling { get; set; }

        /// <summary>Texts that end the text.</summary>
        public IList<string> Stop { get; set; }

        /// <summary>Texts that the text must not hold.</summary>
        public IList<string> Ban { get; set; }

        /// <summary>
        /// A JSON Schema that the text must match. One of Schema, Grammar, Regex.
        /// </summary>
        public string Schema { get; set; }

        /// <summary>A grammar in GBNF's notation that the text must match.</summary>
        public string Grammar { get; set; }

        /// <summary>An expression, of the library's own syntax, for the text as a whole.</summary>
        public string Regex { get; set; }

        private unsafe void Lists(sm_generate_options* c, Arena arena)
        {
            c->sampling = (Sampling ?? new Sampling()).Fill(arena);
            c->stop = arena.Texts(Stop, out c->n_stop);
            c->ban = arena.Texts(Ban, out c->n_ban);
        }

        /// <summary>To be freed; zero: none.</summary>
        internal unsafe IntPtr Constraint(Borrowed tokenizer, IntPtr flag)
        {
            string text = Schema ?? Grammar ?? Regex;
            if (text == null)
                return IntPtr.Zero;
            if ((Schema != null ? 1 : 0) + (Grammar != null ? 1 : 0) + (Regex != null ? 1 : 0) > 1)
                throw new ArgumentException("one of Schema, Grammar and Regex can be asked for");
            byte[] bytes = Library.Bytes(text);
            var how = new sm_constraint_options {
                struct_size = (uint)sizeof(sm_constraint_options), cancel_flag = flag };
            uint kind = Grammar != null ? Constants.SM_CONSTRAINT_GRAMMAR
                : Constants.SM_CONSTRAINT_REGEX;
            ulong length = (ulong)bytes.Length - 1;
            IntPtr made;
            IntPtr* at = &made;
            sm_constraint_options* c = &how;
            Library.Call(e =>
            {
                fixed (byte* from = bytes)
                    return Schema != null
                        ? Native.sm_constraint_new_schema(at, tokenizer, from, length, null, c,
                            (sm_error*)e)
                        : Native.sm_constraint_new(at, tokenizer, kind, from, length, c,
                            (sm_error*)e);
            });
            return made;
        }
    }

    /// <summary>A token and its natural log-probability.</summary>
    public struct Likely
    {
        internal Likely(int id, double logprob)
        {
            Id = id;
            Logprob = logprob;
        }

        public int Id { get; }
        public double Logprob { get; }
    }

    /// <summary>A generated piece.</summary>
    public sealed unsafe class Token
    {
        internal Token(sm_token* c)
        {
            Id = c->id;
            Logprob = c->logprob;
            Text = Library.Text(c->text, c->length);
            var top = new Likely[c->n_top];
            for (int i = 0; i < top.Length; i++)
                top[i] = new Likely(c->top[i].id, c->top[i].logprob);
            Top = top;
            InPrompt = c->in_prompt != 0;
        }

        /// <summary>-1 where only text comes that had been waiting.</summary>
        public int Id { get; }

        /// <summary>Natural, under the model's own distribution.</summary>
        public double Logprob { get; }

        /// <summary>Whole characters; may be empty.</summary>
        public string Text { get; }

        /// <summary>The likeliest, best first: option NLogprobs.</summary>
        public IReadOnlyList<Likely> Top { get; }

        /// <summary>With option Echo.</summary>
        public bool InPrompt { get; }
    }

    /// <summary>A token that was chosen.</summary>
    public sealed class Choice
    {
        internal Choice(sm_choice c)
        {
            Id = c.id;
            Logprob = c.logprob;
            Rank = c.rank;
        }

        public int Id { get; }

        /// <summary>Natural, under the model's own distribution.</summary>
        public double Logprob { get; }

        /// <summary>How many tokens were likelier.</summary>
        public ulong Rank { get; }
    }

    /// <summary>About the last text that was generated.</summary>
    public sealed class Stats
    {
        internal Stats(sm_generate_stats c)
        {
            Finish = c.finish;
            PromptTokens = c.prompt_tokens;
            ReusedTokens = c.reused_tokens;
            GeneratedTokens = c.generated_tokens;
            PromptSeconds = c.prompt_seconds;
            FirstTokenSeconds = c.first_token_seconds;
            GenerateSeconds = c.generate_seconds;
        }

        /// <summary>Constants.SM_FINISH_…</summary>
        public uint Finish { get; }
        public uint PromptTokens { get; }
        public uint ReusedTokens { get; }
        public uint GeneratedTokens { get; }
        public double PromptSeconds { get; }
        public double FirstTokenSeconds { get; }
        public double GenerateSeconds { get; }
    }

    /// <summary>What has become certain of an answer.</summary>
    public sealed unsafe class Delta
    {
        internal Delta(sm_delta* c)
        {
            Kind = c->kind;
            Text = Library.Text(c->text, c->length);
            Name = Library.Text(c->name);
            Id = Library.Text(c->id);
            Json = Library.Text(c->json, c->json_length);
        }

        /// <summary>Constants.SM_DELTA_…</summary>
        public uint Kind { get; }

        /// <summary>Content, reasoning, or a call's arguments, a JSON object.</summary>
        public string Text { get; }

        /// <summary>Of a call.</summary>
        public string Name { get; }

        /// <summary>Of a call.</summary>
        public string Id { get; }

        /// <summary>
        /// The same as a "delta" of OpenAI's chunks; at the end {"message": …, "finish_reason": …,
        /// "usage": …}.
        /// </summary>
        public string Json { get; }
    }

    /// <summary>A whole answer.</summary>
    public sealed class Answer
    {
        private readonly StringBuilder content = new StringBuilder();
        private readonly StringBuilder reasoning = new StringBuilder();
        private readonly List<Delta> calls = new List<Delta>();

        public string Content => content.ToString();
        public string Reasoning => reasoning.ToString();
        public IReadOnlyList<Delta> Calls => calls;

        /// <summary>{"message": …, "finish_reason": …, "usage": …}</summary>
        public string Json { get; private set; } = "";

        internal void Add(Delta delta)
        {
            switch (delta.Kind) // others are of a later version
            {
                case Constants.SM_DELTA_CONTENT: content.Append(delta.Text); break;
                case Constants.SM_DELTA_REASONING: reasoning.Append(delta.Text); break;
                case Constants.SM_DELTA_CALL: calls.Add(delta); break;
                case Constants.SM_DELTA_END: Json = delta.Json; break;
            }
        }
    }

    /// <summary>
    /// One of a conversation. What else OpenAI's messages have goes down as JSON.
    /// </summary>
    public sealed class Message
    {
        public Message(string role, string content)
        {
            Role = role ?? throw new ArgumentNullException(nameof(role));
            Content = content ?? throw new ArgumentNullException(nameof(content));
        }

        public string Role { get; }
        public string Content { get; }

        /// <summary>The JSON array that chats take.</summary>
        public static string Json(IEnumerable<Message> messages)
        {
            var json = new StringBuilder("[");
            foreach (Message one in messages)
            {
                json.Append(json.Length > 1 ? ",{\"role\":" : "{\"role\":");
                Quote(json, one.Role);
                json.Append(",\"content\":");
                Quote(json, one.Content);
                json.Append('}');
            }
            return json.Append(']').ToString();
        }

        private static void Quote(StringBuilder json, string text)
        {
            json.Append('"');
            foreach (char c in text)
            {
                if (c == '"' || c == '\\')
                    json.Append('\\').Append(c);
                else if (c < ' ')
                    json.Append("\\u").Append(((int)c).ToString("x4"));
                else
                    json.Append(c);
            }
            json.Append('"');
        }
    }

    /// <summary>Options of an answer.</summary>
    public sealed class ChatOptions
    {
        public GenerateOptions Generate { get; set; }

        /// <summary>A JSON array as in OpenAI's API.</summary>
        public string Tools { get; set; }

        /// <summary>
        /// "auto", "none", "required" or a tool's name; null: auto if there are tools.
        /// </summary>
        public string ToolChoice { get; set; }

        /// <summary>How the model writes calls; null: found from the template.</summary>
        public string Format { get; set; }

        /// <summary>More for the template, a JSON object.</summary>
        public string Variables { get; set; }

        /// <summary>
        /// A variant of the model's template, or a layout; null: the model's own.
        /// </summary>
        public string Template { get; set; }

        internal unsafe sm_chat_options* Chat(Arena arena)
        {
            var c = (sm_chat_options*)arena.Take(sizeof(sm_chat_options));
            c->struct_size = (uint)sizeof(sm_chat_options);
            c->template_name = arena.ZeroEnded(nameof(Template), Template);
            return c;
        }

        internal unsafe sm_answer_options* Fill(sm_generate_options* generate, Arena arena)
        {
            var c = (sm_answer_options*)arena.Take(sizeof(sm_answer_options));
            c->struct_size = (uint)sizeof(sm_answer_options);
            c->generate = generate;
            c->tool_choice = arena.ZeroEnded(nameof(ToolChoice), ToolChoice);
            c->format = arena.ZeroEnded(nameof(Format), Format);
            c->variables = arena.ZeroEnded(nameof(Variables), Variables);
            return c;
        }
    }
}
