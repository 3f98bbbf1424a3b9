package storm

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// question is a request, and what its answer is to be compared with.
type question struct {
	*resource
	world   *world
	secure  bool
	began   time.Time
	method  string
	variant string
	nonce   string
	fields  [][2]string
	ranges  [][2]int64 // first and last
	ifRange string
	ifTag   string
	ifDate  bool
	coded   bool
	upload  []byte
	// pace is how slowly the answer is read.
	pace time.Duration
}

// answer is what came, over whatever protocol.
type answer struct {
	status  int
	header  http.Header
	trailer func() http.Header // when the body was read
	body    io.Reader
}

// asker makes the questions of one client.
type asker struct {
	name   string
	random *rand.Rand
	world  *world
	secure bool
	asked  int

	mu   sync.Mutex
	tags map[string]string // the last tags that it saw
}

func (a *asker) next() *question {
	random := a.random
	a.asked++
	q := &question{world: a.world, secure: a.secure, method: http.MethodGet, nonce: fmt.Sprintf("%s-%d", a.name, a.asked)}
	q.resource = a.world.all[random.IntN(len(a.world.all))]
	q.add("Storm-Nonce", q.nonce)
	switch n := random.IntN(100); {
	case n < 5 && !q.breaks:
		q.method = http.MethodHead
	case n < 8 && q.changes == 0 && !q.breaks && !q.private:
		q.method, q.upload = http.MethodPut, make([]byte, random.IntN(1<<random.IntN(21)+1))
		contentOf(q.nonce, 0, "", 0, false).fill(q.upload, 0)
		return q
	case n == 8 && q.name == "fresh":
		q.method, q.upload = http.MethodPost, make([]byte, 64<<10+random.IntN(1<<20))
		return q
	}
	if q.variants != nil {
		if q.variant = q.variants[random.IntN(len(q.variants))]; q.variant != "" {
			q.add("Storm-Variant", q.variant)
		}
	}
	if random.IntN(20) == 0 {
		q.pace = time.Duration(random.IntN(4)) * time.Millisecond
	}
	a.mu.Lock()
	tag := a.tags[q.path+q.variant]
	a.mu.Unlock()
	switch n := random.IntN(10); {
	case q.partial || n < 3 && !q.chunked && !q.breaks || q.length > 1<<20 && n < 8 && !q.chunked && !q.breaks:
		a.ask(q)
		if random.IntN(4) == 0 && tag != "" && !strings.HasPrefix(tag, "W/") && !q.partial {
			q.ifRange = tag
			q.add("If-Range", tag)
		}
	case n < 5 && tag != "":
		q.ifTag = tag
		q.add("If-None-Match", tag)
	case n == 5:
		q.ifDate = true
		q.add("If-Modified-Since", q.modified(q.current()).Format(http.TimeFormat))
	case n < 8:
		q.coded = true
		q.add("Accept-Encoding", "gzip")
	}
	return q
}

// ask has a question be about ranges.
func (a *asker) ask(q *question) {
	var specs []string
	count := 1
	if a.random.IntN(10) == 0 {
		count = 3
	}
	for range count {
		first := a.random.Int64N(q.length + 20)
		last := first + a.random.Int64N(1<<(5+a.random.IntN(17)))
		q.ranges = append(q.ranges, [2]int64{first, last})
		specs = append(specs, fmt.Sprintf("%d-%d", first, last))
	}
	q.add("Range", "bytes="+strings.Join(specs, ","))
}

func (q *question) add(name, value string) { q.fields = append(q.fields, [2]string{name, value}) }

func (q *question) String() string {
	return fmt.Sprintf("%s %s %v (upload of %d)", q.method, q.path, q.fields, len(q.upload))
}

// errExcused is that of an answer that is none, since an instance failed.
var errExcused = errors.New("an instance failed")

// excuse says whether that there is no whole answer has a reason.
func (q *question) excuse(err error) error {
	if _, wrong := errors.AsType[mismatch](err); err == nil || wrong {
		return err
	}
	if q.world.failed(q.began) || q.breaks {
		return errExcused
	}
	return err
}

// check compares an answer with what it must be.
func (q *question) check(got answer) error {
	err := q.compare(got)
	if _, wrong := errors.AsType[mismatch](err); err != nil && !wrong && q.length > 1<<20 && q.replaced(got.header.Get("ETag")) {
		return errExcused // slices that were not stored are to be had no more
	}
	return q.excuse(err)
}

// replaced says whether the app has another version than that of an answer.
func (q *question) replaced(tag string) bool {
	version, err := q.versionOf(tag, q.variant)
	return err != nil || version != q.current()
}

