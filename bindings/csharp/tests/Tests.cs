using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using SmallMind;
using SmallMind.Abi;

/// <summary>
/// Every public method is a test. Arguments: a model with a vocabulary, and a file with "struct
/// size" of the headers in each line.
/// </summary>
public sealed partial class Tests
{
    private static string path, sizes;

    public static int Main(string[] arguments)
    {
        path = arguments[0];
        sizes = arguments[1];
        int passed = 0, failed = 0;
        var tests = typeof(Tests).GetMethods(BindingFlags.Public | BindingFlags.Instance
            | BindingFlags.DeclaredOnly);
        foreach (MethodInfo test in tests)
        {
            try
            {
                test.Invoke(new Tests(), null);
                passed++;
            }
            catch (TargetInvocationException e)
            {
                failed++;
                Console.WriteLine(test.Name + ": " + e.InnerException);
            }
        }
        Console.WriteLine("[  PASSED  ] " + passed + " test(s).");
        Console.WriteLine("[  FAILED  ] " + failed + " test(s).");
        return failed == 0 ? 0 : 1;
    }

    private static void Check(bool holds, object about = null, [CallerLineNumber] int line = 0)
    {
        if (!holds)
            throw new InvalidOperationException("line " + line + ": " + about);
    }

    private static T Thrown<T>(Action body, [CallerLineNumber] int line = 0) where T : Exception
    {
        try
        {
            body();
        }
        catch (T expected)
        {
            return expected;
        }
        throw new InvalidOperationException("line " + line + ": no " + typeof(T).Name);
    }

    private static SmallmindException Refused(int status, Action body,
        [CallerLineNumber] int line = 0)
    {
        SmallmindException refused = Thrown<SmallmindException>(body, line);
        Check(refused.Status == status, refused, line);
        return refused;
    }

    private static void Until(Func<bool> condition, [CallerLineNumber] int line = 0)
    {
        for (int i = 0; i < 1000 && !condition(); i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Thread.Sleep(2);
        }
        Check(condition(), "never", line);
    }

    /// <summary>Whether the file of the model is mapped.</summary>
    private static bool Mapped()
    {
        return File.ReadAllText("/proc/self/maps").Contains(path);
    }

    private static Session Small(Model model)
    {
        return model.CreateSession(new SessionOptions { NCtx = 64, NThreads = 1 });
    }

    private static Session Small()
    {
        using (Model model = Model.Load(path))
            return Small(model);
    }

    private static GenerateOptions Few(uint tokens)
    {
        return new GenerateOptions { MaxTokens = tokens };
    }

    private static GenerateOptions Many()
    {
        return new GenerateOptions {
            MaxTokens = 1000000, IgnoreEnd = true, ContextFull = ContextFull.Slide };
    }

    private static bool Free(Session session)
    {
        try
        {
            session.Rewind(0);
            return true;
        }
        catch (SmallmindException)
        {
            return false;
        }
    }

    public void StructsHaveTheHeadersSizes()
    {
        string[] lines = File.ReadAllLines(sizes);
        foreach (string line in lines)
        {
            string[] words = line.Split(' ');
            Type kind = typeof(Native).Assembly.GetType("SmallMind.Abi." + words[0], true);
            Check(Marshal.SizeOf(kind) == int.Parse(words[1]), line);
        }
        Check(lines.Length > 40);
    }

    public void TextsThereAndBack()
    {
        using (Model model = Model.Load(path))
        {
            int[] ids = model.Encode("and the end\0!", 0);
            Check(ids.Length > 2 && model.Decode(ids).Trim() == "and the end\0!");
            Check(model.Encode("", 0).Length == 0 && model.Decode() == "");
            Check(model.Info.Architecture == "llama" && model.Info.Vocabulary > 0);
            Refused(Constants.SM_ERR_TOKEN, () => model.Decode(1 << 30));
            Thrown<ArgumentNullException>(() => model.Encode(null));
        }
        Check(Regex.IsMatch(Library.Version, @"^\d+\.\d+\.\d+"));
    }

