package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

func TestNoPathLeadsOutOfTheBucket(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder)
	other := springtide.EnvironmentID{App: "other", Name: "production"}
	w.provision(t, other, oneFolder)
	w = w.start(t)
	core := w.core(t, shop)
	put(t, w.core(t, other), "secret", "secret")
	if err := os.Symlink(w.tree(other), filepath.Join(w.tree(shop), "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../other/production/uploads", filepath.Join(w.tree(shop), "relative")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../.uploads", filepath.Join(w.tree(shop), "side")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"link/secret", "relative/secret", "side/settings.json", "../.uploads/settings.json", "../../../other/production/uploads/secret",
		"a/../../.uploads/settings.json", "..", "a//b", "./a", "/a", "a/./b",
	} {
		if _, err := core.Client.PutObject(t.Context(), "uploads", name, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err == nil {
			t.Errorf("%s was written", name)
		}
		if body, _, _, err := core.GetObject(t.Context(), "uploads", name, minio.GetObjectOptions{}); err == nil {
			text, _ := io.ReadAll(body)
			t.Errorf("%s was read: %s", name, text)
		}
	}
	for _, bucket := range []string{"other", "..", ".uploads", "uploads2", "UPLOADS"} {
		own := files.NewCredentials(key, shop)
		request := "http://" + w.address + "/" + bucket + "/secret"
		presigned := presign(t, request, own)
		answer, err := http.Get(presigned)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode < 400 {
			t.Errorf("%s: %s", bucket, answer.Status)
		}
	}
	if text := get(t, w.core(t, other), "secret", minio.GetObjectOptions{}); text != "secret" {
		t.Errorf("got %q", text)
	}
	if buckets, err := core.Client.ListBuckets(t.Context()); err != nil || len(buckets) != 1 {
		t.Errorf("got %v, %v", buckets, err)
	}
}

func TestWhoCannotSignIsRefused(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	put(t, w.core(t, shop), "a", "x")
	own := files.NewCredentials(key, shop)
	read := func(core *minio.Core) error {
		_, _, _, err := core.GetObject(t.Context(), "uploads", "a", minio.GetObjectOptions{})
		return err
	}
	wantCode(t, read(w.coreWith(t, own.AccessKey, "wrong")), "SignatureDoesNotMatch", 403)
	wantCode(t, read(w.coreWith(t, "nobody", own.SecretKey)), "InvalidAccessKeyId", 403)
	wantCode(t, read(w.coreWith(t, "other.production", own.SecretKey)), "SignatureDoesNotMatch", 403)
	stranger := springtide.EnvironmentID{App: "other", Name: "production"}
	wantCode(t, read(w.core(t, stranger)), "NoSuchBucket", 404)
	for _, path := range []string{"/", "/uploads", "/uploads/a", "/uploads?policy", "/uploads?list-type=2"} {
		answer, err := http.Get("http://" + w.address + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("without a signature %s gave %s", path, answer.Status)
		}
	}
}

// presign signs a URL as it is, which the client would tidy up.
func presign(t *testing.T, url string, own files.Credentials) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer.PreSignV4(*request, own.AccessKey, own.SecretKey, "", springtide.S3Region, 60).URL.String()
}

func TestPresignedURLsReadAndWriteUntilTheyExpire(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	toPut, err := core.Client.PresignedPutObject(t.Context(), "uploads", "from browser.txt", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPut, toPut.String(), strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("put: %v, %v", answer, err)
	}
	answer.Body.Close()
	toGetFor := func(expires time.Duration) string {
		url, err := core.Client.PresignedGetObject(t.Context(), "uploads", "from browser.txt", expires, nil)
		if err != nil {
			t.Fatal(err)
		}
		return url.String()
	}
	toGet, briefly := toGetFor(time.Minute), toGetFor(time.Second)
	fetch := func(url string) (int, string) {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text)
	}
	if status, text := fetch(toGet); status != http.StatusOK || text != "hello" {
		t.Errorf("got %d %s", status, text)
	}
	if status, _ := fetch(strings.Replace(toGet, "browser", "another", 1)); status != http.StatusForbidden {
		t.Errorf("another object: %d", status)
	}
	if status, _ := fetch(strings.Replace(toGet, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)); status != http.StatusForbidden {
		t.Errorf("a longer time: %d", status)
	}
	eventually(t, func() bool { status, _ := fetch(briefly); return status == http.StatusForbidden })
}

func TestWhatIsLeftOfABodyInChunksIsNotTakenForARequest(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	connection, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	smuggled := "GET /uploads/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	fmt.Fprintf(connection, "PUT /uploads/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	if err := connection.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(connection) // a reset may follow what was answered
	if answers := strings.Count(string(text), "HTTP/1.1 "); answers != 1 {
		t.Errorf("%d answers: %s", answers, text)
	}
}
