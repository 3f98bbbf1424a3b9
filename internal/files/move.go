package files

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
)

// CopyOptions say how a folder is copied to a bucket.
type CopyOptions struct {
	// After is the name after which to go on.
	After string
	// Limit is how long it may take; what is under way then is finished. 0: for ever.
	Limit time.Duration
	// Check asks of every object whether it is the file, not only of those that
	// changed lately or have another size.
	Check bool
}

// Copied is what a copy did.
type Copied struct {
	// Copied files had Bytes; Same were in the bucket already. Newer are objects
	// that somebody else put there since the file was changed: they stay.
	Copied int   `json:"copied"`
	Bytes  int64 `json:"bytes"`
	Same   int   `json:"same"`
	Newer  int   `json:"newer"`
	// Next is what to go on after; empty: this was all.
	Next string `json:"next,omitempty"`
}

const (
	// copiers is how many files are sent at a time.
	copiers = 8
	// skew is how far the clocks of this machine and of S3 may differ.
	skew = 5 * time.Minute
	// modifiedKey is the user's metadata by which an object is known to be a copy,
	// and of which state of the file.
	modifiedKey = "Tide-Modified"
)

// CopyTo sends to a bucket what it lacks of the folder, or has of an earlier
// time. It can be ended and done again at any time. The app may write meanwhile:
// another pass takes that; what it deletes stays in the bucket. The content of
// each file is verified by S3 itself, by its MD5.
func (f *Folder) CopyTo(ctx context.Context, to Bucket, o CopyOptions) (Copied, error) {
	c, err := newCopier(f, to, o)
	if err != nil {
		return Copied{}, err
	}
	defer c.close()
	began, after := time.Now(), o.After
	listing, stop := context.WithCancel(ctx)
	defer stop()
	next, end := iter.Pull(c.client.ListObjectsIter(listing, to.Name, minio.ListObjectsOptions{Prefix: to.Prefix, Recursive: true, StartAfter: startAfter(to, after)}))
	defer end()
	c.next = next
	for {
		page, err := f.List(ctx, ListOptions{After: after})
		if err != nil {
			return c.done(), err
		}
		if err := c.page(ctx, page); err != nil {
			return c.done(), c.explain(err)
		}
		done := c.done()
		if page.Next == "" {
			return done, nil
		}
		if after = page.Next; o.Limit > 0 && time.Since(began) > o.Limit {
			done.Next = after
			return done, nil
		}
	}
}

func startAfter(to Bucket, after string) string {
	if after == "" {
		return ""
	}
	return to.Prefix + after
}

// copier is one copy under way. Objects and files come in the same order.
type copier struct {
	folder *Folder
	to     Bucket
	check  bool
	client *minio.Client
	close  func()
	next   func() (minio.ObjectInfo, bool)
	object minio.ObjectInfo // the one that next gave last
	over   bool             // there are no more objects

	copied, same, newer, bytes atomic.Int64
}

func newCopier(f *Folder, to Bucket, o CopyOptions) (*copier, error) {
	endpoint, err := url.Parse(to.Endpoint)
	if err != nil {
		return nil, err
	}
	secure := endpoint.Scheme == "https"
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.NewStaticV4(to.AccessKey, to.SecretKey, ""), Secure: secure, Region: to.Region, Transport: transport,
	})
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s cannot be reached as S3: %w", to.Endpoint, err)
	}
	return &copier{folder: f, to: to, check: o.Check, client: client, close: transport.CloseIdleConnections}, nil
}

func (c *copier) done() Copied {
	return Copied{Copied: int(c.copied.Load()), Bytes: c.bytes.Load(), Same: int(c.same.Load()), Newer: int(c.newer.Load())}
}

// page copies what is lacking of one page of files.
func (c *copier) page(ctx context.Context, page Page) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(copiers)
	for _, file := range page.Entries {
		object, there, err := c.find(c.to.Prefix + file.Name)
		if err != nil {
			return errors.Join(err, all.Wait())
		}
		all.Go(func() error { return c.one(ctx, file, object, there) })
	}
	return all.Wait()
}

