package secret

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/springtide/springtide"
)

// AWS is an account with AWS Secrets Manager.
type AWS struct {
	Region       string `json:"region"`
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token,omitempty"`
	// Endpoint is the URL of the service. Default: AWS's own in the region.
	Endpoint string `json:"endpoint,omitempty"`
}

func (a AWS) endpoint() string {
	return cmp.Or(a.Endpoint, "https://secretsmanager."+a.Region+".amazonaws.com")
}

func (a AWS) validate() error {
	if a.Region == "" || a.AccessKey == "" || a.SecretKey == "" {
		return springtide.Errorf(springtide.Invalid, "for AWS Secrets Manager a region, an access key and its secret key are needed")
	}
	return checkAddress(a.endpoint())
}

// fetch gives the current version of a secret by its name.
func (a AWS) fetch(ctx context.Context, client *http.Client, name string) (answer, error) {
	body, err := json.Marshal(map[string]string{"SecretId": name})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint()+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: a.AccessKey, SecretAccessKey: a.SecretKey, SessionToken: a.SessionToken}
	err = signer.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(sum[:]), "secretsmanager", a.Region, time.Now())
	if err != nil {
		return nil, springtide.Errorf(springtide.Failed, "sign the request to AWS: %w", err)
	}
	var told struct {
		SecretString *string
		SecretBinary []byte
	}
	if err := exchange(client, request, &told); err != nil {
		return nil, err
	}
	if told.SecretString == nil {
		return answer{"": string(told.SecretBinary)}, nil
	}
	var object map[string]json.RawMessage
	_ = json.Unmarshal([]byte(*told.SecretString), &object) // a secret need not be JSON
	found := fields(object)
	found[""] = *told.SecretString
	return found, nil
}
