package mail

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// templateLimit is how long what an app renders may be, in bytes.
const templateLimit = 1 << 20

// Asker makes a request for a run, and gives besides the outcome the body of the
// answer: at most limit bytes, and one more if there were more. Implemented by
// call.Caller.
type Asker interface {
	Ask(ctx context.Context, run springtide.Run, asked springtide.HTTPCall, limit int64) (jobs.Outcome, []byte)
}

// render has the app make the mail's content. The outcome is a success if there
// is something to send.
func (s *Sender) render(ctx context.Context, run springtide.Run, letter *letter) jobs.Outcome {
	never := func(reason string) jobs.Outcome {
		return jobs.Outcome{Verdict: jobs.Failed, Final: true, Reason: "the template " + letter.Template + reason}
	}
	if s.options.App == nil {
		return never(" has no app to render it")
	}
	body := letter.Data
	if len(body) == 0 {
		body = json.RawMessage("{}")
	}
	outcome, answer := s.options.App.Ask(ctx, run, springtide.HTTPCall{URL: letter.Template, Method: http.MethodPost, Body: body}, templateLimit)
	outcome.Result = nil // what went wrong is in the reason; an answer is not this run's result
	if outcome.Verdict != jobs.Succeeded {
		outcome.Reason = "the template was not rendered: " + outcome.Reason
		return outcome
	}
	if len(answer) > templateLimit {
		return never(" made more than 1 MiB")
	}
	var made struct {
		Subject string `json:"subject"`
		Text    string `json:"text"`
		HTML    string `json:"html"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return never(" did not answer with JSON of subject, text and html: " + err.Error())
	}
	if made.Subject != "" {
		letter.Subject = made.Subject
	}
	letter.Text, letter.HTML = made.Text, made.HTML
	if err := letter.checkContent(); err != nil {
		return never(": " + err.Error())
	}
	return outcome
}
