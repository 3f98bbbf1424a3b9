package secret

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

const (
	// fetchLimit is how long another place may take to answer.
	fetchLimit = 5 * time.Second
	// fetchedFor is how long an answer is good without asking again: instances are
	// mostly started several at a time.
	fetchedFor = 15 * time.Second
	// answerLimit is how large an answer may be, in bytes.
	answerLimit = 1 << 20

	sourcesFile  = "secret-sources"
	answerFolder = "secret-answers"
)

// Sources say how to reach the places that references name.
type Sources struct {
	Vault *Vault `json:"vault,omitempty"`
	AWS   *AWS   `json:"aws,omitempty"`
}

// Validate says what is missing or makes no sense.
func (s Sources) Validate() error {
	if s.Vault != nil {
		if err := s.Vault.validate(); err != nil {
			return err
		}
	}
	if s.AWS != nil {
		return s.AWS.validate()
	}
	return nil
}

// checkAddress refuses to send secrets in the clear over a network.
func checkAddress(address string) error {
	at, err := url.Parse(address)
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" {
		return springtide.Errorf(springtide.Invalid, "%q is no URL", address)
	}
	if host := at.Hostname(); at.Scheme == "http" && host != "127.0.0.1" && host != "localhost" && host != "::1" {
		return springtide.Errorf(springtide.Invalid, "%s is not encrypted: secrets are only asked for by https", address)
	}
	return nil
}

