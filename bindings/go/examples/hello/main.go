package main

import (
	"context"
	"fmt"
	"os"
	"smallmind"
)

func main() {
	model, err := smallmind.Load(context.Background(), os.Args[1], nil)
	if err != nil {
		panic(err)
	}
	session, _ := model.Session(nil)
	options := &smallmind.GenerateOptions{MaxTokens: 40}
	for token, err := range session.Generate(context.Background(), "Once upon a time", options) {
		if err != nil {
			panic(err)
		}
		fmt.Print(token.Text)
	}
}
