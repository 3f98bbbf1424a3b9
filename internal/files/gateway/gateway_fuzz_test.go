package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

// FuzzWhatComesInChunksIsAnObjectOfTheLengthSaidOrNone sends bodies that say
// they are in chunks, with a valid signature of the request, and a trailer or
// none: there is an object of the said length afterwards, or none at all.
func FuzzWhatComesInChunksIsAnObjectOfTheLengthSaidOrNone(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"), 5)
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 5)
	f.Add([]byte("2\r\nhe\r\n3\r\nllo\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), 5)
	f.Add([]byte("ffffffffffffffff\r\nhello"), 5)
	f.Add([]byte("-1\r\n\r\n0\r\n\r\n"), 0)
	f.Add([]byte("5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n"), 5)
	w := newWorld(f, f.TempDir(), oneFolder).start(f)
	own := files.NewCredentials(key, shop)
	client := http.Client{Timeout: 10 * time.Second}
	path := filepath.Join(w.tree(shop), "chunked")
	f.Fuzz(func(t *testing.T, body []byte, length int) {
		os.Remove(path)
		request, err := http.NewRequest(http.MethodPut, "http://"+w.address+"/uploads/chunked", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
		request.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(length))
		request.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		request.Header.Set("Content-Encoding", "aws-chunked")
		signed := signer.SignV4(*request, own.AccessKey, own.SecretKey, "", springtide.S3Region)
		answer, err := client.Do(signed)
		if err != nil {
			t.Skip(err)
		}
		defer answer.Body.Close()
		said, _ := io.ReadAll(answer.Body)
		info, err := os.Stat(path)
		switch {
		case answer.StatusCode == http.StatusOK && (err != nil || info.Size() != int64(length)):
			t.Errorf("%d bytes were taken: %v, %v", length, info, err)
		case answer.StatusCode != http.StatusOK && err == nil:
			t.Errorf("refused, but there: %s", said)
		case answer.StatusCode >= http.StatusInternalServerError:
			t.Errorf("%s: %s", answer.Status, said)
		}
	})
}

// FuzzAnyKeyStaysInTheBucket writes and reads whatever path a client may send.
func FuzzAnyKeyStaysInTheBucket(f *testing.F) {
	for _, name := range []string{"a", "../a", "%2e%2e/a", "..%2f..%2fa", "a//b", "a/", "\x00", "ü", "%", "a%00b", "link/escaped"} {
		f.Add(name)
	}
	w := newWorld(f, f.TempDir(), oneFolder).start(f)
	own := files.NewCredentials(key, shop)
	outside := f.TempDir()
	if err := os.Symlink(outside, filepath.Join(w.tree(shop), "link")); err != nil {
		f.Fatal(err)
	}
	before := around(f, w)
	client := http.Client{Timeout: 10 * time.Second}
	f.Fuzz(func(t *testing.T, name string) {
		request, err := http.NewRequest(http.MethodPut, "http://"+w.address+"/uploads/", bytes.NewReader([]byte("x")))
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Path += name
		signed := signer.SignV4(*request, own.AccessKey, own.SecretKey, "", springtide.S3Region)
		answer, err := client.Do(signed)
		if err != nil {
			t.Skip(err)
		}
		answer.Body.Close()
		if answer.StatusCode >= http.StatusInternalServerError {
			t.Errorf("%q: %s", name, answer.Status)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Fatalf("%q went out: %v, %v", name, entries, err)
		}
		if after := around(t, w); after != before {
			t.Fatalf("%q changed what is around the bucket: %s", name, after)
		}
	})
}

// around gives what is beside the tree, which no client may change.
func around(t testing.TB, w world) string {
	t.Helper()
	var all string
	for _, pattern := range []string{"*", "*/*", "*/*/*", "*/*/.*", "*/*/.*/*"} {
		found, err := filepath.Glob(filepath.Join(w.folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprintln(found)
	}
	return all
}

// FuzzChunksArePassedOnAsTheyAre reads in pieces of all sizes: but for one line
// end of the trailer, nothing is changed.
func FuzzChunksArePassedOnAsTheyAre(f *testing.F) {
	f.Add([]byte("5;chunk-signature=a\r\nhello\r\n0;chunk-signature=b\r\nx-amz-checksum-crc32:NhCmhg==\n\r\nx-amz-trailer-signature:c\r\n\r\n"), 3)
	f.Add([]byte("5;chunk-signature=a\r\nh\n\r\nl\r\n0;chunk-signature=b\r\nx:y\r\n\r\n"), 1)
	f.Add([]byte("-5;\r\n"), 1)
	f.Add([]byte("7fffffffffffffff;\r\nx"), 9)
	f.Fuzz(func(t *testing.T, body []byte, size int) {
		if size < 1 || size > 1<<16 || len(body) > trailerLimit {
			t.Skip()
		}
		passed, err := io.ReadAll(pieces{&chunks{from: bufio.NewReader(bytes.NewReader(body))}, size})
		if err != nil {
			t.Fatal(err)
		}
		if len(passed) == len(body)-1 && bytes.Contains(body, []byte("\n\r\n")) {
			return
		}
		if !bytes.Equal(passed, body) {
			t.Errorf("%q became %q", body, passed)
		}
	})
}

type pieces struct {
	from io.Reader
	size int
}

func (p pieces) Read(into []byte) (int, error) { return p.from.Read(into[:min(len(into), p.size)]) }
