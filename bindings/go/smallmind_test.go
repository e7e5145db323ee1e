package smallmind

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The model of the tests: SMALLMIND_TEST_MODEL names one with a vocabulary.
func load(t *testing.T) *Model {
	t.Helper()
	m, err := Load(context.Background(), os.Getenv("SMALLMIND_TEST_MODEL"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func session(t *testing.T, m *Model) *Session {
	t.Helper()
	s, err := m.Session(&SessionOptions{NCtx: 64, NThreads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func many() *GenerateOptions {
	return &GenerateOptions{MaxTokens: 1000000, IgnoreEnd: true, ContextFull: ContextSlide}
}

func TestTexts(t *testing.T) {
	m := load(t)
	defer m.Close()
	const text = "and the end\x00!"
	ids, err := m.Encode(text, 0)
	if err != nil || len(ids) < 3 {
		t.Fatal(ids, err)
	}
	if back, err := m.Decode(ids, 0); err != nil || strings.TrimSpace(back) != text {
		t.Fatal(back, err)
	}
	if info, err := m.Info(); err != nil || info.Architecture != "llama" || info.Vocabulary <= 0 {
		t.Fatal(info, err)
	}
	if ids, err := m.Encode("", 0); err != nil || len(ids) != 0 {
		t.Fatal(ids, err)
	}
}

func TestErrors(t *testing.T) {
	_, err := Load(context.Background(), "/nonexistent/m.gguf", nil)
	var failed *Error
	if !errors.Is(err, ErrIO) || !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &failed) ||
		!strings.Contains(err.Error(), "/nonexistent") {
		t.Fatal(err)
	}
	if _, err := Load(context.Background(), "a\x00b", nil); !errors.Is(err, ErrArgument) {
		t.Fatal(err)
	}
	m := load(t)
	if _, err := m.Session(&SessionOptions{NThreads: 100000}); !errors.Is(err, ErrArgument) ||
		!strings.Contains(err.Error(), "n_threads") {
		t.Fatal(err)
	}
	s := session(t, m)
	if err := s.Feed(context.Background(), 1<<30); !errors.Is(err, ErrToken) {
		t.Fatal(err)
	}
	if _, err := s.Logits(); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	m.Close()
	if _, err := m.Info(); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	s.Close()
	if err := s.Close(); err != nil || s.Len() != 0 {
		t.Fatal(err)
	}
	if _, err := s.Complete(context.Background(), "a", nil); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
}

func TestStreams(t *testing.T) {
	ctx := context.Background()
	s := session(t, load(t))
	options := &GenerateOptions{MaxTokens: 12, NLogprobs: 2}
	whole, err := s.Complete(ctx, "Once", options)
	if err != nil || whole == "" {
		t.Fatal(whole, err)
	}
	pulled, n := "", 0
	for token, err := range s.Generate(ctx, "Once", options) {
		if err != nil {
			t.Fatal(err)
		}
		pulled += token.Text
		if token.ID >= 0 {
			n++
			if len(token.Top) != 2 || token.Top[0].ID != token.ID {
				t.Fatal(token)
			}
		}
	}
	if pulled != whole || n != 12 {
		t.Fatal(pulled, n)
	}
	if stats, err := s.Stats(); err != nil || stats.Finish != FinishLength ||
		stats.GeneratedTokens != 12 {
		t.Fatal(stats, err)
	}
	next, stop := iter.Pull2(s.Generate(ctx, "Once", options))
	if first, err, ok := next(); !ok || err != nil || !strings.HasPrefix(whole, first.Text) {
		t.Fatal(first, err)
	}
	stop()
	for range 20 {
		for range s.Generate(ctx, "Once", many()) {
			break
		}
	}
	if again, err := s.Complete(ctx, "Once", options); err != nil || again != whole {
		t.Fatal(again, err)
	}
	for _, err := range s.Generate(ctx, "Once", &GenerateOptions{NLogprobs: 1000}) {
		if !errors.Is(err, ErrArgument) {
			t.Fatal(err)
		}
	}
}

func TestZeroCanBeSaid(t *testing.T) {
	s := session(t, load(t))
	if err := s.Feed(context.Background(), 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	greedy, _, err := s.Sample(nil)
	if err != nil {
		t.Fatal(err)
	}
	others := 0
	for seed := range uint64(40) {
		zero, _, err := s.Sample(&Sampling{Temperature: 100, TopP: Ptr(0.0), Seed: seed})
		if err != nil || zero != greedy { // a top-p of zero leaves the likeliest alone
			t.Fatal(zero, err)
		}
		if id, _, err := s.Sample(&Sampling{Temperature: 100, Seed: seed}); err == nil && id != greedy {
			others++
		}
	}
	banned, _, err := s.Sample(&Sampling{Bias: map[int32]float64{greedy: -1000}})
	if others == 0 || err != nil || banned == greedy {
		t.Fatal(others, banned, err)
	}
}

func TestCallbacksThatFail(t *testing.T) {
	ctx := context.Background()
	s := session(t, load(t))
	enough, told := errors.New("enough"), 0
	err := s.GenerateFunc(ctx, "Once", many(), func(Token) error {
		if told++; told == 3 {
			return enough
		}
		return nil
	})
	if err != enough || told != 3 {
		t.Fatal(err, told)
	}
	panics := func(run func()) (with any) {
		defer func() { with = recover() }()
		run()
		return nil
	}
	if with := panics(func() {
		s.GenerateFunc(ctx, "Once", many(), func(Token) error { panic("told") })
	}); with != "told" {
		t.Fatal(with)
	}
	if with := panics(func() {
		for range s.Generate(ctx, "Once", many()) {
			panic("loop")
		}
	}); with != "loop" {
		t.Fatal(with)
	}
	_, err = Load(ctx, os.Getenv("SMALLMIND_TEST_MODEL"),
		&ModelOptions{Progress: func(uint64, uint64) error { return enough }})
	if err != enough {
		t.Fatal(err)
	}
	if text, err := s.Complete(ctx, "Once", &GenerateOptions{MaxTokens: 3}); err != nil || text == "" {
		t.Fatal(text, err)
	}
}

func TestContextsCancel(t *testing.T) {
	s := session(t, load(t))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Complete(ctx, "Once", many())
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := Load(ctx, os.Getenv("SMALLMIND_TEST_MODEL"), nil); !errors.Is(err, ErrCancelled) {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	var last error
	for token, err := range s.Generate(ctx, "Once", many()) {
		if last = err; err == nil && token.ID >= 0 {
			cancel() // of this goroutine, while another one computes
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Fatal(last)
	}
	if err := s.Feed(context.Background(), 1, 2); err != nil { // nothing is left of it
		t.Fatal(err)
	}
}

func TestSignalsCancel(t *testing.T) {
	s := session(t, load(t))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGUSR1)
	defer stop()
	time.AfterFunc(20*time.Millisecond, func() { syscall.Kill(os.Getpid(), syscall.SIGUSR1) })
	if _, err := s.Complete(ctx, "Once", many()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestAnyOrderOfEnds(t *testing.T) {
	ctx := context.Background()
	m := load(t)
	s := session(t, m)
	ids, err := m.Encode("Once upon a time", EncodeMarkers)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := s.Feed(ctx, ids...); err != nil {
		t.Fatal(err)
	}
	fork, err := s.Fork(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	logits, _ := s.Logits()
	s.Close()
	same, err := fork.Logits()
	if err != nil || len(same) != len(logits) || same[5] != logits[5] {
		t.Fatal(err)
	}
	if _, err := fork.Chat(ctx, []Message{{Role: "user", Content: "a"}},
		&ChatOptions{Template: "chatml", Generate: GenerateOptions{MaxTokens: 2}}); err != nil {
		t.Fatal(err) // the model is there as long as the session
	}
	if err := fork.Rewind(ctx, 1); err != nil || fork.Len() != 1 {
		t.Fatal(err, fork.Len())
	}
	if reused, err := fork.Sync(ctx, ids...); err != nil || reused > len(ids) || fork.Len() != len(ids) {
		t.Fatal(reused, err)
	}
	if tokens, err := fork.Tokens(); err != nil || len(tokens) != len(ids) || tokens[2] != ids[2] {
		t.Fatal(tokens, err)
	}
	var freed atomic.Int32
	const abandoned = 50
	for range abandoned { // never closed
		m := load(t)
		free := m.h.free
		m.h.free = func(p unsafe.Pointer) { free(p); freed.Add(1) }
		if _, err := m.Session(&SessionOptions{NCtx: 16, NThreads: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); freed.Load() < abandoned; {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatal(freed.Load())
		}
		time.Sleep(time.Millisecond)
	}
	busy := session(t, load(t))
	err = busy.GenerateFunc(ctx, "Once", &GenerateOptions{MaxTokens: 3}, func(Token) error {
		return busy.Close() // takes effect when the call ends
	})
	if err != nil || busy.Len() != 0 {
		t.Fatal(err)
	}
}

func TestVectorsOfTexts(t *testing.T) {
	ctx := context.Background()
	m := load(t)
	encoder, err := m.Encoder(&EncoderOptions{NThreads: 1})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	info, err := encoder.Info()
	if err != nil || info.Dimensions == 0 || info.Labels != 0 {
		t.Fatal(info, err)
	}
	vectors, err := encoder.Embed(ctx, "Once upon a time", "and the end", "")
	if err != nil || len(vectors) != 3 || len(vectors[2]) != info.Dimensions {
		t.Fatal(vectors, err)
	}
	alone, err := encoder.Embed(ctx, "and the end")
	if err != nil || !slices.Equal(alone[0], vectors[1]) || slices.Equal(vectors[0], vectors[1]) {
		t.Fatal(alone, err)
	}
	if none, err := encoder.Embed(ctx); err != nil || len(none) != 0 {
		t.Fatal(none, err)
	}
	if labels, err := encoder.Labels(); err != nil || len(labels) != 0 {
		t.Fatal(labels, err)
	}
	if _, err := encoder.Score(ctx, "Once"); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	if _, err := encoder.Rerank(ctx, "Once", "a", "b"); !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	cancelling, cancel := context.WithCancel(ctx)
	time.AfterFunc(time.Millisecond, cancel)
	much := slices.Repeat([]string{"Once upon a time there was"}, 20000)
	if _, err := encoder.Embed(cancelling, much...); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	encoder.Close()
	if _, err := encoder.Embed(ctx, "Once"); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	few, err := load(t).Encoder(&EncoderOptions{NDims: 8, Pooling: PoolingMean})
	if err != nil {
		t.Fatal(err)
	}
	if short, err := few.Embed(ctx, "Once"); err != nil || len(short[0]) != 8 {
		t.Fatal(short, err)
	}
	if _, err := load(t).Encoder(&EncoderOptions{Prefix: "a\x00b"}); !errors.Is(err, ErrArgument) {
		t.Fatal(err)
	}
}

func TestGoroutines(t *testing.T) {
	m := load(t)
	want, err := session(t, m).Complete(context.Background(), "Once", &GenerateOptions{MaxTokens: 8})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 6 {
		s := session(t, m)
		group.Add(1)
		go func() {
			defer group.Done()
			text, err := s.Complete(context.Background(), "Once", &GenerateOptions{MaxTokens: 8})
			if err != nil || text != want {
				t.Error(text, err)
			}
		}()
	}
	m.Close()
	group.Wait()
	s := session(t, load(t))
	for token := range s.Generate(context.Background(), "Once", many()) {
		if err := s.Feed(context.Background(), 1); token.ID >= 0 && !errors.Is(err, ErrState) {
			t.Error(err)
		}
		break
	}
}

func TestChat(t *testing.T) {
	ctx := context.Background()
	m := load(t)
	s, err := m.Session(&SessionOptions{NThreads: 1})
	if err != nil {
		t.Fatal(err)
	}
	messages := []Message{{Role: "user", Content: "A \"quoted\"\nline ä"}}
	options := &ChatOptions{Template: "chatml", Generate: GenerateOptions{MaxTokens: 8}}
	answer, err := s.Chat(ctx, messages, options)
	if err != nil || answer.Message.Role != "assistant" || answer.FinishReason == "" ||
		answer.Usage.CompletionTokens == 0 {
		t.Fatal(answer, err)
	}
	content, last := "", uint32(0)
	for delta, err := range s.StreamChat(ctx, messages, options) {
		if err != nil {
			t.Fatal(err)
		}
		if last = delta.Kind; delta.Kind == DeltaContent {
			content += delta.Text
		}
	}
	if last != DeltaEnd || content != answer.Message.Content {
		t.Fatal(last, content, answer)
	}
	options.Template = "no such layout"
	if _, err := s.Chat(ctx, messages, options); !errors.Is(err, ErrArgument) {
		t.Fatal(err)
	}
}

func TestConstraints(t *testing.T) {
	m := load(t)
	schema, err := m.Schema(`{"enum": ["a", "b"]}`)
	if err != nil {
		t.Fatal(err)
	}
	text, err := session(t, m).Complete(context.Background(), "Once",
		&GenerateOptions{Constraint: schema, MaxTokens: 20, Stop: []string{"never"}})
	if err != nil || (text != `"a"` && text != `"b"`) {
		t.Fatal(text, err)
	}
	schema.Close()
	if _, err := session(t, m).Complete(context.Background(), "Once",
		&GenerateOptions{Constraint: schema}); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	if _, err := m.Schema("{"); !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
	regex, err := m.Grammar(ConstraintRegex, "[0-9]{3}")
	if err != nil {
		t.Fatal(err)
	}
	if text, err = session(t, m).Complete(context.Background(), "Once",
		&GenerateOptions{Constraint: regex}); err != nil || len(text) != 3 {
		t.Fatal(text, err)
	}
}

// The README's program is examples/hello, and it works.
func TestReadme(t *testing.T) {
	program, err := os.ReadFile("examples/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil || !strings.Contains(string(readme), "```go\n"+string(program)+"```") {
		t.Fatal("README.md does not show examples/hello/main.go", err)
	}
	run := exec.Command("go", "run", "./examples/hello", os.Getenv("SMALLMIND_TEST_MODEL"))
	if said, err := run.CombinedOutput(); err != nil || len(said) < 10 {
		t.Fatal(string(said), err)
	}
}
