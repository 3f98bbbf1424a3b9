package manifest

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// scalar is a value that is written as one word or line. Implemented by the
// types of this file.
type scalar interface {
	// parse takes what is written. The error goes after the name of the key.
	parse(n *node) error
	// write gives the value as it can be written, and whether it needs no quotes.
	write() (written string, bare bool)
}

// measured is a scalar with bounds.
type measured interface {
	scalar
	measure() float64
}

// set is a scalar that may be set, and where it was.
type set[T any] struct {
	Value T
	IsSet bool
	At    position
}

// setTo makes a value that is not written anywhere.
func setTo[T any](value T) set[T] { return set[T]{Value: value, IsSet: true} }

// setAt makes a value that is written somewhere.
func setAt[T any](value T, at position) set[T] { return set[T]{Value: value, IsSet: true, At: at} }

// or gives the value if it is set.
func (s set[T]) or(otherwise T) T {
	if s.IsSet {
		return s.Value
	}
	return otherwise
}

func (s set[T]) isSet() bool { return s.IsSet }

// attempted reports whether there is a value, though it was refused.
func (s set[T]) attempted() bool { return s.At.Line > 0 }

func (s set[T]) scalar() scalar { return any(&s.Value).(scalar) }

func (s *set[T]) parse(n *node) error {
	s.At = n.at
	if n.kind == refused {
		return nil
	}
	if n.kind == nothing {
		return errors.New("has no value; remove the key or give it one")
	}
	if err := any(&s.Value).(scalar).parse(n); err != nil {
		return err
	}
	s.IsSet = true
	return nil
}

// later marks what is recognised and not carried out yet. Its shape is free.
type later struct{}

// name is of an app, an environment or a process: one DNS label. Two hyphens in
// a row stand between an app and its environment in a host name.
type name string

const (
	nameLimit  = 40
	labelLimit = 63
)

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	labelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

func (v *name) parse(n *node) error {
	if n.kind != text && n.kind != number {
		return fmt.Errorf("want a name, got %s", n.shown())
	}
	if !namePattern.MatchString(n.text) || len(n.text) > nameLimit {
		return fmt.Errorf("%q is no name: use lower-case letters, digits and single hyphens between them, at most %d characters", shorten(n.text), nameLimit)
	}
	*v = name(n.text)
	return nil
}

func (v *name) write() (string, bool) { return string(*v), false }

// asName makes a name of any text; empty if nothing of it can be used.
func asName(from string) name {
	var b strings.Builder
	for _, r := range strings.ToLower(from) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
		if b.Len() == nameLimit {
			break
		}
	}
	return name(strings.Trim(b.String(), "-"))
}

// variable is the name of an environment variable.
type variable string

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (v *variable) parse(n *node) error {
	if !variablePattern.MatchString(n.text) || len(n.text) > 256 {
		return fmt.Errorf("%q is no name of an environment variable: use letters, digits and underscores", shorten(n.text))
	}
	if n.text == "PORT" || strings.HasPrefix(n.text, "TIDE_") {
		return fmt.Errorf("%s is set by the platform; choose another name", n.text)
	}
	*v = variable(n.text)
	return nil
}

func (v *variable) write() (string, bool) { return string(*v), false }

// content is the content of an environment variable.
type content string

func (v *content) parse(n *node) error {
	switch n.kind {
	case text, number, boolean:
		*v = content(n.text)
		return nil
	}
	return fmt.Errorf("want text, got %s", n.shown())
}

func (v *content) write() (string, bool) { return string(*v), false }

// command is given to sh.
type command string

func (v *command) parse(n *node) error {
	if n.kind == list {
		return errors.New("want one line for sh, got a list; write the words one after another")
	}
	if n.kind != text {
		return fmt.Errorf("want a command, got %s; put a command that looks like that in quotes", n.shown())
	}
	trimmed := strings.TrimSpace(n.text)
	if trimmed == "" {
		return errors.New("is empty; give it a command")
	}
	*v = command(trimmed)
	return nil
}

func (v *command) write() (string, bool) { return string(*v), false }

// urlPath is the path of a health check.
type urlPath string

