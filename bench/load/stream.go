package load

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stream is one connection of a long-lived client: it reads until something
// ends it, and says what.
type stream func(ctx context.Context, path string, client int) StreamEnd

// startStreams starts the long-lived clients, which connect again whenever
// their stream has ended.
func startStreams(ctx context.Context, running *sync.WaitGroup, s *sender, r *record) {
	sockets := &socketClient{s, r, &r.result.WebSockets}
	events := &eventClient{s, r, &r.result.EventStreams}
	for _, kind := range []struct {
		Streams
		result  *StreamResult
		connect stream
	}{
		{s.options.WebSockets, sockets.result, sockets.stream},
		{s.options.EventStreams, events.result, events.stream},
	} {
		for client := range kind.Clients {
			path := strings.ReplaceAll(kind.Path, "{client}", strconv.Itoa(client))
			running.Go(func() { r.keepStreaming(ctx, kind.result, kind.connect, path, client) })
		}
	}
}

func (r *record) keepStreaming(ctx context.Context, result *StreamResult, connect stream, path string, client int) {
	for ctx.Err() == nil {
		end := connect(ctx, path, client)
		if ctx.Err() != nil {
			return
		}
		r.ended(result, end)
		pause := 20 * time.Millisecond
		if !end.Drained {
			pause = 250 * time.Millisecond
		}
		wait(ctx, pause)
	}
}

func endedByError(instance, format string, args ...any) StreamEnd {
	return StreamEnd{Instance: instance, Reason: fmt.Sprintf(format, args...)}
}

func endedByDrain(instance, format string, args ...any) StreamEnd {
	return StreamEnd{Instance: instance, Drained: true, Reason: fmt.Sprintf(format, args...)}
}
