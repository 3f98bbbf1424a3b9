package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// result is what is kept of an answer.
type result struct {
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	// Body is the answer's JSON, or a string of whatever else it was.
	Body json.RawMessage `json:"body,omitempty"`
	// Truncated says that the body is a string of its beginning.
	Truncated bool `json:"truncated,omitempty"`
}

func final(reason string) jobs.Outcome {
	return jobs.Outcome{Verdict: jobs.Failed, Final: true, Reason: reason}
}

// interrupted gives a run back: whoever ended ctx knows why.
func interrupted(ctx context.Context) jobs.Outcome {
	return jobs.Outcome{Verdict: jobs.Returned, Reason: "interrupted: " + context.Cause(ctx).Error()}
}

// answered says what an answer means.
func answered(target target, response *http.Response, body []byte, limit int64) jobs.Outcome {
	status := response.StatusCode
	outcome := jobs.Outcome{
		Verdict: jobs.Failed,
		Reason:  fmt.Sprintf("%s was answered with %d", target, status),
		Result:  resultOf(status, response.Header.Get("Content-Type"), body, limit),
	}
	switch {
	case status >= 200 && status < 300:
		outcome.Verdict, outcome.Reason = jobs.Succeeded, ""
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		outcome.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
	default:
		outcome.Final = true
		if location := response.Header.Get("Location"); location != "" && status < 400 {
			outcome.Reason += fmt.Sprintf(" to %q; only GET and HEAD are sent on", shortened(location, 200))
		}
	}
	return outcome
}

// unanswered says what it means that there was no answer, or not all of one.
func unanswered(ctx context.Context, host string, err error) jobs.Outcome {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return final(refused.reason)
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return interrupted(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return jobs.Outcome{Verdict: jobs.Failed, Reason: host + " did not answer in time"}
	}
	return jobs.Outcome{Verdict: jobs.Failed, Reason: fmt.Sprintf("%s gave no answer: %s", host, plain(err))}
}

// plain leaves out the URL: whoever asked knows it, and there may be a secret in it.
func plain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// resultOf is at most [springtide.ResultLimit]: of what does not fit, the
// beginning is kept.
func resultOf(status int, contentType string, body []byte, limit int64) json.RawMessage {
	kept := result{Status: status, ContentType: shortened(contentType, 200)}
	if int64(len(body)) > limit {
		body, kept.Truncated = body[:limit], true
	}
	switch {
	case len(body) == 0:
	case json.Valid(body) && !kept.Truncated:
		kept.Body = body
	default:
		kept.Body = text(string(body))
	}
	for size := len(body); ; size /= 2 {
		if encoded, err := json.Marshal(kept); err == nil && len(encoded) <= springtide.ResultLimit {
			return encoded
		}
		kept.Body, kept.Truncated = text(string(body[:size])), true
	}
}

// text is a JSON string. Not every database can keep a NUL in one.
func text(body string) json.RawMessage {
	encoded, err := json.Marshal(strings.ReplaceAll(strings.ToValidUTF8(body, "\uFFFD"), "\x00", "\uFFFD"))
	if err != nil {
		return nil
	}
	return encoded
}

func shortened(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
