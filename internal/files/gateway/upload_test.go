package gateway

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/springtide/springtide/internal/files"
)

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
