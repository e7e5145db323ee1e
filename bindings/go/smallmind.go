// Package smallmind runs language models inside your program, with libsmallmind.
//
//	model, err := smallmind.Load(ctx, "model.gguf", nil)
//	session, err := model.Session(nil)
//	for token, err := range session.Generate(ctx, "Once upon a time", nil) {
//		fmt.Print(token.Text)
//	}
//
// A context ends every long call. What fails is an *Error with the C message, which errors.Is
// compares with statuses (ErrArgument ...) and the system's errors. Models, sessions and
// constraints are freed by Close, in any order, or when nothing refers to them.
package smallmind

/*
#cgo pkg-config: smallmind
#include <smallmind/smallmind.h>

sm_progress_fn smGoProgressHook(void);
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/cgo"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// Status is a number of the library's for what went wrong.
type Status int32

func (s Status) Error() string { return C.GoString(C.sm_status_text(C.sm_status(s))) }

// Error is a call that failed.
type Error struct {
	Status  Status
	System  syscall.Errno // the system's number of it, or 0
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the status and the system's error to errors.Is.
func (e *Error) Unwrap() []error {
	if e.System != 0 {
		return []error{e.Status, e.System}
	}
	return []error{e.Status}
}

func failure(status C.sm_status, e *C.sm_error) error {
	if status == C.SM_OK {
		return nil
	}
	return &Error{Status(status), syscall.Errno(e.system), C.GoString(&e.message[0])}
}

func refused(message string) error { return &Error{Status: ErrArgument, Message: message} }

func init() {
	if have := C.sm_abi(); have != abi {
		panic(fmt.Sprintf("libsmallmind has ABI %d, not %d", have, abi))
	}
}

// Version is the library's.
func Version() string { return C.GoString(C.sm_version()) }

// Ptr makes a value that an option says apart from its default: Ptr(0.0).
func Ptr[T any](value T) *T { return &value }

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func zeroU32(value uint32) uint32 {
	if value == 0 {
		return C.SM_ZERO_U32
	}
	return value
}

func zeroF64(value float64) float64 {
	if value == 0 {
		return C.SM_ZERO
	}
	return value
}

// arena holds in place what structs of one call point to.
type arena struct {
	runtime.Pinner
	err error
}

func (a *arena) text(name, value string) *C.char {
	if strings.IndexByte(value, 0) >= 0 {
		a.err = refused(name + " has a zero character")
	}
	return a.bytes(value + "\x00")
}

func (a *arena) bytes(value string) *C.char {
	if value == "" {
		return nil
	}
	start := unsafe.StringData(value)
	a.Pin(start)
	return (*C.char)(unsafe.Pointer(start))
}

func (a *arena) texts(values []string) (*C.sm_text, C.uint64_t) {
	if len(values) == 0 {
		return nil, 0
	}
	list := make([]C.sm_text, len(values))
	for i, value := range values {
		list[i].text, list[i].length = a.bytes(value), C.uint64_t(len(value))
	}
	a.Pin(&list[0])
	return &list[0], C.uint64_t(len(list))
}

// handle is freed when it was closed and no call uses it any more.
type handle struct {
	mutex  sync.Mutex
	ptr    unsafe.Pointer
	free   func(unsafe.Pointer)
	users  int
	closed bool
}

func closedError() error { return &Error{Status: ErrState, Message: "this handle is closed"} }

func (h *handle) acquire() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.closed {
		return closedError()
	}
	h.users++
	return nil
}

func (h *handle) release() { h.drop(-1, false) }

func (h *handle) close() { h.drop(0, true) }

func (h *handle) drop(users int, closing bool) {
	h.mutex.Lock()
	h.users += users
	h.closed = h.closed || closing
	ptr := h.ptr
	if !h.closed || h.users > 0 {
		ptr = nil
	} else {
		h.ptr = nil
	}
	h.mutex.Unlock()
	if ptr != nil {
		h.free(ptr)
	}
}

// closer is what handles have in common.
type closer struct{ h *handle }

// Close frees it; calls that are running end first. A second time does nothing.
func (c *closer) Close() error {
	c.h.close()
	return nil
}

func own[T any](of *T, h *handle) { runtime.AddCleanup(of, (*handle).close, h) }

// canceller is a flag that a context sets.
type canceller struct{ flag *C.sm_cancel }

func newCanceller() (canceller, error) {
	var c canceller
	var e C.sm_error
	return c, failure(C.sm_cancel_new(&c.flag, &e), &e)
}

// during runs a call that ctx ends.
func (c canceller) during(ctx context.Context, call func(e *C.sm_error) C.sm_status) error {
	if err := ctx.Err(); err != nil {
		return cancelled(ctx, ErrCancelled)
	}
	set := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		C.sm_cancel_set(c.flag, 1)
		close(set)
	})
	var e C.sm_error
	err := failure(call(&e), &e)
	if !stop() {
		<-set
		C.sm_cancel_set(c.flag, 0)
		if errors.Is(err, ErrCancelled) {
			return cancelled(ctx, err)
		}
	}
	return err
}

func cancelled(ctx context.Context, err error) error {
	return fmt.Errorf("%w: %w", err, context.Cause(ctx))
}

// hook is what the callbacks of one call keep.
type hook struct {
	progress func(done, total uint64) error
	token    func(Token) error
	delta    func(Delta) error
	err      error
	panicked any
}

// answer runs a callback: what it gives back, or panics with, is kept until the call is back.
func (h *hook) answer(call func() error) (code C.int32_t) {
	code = 1
	returned := false
	defer func() {
		if !returned {
			h.panicked = recover()
		}
	}()
	h.err = call()
	returned = true
	if h.err == nil {
		code = 0
	}
	return code
}

// outcome is what the call comes to.
func (h *hook) outcome(err error) error {
	if h.panicked != nil {
		panic(h.panicked)
	}
	if h.err != nil && (err == nil || errors.Is(err, ErrCancelled)) {
		return h.err
	}
	return err
}

func hookOf(user unsafe.Pointer) *hook { return (*(*cgo.Handle)(user)).Value().(*hook) }

//export smGoProgress
func smGoProgress(user unsafe.Pointer, done, total C.uint64_t) C.int32_t {
	h := hookOf(user)
	return h.answer(func() error { return h.progress(uint64(done), uint64(total)) })
}

//export smGoToken
func smGoToken(user unsafe.Pointer, token *C.sm_token) C.int32_t {
	h := hookOf(user)
	return h.answer(func() error { return h.token(tokenOf(token)) })
}

//export smGoDelta
func smGoDelta(user unsafe.Pointer, delta *C.sm_delta) C.int32_t {
	h := hookOf(user)
	return h.answer(func() error { return h.delta(deltaOf(delta)) })
}

// Model is a model of a GGUF file, or of a Hugging Face directory. Any number of goroutines may
// use it.
type Model struct{ closer }

// Load loads a model; options may be nil.
func Load(ctx context.Context, path string, options *ModelOptions) (*Model, error) {
	if options == nil {
		options = &ModelOptions{}
	}
	c, err := newCanceller()
	if err != nil {
		return nil, err
	}
	defer C.sm_cancel_free(c.flag)
	var a arena
	defer a.Unpin()
	var given C.sm_model_options
	options.fill(&given, &a)
	given.cancel_flag = c.flag
	h := &hook{progress: options.Progress}
	user := cgo.NewHandle(h)
	defer user.Delete()
	if options.Progress != nil {
		a.Pin(&user)
		given.progress, given.progress_user = C.smGoProgressHook(), unsafe.Pointer(&user)
	}
	name := a.text("path", path)
	if a.err != nil {
		return nil, a.err
	}
	var made *C.sm_model
	err = h.outcome(c.during(ctx, func(e *C.sm_error) C.sm_status {
		return C.sm_model_load(&made, name, &given, e)
	}))
	if err != nil {
		C.sm_model_free(made)
		return nil, err
	}
	m := &Model{closer{&handle{ptr: unsafe.Pointer(made),
		free: func(p unsafe.Pointer) { C.sm_model_free((*C.sm_model)(p)) }}}}
	own(m, m.h)
	return m, nil
}

func (h *handle) model() *C.sm_model { return (*C.sm_model)(h.ptr) }

// ModelInfo is what a file says of its model.
type ModelInfo struct {
	Architecture, Name                             string
	Vocabulary, TrainContext, Width, Layers, Heads int32
	Parameters, WeightBytes                        uint64
}

// Info tells what the file says.
func (m *Model) Info() (ModelInfo, error) {
	if err := m.h.acquire(); err != nil {
		return ModelInfo{}, err
	}
	defer m.h.release()
	var e C.sm_error
	info := C.sm_model_info{struct_size: C.sizeof_sm_model_info}
	if err := failure(C.sm_model_get_info(m.h.model(), &info, &e), &e); err != nil {
		return ModelInfo{}, err
	}
	return ModelInfo{C.GoString(info.architecture), C.GoString(info.name), int32(info.n_vocab),
		int32(info.n_ctx_train), int32(info.n_embd), int32(info.n_layer), int32(info.n_head),
		uint64(info.n_params), uint64(info.weight_bytes)}, nil
}

// tokenizer calls with the model's vocabulary.
func (m *Model) tokenizer(call func(*C.sm_tokenizer, *C.sm_error) C.sm_status) error {
	if err := m.h.acquire(); err != nil {
		return err
	}
	defer m.h.release()
	var e C.sm_error
	var t *C.sm_tokenizer
	if err := failure(C.sm_model_get_tokenizer(m.h.model(), &t, &e), &e); err != nil {
		return err
	}
	defer C.sm_tokenizer_free(t)
	return failure(call(t, &e), &e)
}

// Encode gives the ids of a text; flags are EncodeSpecial and EncodeMarkers.
func (m *Model) Encode(text string, flags uint32) ([]int32, error) {
	how := C.sm_encode_options{struct_size: C.sizeof_sm_encode_options, flags: C.uint32_t(flags)}
	ids := make([]int32, 2*len(text)+16)
	for {
		n := C.uint64_t(0)
		err := m.tokenizer(func(t *C.sm_tokenizer, e *C.sm_error) C.sm_status {
			return C.sm_tokenizer_encode(t, (*C.char)(unsafe.Pointer(unsafe.StringData(text))),
				C.uint64_t(len(text)), &how, (*C.int32_t)(unsafe.Pointer(&ids[0])),
				C.uint64_t(len(ids)), &n, e)
		})
		if err == nil {
			return ids[:n], nil
		}
		if !errors.Is(err, ErrBuffer) {
			return nil, err
		}
		ids = make([]int32, n)
	}
}

// Decode gives the text of ids; flags are DecodeSpecial, DecodeKeepSpace and DecodeText.
func (m *Model) Decode(ids []int32, flags uint32) (string, error) {
	text := make([]byte, 16*len(ids)+64)
	for {
		n := C.uint64_t(0)
		err := m.tokenizer(func(t *C.sm_tokenizer, e *C.sm_error) C.sm_status {
			return C.sm_tokenizer_decode(t, idsOf(ids), C.uint64_t(len(ids)), C.uint32_t(flags),
				(*C.char)(unsafe.Pointer(&text[0])), C.uint64_t(len(text)), &n, e)
		})
		if err == nil {
			return string(text[:n]), nil
		}
		if !errors.Is(err, ErrBuffer) {
			return "", err
		}
		text = make([]byte, n)
	}
}

func idsOf(ids []int32) *C.int32_t { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(ids))) }

// Constraint is what a text must match.
type Constraint struct{ closer }

func (m *Model) constraint(
	call func(out **C.sm_constraint, t *C.sm_tokenizer, e *C.sm_error) C.sm_status,
) (*Constraint, error) {
	var made *C.sm_constraint
	err := m.tokenizer(func(t *C.sm_tokenizer, e *C.sm_error) C.sm_status { return call(&made, t, e) })
	if err != nil {
		return nil, err
	}
	c := &Constraint{closer{&handle{ptr: unsafe.Pointer(made),
		free: func(p unsafe.Pointer) { C.sm_constraint_free((*C.sm_constraint)(p)) }}}}
	own(c, c.h)
	return c, nil
}

// Schema makes a constraint of a JSON Schema.
func (m *Model) Schema(schema string) (*Constraint, error) {
	return m.constraint(func(out **C.sm_constraint, t *C.sm_tokenizer, e *C.sm_error) C.sm_status {
		return C.sm_constraint_new_schema(out, t,
			(*C.char)(unsafe.Pointer(unsafe.StringData(schema))), C.uint64_t(len(schema)), nil, nil, e)
	})
}

// Grammar makes a constraint of a grammar or expression; kind is ConstraintGrammar ...
func (m *Model) Grammar(kind uint32, text string) (*Constraint, error) {
	return m.constraint(func(out **C.sm_constraint, t *C.sm_tokenizer, e *C.sm_error) C.sm_status {
		return C.sm_constraint_new(out, t, C.uint32_t(kind),
			(*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.uint64_t(len(text)), nil, e)
	})
}
