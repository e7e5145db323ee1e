// Stand-ins of what ChatClient.cs uses of Microsoft.Extensions.AI.Abstractions and of
// System.Text.Json, so that it is compiled and run where these cannot be had.
using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;

namespace System.Text.Json
{
    public struct JsonElement
    {
        private readonly string text;

        public JsonElement(string text)
        {
            this.text = text;
        }

        public string GetRawText()
        {
            return text;
        }
    }
}

namespace Microsoft.Extensions.AI
{
    public interface IChatClient : IDisposable
    {
        Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages,
            ChatOptions options = null,
            CancellationToken cancellationToken = default(CancellationToken));

        IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
            IEnumerable<ChatMessage> messages, ChatOptions options = null,
            CancellationToken cancellationToken = default(CancellationToken));

        object GetService(Type serviceType, object serviceKey = null);
    }

    public struct ChatRole
    {
        public ChatRole(string value)
        {
            Value = value;
        }

        public string Value { get; }

        public static ChatRole Assistant => new ChatRole("assistant");
        public static ChatRole User => new ChatRole("user");
    }

    public struct ChatFinishReason
    {
        public ChatFinishReason(string value)
        {
            Value = value;
        }

        public string Value { get; }

        public static ChatFinishReason Stop => new ChatFinishReason("stop");
        public static ChatFinishReason Length => new ChatFinishReason("length");
    }

    public class AIContent { }

    public class DataContent : AIContent { }

    public class TextContent : AIContent
    {
        public TextContent(string text)
        {
            Text = text;
        }

        public string Text { get; set; }
    }

    public class ChatMessage
    {
        public ChatMessage(ChatRole role, string content)
        {
            Role = role;
            Contents = new List<AIContent> { new TextContent(content) };
        }

        public ChatRole Role { get; set; }
        public IList<AIContent> Contents { get; set; }
        public string Text => string.Concat(Contents.OfType<TextContent>().Select(t => t.Text));
    }

    public class UsageDetails
    {
        public long? InputTokenCount { get; set; }
        public long? OutputTokenCount { get; set; }
        public long? TotalTokenCount { get; set; }
    }

    public class ChatResponse
    {
        public ChatResponse(ChatMessage message)
        {
            Messages = new List<ChatMessage> { message };
        }

        public IList<ChatMessage> Messages { get; set; }
        public string Text => string.Concat(Messages.Select(message => message.Text));
        public ChatFinishReason? FinishReason { get; set; }
        public UsageDetails Usage { get; set; }
    }

    public class ChatResponseUpdate
    {
        public ChatResponseUpdate(ChatRole? role, string content)
        {
            Role = role;
            Text = content;
        }

        public ChatRole? Role { get; set; }
        public string Text { get; }
        public ChatFinishReason? FinishReason { get; set; }
    }

    public class ChatResponseFormat { }

    public class ChatResponseFormatText : ChatResponseFormat { }

    public class ChatResponseFormatJson : ChatResponseFormat
    {
        public System.Text.Json.JsonElement? Schema { get; set; }
    }

    public class AITool { }

    public class ChatOptions
    {
        public string Instructions { get; set; }
        public string ConversationId { get; set; }
        public float? Temperature { get; set; }
        public int? MaxOutputTokens { get; set; }
        public float? TopP { get; set; }
        public int? TopK { get; set; }
        public float? FrequencyPenalty { get; set; }
        public float? PresencePenalty { get; set; }
        public long? Seed { get; set; }
        public IList<string> StopSequences { get; set; }
        public ChatResponseFormat ResponseFormat { get; set; }
        public IList<AITool> Tools { get; set; }
    }
}
