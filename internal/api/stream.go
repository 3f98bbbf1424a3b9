package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// beatEvery is how often a comment is sent on a quiet stream, so that both sides
// and what is between them see that it lives.
const beatEvery = 15 * time.Second

// writeTimeout ends a stream whose client does not read.
const writeTimeout = 30 * time.Second

// writeEvents writes values as Server-Sent Events of one name until the sequence
// or ctx ends. An error in the sequence is the last event, named "error". With
// identify nil the events have no ID.
func writeEvents[T any](ctx context.Context, w http.ResponseWriter, name string, values iter.Seq2[T, error], identify func(T) int64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := w.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // the connection may carry further requests
	type item struct {
		value T
		err   error
	}
	items := make(chan item)
	go func() {
		defer close(items)
		for value, err := range values {
			select {
			case items <- item{value, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for alive := send(":\n\n"); alive; {
		select {
		case <-beat.C:
			alive = send(":\n\n")
		case next, ok := <-items:
			switch {
			case !ok || ctx.Err() != nil:
				return
			case next.err != nil:
				send(eventText("error", "", problemOf(next.err)))
				return
			}
			id := ""
			if identify != nil {
				id = fmt.Sprint(identify(next.value))
			}
			alive = send(eventText(name, id, next.value))
		case <-ctx.Done():
			return
		}
	}
}

// eventText is one Server-Sent Event.
func eventText(name, id string, data any) string {
	text, err := json.Marshal(data)
	if err != nil { // a value that cannot be written is a fault of ours
		name, text = "error", []byte(`{"error":{"kind":"internal","message":"an event cannot be written"}}`)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return id + "event: " + name + "\ndata: " + string(text) + "\n\n"
}
