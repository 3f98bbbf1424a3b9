package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/auth"
	gw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

// backend keeps objects in shared folders. What it does not define is refused
// as not implemented.
type backend struct {
	gw.BackendUnsupported
	store  *files.Store
	logger *slog.Logger
}

var _ gw.Backend = (*backend)(nil)

// String names the backend.
func (*backend) String() string { return "shared folders" }

// environment gives whose request it is. One without a signature is nobody's.
func environment(ctx context.Context) (springtide.EnvironmentID, error) {
	account, _ := ctx.Value(string(utils.ContextKeyAccount)).(auth.Account)
	id, ok := files.EnvironmentOf(account.Access)
	if !ok {
		return id, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return id, nil
}

// open gives the folder that a bucket is.
func (b *backend) open(ctx context.Context, bucket *string) (*files.Folder, error) {
	id, err := environment(ctx)
	if err != nil {
		return nil, err
	}
	folder, err := b.store.Open(files.FolderID{Environment: id, Name: springtide.FilesName(*bucket)})
	switch springtide.KindOf(err) {
	case "":
		return folder, nil
	case springtide.NotFound, springtide.Invalid:
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, *bucket)
	}
	return nil, b.explain(err)
}

// explain turns an error into one of S3.
func (b *backend) explain(err error) error {
	if known, ok := errors.AsType[s3err.S3Error](err); ok || err == nil {
		if err == nil {
			return nil
		}
		return known
	}
	switch kind := springtide.KindOf(err); {
	case errors.Is(err, syscall.EDQUOT):
		return s3err.GetAPIError(s3err.ErrQuotaExceeded)
	case errors.Is(err, syscall.ENOSPC):
		return s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)
	case kind == springtide.Unavailable:
		return s3err.GetAPIError(s3err.ErrSlowDown)
	case kind == springtide.NotFound:
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	case kind == springtide.Invalid:
		return s3err.APIError{Code: "InvalidArgument", Description: err.Error(), HTTPStatusCode: http.StatusBadRequest}
	case kind == springtide.Conflict:
		return s3err.APIError{Code: "InvalidRequest", Description: err.Error(), HTTPStatusCode: http.StatusConflict}
	}
	b.logger.Error("an S3 request failed", "error", err)
	return s3err.GetAPIError(s3err.ErrInternalError)
}

// ListBuckets gives the folders of the environment.
func (b *backend) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	var out s3response.ListAllMyBucketsResult
	id, err := environment(ctx)
	if err != nil {
		return out, err
	}
	names, err := b.store.Names(id)
	if err != nil {
		return out, b.explain(err)
	}
	for _, name := range names {
		out.Buckets.Bucket = append(out.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: string(name), BucketRegion: springtide.S3Region})
	}
	out.Owner.ID, out.Prefix = in.Owner, in.Prefix
	return out, nil
}

// HeadBucket tells whether there is such a folder.
func (b *backend) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	return &s3.HeadBucketOutput{}, folder.Close()
}

// GetBucketAcl says that the bucket is the environment's own, which is asked
// before anything is done with it.
func (b *backend) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) { //nolint:staticcheck // the interface spells it so
	folder, err := b.open(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	account, _ := ctx.Value(string(utils.ContextKeyAccount)).(auth.Account)
	text, err := json.Marshal(auth.ACL{Owner: account.Access})
	return text, errors.Join(err, folder.Close())
}

// What is asked of every bucket, and none has:

// GetBucketPolicy says that there is none.
func (*backend) GetBucketPolicy(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucketPolicy, bucket)
}

// GetBucketCors says that there is none.
func (*backend) GetBucketCors(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrNoSuchCORSConfiguration, bucket)
}

// GetObjectLockConfiguration says that there is none.
func (*backend) GetObjectLockConfiguration(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)
}

// GetBucketVersioning says that there are no versions.
func (*backend) GetBucketVersioning(context.Context, string) (s3response.GetBucketVersioningOutput, error) {
	return s3response.GetBucketVersioningOutput{}, nil
}
