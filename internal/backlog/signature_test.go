package backlog

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

// authorization is how AWS is told who asks.
var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$`)

// signatureOf is what AWS computes of a request, written from its description
// (Signature Version 4), to be compared with what the request says.
func signatureOf(r *http.Request, body []byte, secret string) (signature, scope string) {
	parts := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if parts == nil {
		return "", ""
	}
	hash := func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	sign := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	headers := ""
	for name := range strings.SplitSeq(parts[5], ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		headers += name + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers, parts[5], hash(string(body))}, "\n")
	scope = strings.Join(append(parts[2:5:5], "aws4_request"), "/")
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = sign(key, part)
	}
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), scope, hash(canonical)}, "\n")
	return hex.EncodeToString(sign(key, text)), scope
}

// The first two are of AWS's published test suite (get-vanilla and post-vanilla):
// they prove what proves the rest.
func TestARequestToSQSIsSignedAsAWSWantsIt(t *testing.T) {
	for method, want := range map[string]string{
		http.MethodGet:  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		http.MethodPost: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
	} {
		published := httptest.NewRequest(method, "http://example.amazonaws.com/", nil)
		published.Header.Set("X-Amz-Date", "20150830T123600Z")
		published.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature="+want)
		if got, _ := signatureOf(published, nil, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"); got != want {
			t.Fatalf("%s: %s, but %s is published", method, got, want)
		}
	}

	token := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		want, scope := signatureOf(r, body, "SECRET/with+signs")
		said := r.Header.Get("Authorization")
		if want == "" || !strings.HasSuffix(said, "Signature="+want) || !strings.HasSuffix(scope, "/eu-west-1/sqs/aws4_request") ||
			!strings.Contains(said, "x-amz-date;") || !strings.Contains(said, "x-amz-target") || r.Header.Get("X-Amz-Security-Token") != token {
			t.Errorf("signed %s, want %s, scope %s, token %q", said, want, scope, r.Header.Get("X-Amz-Security-Token"))
		}
		_, _ = io.WriteString(w, `{"Attributes":{"ApproximateNumberOfMessages":"1","ApproximateNumberOfMessagesNotVisible":"0"}}`)
	}))
	defer server.Close()
	queue := springtide.OutsideQueue{Kind: "sqs", URL: server.URL + "/1/jobs"}
	values := map[string]string{"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET/with+signs", "AWS_REGION": "eu-west-1"}
	for _, token = range []string{"", "TOKEN=="} {
		values["AWS_SESSION_TOKEN"] = token
		if got, err := read(t, queue, values); err != nil || got.Waiting != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
