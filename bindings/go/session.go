package smallmind

/*
#include <smallmind/smallmind.h>

sm_token_fn smGoTokenHook(void);
sm_delta_fn smGoDeltaHook(void);
*/
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"runtime/cgo"
	"strings"
	"unsafe"
)

// Session is a sequence of tokens with a model. One call at a time: others get ErrState.
type Session struct {
	closer
	c     canceller
	model *handle
}

// Session makes an empty session; options may be nil.
func (m *Model) Session(options *SessionOptions) (*Session, error) {
	if options == nil {
		options = &SessionOptions{}
	}
	return m.h.session(func(out **C.sm_session, flag *C.sm_cancel, e *C.sm_error) C.sm_status {
		var a arena
		defer a.Unpin()
		var given C.sm_session_options
		options.fill(&given, &a)
		given.cancel_flag = flag
		return C.sm_session_new(out, m.h.model(), &given, e)
	})
}

// session makes a session that keeps the model.
func (h *handle) session(
	call func(out **C.sm_session, flag *C.sm_cancel, e *C.sm_error) C.sm_status,
) (*Session, error) {
	if err := h.acquire(); err != nil {
		return nil, err
	}
	return h.heldSession(call)
}

// heldSession makes one of a model that was acquired for it.
func (h *handle) heldSession(
	call func(out **C.sm_session, flag *C.sm_cancel, e *C.sm_error) C.sm_status,
) (*Session, error) {
	c, err := newCanceller()
	if err == nil {
		var made *C.sm_session
		var e C.sm_error
		if err = failure(call(&made, c.flag, &e), &e); err == nil {
			s := &Session{closer{&handle{ptr: unsafe.Pointer(made), free: func(p unsafe.Pointer) {
				C.sm_session_free((*C.sm_session)(p))
				C.sm_cancel_free(c.flag)
				h.release()
			}}}, c, h}
			own(s, s.h)
			return s, nil
		}
		C.sm_cancel_free(c.flag)
	}
	h.release()
	return nil, err
}

// Fork makes a second session with the same tokens; options may be nil.
func (s *Session) Fork(ctx context.Context, options *ForkOptions) (*Session, error) {
	if options == nil {
		options = &ForkOptions{}
	}
	if err := s.h.acquire(); err != nil {
		return nil, err
	}
	defer s.h.release()
	s.model.again()
	var fork *Session
	err := s.c.during(ctx, func(e *C.sm_error) C.sm_status {
		var err error
		fork, err = s.model.heldSession(
			func(out **C.sm_session, flag *C.sm_cancel, inner *C.sm_error) C.sm_status {
				var a arena
				defer a.Unpin()
				var given C.sm_fork_options
				options.fill(&given, &a)
				given.cancel_flag = flag
				status := C.sm_session_fork(out, s.ptr(), &given, inner)
				*e = *inner
				return status
			})
		var failed *Error
		if errors.As(err, &failed) {
			return C.sm_status(failed.Status)
		}
		return C.SM_OK
	})
	return fork, err
}

// again is acquire by who has acquired it, closed or not.
func (h *handle) again() {
	h.mutex.Lock()
	h.users++
	h.mutex.Unlock()
}

func (s *Session) ptr() *C.sm_session { return (*C.sm_session)(s.h.ptr) }

// do makes a call that takes long.
func (s *Session) do(ctx context.Context, call func(e *C.sm_error) C.sm_status) error {
	if err := s.h.acquire(); err != nil {
		return err
	}
	defer s.h.release()
	return s.c.during(ctx, call)
}

// Len is how many tokens it holds; 0 of a closed one.
func (s *Session) Len() int {
	if s.h.acquire() != nil {
		return 0
	}
	defer s.h.release()
	return int(C.sm_session_length(s.ptr()))
}

// Tokens are the ids that it holds.
func (s *Session) Tokens() ([]int32, error) {
	ids := make([]int32, s.Len())
	var n C.uint64_t
	err := s.do(context.Background(), func(e *C.sm_error) C.sm_status {
		return C.sm_session_tokens(s.ptr(), 0, idsOf(ids), C.uint64_t(len(ids)), &n, e)
	})
	return ids[:n], err
}

