package client

import (
	"bufio"
	"bytes"
	"io"
	"iter"
)

// serverSentEvent is one event of a text/event-stream.
type serverSentEvent struct {
	name string
	data []byte
}

// serverSentEvents reads events as the HTML standard says, but for "retry" and
// "id", which we do not need. An event that is not ended by an empty line is
// dropped. The error, if any, is the last element.
func serverSentEvents(r io.Reader) iter.Seq2[serverSentEvent, error] {
	return func(yield func(serverSentEvent, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, longestLine)
		var event serverSentEvent
		hasData := false
		for scanner.Scan() {
			line := scanner.Bytes()
			if len(line) == 0 {
				if hasData && !yield(event, nil) {
					return
				}
				event, hasData = serverSentEvent{}, false
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				event.name = string(value)
			case "data":
				if hasData {
					event.data = append(event.data, '\n')
				}
				event.data = append(event.data, value...)
				hasData = true
			}
		}
		if err := scanner.Err(); err != nil {
			yield(serverSentEvent{}, err)
		}
	}
}