    public void ErrorsHaveStatusAndMessage()
    {
        SmallmindException missing = Refused(Constants.SM_ERR_IO,
            () => Model.Load("/nonexistent/m.gguf"));
        Check(missing.SystemError == 2 && missing.Message.Contains("/nonexistent"), missing);
        Thrown<ArgumentException>(() => Model.Load("a\0b"));
        using (Model model = Model.Load(path))
        using (Session session = Small(model))
        {
            Check(Refused(Constants.SM_ERR_ARGUMENT,
                () => model.CreateSession(new SessionOptions { NThreads = 100000 }))
                .Message.Contains("n_threads"));
            Refused(Constants.SM_ERR_TOKEN, () => session.Feed(new[] { 1 << 30 }));
            Refused(Constants.SM_ERR_STATE, () => session.Logits());
            Thrown<ArgumentOutOfRangeException>(() => session.Rewind(-1));
            Refused(Constants.SM_ERR_ARGUMENT,
                () => session.Stream("Once", new GenerateOptions { NLogprobs = 1000 }).Count());
            Refused(Constants.SM_ERR_ARGUMENT, () => session.Chat(
                new[] { new Message("user", "a") }, new ChatOptions { Template = "none such" }));
            Thrown<ArgumentNullException>(() => session.Stream(null));
            Thrown<ArgumentException>(
                () => session.Complete("Once", new GenerateOptions { Regex = "a", Schema = "{}" }));
        }
    }

    public void TextsComePieceByPiece()
    {
        using (Session session = Small())
        {
            string whole = session.Complete("Once", Few(12));
            Check(whole.Length > 0);
            GenerateOptions two = Few(12);
            two.NLogprobs = 2;
            List<Token> tokens = session.Stream("Once", two).ToList();
            Check(string.Concat(tokens.Select(token => token.Text)) == whole);
            Check(tokens.Where(token => token.Id >= 0).All(token => token.Top.Count == 2
                && token.Top[0].Id == token.Id && token.Top[0].Logprob == token.Logprob));
            Check(session.Stats.Finish == Constants.SM_FINISH_LENGTH
                && session.Stats.GeneratedTokens == 12);
            GenerateOptions echo = Few(1);
            echo.Echo = true;
            Token first = session.Stream("Once", echo).First();
            Check(first.InPrompt && double.IsNaN(first.Logprob));
            Check(session.CompleteAsync("Once", Few(12)).Result == whole);
        }
    }