// Feed appends tokens and computes them.
func (s *Session) Feed(ctx context.Context, ids ...int32) error {
	return s.do(ctx, func(e *C.sm_error) C.sm_status {
		return C.sm_session_feed(s.ptr(), idsOf(ids), C.uint64_t(len(ids)), e)
	})
}

// Sync makes it hold exactly these tokens, and tells how many of them it held already.
func (s *Session) Sync(ctx context.Context, ids ...int32) (reused int, err error) {
	var n C.uint64_t
	err = s.do(ctx, func(e *C.sm_error) C.sm_status {
		return C.sm_session_sync(s.ptr(), idsOf(ids), C.uint64_t(len(ids)), &n, e)
	})
	return int(n), err
}

// Rewind forgets all tokens from a length on.
func (s *Session) Rewind(ctx context.Context, length int) error {
	if length < 0 || length > math.MaxUint32 {
		return refused("Rewind: a length of no session")
	}
	return s.do(ctx, func(e *C.sm_error) C.sm_status {
		return C.sm_session_rewind(s.ptr(), C.uint32_t(length), e)
	})
}

// Logits are those after the last token, a copy.
func (s *Session) Logits() (logits []float32, err error) {
	err = s.do(context.Background(), func(e *C.sm_error) C.sm_status {
		var first *C.float
		var n C.uint64_t
		status := C.sm_session_logits(s.ptr(), &first, &n, e)
		if status == C.SM_OK {
			logits = append(logits, unsafe.Slice((*float32)(unsafe.Pointer(first)), n)...)
		}
		return status
	})
	return logits, err
}

// Sample chooses the next token and tells its log-probability; sampling may be nil: greedy.
func (s *Session) Sample(sampling *Sampling) (id int32, logprob float64, err error) {
	var a arena
	defer a.Unpin()
	var given C.sm_sampling
	if sampling == nil {
		sampling = &Sampling{}
	}
	sampling.whole(&given, &a)
	if a.err != nil {
		return -1, 0, a.err
	}
	choice := C.sm_choice{struct_size: C.sizeof_sm_choice}
	err = s.do(context.Background(), func(e *C.sm_error) C.sm_status {
		return C.sm_session_sample(s.ptr(), &given, &choice, e)
	})
	return int32(choice.id), float64(choice.logprob), err
}

// Stats is what Session.Stats tells.
type Stats struct {
	Finish                                            uint32 // FinishEnd ...
	PromptTokens, ReusedTokens, GeneratedTokens       int
	PromptSeconds, FirstTokenSeconds, GenerateSeconds float64
}

// Stats tells of the last text that was generated.
func (s *Session) Stats() (Stats, error) {
	found := C.sm_generate_stats{struct_size: C.sizeof_sm_generate_stats}
	err := s.do(context.Background(), func(e *C.sm_error) C.sm_status {
		return C.sm_session_get_stats(s.ptr(), &found, e)
	})
	return Stats{uint32(found.finish), int(found.prompt_tokens), int(found.reused_tokens),
		int(found.generated_tokens), float64(found.prompt_seconds),
		float64(found.first_token_seconds), float64(found.generate_seconds)}, err
}

// whole is fill and what it leaves out.
func (o *Sampling) whole(c *C.sm_sampling, a *arena) {
	o.fill(c, a)
	if len(o.Bias) > 0 {
		list := make([]C.sm_logit_bias, 0, len(o.Bias))
		for token, bias := range o.Bias {
			list = append(list, C.sm_logit_bias{token: C.int32_t(token), bias: C.double(bias)})
		}
		a.Pin(&list[0])
		c.bias, c.n_bias = &list[0], C.uint64_t(len(list))
	}
	c.dry_breaker_texts, c.n_dry_breaker_texts = a.texts(o.DryBreakers)
}

