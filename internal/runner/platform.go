package runner

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// answerLimit is how long an answer may take beyond what it was asked to wait.
	answerLimit = 10 * time.Second
	// answerSize bounds what is read of an answer, in bytes.
	answerSize = 512 << 20
)

// platform speaks the protocol of package jobs.
type platform struct {
	base, token string
	http        *http.Client
}

func newPlatform(base, token, authority string) (*platform, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
	if authority != "" {
		certificate, err := os.ReadFile(authority)
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "%s: %w", authorityVariable, err)
		}
		known := x509.NewCertPool()
		if !known.AppendCertsFromPEM(certificate) {
			return nil, springtide.Errorf(springtide.Invalid, "%s: %s holds no certificate", authorityVariable, authority)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: known}
	}
	return &platform{base: base, token: token, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (p *platform) close() { p.http.CloseIdleConnections() }

// ask posts a request and reads the answer.
func (p *platform) ask(ctx context.Context, limit time.Duration, path string, request, answer any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return p.post(ctx, path, "application/json", text, answer)
}

// post reads the answer of a conflict as well.
func (p *platform) post(ctx context.Context, path, kind string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	request.Header.Set("Content-Type", kind)
	response, err := p.http.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return springtide.Errorf(springtide.Unavailable, "the platform does not answer: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, answerSize))
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "the platform's answer was cut off: %w", err)
	}
	var failure error
	if response.StatusCode != http.StatusOK {
		failure = problem(response.StatusCode, text)
	}
	if failure != nil && response.StatusCode != http.StatusConflict {
		return failure
	}
	if err := json.Unmarshal(text, answer); err != nil && failure == nil {
		return springtide.Errorf(springtide.Unavailable, "the platform's answer is not understood: %w", err)
	}
	return failure
}

// problem is the error that an answer tells.
func problem(status int, text []byte) error {
	var told struct {
		Error springtide.Error `json:"error"`
	}
	_ = json.Unmarshal(text, &told) // Something in between may have answered.
	e := told.Error
	if e.Message == "" {
		e.Message = fmt.Sprintf("the platform answered with status %d", status)
	}
	switch status {
	case http.StatusUnauthorized:
		e.Kind = springtide.Unauthorized
	case http.StatusForbidden:
		e.Kind = springtide.Denied
	case http.StatusNotFound:
		e.Kind = springtide.NotFound
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		e.Kind = springtide.Invalid
	case http.StatusConflict:
		e.Kind = springtide.Conflict
	default:
		e.Kind = springtide.Unavailable
	}
	return &e
}

func (p *platform) lease(ctx context.Context, request jobs.LeaseRequest) (answer jobs.LeaseAnswer, err error) {
	err = p.ask(ctx, seconds(request.WaitSeconds)+answerLimit, "leases", request, &answer)
	return answer, err
}

func (p *platform) start(ctx context.Context, holds []jobs.Hold) ([]bool, error) {
	var answer jobs.AcceptedAnswer
	err := p.ask(ctx, answerLimit, "leases/start", jobs.StartRequest{Runs: holds}, &answer)
	return answer.Accepted, whole(err, len(answer.Accepted), len(holds))
}

func (p *platform) heartbeat(ctx context.Context, limit time.Duration, request jobs.BeatRequest) (answer jobs.BeatAnswer, err error) {
	err = p.ask(ctx, limit, "leases/heartbeat", request, &answer)
	return answer, whole(err, len(answer.Runs), len(request.Runs))
}

func (p *platform) complete(ctx context.Context, ended []jobs.Completion) ([]bool, error) {
	var answer jobs.AcceptedAnswer
	err := p.ask(ctx, answerLimit, "leases/complete", jobs.CompleteRequest{Runs: ended}, &answer)
	return answer.Accepted, whole(err, len(answer.Accepted), len(ended))
}

// output appends to a run's output and gives the offset at which it goes on,
// together with an error of kind Conflict if that is not where the text ends.
func (p *platform) output(ctx context.Context, hold jobs.Hold, offset int64, text []byte) (next int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	query := url.Values{
		"run": {string(hold.Run)}, "fence": {strconv.FormatInt(int64(hold.Fence), 10)}, "offset": {strconv.FormatInt(offset, 10)},
	}
	answer := struct{ Next int64 }{-1}
	err = p.post(ctx, "leases/output?"+query.Encode(), "application/octet-stream", text, &answer)
	if answer.Next < 0 && (err == nil || springtide.KindOf(err) == springtide.Conflict) {
		return 0, springtide.Errorf(springtide.Invalid, "the platform does not say where output goes on")
	}
	return answer.Next, err
}

func whole(err error, got, want int) error {
	if err == nil && got != want {
		return springtide.Errorf(springtide.Unavailable, "the platform answered about %d runs, not about %d", got, want)
	}
	return err
}