func (v *urlPath) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want a path like /healthz, got %s", n.shown())
	}
	if !strings.HasPrefix(n.text, "/") || len(n.text) > 2000 {
		return fmt.Errorf("%q is no path: it begins with a slash, like /healthz", shorten(n.text))
	}
	for _, r := range n.text {
		if r <= ' ' || r >= 0x7f || r == '#' {
			return fmt.Errorf("%q is no path: %q must be percent-encoded", shorten(n.text), r)
		}
	}
	*v = urlPath(n.text)
	return nil
}

func (v *urlPath) write() (string, bool) { return string(*v), false }

// host is a host name; "*.example.com" stands for one label before the rest.
type host string

func (v *host) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want a host name, got %s", n.shown())
	}
	lower := strings.ToLower(n.text)
	switch {
	case strings.Contains(lower, "://"):
		return fmt.Errorf("%q is an address of a page; write the host name alone, like quiz.example.com", shorten(n.text))
	case strings.ContainsAny(lower, "/:"):
		return fmt.Errorf("%q is no host name; write it without port and path", shorten(n.text))
	}
	if _, err := netip.ParseAddr(lower); err == nil {
		return fmt.Errorf("%q is an IP address; a domain is a host name", n.text)
	}
	labels := strings.Split(strings.TrimPrefix(lower, "*."), ".")
	for _, label := range labels {
		if !labelPattern.MatchString(label) || len(label) > labelLimit {
			return fmt.Errorf("%q is no host name, like quiz.example.com", shorten(n.text))
		}
	}
	if len(labels) < 2 || len(lower) > 253 {
		return fmt.Errorf("%q is no full host name, like quiz.example.com", shorten(n.text))
	}
	*v = host(lower)
	return nil
}

func (v *host) write() (string, bool) { return string(*v), false }

// truth is true or false.
type truth bool

func (v *truth) parse(n *node) error {
	if n.kind != boolean {
		return fmt.Errorf("want true or false, got %s", n.shown())
	}
	*v = truth(strings.EqualFold(n.text, "true"))
	return nil
}

func (v *truth) write() (string, bool) { return strconv.FormatBool(bool(*v)), true }

// count is a whole number.
type count int

func (v *count) parse(n *node) error {
	i, err := strconv.Atoi(n.text)
	if n.kind != number || err != nil || strconv.Itoa(i) != n.text {
		if n.kind == text || n.kind == number {
			return fmt.Errorf("want a whole number, got %q", shorten(n.text))
		}
		return fmt.Errorf("want a whole number, got %s", n.shown())
	}
	*v = count(i)
	return nil
}

func (v *count) write() (string, bool) { return strconv.Itoa(int(*v)), true }

func (v *count) measure() float64 { return float64(*v) }

// cores is a number of processor cores.
type cores float64

func (v *cores) parse(n *node) error {
	f, err := strconv.ParseFloat(n.text, 64)
	if n.kind != number || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		if n.kind == text || n.kind == number {
			return fmt.Errorf("want a number of cores, like 0.5, got %q", shorten(n.text))
		}
		return fmt.Errorf("want a number of cores, like 0.5, got %s", n.shown())
	}
	*v = cores(f)
	return nil
}

func (v *cores) write() (string, bool) { return strconv.FormatFloat(float64(*v), 'f', -1, 64), true }

func (v *cores) measure() float64 { return float64(*v) }

// percent is a share, written with its sign: "70%".
type percent float64

func (v *percent) parse(n *node) error {
	written, signed := strings.CutSuffix(n.text, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(written), 64)
	if n.kind == number && !signed {
		return fmt.Errorf("%s has no unit; write %s%%", n.text, n.text)
	}
	if n.kind != text || !signed || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("want a share like 70%%, got %s", n.shown())
	}
	*v = percent(f / 100)
	return nil
}

func (v *percent) write() (string, bool) {
	return strconv.FormatFloat(math.Round(float64(*v)*1e9)/1e7, 'f', -1, 64) + "%", true
}

func (v *percent) measure() float64 { return float64(*v) }

// priority is a weight, or a word for one.
type priority int

// priorities are the words; their weights are a factor of ten apart, so that a
// share shows it.
var priorities = map[string]priority{"low": 1, "normal": springtide.DefaultPriority, "high": 100}

const priorityLimit = 1000

func (v *priority) parse(n *node) error {
	var weight count
	if word, known := priorities[n.text]; known {
		*v = word
	} else if err := weight.parse(n); err == nil && weight >= 1 && weight <= priorityLimit {
		*v = priority(weight)
	} else {
		return fmt.Errorf("want low, normal, high or a number from 1 to %d, got %s", priorityLimit, n.shown())
	}
	return nil
}