func (q *question) compare(got answer) error {
	if q.pace > 0 {
		got.body = &slow{got.body, q.pace}
	}
	if path := got.header.Get("Storm-Path"); path != "" && path != q.path {
		return mismatch("the answer is that of " + path)
	}
	switch status := got.status; {
	case status == http.StatusServiceUnavailable && got.header.Get("Storm-Moody") != "":
		if !q.moody {
			return mismatch("a 503 of another")
		}
		return nil
	case status >= 500:
		text, _ := io.ReadAll(got.body)
		if q.method == http.MethodPut || q.method == http.MethodPost {
			return errExcused // its connection may have been closed by then, and it is not sent twice
		}
		return fmt.Errorf("status %d, %.60q", status, text)
	case q.method == http.MethodPut:
		return q.written(got)
	}
	if (q.private || q.method == http.MethodPost) && got.header.Get("Storm-Nonce") != q.nonce {
		return mismatch(fmt.Sprintf("the answer is that to %q", got.header.Get("Storm-Nonce")))
	}
	if q.method == http.MethodPost {
		is := q.at(0, "")
		return (&matcher{content: is, to: is.length}).whole(got.body)
	}
	tag := got.header.Get("ETag")
	if got.status == http.StatusRequestedRangeNotSatisfiable {
		if len(q.ranges) == 0 || q.changed(q.began) {
			return nil
		}
		is := q.at(q.current(), q.variant)
		for _, r := range q.ranges {
			if r[0] < is.length-20*7 {
				return mismatch(fmt.Sprintf("416 for %v of %d bytes", q.ranges, is.length))
			}
		}
		return nil
	}
	version, err := q.versionOf(tag, q.variant)
	if err == nil {
		err = q.judge(version, q.secure, q.began, q.moody || q.world.failed(q.began))
	}
	if err != nil {
		return err
	}
	is := q.at(version, q.variant)
	switch {
	case q.method == http.MethodHead:
		if n, _ := io.Copy(io.Discard, got.body); n > 0 {
			return mismatch("there is a body for HEAD")
		}
		if length := got.header.Get("Content-Length"); got.status == http.StatusOK && length != "" && !q.coded && length != strconv.FormatInt(is.length, 10) {
			return mismatch(fmt.Sprintf("HEAD says %s bytes of %d", length, is.length))
		}
		return nil
	case got.status == http.StatusNotModified:
		return q.unchanged(got, tag)
	case got.status == http.StatusPartialContent:
		return q.part(got, is, tag)
	case got.status != http.StatusOK:
		return mismatch(fmt.Sprintf("status %d", got.status))
	case q.partial:
		return mismatch("all of it, for a range")
	}
	return q.all(got, is)
}

// written checks what an upload is answered with.
func (q *question) written(got answer) error {
	var said uploaded
	text, err := io.ReadAll(got.body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &said); err != nil || got.status != http.StatusOK {
		return mismatch(fmt.Sprintf("an upload is answered with %d, %q", got.status, text))
	}
	sum := fnv.New64a()
	_, _ = sum.Write(q.upload)
	if said.Nonce != q.nonce || said.Length != int64(len(q.upload)) || said.Sum != sum.Sum64() {
		return mismatch(fmt.Sprintf("what came of %d bytes is %+v", len(q.upload), said))
	}
	q.tell(said.Version, q.secure)
	return nil
}

func (q *question) unchanged(got answer, tag string) error {
	if n, _ := io.Copy(io.Discard, got.body); n > 0 {
		return mismatch("there is a body of a 304")
	}
	switch {
	case q.ifTag != "" && strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(q.ifTag, "W/"), q.ifDate:
		return nil
	case q.ifTag != "" && opaque(tag) == opaque(q.ifTag): // in another coding
		return nil
	}
	return mismatch(fmt.Sprintf("304 with %s", tag))
}

func opaque(tag string) string {
	tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	for _, coding := range []string{"gzip", "zstd", "br"} {
		tag = strings.TrimSuffix(strings.TrimSuffix(tag, coding), "-")
	}
	return tag
}

func (q *question) all(got answer, is content) error {
	if q.ifTag != "" && q.ifTag == got.header.Get("ETag") && !q.chunked { // there the app does not look at it
		return mismatch("it is sent again to who has it")
	}
	body := got.body
	switch coding := got.header.Get("Content-Encoding"); {
	case coding == "gzip" && q.coded:
		coded, err := gzip.NewReader(body)
		if err != nil {
			if errors.Is(err, gzip.ErrHeader) {
				return mismatch(err.Error())
			}
			return err
		}
		body = coded
	case coding != "":
		return mismatch("nobody wants " + coding)
	}
	if err := (&matcher{content: is, to: is.length}).whole(body); err != nil {
		return err
	}
	if q.breaks {
		return mismatch("an answer that broke off seems whole")
	}
	if got.trailer != nil {
		if sum := got.trailer().Get("Storm-Sum"); sum != "" && sum != strconv.FormatUint(is.seed, 10) {
			return mismatch("the trailer is that of another")
		}
	}
	return nil
}

func (q *question) part(got answer, is content, tag string) error {
	if q.ifRange != "" && q.ifRange != tag {
		return mismatch(fmt.Sprintf("a part of %s for who has %s", tag, q.ifRange))
	}
	if got.header.Get("Content-Encoding") != "" {
		return mismatch("a part of it is coded")
	}
	kind, parameters, _ := mime.ParseMediaType(got.header.Get("Content-Type"))
	if kind != "multipart/byteranges" {
		return q.one(got.header.Get("Content-Range"), got.body, is)
	}
	parts := multipart.NewReader(got.body, parameters["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := q.one(part.Header.Get("Content-Range"), part, is); err != nil {
			return err
		}
	}
}

// one checks one part.
func (q *question) one(extent string, body io.Reader, is content) error {
	var first, last, length int64
	if _, err := fmt.Sscanf(extent, "bytes %d-%d/%d", &first, &last, &length); err != nil || length != is.length {
		return mismatch(fmt.Sprintf("the part is %q of %d bytes", extent, is.length))
	}
	for _, r := range q.ranges {
		if r[0] == first && min(r[1], is.length-1) == last {
			return (&matcher{is, first, last + 1}).whole(body)
		}
	}
	if len(q.ranges) > 1 { // what overlaps may be put together
		return (&matcher{is, first, last + 1}).whole(body)
	}
	return mismatch(fmt.Sprintf("the part is %q for %v", extent, q.ranges))
}

// slow reads with pauses.
type slow struct {
	io.Reader
	pace time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(s.pace)
	return s.Reader.Read(p)
}

// sending gives what is uploaded, in pieces.
func (q *question) sending() io.Reader {
	if q.method == http.MethodPut || q.method == http.MethodPost {
		return bytes.NewReader(q.upload)
	}
	return nil
}
