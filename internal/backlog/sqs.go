package backlog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The attributes of an SQS queue that count.
const (
	visible    = "ApproximateNumberOfMessages"
	notVisible = "ApproximateNumberOfMessagesNotVisible"
)

// sqs asks by the AWS JSON protocol 1.0.
func (r *Reader) sqs(ctx context.Context) (Depth, error) {
	location, err := r.url()
	if err != nil {
		return Depth{}, err
	}
	queue, err := url.Parse(location)
	if err != nil || queue.Host == "" {
		return Depth{}, errors.New("its URL is not like https://sqs.eu-west-1.amazonaws.com/123456789012/jobs")
	}
	body, err := json.Marshal(map[string]any{"QueueUrl": location, "AttributeNames": []string{visible, notVisible}})
	if err != nil {
		return Depth{}, err
	}
	endpoint := url.URL{Scheme: queue.Scheme, Host: queue.Host, Path: "/"}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return Depth{}, err
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Target", "AmazonSQS.GetQueueAttributes")
	if err := r.sign(ctx, request, body, queue.Hostname()); err != nil {
		return Depth{}, err
	}
	answer, err := r.ask(request)
	if err != nil {
		return Depth{}, err
	}
	var told struct{ Attributes map[string]string }
	if err := json.Unmarshal(answer, &told); err != nil {
		return Depth{}, fmt.Errorf("the answer cannot be read: %w", err)
	}
	var depth Depth
	for name, count := range map[string]*int{visible: &depth.Waiting, notVisible: &depth.UnderWay} {
		n, err := strconv.ParseUint(told.Attributes[name], 10, 31)
		if err != nil {
			return Depth{}, fmt.Errorf("the answer has no %s", name)
		}
		*count = int(n)
	}
	return depth, nil
}

// sign signs the request as the app, if that has keys: what stands in for SQS may
// want none.
func (r *Reader) sign(ctx context.Context, request *http.Request, body []byte, host string) error {
	key := r.value("AWS_ACCESS_KEY_ID")
	if key == "" {
		return nil
	}
	region := r.queue.Region
	if rest, is := strings.CutPrefix(host, "sqs."); is && region == "" {
		region, _, _ = strings.Cut(rest, ".")
	}
	region = cmp.Or(region, r.value("AWS_REGION"), r.value("AWS_DEFAULT_REGION"), "us-east-1")
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: key, SecretAccessKey: r.value("AWS_SECRET_ACCESS_KEY"), SessionToken: r.value("AWS_SESSION_TOKEN")}
	return signer.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(sum[:]), "sqs", region, time.Now())
}
