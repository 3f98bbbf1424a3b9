package gateway

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3response"

	"github.com/springtide/springtide/internal/files"
)

// listing is what both versions of the request have in common.
type listing struct {
	objects  []s3response.Object
	prefixes []types.CommonPrefix
	next     string
	encoding types.EncodingType
	encode   func(string) *string
}

func (b *backend) list(ctx context.Context, bucket, prefix, delimiter *string, after string, limit *int32) (listing, error) {
	var found listing
	found.encode = func(name string) *string { return &name }
	// versitygw does not pass it on. Without it a name with control characters
	// cannot be told in XML.
	if request, ok := ctx.(*fasthttp.RequestCtx); ok && string(request.QueryArgs().Peek("encoding-type")) == "url" {
		found.encoding = types.EncodingTypeUrl
		found.encode = func(name string) *string { return new(url.QueryEscape(name)) }
	}
	folder, err := b.open(ctx, bucket)
	if err != nil || *limit == 0 {
		return found, err
	}
	defer folder.Close()
	page, err := folder.List(ctx, files.ListOptions{
		Prefix: value(prefix), Delimiter: value(delimiter), After: after, Limit: min(int(*limit), files.PageLimit),
	})
	if err != nil {
		return found, b.explain(err)
	}
	found.next = page.Next
	for _, entry := range page.Entries {
		if entry.Folder {
			found.prefixes = append(found.prefixes, types.CommonPrefix{Prefix: found.encode(entry.Name)})
			continue
		}
		found.objects = append(found.objects, s3response.Object{
			Key: found.encode(entry.Name), Size: &entry.Size, ETag: new(quoted(entry.ETag)),
			LastModified: &entry.Modified, StorageClass: types.ObjectStorageClassStandard,
		})
	}
	return found, nil
}

// ListObjects lists as the first version of the request has it.
func (b *backend) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	found, err := b.list(ctx, in.Bucket, in.Prefix, in.Delimiter, value(in.Marker), in.MaxKeys)
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	out := s3response.ListObjectsResult{
		Name: in.Bucket, Prefix: found.encode(value(in.Prefix)), Marker: found.encode(value(in.Marker)), Delimiter: in.Delimiter,
		MaxKeys: in.MaxKeys, EncodingType: found.encoding,
		IsTruncated: new(found.next != ""), Contents: found.objects, CommonPrefixes: found.prefixes,
	}
	if found.next != "" {
		out.NextMarker = found.encode(found.next)
	}
	return out, nil
}

// ListObjectsV2 lists as the second version of the request has it.
func (b *backend) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	after := max(value(in.StartAfter), value(in.ContinuationToken))
	found, err := b.list(ctx, in.Bucket, in.Prefix, in.Delimiter, after, in.MaxKeys)
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	out := s3response.ListObjectsV2Result{
		Name: in.Bucket, Prefix: found.encode(value(in.Prefix)), Delimiter: in.Delimiter, MaxKeys: in.MaxKeys, EncodingType: found.encoding,
		KeyCount: new(int32(len(found.objects) + len(found.prefixes))), IsTruncated: new(found.next != ""),
		Contents: found.objects, CommonPrefixes: found.prefixes,
	}
	if value(in.StartAfter) != "" {
		out.StartAfter = found.encode(*in.StartAfter)
	}
	if value(in.ContinuationToken) != "" {
		out.ContinuationToken = in.ContinuationToken
	}
	if found.next != "" {
		out.NextContinuationToken = &found.next
	}
	return out, nil
}
