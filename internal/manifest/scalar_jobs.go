package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

// choice is a scalar that is one of a few words. Implemented by the types below
// it.
type choice interface {
	~string
	choices() []string
}

// streams says what happens to open streams when an instance is let go.
type streams string

const (
	streamsClose  streams = "close"
	streamsFinish streams = "finish"
)

func (streams) choices() []string { return []string{string(streamsFinish), string(streamsClose)} }

func (v *streams) parse(n *node) error { return parseChoice(v, n) }

func (v *streams) write() (string, bool) { return string(*v), false }

// runner says who leases the runs of a worker.
type runner string

const (
	runnerTide runner = "tide"
	runnerOwn  runner = "own"
)

func (runner) choices() []string { return []string{string(runnerTide), string(runnerOwn)} }

func (v *runner) parse(n *node) error { return parseChoice(v, n) }

func (v *runner) write() (string, bool) { return string(*v), false }

// missed is a [springtide.Missed].
type missed string

func (missed) choices() []string {
	return []string{string(springtide.MissedSkip), string(springtide.MissedLatest), string(springtide.MissedAll)}
}

func (v *missed) parse(n *node) error { return parseChoice(v, n) }

func (v *missed) write() (string, bool) { return string(*v), false }

// overlap is a [springtide.Overlap].
type overlap string

func (overlap) choices() []string {
	return []string{string(springtide.OverlapSkip), string(springtide.OverlapQueue), string(springtide.OverlapAllow), string(springtide.OverlapReplace)}
}

func (v *overlap) parse(n *node) error { return parseChoice(v, n) }

func (v *overlap) write() (string, bool) { return string(*v), false }

// onLost is a [springtide.OnLost].
type onLost string

func (onLost) choices() []string {
	return []string{string(springtide.LostRetry), string(springtide.LostFail)}
}

func (v *onLost) parse(n *node) error { return parseChoice(v, n) }

func (v *onLost) write() (string, bool) { return string(*v), false }

func parseChoice[T choice](into *T, n *node) error {
	choices := (*into).choices()
	if n.kind == text && slices.Contains(choices, n.text) {
		*into = T(n.text)
		return nil
	}
	var quoted []string
	for _, one := range choices {
		quoted = append(quoted, strconv.Quote(one))
	}
	last := len(quoted) - 1
	return fmt.Errorf("want %s or %s, got %s", strings.Join(quoted[:last], ", "), quoted[last], n.shown())
}

// expression says when a schedule is due.
type expression string

func (v *expression) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want five fields in quotes, like \"0 8 * * *\", got %s", n.shown())
	}
	if _, err := cron.Parse(n.text, ""); err != nil {
		return err
	}
	*v = expression(strings.Join(strings.Fields(n.text), " "))
	return nil
}

func (v *expression) write() (string, bool) { return string(*v), false }

// zone is the name of a time zone.
type zone string

func (v *zone) parse(n *node) error {
	if n.kind != text || n.text == "" {
		return fmt.Errorf("want the name of a zone, like Europe/Berlin, got %s", n.shown())
	}
	if _, err := cron.Parse("@daily", n.text); err != nil {
		return err
	}
	*v = zone(n.text)
	return nil
}

func (v *zone) write() (string, bool) { return string(*v), false }

// callURL is what the platform sends a request to: a URL, or a path of the app.
type callURL string

func (v *callURL) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want a URL, or a path of the app, got %s", n.shown())
	}
	if strings.HasPrefix(n.text, "/") {
		return (*urlPath)(v).parse(n)
	}
	parsed, err := url.Parse(n.text)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "" || parsed.Fragment != "" || len(n.text) > 2000 {
		return fmt.Errorf("%q is no URL, like https://api.example.com/report, and no path of the app, like /jobs/report", shorten(n.text))
	}
	*v = callURL(n.text)
	return nil
}

func (v *callURL) write() (string, bool) { return string(*v), false }

// payload is any value, as JSON.
type payload json.RawMessage

func (v *payload) parse(n *node) error {
	var written bytes.Buffer
	if err := writeJSON(&written, n); err != nil {
		return err
	}
	*v = written.Bytes()
	return nil
}

// write gives the JSON, which is YAML as well.
func (v *payload) write() (string, bool) { return string(*v), true }

// invisible are characters that a manifest cannot hold as they are.
var invisible = strings.NewReplacer("\x7f", `\u007f`, "\u0085", `\u0085`, "\ufeff", `\ufeff`)

func writeJSON(into *bytes.Buffer, n *node) error {
	switch n.kind {
	case nothing:
		into.WriteString("null")
	case boolean:
		into.WriteString(strings.ToLower(n.text))
	case text:
		writeJSONText(into, n.text)
	case number:
		whole, wholeErr := strconv.ParseInt(n.text, 0, 64)
		fraction, err := strconv.ParseFloat(n.text, 64)
		switch {
		case wholeErr == nil:
			into.WriteString(strconv.FormatInt(whole, 10))
		case err == nil && !math.IsNaN(fraction) && !math.IsInf(fraction, 0):
			into.WriteString(strconv.FormatFloat(fraction, 'g', -1, 64))
		default:
			return fmt.Errorf("%s cannot be written as JSON; put it in quotes", shorten(n.text))
		}
	case list:
		into.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				into.WriteString(", ")
			}
			if err := writeJSON(into, item); err != nil {
				return err
			}
		}
		into.WriteByte(']')
	case mapping:
		into.WriteByte('{')
		for i, e := range n.entries {
			if i > 0 {
				into.WriteString(", ")
			}
			writeJSONText(into, e.key)
			into.WriteString(": ")
			if err := writeJSON(into, e.value); err != nil {
				return err
			}
		}
		into.WriteByte('}')
	}
	return nil
}

func writeJSONText(into *bytes.Buffer, s string) {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // text can always be encoded
	into.WriteString(invisible.Replace(strings.TrimSpace(quoted.String())))
}

// rateLimit is in requests a second.
const rateLimit = 100_000

// rate is a number a second.
type rate float64

func (v *rate) parse(n *node) error {
	var f cores
	if err := f.parse(n); err != nil || f <= 0 || f > rateLimit {
		return fmt.Errorf("want a number of requests a second, like 5 or 0.5, at most %d, got %s", rateLimit, n.shown())
	}
	*v = rate(f)
	return nil
}

func (v *rate) write() (string, bool) { return strconv.FormatFloat(float64(*v), 'f', -1, 64), true }

// callHost is a host that requests are sent to; "*" is every other.
type callHost string

func (v *callHost) parse(n *node) error {
	lower := strings.ToLower(n.text)
	if _, err := netip.ParseAddr(lower); err != nil && lower != "*" {
		for label := range strings.SplitSeq(lower, ".") {
			if !labelPattern.MatchString(label) || len(label) > labelLimit {
				return fmt.Errorf("%q is no host name; write it without scheme, port and path, like api.example.com, or * for all others", shorten(n.text))
			}
		}
	}
	*v = callHost(lower)
	return nil
}

func (v *callHost) write() (string, bool) { return string(*v), false }

// address is that of a mail's sender.
type address string

func (v *address) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want an address, like Quiz <quiz@example.com>, got %s", n.shown())
	}
	parsed, err := mail.ParseAddress(n.text)
	if err != nil || len(n.text) > 320 {
		return fmt.Errorf("%q is no address, like Quiz <quiz@example.com>", shorten(n.text))
	}
	if strings.ContainsFunc(parsed.Name+parsed.Address, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("holds a control character")
	}
	*v = address(n.text)
	return nil
}

func (v *address) write() (string, bool) { return string(*v), false }
