package gateway

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

func TestAnObjectKeepsItsContentAndWhatIsSaidOfIt(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	sent, err := core.Client.PutObject(t.Context(), "uploads", "a/cat.png", strings.NewReader("meow"), 4, minio.PutObjectOptions{
		ContentType: "image/x-cat", UserMetadata: map[string]string{"Colour": "black"}, CacheControl: "max-age=5", ContentDisposition: "inline",
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte("meow"))
	if sent.ETag != hex.EncodeToString(sum[:]) {
		t.Errorf("the ETag is %s", sent.ETag)
	}
	info, err := core.StatObject(t.Context(), "uploads", "a/cat.png", minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != 4 || info.ContentType != "image/x-cat" || info.UserMetadata["Colour"] != "black" || info.ETag != sent.ETag ||
		info.Metadata.Get("Cache-Control") != "max-age=5" || info.Metadata.Get("Content-Disposition") != "inline" {
		t.Errorf("got %+v", info)
	}
	if text := get(t, core, "a/cat.png", minio.GetObjectOptions{}); text != "meow" {
		t.Errorf("got %q", text)
	}
	if _, err := core.CopyObject(t.Context(), "uploads", "a/cat.png", "uploads", "b/copy.png", nil, minio.CopySrcOptions{}, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if copied, err := core.StatObject(t.Context(), "uploads", "b/copy.png", minio.StatObjectOptions{}); err != nil || copied.ETag != sent.ETag || copied.UserMetadata["Colour"] != "black" {
		t.Errorf("the copy is %+v, %v", copied, err)
	}
	if place, err := core.GetBucketLocation(t.Context(), "uploads"); err != nil || place != springtide.S3Region {
		t.Errorf("the bucket is in %q, %v", place, err)
	}
	if there, err := core.BucketExists(t.Context(), "uploads"); err != nil || !there {
		t.Errorf("the bucket is not there: %v", err)
	}
	if there, err := core.BucketExists(t.Context(), "missing"); err != nil || there {
		t.Errorf("a bucket that is missing is there: %v", err)
	}
	if err := core.RemoveObject(t.Context(), "uploads", "a/cat.png", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
	if err := core.RemoveObject(t.Context(), "uploads", "a/cat.png", minio.RemoveObjectOptions{}); err != nil {
		t.Errorf("deleted again: %v", err)
	}
	_, err = core.StatObject(t.Context(), "uploads", "a/cat.png", minio.StatObjectOptions{})
	wantCode(t, err, "NoSuchKey", 404)
}

func TestRangesAndConditionsAreKept(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	info := put(t, core, "digits", "0123456789")
	ranges := map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-2": "89", "bytes=0-100": "0123456789"}
	for header, want := range ranges {
		o := minio.GetObjectOptions{}
		o.Set("Range", header)
		if text := get(t, core, "digits", o); text != want {
			t.Errorf("%s gave %q", header, text)
		}
	}
	beyond := minio.GetObjectOptions{}
	beyond.Set("Range", "bytes=10-")
	_, _, _, err := core.GetObject(t.Context(), "uploads", "digits", beyond)
	wantCode(t, err, "InvalidRange", 416)
	unchanged := minio.GetObjectOptions{}
	unchanged.SetMatchETagExcept(info.ETag)
	if _, _, _, err = core.GetObject(t.Context(), "uploads", "digits", unchanged); minio.ToErrorResponse(err).StatusCode != 304 {
		t.Errorf("got %v", err)
	}
	other := minio.GetObjectOptions{}
	other.SetMatchETag("0123")
	_, _, _, err = core.GetObject(t.Context(), "uploads", "digits", other)
	wantCode(t, err, "PreconditionFailed", 412)
	absent := minio.PutObjectOptions{}
	absent.SetMatchETagExcept("*")
	_, err = core.Client.PutObject(t.Context(), "uploads", "digits", strings.NewReader("x"), 1, absent)
	wantCode(t, err, "PreconditionFailed", 412)
	if _, err = core.Client.PutObject(t.Context(), "uploads", "new", strings.NewReader("x"), 1, absent); err != nil {
		t.Error(err)
	}
}

// Over plain HTTP the client signs each chunk; with a checksum it sends a trailer.
func TestBodiesInSignedAndUnsignedChunksAreWhole(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	content := make([]byte, 300<<10)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]minio.PutObjectOptions{
		"signed chunks": {DisableContentSha256: false}, "unsigned": {DisableContentSha256: true},
		"md5": {SendContentMd5: true}, "trailer": {Checksum: minio.ChecksumCRC32C}, "sha256": {Checksum: minio.ChecksumSHA256},
		"nvme": {Checksum: minio.ChecksumCRC64NVME},
	} {
		if _, err := core.Client.PutObject(t.Context(), "uploads", name, bytes.NewReader(content), int64(len(content)), o); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := os.ReadFile(filepath.Join(w.tree(shop), name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	wrong := minio.PutObjectOptions{UserMetadata: map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA=="}, DisableContentSha256: true}
	if _, err := core.PutObject(t.Context(), "uploads", "wrong", bytes.NewReader(content), int64(len(content)), "", "", wrong); err == nil {
		t.Error("a wrong checksum was taken")
	}
	if _, err := os.Stat(filepath.Join(w.tree(shop), "wrong")); err == nil {
		t.Error("an object with a wrong checksum is there")
	}
}

func TestAThousandAndMoreObjectsAreListedInPages(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	tree := w.tree(shop)
	for i := range 1234 {
		folder := filepath.Join(tree, "n"+strconv.Itoa(i%3))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(tree, "empty", "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 7, 1000} {
		var names []string
		for object := range core.Client.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Recursive: true, MaxKeys: size}) {
			if object.Err != nil {
				t.Fatal(object.Err)
			}
			if len(names) > 0 && object.Key <= names[len(names)-1] {
				t.Fatalf("%s comes after %s", object.Key, names[len(names)-1])
			}
			names = append(names, object.Key)
		}
		if len(names) != 1234 {
			t.Errorf("%d names in pages of %d", len(names), size)
		}
	}
	var top []string
	for object := range core.Client.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{MaxKeys: 1}) {
		top = append(top, object.Key)
	}
	if strings.Join(top, " ") != "n0/ n1/ n2/" {
		t.Errorf("got %v", top)
	}
	count := 0
	for object := range core.Client.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Prefix: "n1/01", UseV1: true, Recursive: true}) {
		if !strings.HasPrefix(object.Key, "n1/01") {
			t.Errorf("got %+v", object)
		}
		count++
	}
	if count != 34 {
		t.Errorf("%d begin with n1/01", count)
	}
	removed := core.Client.RemoveObjects(t.Context(), "uploads", core.Client.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Recursive: true}), minio.RemoveObjectsOptions{})
	for failure := range removed {
		t.Error(failure)
	}
	if page, err := core.ListObjectsV2("uploads", "", "", "", "", 10); err != nil || len(page.Contents) > 0 || len(page.CommonPrefixes) > 0 {
		t.Errorf("left are %+v, %v", page, err)
	}
}

func TestNamesMayBeOddAsLongAsTheyArePaths(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	for _, name := range []string{"ünïcödé/😀.txt", "a b+c%20&?#=", "...", ".htaccess", "-x", "a\\b", "quote\"'<>", "tab\tnew\nline", "\u0001", "a*b", "~", "a;b:c,d@e$f!g(h)"} {
		put(t, core, name, name)
		if text := get(t, core, name, minio.GetObjectOptions{}); text != name {
			t.Errorf("%q holds %q", name, text)
		}
		found := false
		for object := range core.Client.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Recursive: true}) {
			found = found || object.Key == name
		}
		if !found {
			t.Errorf("%q is not listed", name)
		}
		if direct, err := os.ReadFile(filepath.Join(w.tree(shop), name)); err != nil || string(direct) != name {
			t.Errorf("%q is directly %q, %v", name, direct, err)
		}
		if err := core.RemoveObject(t.Context(), "uploads", name, minio.RemoveObjectOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func TestATrailerThatIsWrongIsRefused(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	own := files.NewCredentials(key, shop)
	for name, sent := range map[string]struct {
		body string
		want int
	}{
		"right":     {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", 200},
		"wrong":     {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", 400},
		"missing":   {"5\r\nhello\r\n0\r\n\r\n", 400},
		"truncated": {"5\r\nhel", 400},
		"longer":    {"6\r\nhello!\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", 400},
	} {
		request, err := http.NewRequest(http.MethodPut, "http://"+w.address+"/uploads/"+name, strings.NewReader(sent.body))
		if err != nil {
			t.Fatal(err)
		}
		for header, value := range map[string]string{
			"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": "5",
			"X-Amz-Trailer": "x-amz-checksum-crc32", "Content-Encoding": "aws-chunked",
		} {
			request.Header.Set(header, value)
		}
		answer, err := http.DefaultClient.Do(signer.SignV4(*request, own.AccessKey, own.SecretKey, "", springtide.S3Region))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		_, err = os.Stat(filepath.Join(w.tree(shop), name))
		if answer.StatusCode != sent.want || (err == nil) != (sent.want == 200) {
			t.Errorf("%s: %s, %v", name, answer.Status, err)
		}
	}
}
