package cache

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/springtide/springtide/internal/message"
)

// codings are those that responses are compressed by, the best first.
var codings = [...]string{"zstd", "br", "gzip"}

// leastCompressed is the length of a body that is not worth compressing, in bytes.
const leastCompressed = 512

// compressible says whether a response may be given in another coding than it came in
// (RFC 9110, section 7.7; RFC 9111, section 5.2.2.6) and is likely to be shorter then.
func compressible(status int, fields message.Fields, size int64) bool {
	if status != 200 || size < leastCompressed || fields.Has("Content-Encoding") {
		return false
	}
	for _, digest := range [...]string{"Content-MD5", "Digest", "Content-Digest", "Repr-Digest"} {
		if fields.Has(digest) {
			return false
		}
	}
	for line := range fields.All("Cache-Control") {
		if strings.Contains(strings.ToLower(line), "no-transform") {
			return false
		}
	}
	media, _, _ := strings.Cut(fields.Get("Content-Type"), ";")
	media = strings.ToLower(strings.Trim(media, " \t"))
	kind, subtype, _ := strings.Cut(media, "/")
	switch {
	case media == "text/event-stream":
		return false
	case kind == "text", strings.HasSuffix(subtype, "+json"), strings.HasSuffix(subtype, "+xml"):
		return true
	}
	switch media {
	case "application/json", "application/javascript", "application/xml", "application/wasm", "application/x-javascript",
		"application/x-ndjson", "application/manifest+json", "application/vnd.ms-fontobject", "font/ttf", "font/otf", "image/bmp":
		return true
	}
	return false
}

// accepted gives the weight of a coding in Accept-Encoding in thousandths, 0 if it is
// not acceptable (RFC 9110, section 12.5.3).
func accepted(field, coding string) int {
	other := 0
	for field != "" {
		var member string
		member, field, _ = strings.Cut(field, ",")
		name, parameter, has := strings.Cut(member, ";")
		weight := 1000
		if has {
			weight = parseWeight(strings.Trim(parameter, " \t"))
		}
		switch name = strings.Trim(name, " \t"); {
		case equalFold(name, coding), coding == "gzip" && equalFold(name, "x-gzip"):
			return weight
		case name == "*":
			other = weight
		}
	}
	return other
}

// parseWeight reads "q=0.5".
func parseWeight(text string) int {
	if len(text) < 3 || text[0]|0x20 != 'q' || text[1] != '=' {
		return 1000
	}
	weight, unit := 0, 1000
	for i := 2; i < len(text) && unit > 0; i++ {
		switch c := text[i]; {
		case c == '.' && i == 3:
		case c >= '0' && c <= '9':
			weight += int(c-'0') * unit
			unit /= 10
		default:
			return 0
		}
	}
	return min(weight, 1000)
}

// coded chooses the coding of a body to send: the best that the client accepts and
// that there is. What there is not yet is made for the next who asks. Ranges are of
// the body as it came, unless the client has a part in another coding.
func (c *Cache) coded(e *entry, field string, isRange bool, tagCoding string) *body {
	if len(e.bodies) == 0 {
		return &body{}
	}
	best := &e.bodies[0]
	if !e.compressible || field == "" || isRange && tagCoding == "" {
		return best
	}
	weight, missing := 0, 0
	for bit, coding := range codings {
		want := accepted(field, coding)
		if want == 0 || isRange && coding != tagCoding {
			continue
		}
		if have := e.body(coding); have == nil {
			if want > weight && missing == 0 {
				missing = 1 << bit
			}
		} else if len(have.bytes) > 0 && want > weight {
			best, weight = have, want
		}
	}
	if missing != 0 && e.wanted.Or(uint32(missing))&uint32(missing) == 0 {
		select {
		case c.coding <- e:
		default: // there is enough to do
			e.wanted.And(^uint32(missing))
		}
	}
	return best
}

// body gives the body in a coding; one without bytes was not worth it.
func (e *entry) body(coding string) *body {
	for i := range e.bodies {
		if e.bodies[i].coding == coding {
			return &e.bodies[i]
		}
	}
	return nil
}

// compress makes the codings that were asked for, one after the other, until ctx ends.
func (c *Cache) compress(ctx context.Context) {
	for {
		select {
		case e := <-c.coding:
			c.addCodings(e)
		case <-ctx.Done():
			return
		}
	}
}

// addCodings makes what is wanted of an entry and replaces it by one that has that,
// unless it has been replaced meanwhile.
func (c *Cache) addCodings(e *entry) {
	r := e.record
	wanted := e.wanted.Load()
	for bit, coding := range codings {
		if wanted&(1<<bit) == 0 || e.body(coding) != nil {
			continue
		}
		made := encode(coding, e.bodies[0].bytes)
		if len(made) > len(e.bodies[0].bytes)*9/10 {
			made = nil
		}
		r.bodies = append(slices.Clip(r.bodies), body{coding: coding, bytes: made})
	}
	coded := newEntry(e.id, r)
	change := c.change(e.key.hash(c.seed))
	change.mu.Lock()
	defer change.mu.Unlock()
	if now, ok := c.entries.GetIfPresent(e.id); ok && now == e {
		c.keep(coded)
	}
}

// encode codes a body; nothing if that fails.
func encode(coding string, plain []byte) []byte {
	var coded bytes.Buffer
	switch coding {
	case "zstd":
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil
		}
		defer encoder.Close()
		return encoder.EncodeAll(plain, nil)
	case "br":
		writer := brotli.NewWriterLevel(&coded, 5)
		if _, err := writer.Write(plain); err != nil || writer.Close() != nil {
			return nil
		}
	case "gzip":
		writer := gzip.NewWriter(&coded)
		if _, err := writer.Write(plain); err != nil || writer.Close() != nil {
			return nil
		}
	}
	return bytes.Clone(coded.Bytes())
}
