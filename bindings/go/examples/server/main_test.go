package main

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"smallmind"
)

func TestHandler(t *testing.T) {
	model, err := smallmind.Load(context.Background(), os.Getenv("SMALLMIND_TEST_MODEL"), nil)
	if err != nil {
		t.Fatal(err)
	}
	options := &smallmind.ChatOptions{Template: "chatml"}
	options.Generate.MaxTokens = 8
	h := handler(model, options)
	ask := func(ctx context.Context, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/chat", strings.NewReader(body)))
		return w
	}
	const hello = `{"messages": [{"role": "user", "content": "Hello"}]}`
	w := ask(context.Background(), hello)
	events := strings.Split(strings.TrimSpace(w.Body.String()), "\n\n")
	var answer smallmind.Answer
	last := strings.TrimPrefix(events[len(events)-1], "data: ")
	if err := json.Unmarshal([]byte(last), &answer); w.Code != 200 || err != nil ||
		answer.FinishReason == "" {
		t.Fatal(w.Code, w.Body, err)
	}
	for _, bad := range []string{"{", `{"messages": [{"role": 5}]}`} {
		if w := ask(context.Background(), bad); w.Code != 400 {
			t.Fatal(bad, w.Code, w.Body)
		}
	}
	options.Generate = smallmind.GenerateOptions{IgnoreEnd: true, MaxTokens: 1000000,
		ContextFull: smallmind.ContextSlide}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	ask(ctx, hello) // returns, since the client has gone
	if ctx.Err() == nil {
		t.Fatal("it ended before its client went")
	}
}
