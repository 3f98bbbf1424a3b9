package backup

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// s3Server speaks enough of S3, and checks no signatures.
type s3Server struct {
	*httptest.Server

	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]map[int][]byte
	keys    map[string]string // of the uploads
	largest int               // the largest body
	refuse  int               // a status that everything is answered with
}

func startS3(t *testing.T) *s3Server {
	s := &s3Server{objects: map[string][]byte{}, uploads: map[string]map[int][]byte{}, keys: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *s3Server) target(t *testing.T) Target {
	t.Helper()
	return openTarget(t, "s3://bucket/pre/fix?region=us-east-1&endpoint="+s.URL, TargetOptions{AccessKey: "access", SecretKey: "secret"})
}

func (s *s3Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := s3Body(r)
	if err != nil {
		return // it broke off
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, len(body))
	query := r.URL.Query()
	key := strings.TrimPrefix(r.URL.Path, "/bucket/")
	upload := query.Get("uploadId")
	switch {
	case s.refuse != 0:
		s3Error(w, s.refuse, "AccessDenied")
	case !strings.HasPrefix(r.URL.Path, "/bucket/"):
		s3Error(w, http.StatusNotFound, "NoSuchBucket")
	case query.Has("uploads") && r.Method == http.MethodPost:
		upload = strconv.Itoa(len(s.keys) + 1)
		s.uploads[upload], s.keys[upload] = map[int][]byte{}, key
		fmt.Fprintf(w, `<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, upload)
	case query.Has("uploads"):
		s.listUploads(w)
	case upload != "":
		s.multipart(w, r, key, upload, body)
	case key == "":
		s.list(w, query.Get("prefix"))
	case r.Method == http.MethodPut:
		s.objects[key] = body
		w.Header().Set("ETag", `"x"`)
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		content, there := s.objects[key]
		if !there {
			s3Error(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", `"x"`)
		http.ServeContent(w, r, "", time.Now(), bytes.NewReader(content))
	}
}

func (s *s3Server) multipart(w http.ResponseWriter, r *http.Request, key, upload string, body []byte) {
	switch r.Method {
	case http.MethodPut:
		number, _ := strconv.Atoi(r.URL.Query().Get("partNumber"))
		s.uploads[upload][number] = body
		w.Header().Set("ETag", `"x"`)
	case http.MethodDelete:
		delete(s.uploads, upload)
		w.WriteHeader(http.StatusNoContent)
	default:
		whole := []byte{}
		for number := range len(s.uploads[upload]) {
			whole = append(whole, s.uploads[upload][number+1]...)
		}
		s.objects[key] = whole
		delete(s.uploads, upload)
		fmt.Fprint(w, `<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>x</Key><ETag>"x"</ETag></CompleteMultipartUploadResult>`)
	}
}

func (s *s3Server) list(w io.Writer, prefix string) {
	fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated>`)
	keys := []string{}
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		fmt.Fprintf(w, `<Contents><Key>%s</Key><Size>%d</Size><LastModified>%s</LastModified></Contents>`, key, len(s.objects[key]), time.Now().UTC().Format(time.RFC3339))
	}
	fmt.Fprint(w, `</ListBucketResult>`)
}

func (s *s3Server) listUploads(w io.Writer) {
	fmt.Fprint(w, `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>`)
	for upload := range s.uploads {
		fmt.Fprintf(w, `<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>`, s.keys[upload], upload, time.Now().UTC().Format(time.RFC3339))
	}
	fmt.Fprint(w, `</ListMultipartUploadsResult>`)
}

// s3Body reads a body, out of its signed chunks if it has any.
func s3Body(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	var body []byte
	reader := bufio.NewReader(r.Body)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(digits, 16, 64)
		if err != nil || size == 0 {
			return body, err
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(reader, chunk); err != nil {
			return nil, err
		}
		body = append(body, chunk[:size]...)
	}
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}{Code: code})
}

func TestWhatAKilledUploadLeftIsGivenUp(t *testing.T) {
	server := startS3(t)
	target := server.target(t)
	server.uploads["9"], server.keys["9"] = map[int][]byte{1: []byte("part")}, "pre/fix/a"
	if err := target.(Tidier).Tidy(t.Context(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(server.uploads) != 1 {
		t.Error("an upload that is under way was given up")
	}
	if err := target.(Tidier).Tidy(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(server.uploads) != 0 {
		t.Error("it is still there")
	}
}

func TestABucketThatRefusesOrIsMissingIsUnavailable(t *testing.T) {
	server := startS3(t)
	server.refuse = http.StatusForbidden
	err := server.target(t).Put(t.Context(), "a", strings.NewReader("x"))
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "refuses the keys") {
		t.Errorf("refused: %v", err)
	}
	server.refuse = 0
	missing := openTarget(t, "s3://other?region=us-east-1&endpoint="+server.URL, TargetOptions{AccessKey: "access", SecretKey: "secret"})
	err = missing.Put(t.Context(), "a", strings.NewReader("x"))
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("missing: %v", err)
	}
	if _, err := missing.List(t.Context(), ""); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("list: %v", err)
	}
}

func TestWhatDoesNotFitInMemoryGoesInParts(t *testing.T) {
	server := startS3(t)
	target := server.target(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), bucketPart/16+1)
	if err := target.Put(t.Context(), "large", bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if server.largest != bucketPart || len(server.uploads) > 0 {
		t.Errorf("the largest request had %d bytes; %d uploads are left", server.largest, len(server.uploads))
	}
	if !bytes.Equal(server.objects["pre/fix/large"], content) {
		t.Error("it is not what was put")
	}
}
