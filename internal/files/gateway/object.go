package gateway

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	gw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

// unknownType is what versitygw takes for the type where the client told none.
const unknownType = "binary/octet-stream"

// folderType is the type of what stands for a folder.
const folderType = "application/x-directory"

// PutObject writes a file, or with a key that ends with a slash a folder.
func (b *backend) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	var out s3response.PutObjectOutput
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return out, err
	}
	defer folder.Close()
	size := *in.ContentLength
	out.Size = &size
	if name, ok := strings.CutSuffix(*in.Key, "/"); ok {
		if size > 0 {
			return out, s3err.GetAPIError(s3err.ErrDirectoryObjectContainsData)
		}
		out.ETag = quoted(hex.EncodeToString(md5.New().Sum(nil)))
		return out, b.explain(folder.MakeFolder(name))
	}
	body, err := verified(in.Body, sums{
		in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumSHA1, in.ChecksumSHA256, in.ChecksumCRC64NVME,
		in.ChecksumSHA512, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128,
	})
	if err != nil {
		return out, err
	}
	entry, err := create(ctx, folder, *in.Key, body, files.PutOptions{
		Size:       size,
		Attributes: attributes(in.ContentType, in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.Expires, in.Metadata),
		Unless:     unless(in.IfMatch, in.IfNoneMatch),
	})
	if err != nil {
		return out, b.explain(err)
	}
	out.ETag = quoted(entry.ETag)
	out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumSHA1, out.ChecksumSHA256 = in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumSHA1, in.ChecksumSHA256
	out.ChecksumCRC64NVME = in.ChecksumCRC64NVME
	return out, nil
}

// create writes a file whose ETag is its MD5, and announces it.
func create(ctx context.Context, folder *files.Folder, key string, body io.Reader, o files.PutOptions) (files.Entry, error) {
	if err := folder.Announces(); err != nil {
		return files.Entry{}, err
	}
	hash := md5.New()
	o.Finish = func() (files.Attributes, error) {
		o.Attributes.ETag = hex.EncodeToString(hash.Sum(nil))
		return o.Attributes, nil
	}
	entry, err := folder.Put(ctx, key, io.TeeReader(body, hash), o)
	if err == nil {
		err = folder.Announce(entry, o.ContentType)
	}
	return entry, err
}

// sums are the checksums that came in headers, in the order of kinds.
type sums [10]*string

// verified gives a body whose end is an error if the checksum that came with it
// is another's. One that comes in a trailer is checked where it is read.
func verified(body io.Reader, expected sums) (io.Reader, error) {
	kinds := [len(expected)]utils.HashType{
		utils.HashTypeCRC32, utils.HashTypeCRC32C, utils.HashTypeSha1, utils.HashTypeSha256, utils.HashTypeCRC64NVME,
		utils.HashTypeSha512, utils.HashTypeMd5, utils.HashTypeXXHASH64, utils.HashTypeXXHASH3, utils.HashTypeXXHASH128,
	}
	if trailing, ok := body.(middlewares.ChecksumReader); ok && trailing.Algorithm() != "" {
		return body, nil
	}
	for i, sum := range expected {
		if sum != nil && *sum != "" {
			return utils.NewHashReader(body, *sum, kinds[i])
		}
	}
	return body, nil
}

// attributes are what S3 keeps of a request's and gives back.
func attributes(contentType, cache, disposition, encoding, language, expires *string, metadata map[string]string) files.Attributes {
	kept := files.Attributes{Metadata: metadata, Headers: map[string]string{}}
	if text := value(contentType); text != unknownType {
		kept.ContentType = text
	}
	for name, text := range map[string]*string{
		"Cache-Control": cache, "Content-Disposition": disposition, "Content-Encoding": encoding,
		"Content-Language": language, "Expires": expires,
	} {
		if value(text) != "" {
			kept.Headers[name] = *text
		}
	}
	return kept
}

// unless refuses to replace what the client does not expect there.
func unless(match, noneMatch *string) func(*files.Entry) error {
	return func(old *files.Entry) error {
		if old == nil {
			return gw.EvaluateObjectPutPreconditions("", match, noneMatch, false)
		}
		return gw.EvaluateObjectPutPreconditions(old.ETag, match, noneMatch, true)
	}
}

// GetObject gives a file or a range of it.
func (b *backend) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	file, err := folder.Read(*in.Key)
	if err != nil {
		return nil, b.explain(err)
	}
	head, start, err := describe(file, in.Range, gw.PreConditions{
		IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch, IfModSince: in.IfModifiedSince, IfUnmodeSince: in.IfUnmodifiedSince,
	})
	if err != nil {
		file.Close()
		return nil, b.explain(err)
	}
	return &s3.GetObjectOutput{
		Body:         section{io.NewSectionReader(file, start, *head.ContentLength), file},
		AcceptRanges: head.AcceptRanges, ContentLength: head.ContentLength, ContentRange: head.ContentRange, ContentType: head.ContentType,
		ETag: head.ETag, LastModified: head.LastModified, Metadata: head.Metadata,
		CacheControl: head.CacheControl, ContentDisposition: head.ContentDisposition, ContentEncoding: head.ContentEncoding,
		ContentLanguage: head.ContentLanguage, ExpiresString: head.ExpiresString,
	}, nil
}

// section is a part of a file, which it closes.
type section struct {
	io.Reader
	io.Closer
}

