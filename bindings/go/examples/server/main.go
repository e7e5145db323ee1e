// Command server answers POST /chat, {"messages": [...]}, with deltas of the answer as server-sent
// events.
//
//	server MODEL [ADDRESS]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"smallmind"
)

// handler makes a session for each request; when its client goes, the answer ends.
func handler(model *smallmind.Model, options *smallmind.ChatOptions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /chat", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Messages []smallmind.Message `json:"messages"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		session, err := model.Session(nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer session.Close()
		begun := false
		for delta, err := range session.StreamChat(r.Context(), asked.Messages, options) {
			if err != nil && !begun {
				http.Error(w, err.Error(), status(err))
				return
			}
			if err != nil {
				log.Print(err)
				return
			}
			if !begun {
				w.Header().Set("Content-Type", "text/event-stream")
				begun = true
			}
			fmt.Fprintf(w, "data: %s\n\n", delta.JSON)
			http.NewResponseController(w).Flush()
		}
	})
	return mux
}

// status is the client's fault where the messages are.
func status(err error) int {
	if errors.Is(err, smallmind.ErrArgument) || errors.Is(err, smallmind.ErrFormat) ||
		errors.Is(err, smallmind.ErrContextFull) {
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: server MODEL [ADDRESS]")
	}
	model, err := smallmind.Load(context.Background(), os.Args[1], nil)
	if err != nil {
		log.Fatal(err)
	}
	address := "localhost:8080"
	if len(os.Args) > 2 {
		address = os.Args[2]
	}
	log.Fatal(http.ListenAndServe(address, handler(model, nil)))
}
