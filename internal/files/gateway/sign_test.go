package gateway

import (
	"net/http"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/springtide/springtide/internal/files"
)

// presignV4 signs a URL as it is, which the client would tidy up.
func presignV4(request *http.Request, own files.Credentials) string {
	return signer.PreSignV4(*request, own.AccessKey, own.SecretKey, "", files.Region, 60).URL.String()
}
