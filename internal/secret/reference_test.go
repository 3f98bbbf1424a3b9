package secret

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// fakeVault is Vault's HTTP API with one secret of the key-value engine.
type fakeVault struct {
	token  string
	status atomic.Int32 // what it answers with, if not 0
	asked  atomic.Int32
	value  atomic.Value
}

func (v *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.asked.Add(1)
	switch status := int(v.status.Load()); {
	case status != 0:
		w.WriteHeader(status)
	case r.Header.Get("X-Vault-Token") != v.token:
		w.WriteHeader(http.StatusForbidden)
	case r.Method != http.MethodGet || r.URL.Path != "/v1/kv/data/apps/quiz":
		w.WriteHeader(http.StatusNotFound)
	default:
		fmt.Fprintf(w, `{"request_id":"x","data":{"data":{"key":%q,"port":5432},"metadata":{"version":3}}}`, v.value.Load())
	}
}

// away makes answers of a moment ago old ones.
func (k *Keyring) away(seconds int) {
	k.fetched.Range(func(at, known any) bool {
		old := known.(fresh)
		old.until = old.until.Add(-time.Duration(seconds) * time.Second)
		k.fetched.Store(at, old)
		return true
	})
}

// with gives a keyring that trusts the server.
func with(t *testing.T, folder string, server *httptest.Server, sources Sources) *Keyring {
	t.Helper()
	o := options(t, folder, testStore(t, folder))
	o.Client = newClient()
	o.Client.Transport = server.Client().Transport
	k := must[*Keyring](t)(Open(t.Context(), o))
	succeed(t, k.SetSources(sources))
	return k
}

func TestAReferenceToVaultIsResolvedAndKeptForWhenItIsAway(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	vault := &fakeVault{token: "the token of the platform"}
	vault.value.Store("first value")
	server := httptest.NewTLSServer(vault)
	defer server.Close()
	sources := Sources{Vault: &Vault{Address: server.URL, Token: vault.token}}
	k := with(t, folder, server, sources)
	given := values{"KEY": []byte("vault://kv/apps/quiz#key"), "PORT": []byte("vault://kv/apps/quiz#port"), "PLAIN": []byte("as it is")}
	succeed(t, k.Set(ctx, quiz, given))
	want := func(k *Keyring, key string) {
		t.Helper()
		kept := must[values](t)(k.Values(ctx, quiz, map[springtide.SecretName]int{"KEY": 1, "PORT": 1, "PLAIN": 1}))
		got := must[values](t)(k.Resolve(ctx, kept))
		if string(got["KEY"]) != key || string(got["PORT"]) != "5432" || string(got["PLAIN"]) != "as it is" {
			t.Errorf("got %q, want the key %q", got, key)
		}
	}
	want(k, "first value")
	if asked := vault.asked.Load(); asked != 1 {
		t.Errorf("it was asked %d times for one place", asked)
	}
	vault.value.Store("second value")
	want(k, "first value")
	k.away(60)
	want(k, "second value")
	vault.status.Store(http.StatusServiceUnavailable)
	k.away(60)
	want(k, "second value")
	server.Close()
	want(with(t, folder, server, sources), "second value") // after a restart
	wantNowhere(t, folder, "second value", vault.token)
}

func TestWhatVaultRefusesIsNotReplacedByWhatItSaidBefore(t *testing.T) {
	ctx := t.Context()
	vault := &fakeVault{token: "token"}
	vault.value.Store("value")
	server := httptest.NewTLSServer(vault)
	defer server.Close()
	k := with(t, t.TempDir(), server, Sources{Vault: &Vault{Address: server.URL, Token: "token"}})
	resolve := func(reference string) error {
		_, err := k.Resolve(ctx, values{"KEY": []byte(reference)})
		return err
	}
	succeed(t, resolve("vault://kv/apps/quiz#key"))
	wantKind(t, resolve("vault://kv/apps/quiz#nothing"), springtide.NotFound)
	wantKind(t, resolve("vault://kv/apps/quiz"), springtide.NotFound)
	wantKind(t, resolve("vault://kv/apps/other#key"), springtide.NotFound)
	wantKind(t, resolve("vault://kv#key"), springtide.Invalid)
	wantKind(t, resolve("aws-sm://x"), springtide.Failed)
	vault.status.Store(http.StatusForbidden)
	k.away(60)
	wantKind(t, resolve("vault://kv/apps/quiz#key"), springtide.Denied)
	vault.status.Store(http.StatusBadGateway)
	wantKind(t, resolve("vault://kv/apps/never#key"), springtide.Unavailable)
	short, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	_, err := k.Resolve(short, values{"KEY": []byte("vault://kv/late#key")})
	wantKind(t, err, springtide.Unavailable)
}