// find goes on to the object of a key, if there is one.
func (c *copier) find(key string) (minio.ObjectInfo, bool, error) {
	for !c.over && c.object.Key < key {
		object, ok := c.next()
		if object.Err != nil {
			return object, false, object.Err
		}
		c.object, c.over = object, !ok
	}
	return c.object, !c.over && c.object.Key == key, nil
}

// one copies a file, unless the object is it, or newer.
func (c *copier) one(ctx context.Context, file Entry, object minio.ObjectInfo, there bool) error {
	if there {
		same, newer, err := c.compare(ctx, file, object)
		switch {
		case err != nil:
			return err
		case same:
			c.same.Add(1)
			return nil
		case newer:
			c.newer.Add(1)
			return nil
		}
	}
	open, err := c.folder.Read(file.Name)
	if springtide.KindOf(err) == springtide.NotFound {
		return nil // it was deleted meanwhile
	}
	if err != nil {
		return err
	}
	defer open.Close()
	if err := c.send(ctx, open); err != nil {
		return err
	}
	c.copied.Add(1)
	c.bytes.Add(open.Entry.Size)
	return nil
}

// compare tells whether an object is the file, or was put by somebody else after
// the file was changed. It asks for the object's metadata only where the listing
// leaves a doubt.
func (c *copier) compare(ctx context.Context, file Entry, object minio.ObjectInfo) (same, newer bool, err error) {
	if !c.check && object.Size == file.Size && object.LastModified.After(file.Modified.Add(skew)) {
		return true, false, nil
	}
	known, err := c.client.StatObject(ctx, c.to.Name, object.Key, minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	if of, is := known.UserMetadata[modifiedKey]; is {
		return known.Size == file.Size && of == stamp(file), false, nil
	}
	// Times in S3 are whole seconds.
	return false, !known.LastModified.Before(file.Modified.Truncate(time.Second)), nil
}

func stamp(file Entry) string { return file.Modified.Format(time.RFC3339Nano) }

func (c *copier) send(ctx context.Context, file *File) error {
	kind := file.Attributes.ContentType
	if kind == "" {
		kind = TypeOf(file.Entry.Name)
	}
	metadata := map[string]string{}
	maps.Copy(metadata, file.Attributes.Metadata)
	maps.DeleteFunc(metadata, func(name, _ string) bool { return strings.EqualFold(name, modifiedKey) })
	metadata[modifiedKey] = stamp(file.Entry)
	_, err := c.client.PutObject(ctx, c.to.Name, c.to.Prefix+file.Entry.Name, reader{ctx, file}, file.Entry.Size, minio.PutObjectOptions{
		ContentType: kind, UserMetadata: metadata, SendContentMd5: true,
		CacheControl: file.Attributes.Headers["Cache-Control"], ContentDisposition: file.Attributes.Headers["Content-Disposition"],
		ContentEncoding: file.Attributes.Headers["Content-Encoding"], ContentLanguage: file.Attributes.Headers["Content-Language"],
	})
	return err
}

// explain says what an error of S3 means.
func (c *copier) explain(err error) error {
	if _, known := errors.AsType[*springtide.Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	answer, _ := errors.AsType[minio.ErrorResponse](err)
	where := "s3://" + strings.TrimSuffix(c.to.Name+"/"+c.to.Prefix, "/")
	switch {
	case answer.Code == minio.NoSuchBucket:
		return springtide.Errorf(springtide.Invalid, "there is no bucket %s at %s", c.to.Name, c.to.Endpoint).WithHint("make it")
	case answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized:
		return springtide.Errorf(springtide.Denied, "%s refuses the keys: %w", where, err).WithHint("let them read, write and list in the bucket")
	}
	return springtide.Errorf(springtide.Unavailable, "%s cannot be written to: %w", where, err)
}
