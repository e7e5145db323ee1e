using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.AI;
using SmallMind;

public sealed partial class Tests
{
    public void AnIChatClient()
    {
        var asked = new[] { new ChatMessage(ChatRole.User, "Once") };
        var how = new Microsoft.Extensions.AI.ChatOptions { MaxOutputTokens = 8 };
        using (Model model = Model.Load(path))
        using (IChatClient client = new SmallMindChatClient(
            model.CreateSession(new SessionOptions { NThreads = 1 }),
            new SmallMind.ChatOptions { Template = "chatml" }))
        {
            ChatResponse response = client.GetResponseAsync(asked, how).Result;
            Check(response.Text.Length > 0 && response.Usage.OutputTokenCount == 8);
            Check(response.FinishReason.Value.Value == "length");
            Check(ReadAsync(client.GetStreamingResponseAsync(asked, how)).Result
                == response.Text + "|length");
            using (var source = new CancellationTokenSource(20)) // one answer after the other
            {
                var endless = new Microsoft.Extensions.AI.ChatOptions {
                    ResponseFormat = Format("{\"type\": \"array\", \"minItems\": 3000, "
                        + "\"items\": {\"enum\": [1]}}") };
                IAsyncEnumerator<ChatResponseUpdate> left = client.GetStreamingResponseAsync(asked,
                    endless).GetAsyncEnumerator(default(CancellationToken));
                Check(left.MoveNextAsync().AsTask().Result);
                Task<ChatResponse> waits = client.GetResponseAsync(asked, how, source.Token);
                Check(Thrown<AggregateException>(() => waits.Wait()).InnerException
                    is OperationCanceledException);
                Task<ChatResponse> next = client.GetResponseAsync(asked, how);
                left.DisposeAsync().AsTask().Wait();
                Check(next.Result.Text == response.Text);
            }
            how.ResponseFormat = Format("{\"enum\": [\"a\"]}");
            how.Instructions = "be brief";
            Check(client.GetResponseAsync(asked, how).Result.Text == "\"a\"");
            how.Tools = new[] { new AITool() };
            Thrown<NotSupportedException>(() => client.GetStreamingResponseAsync(asked, how));
            asked[0].Contents.Add(new DataContent());
            Check(Thrown<NotSupportedException>(() => client.GetStreamingResponseAsync(asked))
                .Message.Contains("DataContent"));
            Check(client.GetService(typeof(Session)) is Session
                && client.GetService(typeof(IChatClient)) == client
                && client.GetService(typeof(Model)) == null);
        }
    }

    private static ChatResponseFormatJson Format(string schema)
    {
        return new ChatResponseFormatJson { Schema = new JsonElement(schema) };
    }

    private static async Task<string> ReadAsync(IAsyncEnumerable<ChatResponseUpdate> updates)
    {
        IAsyncEnumerator<ChatResponseUpdate> each = updates.GetAsyncEnumerator(
            default(CancellationToken));
        string text = "";
        while (await each.MoveNextAsync())
            text += each.Current.Text + (each.Current.FinishReason.HasValue
                ? "|" + each.Current.FinishReason.Value.Value : "");
        await each.DisposeAsync();
        return text;
    }
}
