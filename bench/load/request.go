package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keptBody is how much of a body is searched for what it has to contain.
const keptBody = 8 << 10

// sender makes requests and checks their answers.
type sender struct {
	options    Options
	target     *url.URL
	transports *transports
	scratch    sync.Pool
}

// scratch is what checking one answer needs.
type scratch struct {
	buffer [32 << 10]byte
	kept   []byte
	hash   hash.Hash
}

// outcome is what became of one request. No reason means that all is well.
type outcome struct {
	reason            Reason
	detail            string
	instance, release string
	retried           int
}

func newSender(o Options) (*sender, error) {
	target, err := url.Parse(o.Target)
	if err != nil {
		return nil, err
	}
	return &sender{options: o, target: target, transports: newTransports(o), scratch: sync.Pool{New: func() any {
		return &scratch{kept: make([]byte, 0, keptBody), hash: sha256.New()}
	}}}, nil
}

// send makes one request and checks its answer. The number is of this request only.
func (s *sender) send(ctx context.Context, kind *Kind, number int) outcome {
	within, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	connections := 0
	traced := httptrace.WithClientTrace(within, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connections++ },
	})
	request, expected, err := s.request(traced, kind, number)
	if err != nil {
		return outcome{reason: Other, detail: err.Error()}
	}
	answer, err := s.transports.of(kind.Connection).RoundTrip(request)
	if err != nil {
		return s.broken(ctx, reasonBefore(err), err, outcome{retried: max(connections-1, 0)})
	}
	defer answer.Body.Close()
	got := outcome{
		instance: header(answer, s.options.InstanceHeader),
		release:  header(answer, s.options.ReleaseHeader),
		retried:  max(connections-1, 0),
	}
	work := s.scratch.Get().(*scratch)
	defer s.scratch.Put(work)
	length, err := work.read(answer.Body)
	if err != nil {
		err = fmt.Errorf("after %d bytes (%s): %w", length, answer.Status, err)
		return s.broken(ctx, reasonWithin(err), err, got)
	}
	got.reason, got.detail = s.check(kind, answer, work, length, expected, got.instance)
	return got
}

// broken is the outcome of an error, unless the run itself was stopped.
func (s *sender) broken(ctx context.Context, reason Reason, err error, got outcome) outcome {
	got.reason, got.detail = reason, err.Error()
	if ctx.Err() != nil {
		got.reason = cancelled
	}
	return got
}

// request makes the request, and says what its answer has to contain.
func (s *sender) request(ctx context.Context, kind *Kind, number int) (*http.Request, []string, error) {
	path := kind.Path
	var expected []string
	if kind.Token {
		token := "t" + strconv.Itoa(number) + "t"
		expected = append(expected, token)
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "token=" + token
	}
	var body io.Reader
	if kind.Upload > 0 {
		upload := uploadOf(kind.Upload, number)
		sum := sha256.Sum256(upload)
		expected = append(expected, base64.StdEncoding.EncodeToString(sum[:]))
		body = bytes.NewReader(upload)
	}
	request, err := http.NewRequestWithContext(ctx, kind.Method, s.target.Scheme+"://"+s.target.Host+path, body)
	return request, expected, err
}

// uploadOf is a body that no other request has.
func uploadOf(size, number int) []byte {
	body := bytes.Repeat([]byte{byte('a' + number%26)}, size)
	copy(body, strconv.Itoa(number)+" ")
	return body
}

// read takes the whole body in.
func (s *scratch) read(body io.Reader) (length int64, err error) {
	s.kept = s.kept[:0]
	s.hash.Reset()
	for {
		n, err := body.Read(s.buffer[:])
		length += int64(n)
		s.hash.Write(s.buffer[:n])
		s.kept = append(s.kept, s.buffer[:min(n, keptBody-len(s.kept))]...)
		if err == io.EOF {
			return length, nil
		}
		if err != nil {
			return length, err
		}
	}
}

// check says what is wrong with a complete answer; no reason if nothing is.
func (s *sender) check(kind *Kind, answer *http.Response, work *scratch, length int64, expected []string, instance string) (Reason, string) {
	if answer.StatusCode != kind.Status {
		// The edge says in the body why it answers in an instance's stead.
		return statusReason(answer.StatusCode), strings.Join(strings.Fields(answer.Status+": "+string(work.kept[:min(len(work.kept), 200)])), " ")
	}
	if (answer.ProtoMajor == 2) != (kind.Connection == Multiplexed) {
		return WrongVersion, answer.Proto
	}
	if kind.Length > 0 && length != kind.Length {
		return WrongLength, fmt.Sprintf("%d bytes instead of %d", length, kind.Length)
	}
	if s.options.RequestID && header(answer, "X-Request-Id") == "" {
		return NoRequestID, answer.Status
	}
	if reason, detail := checkDigest(kind, answer, work); reason != "" {
		return reason, detail
	}
	for _, word := range expected {
		if !bytes.Contains(work.kept, []byte(word)) {
			return Mixed, fmt.Sprintf("%q is not in %.200q", word, work.kept)
		}
	}
	if kind.Identity && (instance == "" || !bytes.Contains(work.kept, []byte(instance))) {
		return Mixed, fmt.Sprintf("the header names instance %q, the body is %.200q", instance, work.kept)
	}
	return "", ""
}

func checkDigest(kind *Kind, answer *http.Response, work *scratch) (Reason, string) {
	stated := header(answer, "Repr-Digest")
	if stated == "" && kind.Digest {
		return NoDigest, answer.Status
	}
	if stated == "" {
		return "", ""
	}
	var sum [sha256.Size]byte
	if got := "sha-256=:" + base64.StdEncoding.EncodeToString(work.hash.Sum(sum[:0])) + ":"; got != stated {
		return WrongDigest, fmt.Sprintf("%s, the body has %s", stated, got)
	}
	return "", ""
}

// header gives a header whose name is canonical already.
func header(answer *http.Response, name string) string {
	if values := answer.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// idempotent reports whether a request may be repeated without harm (RFC 9110, 9.2.2).
func idempotent(method string) bool {
	return method != http.MethodPost && method != http.MethodPatch && method != http.MethodConnect
}

// due is one request of the schedule.
type due struct {
	kind   *Kind
	number int
	at     time.Duration
}
