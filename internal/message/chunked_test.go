package message

import (
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// decode takes data out of the coding in steps of so many bytes.
func decode(data []byte, step int) (body []byte, c *Chunks, used int, err error) {
	c = new(Chunks)
	for used < len(data) && !c.Done {
		piece, n, err := c.Next(data[used:min(len(data), used+step)])
		used += n
		body = append(body, piece...)
		if err != nil {
			return body, c, used, err
		}
	}
	return body, c, used, nil
}

func TestChunksAreDecodedHoweverTheyArrive(t *testing.T) {
	const coded = "5\r\nhello\r\n00006 ;name=\"value\"\r\n world\r\nA;x\r\n0123456789\r\n0\r\nX-Sum: 7\r\nX-More:\r\n\r\n"
	for step := 1; step <= len(coded)+10; step++ {
		body, c, used, err := decode([]byte(coded+"GET /"), step)
		if err != nil || string(body) != "hello world0123456789" || !c.Done || used != len(coded) || c.Trailer.Get("x-sum") != "7" || len(c.Trailer) != 2 {
			t.Fatalf("step %d: %q, %+v, %d, %v", step, body, c, used, err)
		}
	}
}

func TestChunksThatAreNotProperAreRefused(t *testing.T) {
	for _, coded := range []string{
		"\r\n", "x\r\n", "-1\r\n", "0x5\r\n", " 5\r\n", "5\nhello", "5 \r\nhello", "5\r\nhelloX", "5\r\nhello\n", "5\r\nhello\rX", "5\rX", "5;a\x00\r\n", "5;a\nb\r\n",
		"1234567890abcdef\r\n", "5;" + strings.Repeat("x", chunkLineLimit+1), "0\r\nX\r\n\r\n", "0\r\n X: y\r\n\r\n", "0\r\n\n", "0\r\nX: y\n\r\n",
		"0\r\nX: " + strings.Repeat("y", trailerLimit) + "\r\n\r\n", "5;a\r\r\nhello",
	} {
		if body, c, _, err := decode([]byte(coded), len(coded)); err == nil {
			t.Errorf("%.40q became %q, %+v", coded, body, c)
		}
	}
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	coded := AppendChunk(nil, []byte("hello"))
	coded = AppendChunk(coded, nil)
	coded = AppendChunk(coded, bytes.Repeat([]byte("x"), 300))
	coded = AppendLastChunk(coded, Fields{{"X-Sum", "7"}})
	body, c, used, err := decode(coded, len(coded))
	if err != nil || !c.Done || used != len(coded) || len(body) != 305 || c.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%q became %q, %+v, %v", coded, body, c, err)
	}
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), uint8(1))
	f.Add([]byte("a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\nrest"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		whole, c, used, err := decode(data, len(data)+1)
		parts, d, usedParts, errParts := decode(data, int(cut)+1)
		if (err == nil) != (errParts == nil) || !bytes.Equal(whole, parts) || used != usedParts || c.Done != d.Done {
			t.Fatalf("%q: %q, %d, %v in one piece; %q, %d, %v in parts", data, whole, used, err, parts, usedParts, errParts)
		}
		if err != nil || !c.Done {
			return
		}
		if theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data))); err != nil || !bytes.Equal(theirs, whole) {
			t.Errorf("%q: %q, net/http says %q, %v", data, whole, theirs, err)
		}
	})
}
