package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

func TestWhatIsUploadedIsNotedBeforeItIsAcknowledged(t *testing.T) {
	folder := t.TempDir()
	w := newWorld(t, folder, map[springtide.FilesName]springtide.Files{"uploads": {Enqueue: "thumbnails"}}).start(t)
	core := w.core(t, shop)
	sent, err := core.Client.PutObject(t.Context(), "uploads", "a/cat.png", strings.NewReader("meow"), 4, minio.PutObjectOptions{ContentType: "image/x-cat"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := core.CopyObject(t.Context(), "uploads", "a/cat.png", "uploads", "b.png", nil, minio.CopySrcOptions{}, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	parts, err := core.NewMultipartUpload(t.Context(), "uploads", "parts.txt", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := core.PutObjectPart(t.Context(), "uploads", "parts.txt", parts, 1, strings.NewReader("purr"), 4, minio.PutObjectPartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := core.CompleteMultipartUpload(t.Context(), "uploads", "parts.txt", parts, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	id := files.FolderID{Environment: shop, Name: "uploads"}
	noted, err := w.store.Uploaded(id, 10)
	if err != nil || len(noted) != 3 {
		t.Fatalf("noted are %v, %v", noted, err)
	}
	for i, key := range []string{"a/cat.png", "b.png", "parts.txt"} {
		var payload map[string]any
		if err := json.Unmarshal(noted[i].Payload, &payload); err != nil || noted[i].Queue != "thumbnails" || payload["key"] != key ||
			payload["event"] != "created" || payload["folder"] != "uploads" || payload["size"] != 4.0 {
			t.Errorf("noted is %s, %v", noted[i].Payload, err)
		}
		if i == 0 && (payload["etag"] != sent.ETag || payload["content_type"] != "image/x-cat") {
			t.Errorf("noted is %s", noted[i].Payload)
		}
	}
}

func TestAnUploadIsRefusedWhileTooManyWaitToBeEnqueued(t *testing.T) {
	folder := t.TempDir()
	w := newWorld(t, folder, map[springtide.FilesName]springtide.Files{"uploads": {Enqueue: "thumbnails"}}).start(t)
	core := w.core(t, shop)
	waiting := filepath.Join(folder, string(shop.App), string(shop.Name), ".uploads", "uploaded")
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(waiting, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := core.Client.PutObject(t.Context(), "uploads", "x", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	wantCode(t, err, "SlowDown", 503)
	_, err = core.StatObject(t.Context(), "uploads", "x", minio.StatObjectOptions{})
	wantCode(t, err, "NoSuchKey", 404)
}