    public void LeavingEndsTheWork()
    {
        using (Session session = Small())
        {
            for (int i = 0; i < 20; i++)
            {
                Check(session.Stream("Once", Many()).First() != null);
                using (Pieces<Token> pieces = session.StreamAsync("Once", Many()))
                    Check(i % 2 == 0 || pieces.Next());
            }
            Thrown<InvalidOperationException>(() =>
            {
                foreach (Token token in session.Stream("Once", Many()))
                    throw new InvalidOperationException(token.Text);
            });
            Check(session.Complete("Once", Few(3)).Length > 0);
            Forget(session);
            Until(() => Free(session));
        }
        Until(() => !Mapped());
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Forget(Session session)
    {
        var thread = new Thread(() => session.StreamAsync("Once", Many()).Next());
        thread.Start(); // whose stack keeps nothing
        thread.Join();
    }

    public void StreamsWithoutAThreadThatWaits()
    {
        using (Session session = Small())
        {
            string whole = session.Complete("Once", Few(12));
            Check(ReadAsync(session.StreamAsync("Once", Few(12))).Result == whole);
            var source = new CancellationTokenSource();
            IAsyncEnumerator<Token> pieces = ((IAsyncEnumerable<Token>)session.StreamAsync("Once",
                Many())).GetAsyncEnumerator(source.Token);
            Check(pieces.MoveNextAsync().AsTask().Result && pieces.Current != null);
            source.Cancel();
            AggregateException cancelled = Thrown<AggregateException>(() =>
            {
                while (pieces.MoveNextAsync().AsTask().Result) { }
            });
            Check(cancelled.InnerException is OperationCanceledException, cancelled);
            pieces.DisposeAsync().AsTask().Wait();
            Check(!pieces.MoveNextAsync().AsTask().Result && Free(session));
        }
    }

    private static async Task<string> ReadAsync(Pieces<Token> pieces)
    {
        string text = "";
        using (pieces)
        {
            while (await pieces.NextAsync())
                text += pieces.Current.Text;
        }
        return text;
    }

    public void ZeroCanBeSaid()
    {
        using (Session session = Small())
        {
            session.Feed(new[] { 1, 2, 3 });
            int greedy = session.Sample().Id;
            Func<ulong, double?, int> draw = (seed, topP) => session.Sample(
                new Sampling { Temperature = 100, Seed = seed, TopP = topP }).Id;
            Check(Enumerable.Range(0, 40).All(i => draw((ulong)i, 0) == greedy));
            Check(Enumerable.Range(0, 40).Any(i => draw((ulong)i, null) != greedy));
            var bias = new Dictionary<int, double> { { greedy, double.NegativeInfinity } };
            Check(session.Sample(new Sampling { Bias = bias }).Id != greedy);
        }
    }

    public void WhatCallbacksThrowComesOut()
    {
        using (Session session = Small())
        {
            int told = 0;
            var enough = Thrown<FormatException>(() => session.Generate("Once", Many(), token =>
            {
                if (++told == 3)
                    throw new FormatException("enough");
            }));
            Check(enough.Message == "enough" && told == 3, told);
            Check(session.Complete("Once", Few(3)).Length > 0);
        }
        Thrown<FormatException>(() => Model.Load(path, null, (done, total) =>
        {
            throw new FormatException();
        }));
        ulong last = 0, all = 1;
        Model.Load(path, null, (done, total) =>
        {
            last = done;
            all = total;
        }).Dispose();
        Check(last > 0 && last == all, last);
    }

    public void TokensAndOtherThreadsCancel()
    {
        using (Session session = Small())
        {
            var source = new CancellationTokenSource(20);
            Thrown<OperationCanceledException>(
                () => session.Complete("Once", Many(), source.Token));
            Thrown<OperationCanceledException>(() => session.Feed(new[] { 1 }, source.Token));
            Thrown<OperationCanceledException>(() => Model.Load(path, null, null, source.Token));
            session.Rewind(0);
            session.Feed(new[] { 1, 2 }); // nothing is left of it
            var other = new CancellationTokenSource();
            Task<string> text = session.CompleteAsync("Once", Many(), other.Token);
            other.Cancel();
            Check(Thrown<AggregateException>(() => text.Wait()).InnerException
                is OperationCanceledException && text.IsCanceled, text.Status);
            Task<Model> none = Model.LoadAsync("/nonexistent");
            Check(Thrown<AggregateException>(() => none.Wait()).InnerException
                is SmallmindException);
            using (Model model = Model.LoadAsync(path).Result)
                Check(model.Info.Layers > 0);
            var begun = new ManualResetEventSlim();
            Task ended = Task.Run(() => session.Generate("Once", Many(), token => begun.Set()));
            begun.Wait();
            session.Dispose(); // ends it
            Check(Thrown<AggregateException>(() => ended.Wait()).InnerException
                is SmallmindException);
            Thrown<ObjectDisposedException>(() => session.Feed(new[] { 1 }));
        }
    }

    public void HandlesEndInAnyOrder()
    {
        Until(() => !Mapped());
        Model model = Model.Load(path);
        Session session = Small(model);
        int[] ids = model.Encode("Once upon a time");
        model.Dispose();
        model.Dispose();
        Thrown<ObjectDisposedException>(() => Check(model.Info == null));
        Thrown<ObjectDisposedException>(() => model.CreateSession());
        session.Feed(ids);
        float[] logits = session.Logits();
        Session fork = session.Fork();
        session.Dispose();
        Thrown<ObjectDisposedException>(() => session.Logits());
        Check(fork.Tokens.SequenceEqual(ids) && fork.Logits().SequenceEqual(logits));
        fork.Rewind(1);
        Check(fork.Length == 1 && fork.Sync(ids) == 1 && fork.Logits().SequenceEqual(logits));
        fork.Rewind(1);
        fork.Feed(new ReadOnlySpan<int>(ids, 1, ids.Length - 1));
        Check(fork.Logits().SequenceEqual(logits) && Mapped());
        Refused(Constants.SM_ERR_CANCELLED, // the memory goes behind the call
            () => fork.Generate("Once", Many(), token => fork.Dispose()));
        Check(!Mapped());
        var thread = new Thread(() =>
        {
            for (int i = 0; i < 50; i++)
                Check(Small(Model.Load(path)).Length == 0); // never disposed of
        });
        thread.Start();
        thread.Join();
        Check(Mapped());
        Until(() => !Mapped());
    }

    public void SessionsAtTheSameTime()
    {
        using (Model model = Model.Load(path))
        {
            string want = Small(model).Complete("Once", Few(8));
            Task<string>[] all = Enumerable.Range(0, 6)
                .Select(i => Small(model).CompleteAsync("Once", Few(8))).ToArray();
            Check(all.All(one => one.Result == want));
            Session busy = Small(model);
            busy.Generate("Once", Few(3), token => // one call at a time
            {
                Check(busy.Length > 0 && busy.Logits().Length == model.Info.Vocabulary);
                Refused(Constants.SM_ERR_STATE, () => busy.Feed(new[] { 1 }));
            });
        }
    }

    public void Chats()
    {
        var asked = new[] { new Message("user", "A \"q\"\nline\u0001 \\ ä") };
        Check(Message.Json(asked)
            == "[{\"role\":\"user\",\"content\":\"A \\\"q\\\"\\u000aline\\u0001 \\\\ ä\"}]");
        Model model = Model.Load(path);
        using (Session session = model.CreateSession(new SessionOptions { NThreads = 1 }))
        {
            model.Dispose();
            var how = new ChatOptions { Template = "chatml", Generate = Few(8) };
            Answer answer = session.Chat(asked, how);
            Check(answer.Json.Contains("\"finish_reason\""), answer.Json);
            List<Delta> deltas = session.StreamChat(asked, how).ToList();
            Check(deltas.Last().Kind == Constants.SM_DELTA_END);
            Check(string.Concat(deltas.Where(d => d.Kind == Constants.SM_DELTA_CONTENT)
                .Select(d => d.Text)) == answer.Content);
            Check(session.ChatAsync(asked, how).Result.Content == answer.Content);
            how.Generate = Many();
            foreach (Delta delta in session.StreamChat(asked, how))
            {
                Thread.Sleep(20); // its thread waits to put one more: the end comes behind that
                break;
            }
            how.Generate = Few(20);
            how.Generate.Schema = "{\"enum\": [\"a\", \"b\"]}";
            Check(Regex.IsMatch(session.Chat(asked, how).Content, "^\"[ab]\"$"));
        }
    }

    public void VectorsOfTexts()
    {
        Until(() => !Mapped());
        Model model = Model.Load(path);
        Encoder encoder = model.CreateEncoder(new EncoderOptions { NThreads = 1 });
        model.Dispose();
        int width = encoder.Info.Dimensions;
        float[][] vectors = encoder.Embed(new[] { "Once upon a time", "and the end", "" });
        Check(vectors.Length == 3 && vectors[2].Length == width);
        Check(Math.Abs(vectors[0].Sum(x => x * x) - 1) < 1e-4);
        Check(!vectors[0].SequenceEqual(vectors[1]));
        Check(encoder.Embed("and the end").SequenceEqual(vectors[1])); // alone the same
        Check(encoder.EmbedAsync(new[] { "and the end" }).Result[0].SequenceEqual(vectors[1]));
        Check(encoder.Embed(new string[0]).Length == 0);
        Check(encoder.Info.Labels == 0 && encoder.Labels.Count == 0);
        Refused(Constants.SM_ERR_UNSUPPORTED, () => encoder.Score("Once"));
        Refused(Constants.SM_ERR_UNSUPPORTED, () => encoder.Rerank("Once", new[] { "a", "b" }));
        Thrown<ArgumentNullException>(() => encoder.Embed(new string[] { null }));
        string[] much = Enumerable.Repeat("Once upon a time there was", 5000).ToArray();
        var source = new CancellationTokenSource();
        Task<float[][]> ended = encoder.EmbedAsync(much, source.Token);
        source.Cancel();
        Check(Thrown<AggregateException>(() => ended.Wait()).InnerException
            is OperationCanceledException);
        encoder.Dispose();
        Thrown<ObjectDisposedException>(() => encoder.Embed("Once"));
        Check(!Mapped());
        using (Model other = Model.Load(path))
        using (Encoder few = other.CreateEncoder(new EncoderOptions {
            NDims = 8, Raw = true, NThreads = 1, Pooling = Pooling.Mean }))
        {
            Check(few.Embed("Once").Length == 8);
            Check(few.Info.Pooling == Constants.SM_POOLING_MEAN);
        }
    }

    public void TextsMatchSomething()
    {
        using (Session session = Small())
        {
            GenerateOptions how = Few(20);
            how.Schema = "{\"enum\": [1, 2]}";
            Check(Regex.IsMatch(session.Complete("Once", how), "^[12]$"));
            how = new GenerateOptions { MaxTokens = 20, Regex = "[0-9]{3}" };
            Check(Regex.IsMatch(session.Complete("Once", how), "^[0-9]{3}$"));
            how = new GenerateOptions { MaxTokens = 20, Grammar = "root ::= \"x\"+" };
            Check(Regex.IsMatch(session.Complete("Once", how), "^x+$"));
            how = new GenerateOptions { Schema = "{" };
            Refused(Constants.SM_ERR_FORMAT, () => session.Complete("Once", how));
            string whole = session.Complete("Once", Few(12));
            string end = whole.Substring(whole.Length - 1);
            how = new GenerateOptions { MaxTokens = 12, Stop = new[] { "no such text", end } };
            string stopped = session.Complete("Once", how);
            Check(whole.StartsWith(stopped) && stopped.Length < whole.Length);
            how = new GenerateOptions { MaxTokens = 12, Ban = new[] { end } };
            Check(!session.Complete("Once", how).Contains(end));
        }
    }
}
