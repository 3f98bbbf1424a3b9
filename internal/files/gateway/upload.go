package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	gw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

// smallestPart is what every part but the last must have, in bytes.
const smallestPart = 5 << 20

// upload gives the folder and the upload that a request is about.
func (b *backend) upload(ctx context.Context, bucket, key, id *string) (*files.Folder, files.Upload, error) {
	folder, err := b.open(ctx, bucket)
	if err != nil {
		return nil, files.Upload{}, err
	}
	upload, err := folder.Upload(value(id))
	if springtide.KindOf(err) == springtide.NotFound || err == nil && upload.Name != *key {
		err = s3err.GetNoSuchUploadErr(value(id))
	}
	if err != nil {
		return nil, upload, b.explain(errors.Join(err, folder.Close()))
	}
	return folder, upload, nil
}

// CreateMultipartUpload begins an upload.
func (b *backend) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	defer folder.Close()
	upload, err := folder.BeginUpload(*in.Key, attributes(in.ContentType, in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.Expires, in.Metadata))
	return s3response.InitiateMultipartUploadResult{Bucket: *in.Bucket, Key: *in.Key, UploadId: upload.ID}, b.explain(err)
}

// UploadPart adds a part.
func (b *backend) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	folder, upload, err := b.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	body, err := verified(in.Body, sums{
		in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumSHA1, in.ChecksumSHA256, in.ChecksumCRC64NVME,
		in.ChecksumSHA512, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128,
	})
	if err != nil {
		return nil, err
	}
	part, err := folder.PutPart(ctx, upload.ID, int(*in.PartNumber), body, *in.ContentLength)
	if err != nil {
		return nil, b.explain(err)
	}
	return &s3.UploadPartOutput{
		ETag: new(quoted(part.MD5)), ChecksumCRC32: in.ChecksumCRC32, ChecksumCRC32C: in.ChecksumCRC32C,
		ChecksumSHA1: in.ChecksumSHA1, ChecksumSHA256: in.ChecksumSHA256, ChecksumCRC64NVME: in.ChecksumCRC64NVME,
	}, nil
}

// UploadPartCopy adds what another object has as a part.
func (b *backend) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	var out s3response.CopyPartResult
	folder, upload, err := b.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return out, err
	}
	defer folder.Close()
	file, err := b.source(ctx, in.CopySource, gw.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return out, err
	}
	defer file.Close()
	start, length, err := gw.ParseCopySourceRange(file.Entry.Size, value(in.CopySourceRange))
	if err != nil {
		return out, err
	}
	part, err := folder.PutPart(ctx, upload.ID, int(*in.PartNumber), io.NewSectionReader(file, start, length), length)
	return s3response.CopyPartResult{ETag: new(quoted(part.MD5)), LastModified: part.Modified}, b.explain(err)
}

// CompleteMultipartUpload makes the object of its parts.
func (b *backend) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	var out s3response.CompleteMultipartUploadResult
	folder, upload, err := b.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return out, "", err
	}
	defer folder.Close()
	there, err := folder.Parts(upload.ID)
	if err != nil {
		return out, "", b.explain(err)
	}
	parts, err := chosen(upload.ID, in, there)
	if err != nil {
		return out, "", err
	}
	etag, err := gw.ComputeMultipartETagFromPartETags(in.MultipartUpload.Parts)
	if err != nil {
		return out, "", err
	}
	if err := folder.Announces(); err != nil {
		return out, "", b.explain(err)
	}
	entry, err := folder.CompleteUpload(ctx, upload.ID, parts, strings.Trim(etag, `"`), unless(in.IfMatch, in.IfNoneMatch))
	if err == nil {
		err = folder.Announce(entry, upload.Attributes.ContentType)
	}
	if err != nil {
		return out, "", b.explain(err)
	}
	out.Bucket, out.Key, out.ETag = in.Bucket, in.Key, new(quoted(entry.ETag))
	return out, "", nil
}

// chosen gives the parts that the client wants joined, if they are as it thinks.
func chosen(id string, in *s3.CompleteMultipartUploadInput, there []files.Part) ([]files.Part, error) {
	byNumber := map[int32]files.Part{}
	for _, part := range there {
		byNumber[int32(part.Number)] = part
	}
	wanted := in.MultipartUpload.Parts
	if len(wanted) == 0 {
		return nil, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	var parts []files.Part
	var size int64
	for i, part := range wanted {
		if part.PartNumber == nil || part.ETag == nil {
			return nil, s3err.GetAPIError(s3err.ErrMalformedXML)
		}
		if i > 0 && *part.PartNumber <= *wanted[i-1].PartNumber {
			return nil, s3err.GetAPIError(s3err.ErrInvalidPartOrder)
		}
		found, ok := byNumber[*part.PartNumber]
		if !ok || found.MD5 != strings.Trim(*part.ETag, `"`) {
			return nil, s3err.GetInvalidPartErr(id, *part.PartNumber, *part.ETag)
		}
		if i < len(wanted)-1 && found.Size < smallestPart {
			return nil, s3err.GetEntityTooSmallErr(found.Size, smallestPart)
		}
		parts = append(parts, found)
		size += found.Size
	}
	if in.MpuObjectSize != nil && *in.MpuObjectSize != size {
		return nil, s3err.GetIncorrectMpObjectSizeErr(*in.MpuObjectSize, size)
	}
	return parts, nil
}

// AbortMultipartUpload throws an upload away.
func (b *backend) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	folder, upload, err := b.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return err
	}
	defer folder.Close()
	return b.explain(folder.AbortUpload(upload.ID))
}

// ListParts gives the parts that are there; the marker is a number.
func (b *backend) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	out := s3response.ListPartsResult{Bucket: *in.Bucket, Key: *in.Key, UploadID: value(in.UploadId)}
	folder, upload, err := b.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return out, err
	}
	defer folder.Close()
	parts, err := folder.Parts(upload.ID)
	if err != nil {
		return out, b.explain(err)
	}
	after, limit := number(in.PartNumberMarker), files.PageLimit
	if in.MaxParts != nil {
		limit = int(*in.MaxParts)
	}
	out.PartNumberMarker, out.MaxParts = after, limit
	for _, part := range parts {
		if part.Number <= after {
			continue
		}
		if len(out.Parts) == limit {
			out.IsTruncated = true
			break
		}
		out.Parts = append(out.Parts, s3response.Part{PartNumber: part.Number, ETag: quoted(part.MD5), Size: part.Size, LastModified: part.Modified})
		out.NextPartNumberMarker = part.Number
	}
	return out, nil
}

// number reads a marker; what is none is before all.
func number(text *string) int {
	total := 0
	for _, digit := range value(text) {
		if digit < '0' || digit > '9' || total > 10_000 {
			return 0
		}
		total = total*10 + int(digit-'0')
	}
	return total
}

// ListMultipartUploads gives the uploads that are not over, all in one page.
func (b *backend) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	out := s3response.ListMultipartUploadsResult{Bucket: *in.Bucket, Prefix: value(in.Prefix), KeyMarker: value(in.KeyMarker), MaxUploads: files.PageLimit}
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return out, err
	}
	defer folder.Close()
	uploads, err := folder.Uploads()
	for _, upload := range uploads {
		if strings.HasPrefix(upload.Name, out.Prefix) && upload.Name > out.KeyMarker {
			out.Uploads = append(out.Uploads, s3response.Upload{Key: upload.Name, UploadID: upload.ID, Initiated: upload.Created.Truncate(time.Second)})
		}
	}
	return out, b.explain(err)
}