func (v *priority) write() (string, bool) { return strconv.Itoa(int(*v)), true }

// duration is a length of time: "30s", "1h30m", "1y".
type duration time.Duration

// durationUnits are the units of a duration, the longest first.
var durationUnits = []struct {
	name string
	is   time.Duration
}{
	{"y", 365 * 24 * time.Hour},
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

var durationPart = regexp.MustCompile(`^([0-9]{1,9}(?:\.[0-9]{1,9})?)([a-z]+)`)

func (v *duration) parse(n *node) error {
	if strings.HasPrefix(n.text, "-") {
		return fmt.Errorf("%s is negative", shorten(n.text))
	}
	if n.kind == number {
		return fmt.Errorf("%s has no unit; write %ss for seconds, %sm for minutes", n.text, n.text, n.text)
	}
	if n.kind != text {
		return fmt.Errorf("want a duration like 30s, got %s", n.shown())
	}
	bad := fmt.Errorf("%q is no duration: write a number and ms, s, m, h, d, w or y, like 30s or 1h30m", shorten(n.text))
	rest, total := strings.TrimSpace(n.text), 0.0
	if rest == "" {
		return bad
	}
	for rest != "" {
		part := durationPart.FindStringSubmatch(rest)
		if part == nil {
			return bad
		}
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == part[2] {
				unit = u.is
			}
		}
		amount, err := strconv.ParseFloat(part[1], 64)
		if unit == 0 || err != nil {
			return bad
		}
		total += amount * float64(unit)
		rest = rest[len(part[0]):]
	}
	if total > float64(100*durationUnits[0].is) {
		return fmt.Errorf("%s is longer than 100 years", shorten(n.text))
	}
	*v = duration(math.Round(total))
	return nil
}

func (v *duration) write() (string, bool) { return formatDuration(time.Duration(*v)), true }

func (v *duration) measure() float64 { return float64(*v) }

// formatDuration writes a duration in the units of a manifest: "1h30m".
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, unit := range durationUnits {
		switch unit.name {
		case "y", "w": // 7d reads no worse, and 52w is not 1y
			continue
		}
		if n := d / unit.is; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d %= unit.is
		}
	}
	if d > 0 {
		fmt.Fprintf(&b, "%sms", strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64))
	}
	return b.String()
}

// size is a number of bytes: "256MiB".
type size int64

// sizeUnits are the units of a size. K, M and G are what they are everywhere
// else where memory is limited: powers of 1024.
var sizeUnits = map[string]float64{
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)$`)

func (v *size) parse(n *node) error {
	if strings.HasPrefix(n.text, "-") {
		return fmt.Errorf("%s is negative", shorten(n.text))
	}
	if n.kind == number {
		return fmt.Errorf("%s has no unit; write %sMiB for mebibytes", n.text, n.text)
	}
	if n.kind != text {
		return fmt.Errorf("want a size like 256MiB, got %s", n.shown())
	}
	part := sizePattern.FindStringSubmatch(n.text)
	if part == nil || sizeUnits[part[2]] == 0 {
		return fmt.Errorf("%q is no size: write a number and KiB, MiB or GiB (or kB, MB, GB), like 256MiB", shorten(n.text))
	}
	amount, err := strconv.ParseFloat(part[1], 64)
	if total := amount * sizeUnits[part[2]]; err == nil && total < 1<<60 {
		*v = size(math.Round(total))
		return nil
	}
	return fmt.Errorf("%s is more than any machine has", shorten(n.text))
}

func (v *size) write() (string, bool) { return formatSize(int64(*v)), true }

func (v *size) measure() float64 { return float64(*v) }

// formatSize writes a size in the largest unit that leaves a whole number.
func formatSize(bytes int64) string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if one := int64(sizeUnits[unit]); bytes >= one && bytes%one == 0 {
			return strconv.FormatInt(bytes/one, 10) + unit
		}
	}
	return strconv.FormatFloat(float64(bytes)/1e3, 'f', -1, 64) + "kB"
}

// shorten keeps an error message readable whatever was written.
func shorten(s string) string {
	if runes := []rune(s); len(runes) > 60 {
		return string(runes[:57]) + "..."
	}
	return s
}
