package cert

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// LetsEncrypt is the directory that is asked by default.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// ACME says who is asked for certificates of public names (RFC 8555).
type ACME struct {
	// Email is whom the authority may write to; with it the operator agrees to the
	// authority's terms. Empty: no authority is asked.
	Email string
	// Directory is the authority's URL. Default: [LetsEncrypt]
	Directory string
	// Root is a file with certificates, in PEM, by which the directory's server is
	// known, besides those of the system.
	Root string
	// Hook is a program that answers DNS-01. Empty: the edges answer HTTP-01 and
	// TLS-ALPN-01, and there are no wildcards.
	Hook string
	// AccountID and AccountKey bind our account to one that the authority has of the
	// operator (RFC 8555 section 7.3.4): its name for it, and a file with the key for
	// it in base64url. Empty: there is no such account.
	AccountID, AccountKey string
}

// Validate says what is wrong.
func (a ACME) Validate() error {
	if a.Email == "" {
		if a.Directory != "" || a.Root != "" || a.Hook != "" || a.AccountID != "" || a.AccountKey != "" {
			return springtide.Errorf(springtide.Invalid, "an ACME server is named, but not whom it may write to").WithHint("add --acme-email you@example.com")
		}
		return nil
	}
	if address, err := mail.ParseAddress(a.Email); err != nil || address.Address != a.Email {
		return springtide.Errorf(springtide.Invalid, "--acme-email %q is not an address", a.Email).WithHint("for example you@example.com")
	}
	if where, err := url.Parse(a.Directory); a.Directory != "" && (err != nil || where.Scheme != "https" || where.Host == "") {
		return springtide.Errorf(springtide.Invalid, "--acme-directory %q is not an https URL", a.Directory).WithHint("for example %s", LetsEncrypt)
	}
	if _, err := a.roots(); err != nil {
		return err
	}
	if _, err := a.binding(); err != nil {
		return err
	}
	if info, err := os.Stat(a.Hook); a.Hook != "" && (!filepath.IsAbs(a.Hook) || err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
		return springtide.Errorf(springtide.Invalid, "--acme-dns-hook %q is not a program", a.Hook).WithHint("name it by its absolute path, and make it executable")
	}
	return nil
}

// binding is what binds our account to the operator's; nil: nothing does.
func (a ACME) binding() (*acme.EAB, error) {
	switch {
	case a.AccountID == "" && a.AccountKey == "":
		return nil, nil //nolint:nilnil // there is none
	case a.AccountID == "" || a.AccountKey == "":
		return nil, springtide.Errorf(springtide.Invalid, "of an account at the ACME server both its name and its key are wanted").
			WithHint("give --acme-eab-kid and --acme-eab-key, as the server told them")
	}
	text, err := os.ReadFile(a.AccountKey)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "--acme-eab-key: %w", err).WithHint("it is a file with the key")
	}
	key := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(strings.TrimSpace(string(text)))
	if decoded, err := base64.RawURLEncoding.DecodeString(key); err != nil || len(decoded) == 0 {
		return nil, springtide.Errorf(springtide.Invalid, "--acme-eab-key %s does not hold a key in base64url", a.AccountKey)
	}
	return &acme.EAB{KeyID: a.AccountID, MACKey: key}, nil
}

// roots are the certificates that servers are known by; nil: those of the system.
func (a ACME) roots() (*x509.CertPool, error) {
	if a.Root == "" {
		return nil, nil //nolint:nilnil // it is how crypto/tls says so
	}
	text, err := os.ReadFile(a.Root)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "--acme-root: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, springtide.Errorf(springtide.Invalid, "--acme-root %s holds no certificate in PEM", a.Root)
	}
	return pool, nil
}

// issuer obtains certificates. Implemented by authority.
type issuer interface {
	// issue gives a chain with its key, in PEM; replaced is the certificate before,
	// or nil.
	issue(ctx context.Context, name string, replaced *x509.Certificate) (chain, key []byte, err error)
	// suggest gives when a certificate should be renewed, and when to ask again
	// (RFC 9773); zero: it has no suggestion.
	suggest(ctx context.Context, leaf *x509.Certificate) (at, again time.Time, err error)
	// busyUntil is until when it wants to be left alone.
	busyUntil() time.Time
}

// authority is an ACME server, with our account there.
type authority struct {
	client  acmez.Client
	email   string
	binding *acme.EAB // nil: there is none
	keyFile string    // of the account; sealed
	sealer  Sealer

	mu      sync.Mutex // held while the account is looked up
	account acme.Account
	patience
}

// newAuthority asks nobody yet.
func newAuthority(o ACME, folder string, sealer Sealer, s *solver) (*authority, error) {
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	binding, err := o.binding()
	if err != nil {
		return nil, err
	}
	a := &authority{email: o.Email, binding: binding, keyFile: filepath.Join(folder, "account.key"), sealer: sealer}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = roots
	a.next = transport
	a.client = acmez.Client{
		Client:           &acme.Client{Directory: o.Directory, HTTPClient: &http.Client{Transport: &a.patience, Timeout: 30 * time.Second}, UserAgent: "springtide"},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: s, acme.ChallengeTypeTLSALPN01: s},
	}
	if o.Hook != "" {
		a.client.ChallengeSolvers = map[string]acmez.Solver{acme.ChallengeTypeDNS01: hook{o.Hook}}
	}
	return a, nil
}

