package redis

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestRepliesAreRead(t *testing.T) {
	for text, want := range map[string]any{
		"+OK\r\n": "OK", "-ERR no\r\n": replyError("ERR no"), ":-7\r\n": int64(-7), "$3\r\na\nb\r\n": "a\nb", "$-1\r\n": nil, "*-1\r\n": nil,
		"*2\r\n:1\r\n*1\r\n+x\r\n": []any{int64(1), []any{"x"}}, "*0\r\n": []any{},
	} {
		got, err := readReply(bufio.NewReader(iotest.OneByteReader(strings.NewReader(text))), 0)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %#v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\r\n", "?\r\n", "$5\r\nabc", "$99999999999\r\n", "*99999999\r\n", "*1\r\n", ":x\r\n", strings.Repeat("*1\r\n", 20)} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(text)), 0); err == nil {
			t.Errorf("%q is read as %#v", text, got)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, text := range []string{"+OK\r\n", "*2\r\n:1\r\n$1\r\nx\r\n", "$-1\r\n", "-ERR\r\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if reply, err := readReply(bufio.NewReader(bytes.NewReader(text)), 0); err == nil {
			parseHistograms(reply).percentile(0.99)
		}
		for name, value := range parseInfo(string(text)) {
			keys(map[string]string{name: value})
		}
		parseVersion(text)
	})
}

func TestDataIsReadToItsEnd(t *testing.T) {
	mark, data := strings.Repeat("m", endMark), strings.Repeat("data", 50_000)
	for name, sent := range map[string]string{
		"of a known length":    fmt.Sprintf("\n\n$%d\r\n%s", len(data), data),
		"to a mark":            "\n$EOF:" + mark + "\r\n" + data + mark,
		"to a mark in two":     "$EOF:" + mark + "\r\n" + data + mark,
		"with parts of a mark": "$EOF:" + mark + "\r\n" + strings.Replace(data, "data", "dm", 1) + mark,
	} {
		var from io.Reader = strings.NewReader(sent)
		if name == "to a mark in two" {
			from = iotest.HalfReader(from)
		}
		var got bytes.Buffer
		if err := readData(bufio.NewReader(from), &got); err != nil || got.Len() < len(data)-2 || strings.Contains(got.String(), "mm") {
			t.Errorf("%s: read %d bytes, %v", name, got.Len(), err)
		}
	}
	for name, sent := range map[string]string{
		"a length that is not reached": "$10\r\nabc", "no mark": "$EOF:" + mark + "\r\n" + data, "an error": "-NOPERM\r\n", "no number": "$x\r\n", "nothing": "",
	} {
		if err := readData(bufio.NewReader(strings.NewReader(sent)), io.Discard); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzData(f *testing.F) {
	f.Add([]byte("some data"), 3)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		mark := bytes.Repeat([]byte{0xa7}, endMark)
		if bytes.Contains(data, mark[:1]) {
			return
		}
		var got bytes.Buffer
		sent := io.MultiReader(bytes.NewReader(data), bytes.NewReader(mark))
		if err := readMarked(&chunks{sent, size}, &got, mark); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("read %q of %q: %v", got.Bytes(), data, err)
		}
	})
}

// chunks gives a few bytes at a time.
type chunks struct {
	io.Reader
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	return c.Reader.Read(p[:min(len(p), 1+max(c.size, 0)%100)])
}

func TestLatenciesOfAllCommandsAreAddedUp(t *testing.T) {
	counts := parseHistograms([]any{
		"get",
		[]any{"calls", int64(90), "histogram_usec", []any{int64(1), int64(50), int64(2), int64(90)}},
		"set",
		[]any{"calls", int64(10), "histogram_usec", []any{int64(2), int64(9), int64(1056), int64(10)}},
	})
	for share, want := range map[float64]time.Duration{0.5: time.Microsecond, 0.99: 2 * time.Microsecond, 0.999: 1056 * time.Microsecond} {
		if got, ok := counts.percentile(share); !ok || got != want {
			t.Errorf("%v of the calls took %s", share, got)
		}
	}
	if _, ok := parseHistograms(nil).percentile(0.5); ok {
		t.Error("there is a latency without a call")
	}
}
