package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// eventClient reads server-sent events whose IDs count 1, 2, 3.
type eventClient struct {
	sender *sender
	record *record
	result *StreamResult
}

// errSilent says that a stream gave nothing for too long.
var errSilent = errors.New("silent for too long")

// stream goes over HTTP/1.1 for every other client, over HTTP/2 for the rest.
func (c *eventClient) stream(ctx context.Context, path string, client int) StreamEnd {
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := c.sender.options.EventStreams.Silence
	watchdog := time.AfterFunc(c.sender.options.Timeout, func() { cancel(errSilent) })
	defer watchdog.Stop()

	request, err := http.NewRequestWithContext(reading, http.MethodGet, c.sender.options.Target+path, nil)
	if err != nil {
		return endedByError("", "%v", err)
	}
	request.Header.Set("Accept", "text/event-stream")
	connection := KeepAlive
	if client%2 == 1 {
		connection = Multiplexed
	}
	answer, err := c.sender.transports.of(connection).RoundTrip(request)
	if err != nil {
		return endedByError("", "not connected: %v", causeOr(reading, err))
	}
	defer answer.Body.Close()
	instance := header(answer, c.sender.options.InstanceHeader)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return endedByError(instance, "not connected: %s, %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	c.record.opened(c.result)

	err = readEvents(answer.Body, func() {
		watchdog.Reset(silence)
		c.record.heard(c.result)
	})
	switch err = causeOr(reading, err); { // that we let go may be answered by an end like any other
	case err != nil:
		return endedByError(instance, "%v", err)
	case answer.ProtoMajor == 1 && !slices.Contains(answer.TransferEncoding, "chunked"):
		return endedByError(instance, "an end that cannot be told from a cut: neither chunked nor HTTP/2")
	default:
		return endedByDrain(instance, "clean end")
	}
}

// causeOr gives the reason that ctx was cancelled for, or else err.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// readEvents reads to the end and calls heard for every event. A clean end,
// between events, is no error.
func readEvents(body io.Reader, heard func()) error {
	lines := bufio.NewReader(body)
	within, last := false, 0
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) && (within || line != "") {
			return errors.New("ended in the middle of an event")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" && within {
			heard()
		}
		within = line != ""
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			n, err := strconv.Atoi(id)
			if err != nil || n != last+1 {
				return fmt.Errorf("event %q came after event %d", id, last)
			}
			last = n
		}
	}
}
