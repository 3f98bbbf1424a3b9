package gateway

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

var (
	shop = springtide.EnvironmentID{App: "shop", Name: "production"}
	key  = []byte("the key of the gateway")
)

// TestMain lets this program be the gateway's process, too.
func TestMain(m *testing.M) {
	if folder := os.Getenv("GATEWAY_FOLDER"); folder != "" {
		if err := serve(context.Background(), folder, os.Getenv("GATEWAY_LISTEN"), "", nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(ctx context.Context, folder, listen, public string, ready func()) error {
	store, err := files.New(files.Options{Folder: folder, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return Run(ctx, Options{Store: store, Key: key, Listen: listen, Public: public, Ready: ready, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

// world is a store with a gateway before it.
type world struct {
	folder  string
	address string
	store   *files.Store
}

func newWorld(t testing.TB, in string, wanted map[springtide.FilesName]springtide.Files) world {
	t.Helper()
	store, err := files.New(files.Options{Folder: in, Interval: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := world{folder: in, address: freeAddress(t), store: store}
	w.provision(t, shop, wanted)
	return w
}

func (w world) provision(t testing.TB, id springtide.EnvironmentID, wanted map[springtide.FilesName]springtide.Files) {
	t.Helper()
	if err := w.store.Provision(context.Background(), id, wanted, os.Geteuid()); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// start runs the gateway in this process.
func (w world) start(t testing.TB) world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- serve(ctx, w.folder, w.address, "", func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// spawn runs the gateway in a process of its own.
func (w world) spawn(t *testing.T) *os.Process {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "GATEWAY_FOLDER="+w.folder, "GATEWAY_LISTEN="+w.address)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	eventually(t, func() bool {
		connection, err := net.Dial("tcp", w.address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	return command.Process
}

func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}

func (w world) core(t testing.TB, id springtide.EnvironmentID) *minio.Core {
	t.Helper()
	own := files.NewCredentials(key, id)
	return w.coreWith(t, own.AccessKey, own.SecretKey)
}

func (w world) coreWith(t testing.TB, access, secret string) *minio.Core {
	t.Helper()
	core, err := minio.NewCore(w.address, &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Region: files.Region, BucketLookup: minio.BucketLookupPath, MaxRetries: 1,
		TrailingHeaders: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func (w world) tree(id springtide.EnvironmentID, name string) string {
	return filepath.Join(w.folder, string(id.App), string(id.Name), name)
}

var oneFolder = map[springtide.FilesName]springtide.Files{"uploads": {Path: "/data/uploads"}}

func put(t testing.TB, core *minio.Core, name, content string) minio.UploadInfo {
	t.Helper()
	info, err := core.Client.PutObject(t.Context(), "uploads", name, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatalf("put %q: %v", name, err)
	}
	return info
}

func get(t testing.TB, core *minio.Core, name string, o minio.GetObjectOptions) string {
	t.Helper()
	body, _, _, err := core.GetObject(t.Context(), "uploads", name, o)
	if err != nil {
		t.Fatalf("get %q: %v", name, err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantCode(t testing.TB, err error, code string, status int) {
	t.Helper()
	if got := minio.ToErrorResponse(err); err == nil || got.Code != code || got.StatusCode != status {
		t.Errorf("got %v, %q, %d; want %q, %d", err, got.Code, got.StatusCode, code, status)
	}
}

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

// TestBodiesInSignedAndUnsignedChunksAreWhole: over plain HTTP the client signs
// each chunk; with a checksum it sends a trailer.
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
		if got, err := os.ReadFile(filepath.Join(w.tree(shop, "uploads"), name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	wrong := minio.PutObjectOptions{UserMetadata: map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA=="}, DisableContentSha256: true}
	if _, err := core.PutObject(t.Context(), "uploads", "wrong", bytes.NewReader(content), int64(len(content)), "", "", wrong); err == nil {
		t.Error("a wrong checksum was taken")
	}
	if _, err := os.Stat(filepath.Join(w.tree(shop, "uploads"), "wrong")); err == nil {
		t.Error("an object with a wrong checksum is there")
	}
}

func TestALargeObjectComesInParts(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	content := make([]byte, 64<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	info, err := core.Client.PutObject(t.Context(), "uploads", "large", bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{PartSize: 5 << 20, NumThreads: 4, ContentType: "x/large"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(info.ETag, "-13") {
		t.Errorf("the ETag is %s", info.ETag)
	}
	if text := get(t, core, "large", minio.GetObjectOptions{}); text != string(content) {
		t.Errorf("%d bytes came back", len(text))
	}
	if stat, err := core.StatObject(t.Context(), "uploads", "large", minio.StatObjectOptions{}); err != nil || stat.ContentType != "x/large" || stat.ETag != info.ETag {
		t.Errorf("got %+v, %v", stat, err)
	}
	if usage := w.usage(t); usage.Bytes != 64<<20 || usage.Files != 1 {
		t.Errorf("counted %+v", usage)
	}
}

func (w world) usage(t testing.TB) files.Usage {
	t.Helper()
	folder, err := w.store.Open(files.FolderID{Environment: shop, Name: "uploads"})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	usage, err := folder.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return usage
}

func TestAnUploadInPartsCanBeLookedAtAndAborted(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	id, err := core.NewMultipartUpload(t.Context(), "uploads", "big", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := core.PutObjectPart(t.Context(), "uploads", "big", id, 2, strings.NewReader("small"), 5, minio.PutObjectPartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if listed, err := core.ListObjectParts(t.Context(), "uploads", "big", id, 0, 10); err != nil || len(listed.ObjectParts) != 1 || strings.Trim(listed.ObjectParts[0].ETag, `"`) != part.ETag {
		t.Errorf("got %+v, %v", listed, err)
	}
	if all, err := core.ListMultipartUploads(t.Context(), "uploads", "", "", "", "", 10); err != nil || len(all.Uploads) != 1 || all.Uploads[0].UploadID != id {
		t.Errorf("got %+v, %v", all, err)
	}
	_, err = core.CompleteMultipartUpload(t.Context(), "uploads", "big", id, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{})
	wantCode(t, err, "InvalidPart", 400)
	_, err = core.CompleteMultipartUpload(t.Context(), "uploads", "other", id, []minio.CompletePart{{PartNumber: 2, ETag: part.ETag}}, minio.PutObjectOptions{})
	wantCode(t, err, "NoSuchUpload", 404)
	if err := core.AbortMultipartUpload(t.Context(), "uploads", "big", id); err != nil {
		t.Error(err)
	}
	wantCode(t, core.AbortMultipartUpload(t.Context(), "uploads", "big", id), "NoSuchUpload", 404)
	wantCode(t, core.AbortMultipartUpload(t.Context(), "uploads", "big", "../../uploads"), "NoSuchUpload", 404)
	if usage := w.usage(t); usage.Bytes != 0 {
		t.Errorf("counted %+v", usage)
	}
}

func TestAThousandAndMoreObjectsAreListedInPages(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	core := w.core(t, shop)
	tree := w.tree(shop, "uploads")
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
		if direct, err := os.ReadFile(filepath.Join(w.tree(shop, "uploads"), name)); err != nil || string(direct) != name {
			t.Errorf("%q is directly %q, %v", name, direct, err)
		}
		if err := core.RemoveObject(t.Context(), "uploads", name, minio.RemoveObjectOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func TestNoPathLeadsOutOfTheBucket(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder)
	other := springtide.EnvironmentID{App: "other", Name: "production"}
	w.provision(t, other, oneFolder)
	w = w.start(t)
	core := w.core(t, shop)
	put(t, w.core(t, other), "secret", "secret")
	if err := os.Symlink(w.tree(other, "uploads"), filepath.Join(w.tree(shop, "uploads"), "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../other/production/uploads", filepath.Join(w.tree(shop, "uploads"), "relative")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../.uploads", filepath.Join(w.tree(shop, "uploads"), "side")); err != nil {
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

func presign(t *testing.T, url string, own files.Credentials) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return presignV4(request, own)
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
	toGet, err := core.Client.PresignedGetObject(t.Context(), "uploads", "from browser.txt", time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(url string) (int, string) {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text)
	}
	if status, text := fetch(toGet.String()); status != http.StatusOK || text != "hello" {
		t.Errorf("got %d %s", status, text)
	}
	if status, _ := fetch(strings.Replace(toGet.String(), "browser", "another", 1)); status != http.StatusForbidden {
		t.Errorf("another object: %d", status)
	}
	if status, _ := fetch(strings.Replace(toGet.String(), "X-Amz-Expires=1", "X-Amz-Expires=100", 1)); status != http.StatusForbidden {
		t.Errorf("a longer time: %d", status)
	}
	eventually(t, func() bool { status, _ := fetch(toGet.String()); return status == http.StatusForbidden })
}

func TestAQuotaIsNotGoneBeyond(t *testing.T) {
	w := newWorld(t, t.TempDir(), map[springtide.FilesName]springtide.Files{"uploads": {Quota: 100}}).start(t)
	core := w.core(t, shop)
	put(t, core, "a", strings.Repeat("x", 60))
	_, err := core.Client.PutObject(t.Context(), "uploads", "b", strings.NewReader(strings.Repeat("x", 41)), 41, minio.PutObjectOptions{})
	wantCode(t, err, "QuotaExceeded", 403)
	_, err = core.CopyObject(t.Context(), "uploads", "a", "uploads", "c", nil, minio.CopySrcOptions{}, minio.PutObjectOptions{})
	wantCode(t, err, "QuotaExceeded", 403)
	put(t, core, "a", strings.Repeat("x", 100)) // it takes the place of the old
	id, err := core.NewMultipartUpload(t.Context(), "uploads", "big", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = core.PutObjectPart(t.Context(), "uploads", "big", id, 1, strings.NewReader("x"), 1, minio.PutObjectPartOptions{})
	wantCode(t, err, "QuotaExceeded", 403)
	if err := core.RemoveObject(t.Context(), "uploads", "a", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, core, "b", strings.Repeat("x", 100))
}

func TestAFullDiskIsA507AndLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	w := newWorld(t, disk, oneFolder).start(t)
	core := w.core(t, shop)
	put(t, core, "a", "old")
	_, err := core.Client.PutObject(t.Context(), "uploads", "a", bytes.NewReader(make([]byte, 4<<20)), 4<<20, minio.PutObjectOptions{})
	wantCode(t, err, "InsufficientStorage", 507)
	if text := get(t, core, "a", minio.GetObjectOptions{}); text != "old" {
		t.Errorf("it holds %q", text)
	}
	put(t, core, "a", "new")
}

func TestAKillInTheMiddleOfAPutLeavesNoHalfObject(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder)
	temporary := filepath.Join(w.folder, "shop", "production", ".uploads", "temporary")
	for round := range 3 {
		process := w.spawn(t)
		core := w.core(t, shop)
		if round == 0 {
			put(t, core, "whole", "old")
		}
		body, end := io.Pipe()
		go func() {
			core.Client.PutObject(context.Background(), "uploads", "whole", body, 8<<20, minio.PutObjectOptions{DisableContentSha256: true, DisableMultipart: true})
			body.CloseWithError(io.ErrClosedPipe)
		}()
		go end.Write(make([]byte, 4<<20))
		eventually(t, func() bool {
			entries, err := os.ReadDir(temporary)
			if err != nil || len(entries) != round+1 {
				return false
			}
			for _, entry := range entries {
				if info, err := entry.Info(); err != nil || info.Size() == 0 {
					return false
				}
			}
			return true
		})
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
		process.Wait()
		end.CloseWithError(io.ErrUnexpectedEOF)
		if text, err := os.ReadFile(filepath.Join(w.tree(shop, "uploads"), "whole")); err != nil || string(text) != "old" {
			t.Fatalf("it holds %d bytes, %v", len(text), err)
		}
	}
	w.spawn(t)
	core := w.core(t, shop)
	if page, err := core.ListObjectsV2("uploads", "", "", "", "", 10); err != nil || len(page.Contents) != 1 {
		t.Errorf("listed %+v, %v", page.Contents, err)
	}
	put(t, core, "whole", "new")
}

func TestWhatIsWrittenByOneWayIsSeenByTheOtherAtOnce(t *testing.T) {
	w := newWorld(t, t.TempDir(), oneFolder).start(t)
	tree := w.tree(shop, "uploads")
	var writers sync.WaitGroup
	for writer := range 4 {
		writers.Go(func() { // directly, as an app that has not moved yet
			for i := range 50 {
				core := w.core(t, shop)
				name := fmt.Sprintf("direct-%d-%d", writer, i)
				if err := os.WriteFile(filepath.Join(tree, name), []byte(name), 0o644); err != nil {
					t.Error(err)
					return
				}
				if text := get(t, core, name, minio.GetObjectOptions{}); text != name {
					t.Errorf("%s holds %q", name, text)
				}
			}
		})
		writers.Go(func() { // by S3, as one that has
			core := w.core(t, shop)
			for i := range 50 {
				name := fmt.Sprintf("s3/%d/%d", writer, i)
				put(t, core, name, name)
				if text, err := os.ReadFile(filepath.Join(tree, name)); err != nil || string(text) != name {
					t.Errorf("%s holds %q, %v", name, text, err)
				}
			}
		})
	}
	writers.Wait()
	count := 0
	for range w.core(t, shop).Client.ListObjects(t.Context(), "uploads", minio.ListObjectsOptions{Recursive: true}) {
		count++
	}
	if count != 400 {
		t.Errorf("%d objects", count)
	}
	put(t, w.core(t, shop), "both", "by S3")
	before, _ := w.core(t, shop).StatObject(t.Context(), "uploads", "both", minio.StatObjectOptions{})
	if err := os.WriteFile(filepath.Join(tree, "both"), []byte("directly"), 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := w.core(t, shop).StatObject(t.Context(), "uploads", "both", minio.StatObjectOptions{})
	if err != nil || after.ETag == before.ETag || after.Size != 8 {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
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
	if err := connection.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(connection) // a reset may follow what was answered
	if answers := strings.Count(string(text), "HTTP/1.1 "); answers != 1 {
		t.Errorf("%d answers: %s", answers, text)
	}
}