// fakeSecretsManager is AWS Secrets Manager with one secret. It checks the
// signature by itself.
type fakeSecretsManager struct {
	account AWS
	text    string
}

func (m *fakeSecretsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	refuse := func(kind string) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"com.amazonaws.secretsmanager#%s","Message":"no"}`, kind)
	}
	var asked struct{ SecretID string }
	switch err := json.Unmarshal(body, &asked); {
	case r.Method != http.MethodPost || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || err != nil:
		refuse("InvalidRequestException")
	case r.Header.Get("Authorization") != m.authorization(r, body):
		refuse("InvalidSignatureException")
	case asked.SecretID != "prod/quiz":
		refuse("ResourceNotFoundException")
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"Name": asked.SecretID, "SecretString": m.text})
	}
}

// authorization is what the header has to be: version 4 of AWS's signatures.
func (m *fakeSecretsManager) authorization(r *http.Request, body []byte) string {
	at := r.Header.Get("X-Amz-Date")
	digest := func(text []byte) string {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:])
	}
	const signed = "content-length;content-type;host;x-amz-date;x-amz-target"
	canonical := strings.Join([]string{
		"POST", "/", "", fmt.Sprintf("content-length:%d", len(body)), "content-type:" + r.Header.Get("Content-Type"), "host:" + r.Host,
		"x-amz-date:" + at, "x-amz-target:" + r.Header.Get("X-Amz-Target"), "", signed, digest(body),
	}, "\n")
	scope := at[:8] + "/" + m.account.Region + "/secretsmanager/aws4_request"
	key := []byte("AWS4" + m.account.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", at, scope, digest([]byte(canonical))}, "\n"))
	return fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", m.account.AccessKey, scope, signed, signature)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func TestAReferenceToAWSIsAskedForWithItsSignature(t *testing.T) {
	ctx := t.Context()
	manager := &fakeSecretsManager{account: AWS{Region: "eu-central-1", AccessKey: "AKIDEXAMPLE", SecretKey: "the secret key"}, text: `{"password":"of AWS","port":1}`}
	server := httptest.NewTLSServer(manager)
	defer server.Close()
	account := manager.account
	account.Endpoint = server.URL
	k := with(t, t.TempDir(), server, Sources{AWS: &account})
	got := must[values](t)(k.Resolve(ctx, values{"PASSWORD": []byte("aws-sm://prod/quiz#password"), "ALL": []byte("aws-sm://prod/quiz")}))
	if string(got["PASSWORD"]) != "of AWS" || string(got["ALL"]) != manager.text {
		t.Errorf("got %q", got)
	}
	_, err := k.Resolve(ctx, values{"KEY": []byte("aws-sm://prod/other")})
	wantKind(t, err, springtide.NotFound)
	account.SecretKey = "another"
	succeed(t, k.SetSources(Sources{AWS: &account}))
	_, err = k.Resolve(ctx, values{"KEY": []byte("aws-sm://prod/quiz")})
	wantKind(t, err, springtide.Denied)
}

func TestSourcesMustBeEncryptedAndWhole(t *testing.T) {
	k := testKeyring(t, t.TempDir())
	for _, sources := range []Sources{
		{Vault: &Vault{Address: "http://vault.example.com", Token: "x"}},
		{Vault: &Vault{Address: "https://vault.example.com"}},
		{Vault: &Vault{Address: "vault", Token: "x"}},
		{AWS: &AWS{Region: "eu-central-1", AccessKey: "x"}},
		{AWS: &AWS{Region: "eu-central-1", AccessKey: "x", SecretKey: "y", Endpoint: "http://10.0.0.1"}},
	} {
		wantKind(t, k.SetSources(sources), springtide.Invalid)
	}
	succeed(t, k.SetSources(Sources{Vault: &Vault{Address: "http://127.0.0.1:8200", Token: "x"}}))
	if got := must[Sources](t)(k.Sources()); got.Vault == nil || got.Vault.Token != "x" || got.AWS != nil {
		t.Errorf("got %+v", got)
	}
}