func newClient() *http.Client {
	return &http.Client{Timeout: fetchLimit, CheckRedirect: func(next *http.Request, before []*http.Request) error {
		if len(before) > 3 || next.URL.Scheme != before[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// SetSources keeps, sealed, how the places are reached; nil ones are forgotten.
func (k *Keyring) SetSources(sources Sources) error {
	if err := sources.Validate(); err != nil {
		return err
	}
	plain, err := json.Marshal(sources)
	if err != nil {
		return err
	}
	sealed, err := k.Seal(sourcesFile, plain)
	if err != nil {
		return err
	}
	k.fetched.Clear()
	return k.written(durable.WriteFile(filepath.Join(k.options.Folder, sourcesFile), sealed, 0o600))
}

// Sources gives what was set.
func (k *Keyring) Sources() (s Sources, err error) {
	sealed, err := os.ReadFile(filepath.Join(k.options.Folder, sourcesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Sources{}, nil
	}
	if err != nil {
		return Sources{}, err
	}
	plain, err := k.Open(sourcesFile, sealed)
	if err != nil {
		return Sources{}, err
	}
	return s, json.Unmarshal(plain, &s)
}

// The places that references name.
const (
	vaultPrefix = "vault://"
	awsPrefix   = "aws-sm://"
)

// IsReference reports whether the value says where the secret is, instead of
// being it.
func IsReference(value []byte) bool {
	text := string(value[:min(len(value), 20)])
	return strings.HasPrefix(text, vaultPrefix) || strings.HasPrefix(text, awsPrefix)
}

// answer is what lies at a place: its fields, and all of it as the field "".
type answer map[string]string

// Resolve replaces references by what they refer to. If a place is away, or does
// not answer properly, what it said last is used. The error is of kind Denied or
// NotFound if the place says so, of kind Unavailable if it never said anything.
func (k *Keyring) Resolve(ctx context.Context, values map[springtide.SecretName][]byte) (map[springtide.SecretName][]byte, error) {
	resolved := maps.Clone(values)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !IsReference(values[name]) {
			continue
		}
		reference := strings.TrimSpace(string(values[name]))
		at, field := reference, ""
		if cut := strings.LastIndexByte(reference, '#'); cut >= 0 {
			at, field = reference[:cut], reference[cut+1:]
		}
		found, err := k.ask(ctx, at)
		if err != nil {
			return nil, springtide.Errorf(springtide.KindOf(err), "the secret %s: %w", name, err)
		}
		value, ok := found[field]
		if !ok {
			return nil, springtide.Errorf(springtide.NotFound, "the secret %s: %s has no %q", name, at, field).
				WithHint("it has %s", strings.Join(slices.Sorted(maps.Keys(found)), ", "))
		}
		resolved[name] = []byte(value)
	}
	return resolved, nil
}

// fresh is an answer of a moment ago.
type fresh struct {
	answer answer
	until  time.Time
}

// ask gives what lies at a place.
func (k *Keyring) ask(ctx context.Context, at string) (answer, error) {
	if known, ok := k.fetched.Load(at); ok && time.Now().Before(known.(fresh).until) {
		return known.(fresh).answer, nil
	}
	found, err, _ := k.fetching.Do(at, func() (any, error) {
		found, err := k.fetch(ctx, at)
		switch springtide.KindOf(err) {
		case "":
			k.keepAnswer(at, found)
		case springtide.Unavailable:
			kept, missing := k.keptAnswer(at)
			if missing != nil {
				return nil, err
			}
			k.options.Logger.Warn("a secret's source is away; what it said last is used", "source", at, "error", err)
			found = kept
		default:
			return nil, err
		}
		k.fetched.Store(at, fresh{found, time.Now().Add(fetchedFor)})
		return found, nil
	})
	if err != nil {
		return nil, err
	}
	return found.(answer), nil
}

func (k *Keyring) fetch(ctx context.Context, at string) (answer, error) {
	sources, err := k.Sources()
	if err != nil {
		return nil, err
	}
	path, isVault := strings.CutPrefix(at, vaultPrefix)
	if isVault && sources.Vault != nil {
		return sources.Vault.fetch(ctx, k.options.Client, path)
	}
	if name, isAWS := strings.CutPrefix(at, awsPrefix); isAWS && sources.AWS != nil {
		return sources.AWS.fetch(ctx, k.options.Client, name)
	}
	return nil, springtide.Errorf(springtide.Failed, "the platform does not know how to reach %s", at).WithHint("tell it the address, and what to identify itself with")
}

func (k *Keyring) answerPath(at string) string {
	sum := sha256.Sum256([]byte(at))
	return filepath.Join(k.options.Folder, answerFolder, hex.EncodeToString(sum[:16]))
}

// keepAnswer writes the answer down, unless it is there already.
func (k *Keyring) keepAnswer(at string, found answer) {
	if kept, err := k.keptAnswer(at); err == nil && maps.Equal(kept, found) {
		return
	}
	plain, err := json.Marshal(found)
	var sealed []byte
	if err == nil {
		sealed, err = k.Seal(at, plain)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(k.options.Folder, answerFolder), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(k.answerPath(at), sealed, 0o600)
	}
	if err != nil {
		k.options.Logger.Error("what a secret's source said could not be kept", "source", at, "error", err)
	}
}

func (k *Keyring) keptAnswer(at string) (found answer, err error) {
	sealed, err := os.ReadFile(k.answerPath(at))
	if err != nil {
		return nil, err
	}
	plain, err := k.Open(at, sealed)
	if err != nil {
		return nil, err
	}
	return found, json.Unmarshal(plain, &found)
}

// exchange makes a request and decodes the answer's JSON. Errors are of kind
// Unavailable if another try may do better.
func exchange(client *http.Client, request *http.Request, into any) error {
	response, err := client.Do(request)
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "%s is away: %w", request.URL.Host, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	said := response.Status
	switch code := response.StatusCode; {
	case err != nil || len(body) > answerLimit:
		return springtide.Errorf(springtide.Unavailable, "%s did not answer to the end: %w", request.URL.Host, err)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return springtide.Errorf(springtide.Unavailable, "%s is away: %s", request.URL.Host, said)
	case code == http.StatusNotFound:
		return springtide.Errorf(springtide.NotFound, "%s does not have it: %s", request.URL.Host, said)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return springtide.Errorf(springtide.Denied, "%s does not let the platform have it: %s", request.URL.Host, said).
			WithHint("renew what the platform identifies itself with")
	case code != http.StatusOK:
		return refusal(request.URL.Host, said, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return springtide.Errorf(springtide.Unavailable, "%s did not answer in JSON", request.URL.Host)
	}
	return nil
}

// refusal says what a place does not like. AWS tells by a type what others tell
// by the status.
func refusal(host, status string, body []byte) error {
	var told struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal(body, &told) // others say nothing more
	kind := springtide.Failed
	switch _, name, _ := strings.Cut("#"+told.Type, "#"); {
	case strings.HasSuffix(name, "ResourceNotFoundException"):
		kind = springtide.NotFound
	case strings.HasSuffix(name, "ThrottlingException"), strings.HasSuffix(name, "InternalServiceError"):
		kind = springtide.Unavailable
	case strings.HasSuffix(name, "AccessDeniedException"), strings.HasSuffix(name, "ExpiredTokenException"),
		strings.HasSuffix(name, "UnrecognizedClientException"), strings.HasSuffix(name, "InvalidSignatureException"):
		kind = springtide.Denied
	}
	return springtide.Errorf(kind, "%s refuses: %s %s", host, status, told.Type)
}

// fields gives an answer of the fields of an object: text as it is, anything else
// as JSON.
func fields(object map[string]json.RawMessage) answer {
	found := answer{}
	for name, raw := range object {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		found[name] = text
	}
	return found
}
