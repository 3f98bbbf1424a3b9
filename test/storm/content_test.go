package storm

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// content is what a resource is at a version: any byte of it can be computed.
type content struct {
	seed   uint64
	length int64
	text   bool
}

func contentOf(path string, version int, variant string, length int64, text bool) content {
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s\n%d\n%s", path, version, variant)
	return content{sum.Sum64(), length, text}
}

// word gives the eight bytes at eight times n.
func (c content) word(n int64) uint64 {
	x := c.seed + uint64(n)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fill gives what is at an offset.
func (c content) fill(p []byte, offset int64) {
	var word [8]byte
	for done := 0; done < len(p); {
		n := (offset + int64(done)) / 8
		binary.LittleEndian.PutUint64(word[:], c.word(n))
		if c.text {
			for i, b := range word {
				word[i] = "etaoin shrdlu\n--"[b&15]
			}
		}
		done += copy(p[done:], word[(offset+int64(done))%8:])
	}
}

// reader reads content, as http.ServeContent wants it.
type reader struct {
	content
	at int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.length {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.length-r.at)]
	r.fill(p, r.at)
	r.at += int64(len(p))
	return len(p), nil
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		r.at = offset
	case io.SeekCurrent:
		r.at += offset
	case io.SeekEnd:
		r.at = r.length + offset
	}
	return r.at, nil
}

// matcher takes what a client got, and compares it with a part of the content.
type matcher struct {
	content
	at, to int64
}

func (m *matcher) Write(p []byte) (int, error) {
	if m.at+int64(len(p)) > m.to {
		return 0, mismatch(fmt.Sprintf("there is more than %d bytes", m.to))
	}
	var room [4 << 10]byte
	for done := 0; done < len(p); {
		want := room[:min(len(room), len(p)-done)]
		m.fill(want, m.at)
		for i, b := range want {
			if p[done+i] != b {
				return 0, mismatch(fmt.Sprintf("byte %d of %d is another's", m.at+int64(i), m.to))
			}
		}
		done += len(want)
		m.at += int64(len(want))
	}
	return len(p), nil
}

// whole compares all of a body with the rest of the content. A mismatch is never to be
// excused; other errors say that the body broke off.
func (m *matcher) whole(body io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{m}, struct{ io.Reader }{body}, make([]byte, 16<<10))
	if err == nil && m.at < m.to {
		return mismatch(fmt.Sprintf("the body seems whole, but ends at %d instead of %d", m.at, m.to))
	}
	return err
}

// mismatch is an answer that is wrong, whatever else happened.
type mismatch string

func (m mismatch) Error() string { return string(m) }