// whole fills the struct for a call; done is to be called behind it.
func (o *GenerateOptions) whole(c *C.sm_generate_options, a *arena) (done func()) {
	o.fill(c, a)
	sampling := new(C.sm_sampling)
	o.Sampling.whole(sampling, a)
	a.Pin(sampling)
	c.sampling = sampling
	c.stop, c.n_stop = a.texts(o.Stop)
	c.ban, c.n_ban = a.texts(o.Ban)
	if o.Constraint == nil {
		return func() {}
	}
	if err := o.Constraint.h.acquire(); err != nil {
		a.err = err
		return func() {}
	}
	c.constraint = (*C.sm_constraint)(o.Constraint.h.ptr)
	return o.Constraint.h.release
}

// Token is a generated piece; ID is -1 where only text comes that had been waiting.
type Token struct {
	ID       int32
	Logprob  float64
	Text     string
	Top      []Logprob // likeliest tokens, best first: option NLogprobs
	InPrompt bool      // option Echo
}

// Logprob is a token and its natural log-probability.
type Logprob struct {
	ID      int32
	Logprob float64
}

func tokenOf(c *C.sm_token) Token {
	t := Token{int32(c.id), float64(c.logprob), textOf(c.text, c.length), nil, c.in_prompt != 0}
	for _, top := range unsafe.Slice(c.top, c.n_top) {
		t.Top = append(t.Top, Logprob{int32(top.id), float64(top.logprob)})
	}
	return t
}

func textOf(text *C.char, length C.uint64_t) string {
	return string(unsafe.Slice((*byte)(unsafe.Pointer(text)), length))
}

// GenerateFunc continues a text and tells each token; an error of told's ends the call and comes
// out of it, a panic likewise. told may not use the session.
func (s *Session) GenerateFunc(ctx context.Context, prompt string, options *GenerateOptions,
	told func(Token) error) error {
	if options == nil {
		options = &GenerateOptions{}
	}
	var a arena
	defer a.Unpin()
	var given C.sm_generate_options
	defer options.whole(&given, &a)()
	if a.err != nil {
		return a.err
	}
	a.Pin(&given)
	text := a.bytes(prompt)
	h := &hook{token: told}
	user := cgo.NewHandle(h)
	defer user.Delete()
	return h.outcome(s.do(ctx, func(e *C.sm_error) C.sm_status {
		return C.sm_session_generate(s.ptr(), text, C.uint64_t(len(prompt)), &given,
			C.smGoTokenHook(), unsafe.Pointer(&user), e)
	}))
}

// Generate continues a text: gives tokens while they come, last the error if there is one. Leaving
// the loop ends the call.
func (s *Session) Generate(ctx context.Context, prompt string,
	options *GenerateOptions) iter.Seq2[Token, error] {
	return stream(ctx, func(ctx context.Context, told func(Token) error) error {
		return s.GenerateFunc(ctx, prompt, options, told)
	})
}

// Complete gives the whole continuation.
func (s *Session) Complete(ctx context.Context, prompt string,
	options *GenerateOptions) (string, error) {
	var text strings.Builder
	err := s.GenerateFunc(ctx, prompt, options, func(t Token) error {
		text.WriteString(t.Text)
		return nil
	})
	return text.String(), err
}

