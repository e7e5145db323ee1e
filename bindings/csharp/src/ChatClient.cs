#if SMALLMIND_EXTENSIONS_AI
using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.AI;
using SmallMind.Abi;

namespace SmallMind
{
    /// <summary>
    /// A session as an IChatClient, which owns it: answers come one after the other, whoever asks.
    /// What an option asks for and is not done is a NotSupportedException that names it.
    /// </summary>
    public sealed class SmallMindChatClient : IChatClient
    {
        private readonly Session session;
        private readonly ChatOptions defaults;
        private readonly SemaphoreSlim turn = new SemaphoreSlim(1);

        /// <summary>defaults: Template, Format and Variables of every answer.</summary>
        public SmallMindChatClient(Session session, ChatOptions defaults = null)
        {
            this.session = session ?? throw new ArgumentNullException(nameof(session));
            this.defaults = defaults ?? new ChatOptions();
        }

        public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages,
            Microsoft.Extensions.AI.ChatOptions options = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            List<Message> asked = Asked(messages, options);
            ChatOptions how = How(options);
            await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                Answer answer = await session.ChatAsync(asked, how, cancellationToken)
                    .ConfigureAwait(false);
                Stats stats = session.Stats;
                return new ChatResponse(new ChatMessage(ChatRole.Assistant, answer.Content))
                {
                    FinishReason = Finish(stats), Usage = Usage(stats)
                };
            }
            finally
            {
                turn.Release();
            }
        }

        public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
            IEnumerable<ChatMessage> messages, Microsoft.Extensions.AI.ChatOptions options = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            return new Updates(this, Asked(messages, options), How(options), cancellationToken);
        }

        public object GetService(Type serviceType, object serviceKey = null)
        {
            if (serviceType == null)
                throw new ArgumentNullException(nameof(serviceType));
            if (serviceKey != null)
                return null;
            return serviceType.IsInstanceOfType(this) ? this
                : serviceType.IsInstanceOfType(session) ? (object)session : null;
        }

        public void Dispose()
        {
            session.Dispose();
        }

        private static List<Message> Asked(IEnumerable<ChatMessage> messages,
            Microsoft.Extensions.AI.ChatOptions options)
        {
            var asked = new List<Message>();
            if (!string.IsNullOrEmpty(options?.Instructions))
                asked.Add(new Message("system", options.Instructions));
            foreach (ChatMessage one in messages)
            {
                AIContent other = one.Contents.FirstOrDefault(part => !(part is TextContent));
                if (other != null)
                    throw new NotSupportedException(other.GetType().Name + " in a message");
                asked.Add(new Message(one.Role.Value, one.Text));
            }
            return asked;
        }

        private ChatOptions How(Microsoft.Extensions.AI.ChatOptions options)
        {
            var how = new ChatOptions
            {
                Template = defaults.Template, Format = defaults.Format,
                Variables = defaults.Variables, Generate = new GenerateOptions()
            };
            if (options == null)
                return how;
            if (options.Tools != null && options.Tools.Count > 0)
                throw new NotSupportedException(nameof(options.Tools));
            if (options.ConversationId != null)
                throw new NotSupportedException(nameof(options.ConversationId));
            how.Generate.MaxTokens = checked((uint)(options.MaxOutputTokens ?? 0));
            how.Generate.Stop = options.StopSequences;
            how.Generate.Schema = Schema(options.ResponseFormat);
            how.Generate.Sampling = new Sampling
            {
                Temperature = options.Temperature ?? 0, TopP = options.TopP,
                TopK = checked((uint)(options.TopK ?? 0)),
                FrequencyPenalty = options.FrequencyPenalty ?? 0,
                PresencePenalty = options.PresencePenalty ?? 0,
                Seed = unchecked((ulong)(options.Seed ?? 0))
            };
            return how;
        }

        private static string Schema(ChatResponseFormat format)
        {
            if (format == null || format is ChatResponseFormatText)
                return null;
            if (format is ChatResponseFormatJson json)
                return json.Schema?.GetRawText() ?? "{\"type\": \"object\"}";
            throw new NotSupportedException(format.GetType().Name);
        }

        private static ChatFinishReason Finish(Stats stats)
        {
            return stats.Finish == Constants.SM_FINISH_LENGTH
                || stats.Finish == Constants.SM_FINISH_CONTEXT
                ? ChatFinishReason.Length : ChatFinishReason.Stop;
        }

        private static UsageDetails Usage(Stats stats)
        {
            return new UsageDetails
            {
                InputTokenCount = stats.PromptTokens, OutputTokenCount = stats.GeneratedTokens,
                TotalTokenCount = stats.PromptTokens + stats.GeneratedTokens
            };
        }

        /// <summary>An answer piece by piece; what comes last has the reason for its end.</summary>
        private sealed class Updates : IAsyncEnumerable<ChatResponseUpdate>,
            IAsyncEnumerator<ChatResponseUpdate>
        {
            private readonly SmallMindChatClient client;
            private readonly List<Message> asked;
            private readonly ChatOptions how;
            private CancellationToken token;
            private CancellationTokenSource both;
            private Pieces<Delta> pieces;
            private bool over;

            internal Updates(SmallMindChatClient client, List<Message> asked, ChatOptions how,
                CancellationToken token)
            {
                this.client = client;
                this.asked = asked;
                this.how = how;
                this.token = token;
            }

            public ChatResponseUpdate Current { get; private set; }

            public IAsyncEnumerator<ChatResponseUpdate> GetAsyncEnumerator(CancellationToken other)
            {
                var mine = new Updates(client, asked, how, token);
                if (other.CanBeCanceled)
                {
                    mine.both = CancellationTokenSource.CreateLinkedTokenSource(token, other);
                    mine.token = mine.both.Token;
                }
                return mine;
            }

            public ValueTask<bool> MoveNextAsync()
            {
                return new ValueTask<bool>(NextAsync());
            }

            private async Task<bool> NextAsync()
            {
                if (over)
                    return false;
                if (pieces == null)
                {
                    await client.turn.WaitAsync(token).ConfigureAwait(false);
                    pieces = client.session.StreamChatAsync(asked, how, token);
                }
                while (await pieces.NextAsync().ConfigureAwait(false))
                {
                    if (pieces.Current.Kind == Constants.SM_DELTA_CONTENT)
                    {
                        Current = new ChatResponseUpdate(ChatRole.Assistant, pieces.Current.Text);
                        return true;
                    }
                }
                Current = new ChatResponseUpdate(ChatRole.Assistant, "")
                {
                    FinishReason = Finish(client.session.Stats)
                };
                End();
                return true;
            }

            private void End()
            {
                over = true;
                both?.Dispose();
                if (pieces == null)
                    return;
                pieces.Dispose();
                pieces = null;
                client.turn.Release();
            }

            public ValueTask DisposeAsync()
            {
                return new ValueTask(Task.Run((Action)End));
            }
        }
    }
}
#endif
