package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/springtide/springtide"
)

// bucketPart is how much is in memory of an object that is put, in bytes: S3
// takes 10,000 parts of it, so that an object is at most 312 GiB.
const bucketPart = 32 << 20

// bucket keeps objects in S3.
type bucket struct {
	place  place
	client *minio.Client
}

func newBucket(p place, options TargetOptions) (Target, error) {
	client, err := minio.New(p.endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(options.AccessKey, options.SecretKey, ""),
		Secure: p.endpoint.Scheme == "https",
		Region: p.region,
	})
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s cannot be a backup target: %w", p.endpoint, err)
	}
	return &bucket{p, client}, nil
}

// String tells where it is.
func (b *bucket) String() string { return "s3://" + path.Join(b.place.bucket, b.place.folder) }

func (b *bucket) key(name string) string { return path.Join(b.place.folder, name) }

// prefix is what all its keys begin with.
func (b *bucket) prefix() string {
	if b.place.folder == "" {
		return ""
	}
	return b.place.folder + "/"
}

// failed says what an error of S3 means.
func (b *bucket) failed(name string, err error) error {
	if known, ok := errors.AsType[*springtide.Error](err); ok {
		return known
	}
	answer := minio.ToErrorResponse(err)
	switch {
	case answer.Code == minio.NoSuchKey || answer.Code == "" && answer.StatusCode == http.StatusNotFound:
		return springtide.Errorf(springtide.NotFound, "the backup target %s has no %s", b, name)
	case answer.Code == minio.NoSuchBucket:
		return springtide.Errorf(springtide.Unavailable, "the backup target's bucket %s does not exist", b.place.bucket).WithHint("make it")
	case answer.StatusCode == http.StatusForbidden:
		return springtide.Errorf(springtide.Unavailable, "the backup target %s refuses the keys: %w", b, err).WithHint("let them read, write, list and delete in the bucket")
	}
	return springtide.Errorf(springtide.Unavailable, "the backup target %s is not to be reached: %w", b, err)
}

// Put implements [Target].
func (b *bucket) Put(ctx context.Context, name string, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	// What is small goes in one request, whose size must be known.
	begin := bytes.NewBuffer(nil)
	size, err := io.Copy(begin, io.LimitReader(stopped{ctx, from}, bucketPart/4))
	if err != nil {
		return err
	}
	var all io.Reader = begin
	if size == bucketPart/4 {
		all, size = unbroken{io.MultiReader(begin, stopped{ctx, from})}, -1
	}
	if _, err := b.client.PutObject(ctx, b.place.bucket, b.key(name), all, size, minio.PutObjectOptions{PartSize: bucketPart}); err != nil {
		return b.failed(name, err)
	}
	return nil
}

// unbroken has a client see that what it reads broke off: it takes
// io.ErrUnexpectedEOF itself for the end of what is whole.
type unbroken struct{ from io.Reader }

func (u unbroken) Read(p []byte) (int, error) {
	n, err := u.from.Read(p)
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // as the client compares it
		err = fmt.Errorf("it broke off: %w", err)
	}
	return n, err
}

// Get implements [Target].
func (b *bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	core := minio.Core{Client: b.client}
	object, _, _, err := core.GetObject(ctx, b.place.bucket, b.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed(name, err)
	}
	return object, nil
}

// List implements [Target].
func (b *bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is listed in the background ends
	var objects []Object
	for found := range b.client.ListObjects(ctx, b.place.bucket, minio.ListObjectsOptions{Prefix: b.prefix() + prefix, Recursive: true}) {
		if found.Err != nil {
			return nil, b.failed(prefix, found.Err)
		}
		if name := strings.TrimPrefix(found.Key, b.prefix()); checkName(name) == nil {
			objects = append(objects, Object{name, found.Size, found.LastModified})
		}
	}
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return objects, nil
}

// Delete implements [Target].
func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	err := b.client.RemoveObject(ctx, b.place.bucket, b.key(name), minio.RemoveObjectOptions{})
	if err != nil && springtide.KindOf(b.failed(name, err)) != springtide.NotFound {
		return b.failed(name, err)
	}
	return nil
}

// Tidy implements [Tidier]: it gives up uploads that were begun before then.
func (b *bucket) Tidy(ctx context.Context, before time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	core := minio.Core{Client: b.client}
	for upload := range b.client.ListIncompleteUploads(ctx, b.place.bucket, b.prefix(), true) {
		if upload.Err != nil {
			return b.failed("uploads", upload.Err)
		}
		if upload.Initiated.Before(before) {
			if err := core.AbortMultipartUpload(ctx, b.place.bucket, upload.Key, upload.UploadID); err != nil {
				return b.failed(upload.Key, err)
			}
		}
	}
	return nil
}