// HeadObject tells of a file or a folder.
func (b *backend) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if name, ok := strings.CutSuffix(*in.Key, "/"); ok {
		return b.headFolder(folder, name)
	}
	file, err := folder.Read(*in.Key)
	if err != nil {
		return nil, b.explain(err)
	}
	defer file.Close()
	head, _, err := describe(file, in.Range, gw.PreConditions{
		IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch, IfModSince: in.IfModifiedSince, IfUnmodeSince: in.IfUnmodifiedSince,
	})
	return head, b.explain(err)
}

func (b *backend) headFolder(folder *files.Folder, name string) (*s3.HeadObjectOutput, error) {
	entry, err := folder.Stat(name)
	if err == nil && !entry.Folder {
		err = s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if err != nil {
		return nil, b.explain(err)
	}
	return &s3.HeadObjectOutput{
		ContentLength: new(int64(0)), ContentType: new(folderType), LastModified: &entry.Modified,
		ETag: new(quoted(hex.EncodeToString(md5.New().Sum(nil)))),
	}, nil
}

// describe makes the head of an answer, and says where the body starts.
func describe(file *files.File, wanted *string, conditions gw.PreConditions) (*s3.HeadObjectOutput, int64, error) {
	entry, kept := file.Entry, file.Attributes
	modified := entry.Modified.Truncate(time.Second) // as it is told
	if err := gw.EvaluatePreconditions(entry.ETag, modified, conditions); err != nil {
		return nil, 0, err
	}
	start, length, partial, err := gw.ParseObjectRange(entry.Size, value(wanted))
	if err != nil {
		return nil, 0, err
	}
	contentType := kept.ContentType
	if contentType == "" {
		contentType = files.TypeOf(entry.Name)
	}
	head := &s3.HeadObjectOutput{
		AcceptRanges: new("bytes"), ContentLength: &length, ContentType: &contentType,
		ETag: new(quoted(entry.ETag)), LastModified: &modified, Metadata: kept.Metadata,
		CacheControl: header(kept, "Cache-Control"), ContentDisposition: header(kept, "Content-Disposition"),
		ContentEncoding: header(kept, "Content-Encoding"), ContentLanguage: header(kept, "Content-Language"), ExpiresString: header(kept, "Expires"),
	}
	if partial {
		head.ContentRange = new(fmt.Sprintf("bytes %d-%d/%d", start, start+length-1, entry.Size))
	}
	return head, start, nil
}

// CopyObject copies within the environment.
func (b *backend) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	var out s3response.CopyObjectOutput
	file, err := b.source(ctx, in.CopySource, gw.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return out, err
	}
	defer file.Close()
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return out, err
	}
	defer folder.Close()
	kept := file.Attributes
	if in.MetadataDirective == types.MetadataDirectiveReplace {
		kept = attributes(in.ContentType, in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.Expires, in.Metadata)
	}
	entry, err := create(ctx, folder, *in.Key, file, files.PutOptions{Size: file.Entry.Size, Attributes: kept})
	if err != nil {
		return out, b.explain(err)
	}
	out.CopyObjectResult = &s3response.CopyObjectResult{ETag: new(quoted(entry.ETag)), LastModified: &entry.Modified}
	return out, nil
}

// source opens what is copied.
func (b *backend) source(ctx context.Context, from *string, conditions gw.PreConditions) (*files.File, error) {
	bucket, key, _, err := gw.ParseCopySource(*from)
	if err != nil {
		return nil, err
	}
	folder, err := b.open(ctx, &bucket)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	file, err := folder.Read(key)
	if err != nil {
		return nil, b.explain(err)
	}
	if err := gw.EvaluatePreconditions(file.Entry.ETag, file.Entry.Modified.Truncate(time.Second), conditions); err != nil {
		file.Close()
		if errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) {
			err = s3err.GetAPIError(s3err.ErrPreconditionFailed)
		}
		return nil, err
	}
	return file, nil
}

// DeleteObject deletes a file, or a folder that is empty. What is not there is
// deleted already.
func (b *backend) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return &s3.DeleteObjectOutput{}, b.explain(remove(folder, *in.Key))
}

func remove(folder *files.Folder, key string) error {
	name, isFolder := strings.CutSuffix(key, "/")
	if entry, err := folder.Stat(name); err == nil && entry.Folder != isFolder {
		return nil // a is no object where a/b is one
	}
	err := folder.Delete(name, false)
	if kind := springtide.KindOf(err); kind == springtide.NotFound || isFolder && kind == springtide.Conflict {
		return nil
	}
	return err
}

// DeleteObjects deletes each, and says which it could not.
func (b *backend) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	var out s3response.DeleteResult
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return out, err
	}
	defer folder.Close()
	for _, object := range in.Delete.Objects {
		err := b.explain(remove(folder, *object.Key))
		if err == nil {
			out.Deleted = append(out.Deleted, types.DeletedObject{Key: object.Key})
			continue
		}
		code := "InternalError"
		if known, ok := errors.AsType[s3err.S3Error](err); ok {
			code = known.BaseError().Code
		}
		out.Error = append(out.Error, types.Error{Key: object.Key, Code: &code, Message: new(err.Error())})
	}
	return out, nil
}

func quoted(etag string) string { return `"` + etag + `"` }

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func header(kept files.Attributes, name string) *string {
	if text := kept.Headers[name]; text != "" {
		return &text
	}
	return nil
}