// stream runs a call in a goroutine of its own (the loop may wait, panic, end or be a coroutine),
// some pieces ahead of the loop.
func stream[T any](ctx context.Context,
	run func(context.Context, func(T) error) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		pieces := make(chan T, 64)
		var err error
		var panicked any
		go func() {
			defer close(pieces)
			defer func() { panicked = recover() }()
			err = run(inner, func(piece T) error {
				select {
				case pieces <- piece:
					return nil
				case <-inner.Done():
					return context.Cause(inner)
				}
			})
		}()
		defer func() {
			cancel()
			for range pieces { // until the call is back
			}
		}()
		for piece := range pieces {
			if !yield(piece, nil) {
				return
			}
		}
		if panicked != nil {
			panic(panicked)
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

// Message is one of a conversation, as in OpenAI's API.
type Message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Reasoning  string     `json:"reasoning_content,omitempty"`
	ToolCalls  []ToolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

// ToolCall is a call that a model asks for; Arguments is a JSON object.
type ToolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// ChatOptions are those of an answer.
type ChatOptions struct {
	Generate   GenerateOptions
	Tools      any    // what marshals to the JSON array of OpenAI's API; nil: none
	ToolChoice string // "auto", "none", "required", a name; "": auto where there are tools
	Variables  any    // more for the template, what marshals to a JSON object
	Template   string // of the model's, or a layout; "": the model's own
}

// Delta is what has become certain of an answer.
type Delta struct {
	Kind uint32 // DeltaContent ...
	Text string // content, reasoning, or a call's arguments, a JSON object
	Name string // of a call
	ID   string // of a call
	JSON string // the same as a "delta" of OpenAI's chunks; of DeltaEnd: an Answer
}

// Answer is a whole one.
type Answer struct {
	Message      Message `json:"message"`
	FinishReason string  `json:"finish_reason"`
	Usage        struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		CachedTokens     int `json:"cached_tokens"`
	} `json:"usage"`
}

func deltaOf(c *C.sm_delta) Delta {
	return Delta{uint32(c.kind), textOf(c.text, c.length), C.GoString(c.name), C.GoString(c.id),
		textOf(c.json, c.json_length)}
}

// document marshals a JSON document; nil is none.
func (a *arena) document(name string, value any) *C.char {
	if value == nil {
		return nil
	}
	made, err := json.Marshal(value)
	if err != nil {
		a.err = err
	}
	return a.text(name, string(made))
}

// ChatFunc answers messages (what marshals to a JSON array as in OpenAI's API) and tells each
// delta, last DeltaEnd; an error of told's, or a panic, ends the call and comes out of it.
func (s *Session) ChatFunc(ctx context.Context, messages any, options *ChatOptions,
	told func(Delta) error) error {
	if options == nil {
		options = &ChatOptions{}
	}
	var a arena
	defer a.Unpin()
	var generate C.sm_generate_options
	defer options.Generate.whole(&generate, &a)()
	a.Pin(&generate)
	given := C.sm_answer_options{struct_size: C.sizeof_sm_answer_options, generate: &generate}
	if options.ToolChoice != "" {
		given.tool_choice = a.text("ToolChoice", options.ToolChoice)
	}
	given.variables = a.document("Variables", options.Variables)
	asked, tools := a.document("messages", messages), a.document("Tools", options.Tools)
	named := C.sm_chat_options{struct_size: C.sizeof_sm_chat_options}
	if options.Template != "" {
		named.template_name = a.text("Template", options.Template)
	}
	if a.err != nil {
		return a.err
	}
	h := &hook{delta: told}
	user := cgo.NewHandle(h)
	defer user.Delete()
	return h.outcome(s.do(ctx, func(e *C.sm_error) C.sm_status {
		var chat *C.sm_chat
		if status := C.sm_chat_new_from_model(&chat, s.model.model(), &named, e); status != C.SM_OK {
			return status
		}
		defer C.sm_chat_free(chat)
		return C.sm_session_chat(s.ptr(), chat, asked, tools, &given, C.smGoDeltaHook(),
			unsafe.Pointer(&user), e)
	}))
}

// StreamChat answers messages: gives deltas while they come, last the error if there is one.
// Leaving the loop ends the call.
func (s *Session) StreamChat(ctx context.Context, messages any,
	options *ChatOptions) iter.Seq2[Delta, error] {
	return stream(ctx, func(ctx context.Context, told func(Delta) error) error {
		return s.ChatFunc(ctx, messages, options, told)
	})
}

// Chat gives the whole answer.
func (s *Session) Chat(ctx context.Context, messages any, options *ChatOptions) (*Answer, error) {
	answer := new(Answer)
	err := s.ChatFunc(ctx, messages, options, func(d Delta) error {
		if d.Kind == DeltaEnd {
			return json.Unmarshal([]byte(d.JSON), answer)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}