// issue implements issuer.
func (a *authority) issue(ctx context.Context, name string, replaced *x509.Certificate) (chain, keyText []byte, err error) {
	account, err := a.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, keyText, err := makeKey()
	if err != nil {
		return nil, nil, err
	}
	request, err := acmez.NewCSR(key, []string{name})
	if err != nil {
		return nil, nil, err
	}
	order, err := acmez.OrderParametersFromCSR(account, request)
	if err != nil {
		return nil, nil, err
	}
	order.Replaces = replaced
	chains, err := a.client.ObtainCertificate(ctx, order)
	if err != nil {
		return nil, nil, a.explain(err)
	}
	if len(chains) == 0 {
		return nil, nil, springtide.Errorf(springtide.Failed, "the authority gave no certificate")
	}
	return chains[0].ChainPEM, keyText, nil
}

// open gives our account, and makes it if there is none. Its key is on disk before
// the authority hears of it: who was killed finds the account by the key.
func (a *authority) open(ctx context.Context) (acme.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.account.Status == acme.StatusValid {
		return a.account, nil
	}
	const sealedAs = "ACME account"
	sealed, err := os.ReadFile(a.keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		var text []byte
		if _, text, err = makeKey(); err != nil {
			return acme.Account{}, err
		}
		if sealed, err = a.sealer.Seal(sealedAs, text); err == nil {
			err = durable.WriteFile(a.keyFile, sealed, 0o600)
		}
	}
	if err != nil {
		return acme.Account{}, springtide.Errorf(springtide.Unavailable, "the key of the ACME account: %w", err)
	}
	text, err := a.sealer.Open(sealedAs, sealed)
	if err != nil {
		return acme.Account{}, springtide.Errorf(springtide.Failed, "the key of the ACME account cannot be opened: %w", err).
			WithHint("remove %s for a new account", a.keyFile)
	}
	key, err := parseKey(text)
	if err != nil {
		return acme.Account{}, err
	}
	account := acme.Account{Contact: []string{"mailto:" + a.email}, TermsOfServiceAgreed: true, PrivateKey: key}
	if a.binding != nil {
		err = account.SetExternalAccountBinding(ctx, a.client.Client, *a.binding)
	}
	if err == nil {
		account, err = a.client.NewAccount(ctx, account)
	}
	if err != nil {
		return acme.Account{}, a.explain(err)
	}
	if account.Status != acme.StatusValid {
		return acme.Account{}, springtide.Errorf(springtide.Failed, "our ACME account is %s", account.Status).WithHint("remove %s for a new one", a.keyFile)
	}
	a.account = account
	return account, nil
}

// explain gives the reason that an authority gave for an error.
func (a *authority) explain(err error) error {
	var problem acme.Problem
	if !errors.As(err, &problem) {
		return springtide.Errorf(springtide.Unavailable, "the ACME server: %w", err)
	}
	if problem.Type == acme.ProblemTypeAccountDoesNotExist { // it has lost its memory
		a.mu.Lock()
		a.account = acme.Account{}
		a.mu.Unlock()
	}
	return springtide.Errorf(springtide.Failed, "the ACME server says %s: %s", strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace), problem.Detail)
}

// suggest implements issuer.
func (a *authority) suggest(ctx context.Context, leaf *x509.Certificate) (at, again time.Time, err error) {
	info, err := a.client.GetRenewalInfo(ctx, leaf)
	if errors.Is(err, acme.ErrUnsupported) {
		return time.Time{}, time.Time{}, nil
	}
	if err == nil && info.RetryAfter != nil {
		again = *info.RetryAfter
	}
	return info.SelectedTime, again, err
}

// patience remembers when the server wants to be left alone: the Retry-After of a
// 429 or 503 (RFC 8555 section 6.6). It implements http.RoundTripper.
type patience struct {
	next http.RoundTripper

	until struct {
		sync.Mutex
		time.Time
	}
}

// RoundTrip implements http.RoundTripper.
func (p *patience) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := p.next.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return response, err
	}
	if at := retryAfter(response.Header.Get("Retry-After"), time.Now()); !at.IsZero() {
		p.until.Lock()
		p.until.Time = at
		p.until.Unlock()
	}
	return response, nil
}

// busyUntil implements issuer.
func (p *patience) busyUntil() time.Time {
	p.until.Lock()
	defer p.until.Unlock()
	return p.until.Time
}

// retryAfter reads the header of that name (RFC 9110 section 10.2.3): seconds or
// a date, of which at most a day is believed. Zero: it says nothing.
func retryAfter(text string, now time.Time) time.Time {
	at, err := http.ParseTime(text)
	if seconds, wrong := strconv.ParseUint(text, 10, 31); wrong == nil {
		at, err = now.Add(time.Duration(seconds)*time.Second), nil
	}
	if err != nil {
		return time.Time{}
	}
	if latest := now.Add(24 * time.Hour); at.After(latest) {
		return latest
	}
	return at
}
