package cache

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/springtide/springtide"
)

func decoded(t *testing.T, coding, body string) string {
	t.Helper()
	var reader io.Reader = strings.NewReader(body)
	var err error
	switch coding {
	case "gzip":
		reader, err = gzip.NewReader(reader)
	case "br":
		reader = brotli.NewReader(reader)
	case "zstd":
		reader, err = zstd.NewReader(reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(reader); err != nil {
		t.Fatal(err)
	}
	return plain.String()
}

// compressing gives a proxy whose cache compresses what it is asked for.
func compressing(t *testing.T, rules ...springtide.CacheRule) *proxy {
	p := newProxy(t, rules...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.cache.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

// RFC 9110, sections 8.4, 8.8.3.3 and 12.5.3.
func TestWhatIsStoredIsGivenInTheBestCodingThatIsAccepted(t *testing.T) {
	p := compressing(t)
	body := text(50_000)
	p.serve(p.ok(body, "Cache-Control: max-age=60", `ETag: "a"`, "Content-Type: text/plain; charset=utf-8", "Accept-Ranges: bytes"))
	p.get("/")
	for _, c := range []struct{ accepts, coding string }{
		{"gzip", "gzip"},
		{"x-gzip", "gzip"},
		{"gzip, deflate, br", "br"},
		{"gzip, deflate, br, zstd", "zstd"},
		{"gzip;q=1, zstd;q=0.5", "gzip"},
		{"zstd;q=0, *", "br"},
		{"deflate", ""},
		{"identity", ""},
		{"", ""},
	} {
		accept := "Accept-Encoding: " + c.accepts
		eventually(t, "it is given as "+c.coding, func() bool { return p.get("/", accept).fields.Get("Content-Encoding") == c.coding })
		g := p.get("/", accept)
		if decoded(t, c.coding, g.body) != body || g.fields.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: the body is another, or Vary: %v", c.accepts, g.fields)
		}
		tag := codedTag(`"a"`, c.coding)
		if g.fields.Get("ETag") != tag {
			t.Errorf("%s: ETag is %s", c.accepts, g.fields.Get("ETag"))
		}
		if c.coding != "" && len(g.body) > len(body)/2 {
			t.Errorf("%s: %d bytes of %d", c.accepts, len(g.body), len(body))
		}
		p.expect(p.get("/", accept, "If-None-Match: "+tag), 304, "")
		if same := p.get("/", accept, "If-None-Match: "+tag).fields.Get("ETag"); same != tag {
			t.Errorf("%s: the 304 is about %s", c.accepts, same)
		}
		p.expect(p.get("/", accept, "If-None-Match: W/"+tag), 304, "")
		p.expect(p.get("/", accept, "Range: bytes=0-9"), 206, body[:10])
		p.expect(p.get("/", accept, "Range: bytes=0-9", "If-Range: "+tag), 206, g.body[:10])
	}
	if g := p.get("/", "Accept-Encoding: gzip", "Cache-Control: no-transform"); g.body != body { // RFC 9111, section 5.2.1.6
		t.Error("what was not to be transformed was")
	}
	p.expectForwarded(1)
}

func TestWhatIsNotToBeCompressedIsNot(t *testing.T) {
	for name, fields := range map[string][]string{
		"an image":               {"Content-Type: image/png"},
		"a film":                 {"Content-Type: video/mp4"},
		"events":                 {"Content-Type: text/event-stream"},
		"what is coded":          {"Content-Type: text/plain", "Content-Encoding: deflate"},
		"no-transform":           {"Content-Type: text/plain", "Cache-Control: no-transform"},
		"what has a digest":      {"Content-Type: text/plain", "Content-Digest: x"},
		"what does not say what": {},
	} {
		p := newProxy(t)
		p.serve(p.ok(text(5000), append(fields, "Cache-Control: max-age=60")...))
		p.get("/", "Accept-Encoding: gzip")
		if g := p.get("/", "Accept-Encoding: gzip"); len(p.cache.coding) > 0 || g.fields.Has("Vary") {
			t.Errorf("%s is compressed", name)
		}
	}
	p := newProxy(t, springtide.CacheRule{Match: "*", Identity: true})
	p.serve(p.ok(text(5000), "Cache-Control: max-age=60", "Content-Type: text/plain"))
	p.get("/")
	if p.get("/", "Accept-Encoding: gzip"); len(p.cache.coding) > 0 {
		t.Error("the rule is not followed")
	}
}

func TestWhatCannotBeMadeShorterStaysAsItIs(t *testing.T) {
	p := compressing(t)
	random := make([]byte, 10_000)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	noise := string(random)
	p.serve(p.ok(noise, "Cache-Control: max-age=60", "Content-Type: text/plain"))
	p.get("/")
	primary := key{scope: "shop/production", scheme: "https", host: "shop.example", target: "/"}
	eventually(t, "it was tried", func() bool {
		p.expect(p.get("/", "Accept-Encoding: gzip"), 200, noise)
		return p.cache.find(primary.hash(p.cache.seed)).body("gzip") != nil
	})
	p.expect(p.get("/", "Accept-Encoding: gzip"), 200, noise)
}
