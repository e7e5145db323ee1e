package smallmind

// #include <smallmind/smallmind.h>
import "C"

import (
	"context"
	"unsafe"
)

// Encoder makes vectors and scores of texts, which are computed together and have the same bits as
// alone. One call at a time: others get ErrState.
type Encoder struct {
	closer
	c canceller
}

// Encoder makes one of the model; options may be nil.
func (m *Model) Encoder(options *EncoderOptions) (*Encoder, error) {
	if options == nil {
		options = &EncoderOptions{}
	}
	if err := m.h.acquire(); err != nil {
		return nil, err
	}
	encoder, err := m.h.heldEncoder(options)
	if err != nil {
		m.h.release()
	}
	return encoder, err
}

// heldEncoder makes one of a model that was acquired for it.
func (h *handle) heldEncoder(options *EncoderOptions) (*Encoder, error) {
	var a arena
	defer a.Unpin()
	var given C.sm_encoder_options
	options.fill(&given, &a)
	if a.err != nil {
		return nil, a.err
	}
	c, err := newCanceller()
	if err != nil {
		return nil, err
	}
	given.cancel_flag = c.flag
	var made *C.sm_encoder
	var e C.sm_error
	if err := failure(C.sm_encoder_new(&made, h.model(), &given, &e), &e); err != nil {
		C.sm_cancel_free(c.flag)
		return nil, err
	}
	encoder := &Encoder{closer{&handle{ptr: unsafe.Pointer(made), free: func(p unsafe.Pointer) {
		C.sm_encoder_free((*C.sm_encoder)(p))
		C.sm_cancel_free(c.flag)
		h.release()
	}}}, c}
	own(encoder, encoder.h)
	return encoder, nil
}

func (e *Encoder) ptr() *C.sm_encoder { return (*C.sm_encoder)(e.h.ptr) }

// EncoderInfo is what Encoder.Info tells.
type EncoderInfo struct {
	Pooling                              uint32 // PoolingMean ...
	Dimensions, Width, MaxTokens, Labels int
}

// Info tells what it makes: elements of vectors and of hidden states, tokens of a text at most, and
// scores of a text (0: the model has none).
func (e *Encoder) Info() (EncoderInfo, error) {
	if err := e.h.acquire(); err != nil {
		return EncoderInfo{}, err
	}
	defer e.h.release()
	var err C.sm_error
	info := C.sm_encoder_info{struct_size: C.sizeof_sm_encoder_info}
	status := C.sm_encoder_get_info(e.ptr(), &info, &err)
	return EncoderInfo{uint32(info.pooling), int(info.n_dims), int(info.n_embd),
		int(info.max_tokens), int(info.n_labels)}, failure(status, &err)
}

// Labels are the names of the scores of a text; "" for one that has none.
func (e *Encoder) Labels() ([]string, error) {
	if err := e.h.acquire(); err != nil {
		return nil, err
	}
	defer e.h.release()
	info, err := e.Info()
	names := make([]string, info.Labels)
	for i := range names {
		var length C.uint64_t
		name := C.sm_encoder_label(e.ptr(), C.uint32_t(i), &length)
		if name != nil {
			names[i] = C.GoStringN(name, C.int(length))
		}
	}
	return names, err
}

// Embed gives the vectors of texts, in their order.
func (e *Encoder) Embed(ctx context.Context, texts ...string) ([][]float32, error) {
	info, err := e.Info()
	if err != nil {
		return nil, err
	}
	return e.rows(ctx, texts, info.Dimensions,
		func(list *C.sm_text, n C.uint64_t, to *C.float, room C.uint64_t, f *C.sm_error) C.sm_status {
			return C.sm_encoder_embed(e.ptr(), list, n, to, room, f)
		})
}

// Score gives the scores of texts by labels, in their order.
func (e *Encoder) Score(ctx context.Context, texts ...string) ([][]float32, error) {
	info, err := e.Info()
	if err != nil {
		return nil, err
	}
	return e.rows(ctx, texts, info.Labels,
		func(list *C.sm_text, n C.uint64_t, to *C.float, room C.uint64_t, f *C.sm_error) C.sm_status {
			return C.sm_encoder_score(e.ptr(), list, n, to, room, f)
		})
}

// Rerank tells how well documents answer a query, the greater the better.
func (e *Encoder) Rerank(ctx context.Context, query string, documents ...string) ([]float32, error) {
	var a arena
	defer a.Unpin()
	start, length := a.bytes(query), C.uint64_t(len(query))
	rows, err := e.rows(ctx, documents, 1,
		func(list *C.sm_text, n C.uint64_t, to *C.float, room C.uint64_t, f *C.sm_error) C.sm_status {
			return C.sm_encoder_rerank(e.ptr(), start, length, list, n, to, room, f)
		})
	scores := make([]float32, len(rows))
	for i, row := range rows {
		scores[i] = row[0]
	}
	return scores, err
}

// rows makes a call that fills `width` numbers of each text.
func (e *Encoder) rows(ctx context.Context, texts []string, width int,
	fill func(*C.sm_text, C.uint64_t, *C.float, C.uint64_t, *C.sm_error) C.sm_status,
) ([][]float32, error) {
	if err := e.h.acquire(); err != nil {
		return nil, err
	}
	defer e.h.release()
	var a arena
	defer a.Unpin()
	list, n := a.texts(texts)
	all := make([]float32, max(1, len(texts)*width)) // without labels the call says what is wrong
	err := e.c.during(ctx, func(f *C.sm_error) C.sm_status {
		return fill(list, n, (*C.float)(unsafe.Pointer(&all[0])), C.uint64_t(len(all)), f)
	})
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, len(texts))
	for i := range rows {
		rows[i] = all[i*width : (i+1)*width : (i+1)*width]
	}
	return rows, nil
}
