package backlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// longestAnswer bounds an answer, in bytes.
const longestAnswer = 1 << 20

// endpoint gets a document and finds the number in it.
func (r *Reader) endpoint(ctx context.Context) (int, error) {
	location, err := r.url()
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, http.NoBody)
	if err != nil {
		return 0, errors.New("its URL is not like https://example.com/metrics.json")
	}
	request.Header.Set("Accept", "application/json, text/plain")
	if r.queue.Token != "" {
		token := r.value(r.queue.Token)
		if token == "" {
			return 0, fmt.Errorf("the app has no variable %s, which is to be its token", r.queue.Token)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := r.ask(request)
	if err != nil {
		return 0, err
	}
	return number(answer, r.queue.Value)
}

// ask gives the body of an answer that says 200.
func (r *Reader) ask(request *http.Request) ([]byte, error) {
	response, err := r.http.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL: something secret may be in it
		}
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answered %d: %.200q", response.StatusCode, body)
	case len(body) > longestAnswer:
		return nil, fmt.Errorf("its answer is longer than %d bytes", longestAnswer)
	}
	return body, nil
}

// number finds a count in a JSON document, by a pointer (RFC 6901). A count may be
// written as text; a fraction counts as one more.
func number(answer []byte, pointer string) (int, error) {
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	var found any
	if err := decoder.Decode(&found); err != nil {
		return 0, fmt.Errorf("the answer is no JSON: %w", err)
	}
	if pointer != "" {
		for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
			var here bool
			if found, here = member(found, part); !here {
				return 0, fmt.Errorf("the answer has nothing at %s", pointer)
			}
		}
	}
	text, isText := found.(string)
	if written, is := found.(json.Number); is {
		text, isText = written.String(), true
	}
	count, err := strconv.ParseFloat(text, 64)
	if !isText || err != nil || !(count >= 0 && count <= math.MaxInt32) {
		return 0, fmt.Errorf("what the answer has at %q is no count: %.60q", pointer, fmt.Sprint(found))
	}
	return int(math.Ceil(count)), nil
}

// member gives what an object or a list has by that name or number.
func member(of any, name string) (any, bool) {
	switch of := of.(type) {
	case map[string]any:
		value, here := of[name]
		return value, here
	case []any:
		i, err := strconv.ParseUint(name, 10, 31)
		if err != nil || int(i) >= len(of) {
			return nil, false
		}
		return of[i], true
	}
	return nil, false
}
