package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Events gives those that match, until ctx ends, the caller breaks, or the server
// is away for too long.
func (c *Client) Events(ctx context.Context, query api.EventQuery) iter.Seq2[springtide.Event, error] {
	return c.events(ctx, query, false)
}

// events is Events; known says that the server has answered before, so it will
// come back if it is away now.
func (c *Client) events(ctx context.Context, query api.EventQuery, known bool) iter.Seq2[springtide.Event, error] {
	after := query.After
	return follow(ctx, c, known, func() request {
		values := url.Values{"after": {strconv.FormatInt(after, 10)}}
		set(values, "app", string(query.Environment.App))
		set(values, "environment", string(query.Environment.Name))
		set(values, "deploy", string(query.Deploy))
		return request{method: "GET", path: "/v1/events", query: values, accept: "text/event-stream"}
	}, func(body io.Reader, yield func(springtide.Event) bool) error {
		return eachEvent(body, "event", func(event springtide.Event) bool {
			after = event.Sequence
			return yield(event)
		})
	})
}

// Live gives the figures of each second, as Events does.
func (c *Client) Live(ctx context.Context, id springtide.EnvironmentID) iter.Seq2[api.Figures, error] {
	return follow(ctx, c, false, func() request {
		return request{method: "GET", path: environmentPath(id, "live"), accept: "text/event-stream"}
	}, func(body io.Reader, yield func(api.Figures) bool) error {
		return eachEvent(body, "figures", yield)
	})
}

// Logs gives lines of output. With query.Follow it goes on as Events does.
func (c *Client) Logs(ctx context.Context, query springtide.LogQuery) iter.Seq2[springtide.LogLine, error] {
	var last time.Time
	ask := func() request {
		values := url.Values{}
		set(values, "process", string(query.Process))
		set(values, "instance", string(query.Instance))
		set(values, "run", query.Task)
		since := query.Since
		if last.After(since) {
			since = last
		} else if query.Tail > 0 {
			values.Set("tail", strconv.Itoa(query.Tail))
		}
		if !since.IsZero() {
			values.Set("since", since.Format(time.RFC3339Nano))
		}
		if query.Follow {
			values.Set("follow", "true")
		}
		return request{method: "GET", path: environmentPath(query.Environment, "logs"), query: values, accept: "application/x-ndjson"}
	}
	read := func(body io.Reader, yield func(springtide.LogLine) bool) error {
		seen := last
		return eachLine(body, func(line springtide.LogLine) bool {
			if !seen.IsZero() && !line.Time.After(seen) {
				return true // had it before the connection broke
			}
			last = line.Time
			return yield(line)
		})
	}
	if query.Follow {
		return follow(ctx, c, false, ask, read)
	}
	return once(ctx, c, ask, read)
}

// set leaves out what is empty.
func set(values url.Values, name, value string) {
	if value != "" {
		values.Set(name, value)
	}
}

// errStop is how a reader says that the caller had enough.
var errStop = errors.New("the caller had enough")

// reader reads an answer and yields what is in it. It gives errStop if yield
// says so, nil or a broken connection's error at its end, and what the server
// says is wrong as a [springtide.Error].
type reader[T any] func(body io.Reader, yield func(T) bool) error

// once reads one answer.
func once[T any](ctx context.Context, c *Client, ask func() request, read reader[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		response, err := c.send(ctx, ask())
		if err != nil {
			yield(none, err)
			return
		}
		defer response.Body.Close()
		err = read(response.Body, func(value T) bool { return yield(value, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(none, err)
		}
	}
}

// follow reads answers that go on, and asks again when one breaks off. A server
// that is not known to be there is asked once.
func follow[T any](ctx context.Context, c *Client, known bool, ask func() request, read reader[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for {
			var response *http.Response
			try := func() (err error) {
				response, err = c.send(ctx, ask()) //nolint:bodyclose // Closed once it was read.
				return err
			}
			err := try()
			if err != nil && known {
				err = c.patiently(ctx, try)
			}
			if err == nil {
				known = true
				err = read(response.Body, func(value T) bool { return yield(value, nil) })
				response.Body.Close()
			}
			if errors.Is(err, errStop) {
				return
			}
			if ctx.Err() != nil {
				yield(none, ctx.Err())
				return
			}
			if _, told := errors.AsType[*springtide.Error](err); told {
				yield(none, err)
				return
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				yield(none, err)
				return
			}
		}
	}
}

// longestLine bounds one line of an answer.
const longestLine = 4 << 20

// eachLine yields the values of lines of JSON.
func eachLine[T any](body io.Reader, yield func(T) bool) error {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, longestLine)
	for scanner.Scan() {
		if len(scanner.Bytes()) == 0 {
			continue
		}
		var value T
		if err := json.Unmarshal(scanner.Bytes(), &value); err != nil {
			return nil //nolint:nilerr // Cut in the middle: as good as a broken connection.
		}
		if !yield(value) {
			return errStop
		}
	}
	return scanner.Err()
}

// eachEvent yields the data of the Server-Sent Events of one name. An event
// named "error" ends it.
func eachEvent[T any](body io.Reader, name string, yield func(T) bool) error {
	for event, err := range serverSentEvents(body) {
		if err != nil {
			return err
		}
		switch event.name {
		case "error":
			var problem api.Problem
			if err := json.Unmarshal(event.data, &problem); err != nil {
				return springtide.Errorf(springtide.Internal, "the server ends the stream with an error that cannot be read: %w", err)
			}
			return &problem.Err
		case name:
			var value T
			if err := json.Unmarshal(event.data, &value); err != nil {
				return springtide.Errorf(springtide.Internal, "the server sent an event that cannot be read: %w", err)
			}
			if !yield(value) {
				return errStop
			}
		}
	}
	return nil
}
