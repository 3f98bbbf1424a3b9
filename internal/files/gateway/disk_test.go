package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/springtide/springtide"
)

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

func TestWhoStillSendsWhatIsRefusedHearsWhy(t *testing.T) {
	w := newWorld(t, t.TempDir(), map[springtide.FilesName]springtide.Files{"uploads": {Quota: 100}}).start(t)
	url, err := w.core(t, shop).Client.PresignedPutObject(t.Context(), "uploads", "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", url.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 16 << 20 // more than sockets hold
	if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", url.RequestURI(), url.Host, size); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatalf("the connection ended first: %v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusForbidden || !bytes.Contains(text, []byte("QuotaExceeded")) {
		t.Errorf("it heard %s, %v:\n%s", response.Status, err, text)
	}
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
		if text, err := os.ReadFile(filepath.Join(w.tree(shop), "whole")); err != nil || string(text) != "old" {
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
	tree := w.tree(shop)
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
