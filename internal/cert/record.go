package cert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// Sealer seals what only the platform may read. Implemented by secret.Keyring.
type Sealer interface {
	Seal(name string, plain []byte) ([]byte, error)
	Open(name string, sealed []byte) ([]byte, error)
}

// record is what is known of the certificate of one name; it has a file.
type record struct {
	Name string `json:"name"`
	// Obtained is from an ACME server, Own is a file of somebody's own; nil: none.
	Obtained *pair `json:"obtained,omitempty"`
	Own      *pair `json:"own,omitempty"`
	// Attempts counts those since the last success, Tried is when the last one
	// began, Next when there is another one at the earliest.
	Attempts int       `json:"attempts,omitempty"`
	Tried    time.Time `json:"tried,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	// Failure is how the last attempt failed, at Failed; empty: it did not.
	Failure string    `json:"failure,omitempty"`
	Failed  time.Time `json:"failed,omitzero"`
}

// pair is a chain with its key.
type pair struct {
	// Directory is that of the ACME server; empty for a file.
	Directory string `json:"directory,omitempty"`
	Chain     string `json:"chain"`
	SealedKey []byte `json:"key"`
	// Added is when it came here, Ask when the authority is asked again whether it
	// should be renewed early.
	Added time.Time `json:"added"`
	Ask   time.Time `json:"ask,omitzero"`

	key  string
	leaf *x509.Certificate
}

// runsOut reports whether the pair is worth nothing at a time; nil is.
func (p *pair) runsOut(at time.Time) bool { return p == nil || !at.Before(p.leaf.NotAfter) }

// serves gives the pair that is served: a file of one's own before what was
// obtained, unless it has run out. If both have, the one that was good last.
func (r *record) serves(now time.Time) *pair {
	switch {
	case r.Own == nil:
		return r.Obtained
	case r.Obtained == nil, !r.Own.runsOut(now), r.Obtained.runsOut(r.Own.leaf.NotAfter):
		return r.Own
	}
	return r.Obtained
}

// due gives when there is to be another attempt; the zero time is now.
func (r *record) due(now time.Time, directory string) time.Time {
	switch {
	case r.Tried.After(now.Add(time.Hour)): // by a clock that was wrong
	case r.Attempts == 0 && (r.Obtained == nil || r.Obtained.Directory != directory):
	default:
		return r.Next
	}
	return time.Time{}
}

// records are the files of a folder.
type records struct {
	folder string
	sealer Sealer
}

func (f records) path(name string) string {
	return filepath.Join(f.folder, strings.ReplaceAll(name, "*", "_")+".json")
}

// sealedAs is what the key of a name's certificate is sealed as.
func sealedAs(name string) string { return "certificate|" + name }

// newPair checks a chain with its key, in PEM, and seals the key.
func (f records) newPair(name, directory string, chain, key []byte, now time.Time) (*pair, error) {
	leaf, err := check([]string{name}, chain, key, now)
	if err != nil {
		return nil, err
	}
	sealed, err := f.sealer.Seal(sealedAs(name), key)
	if err != nil {
		return nil, err
	}
	return &pair{Directory: directory, Chain: string(chain), SealedKey: sealed, Added: now.UTC(), key: string(key), leaf: leaf}, nil
}

func (f records) write(r *record) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = durable.WriteFile(f.path(r.Name), text, 0o600)
	}
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "the certificate of %s cannot be kept: %w", r.Name, err)
	}
	return nil
}

// load reads all records. What cannot be read is told, and done without.
func (f records) load(trouble func(path string, err error)) (map[string]*record, error) {
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return nil, springtide.Errorf(springtide.Unavailable, "certificates: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(f.folder, "*.json"))
	if err != nil {
		return nil, err
	}
	all := map[string]*record{}
	for _, path := range paths {
		r := &record{}
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, r)
		}
		if err == nil && f.path(r.Name) != path {
			err = errors.New("it is of another name")
		}
		if err != nil {
			trouble(path, err)
			continue
		}
		for _, p := range []**pair{&r.Obtained, &r.Own} {
			if err := f.open(r.Name, *p); err != nil {
				trouble(path, err)
				*p = nil
			}
		}
		all[r.Name] = r
	}
	return all, nil
}

// open makes a pair that was read usable.
func (f records) open(name string, p *pair) error {
	if p == nil {
		return nil
	}
	key, err := f.sealer.Open(sealedAs(name), p.SealedKey)
	if err != nil {
		return err
	}
	both, err := tls.X509KeyPair([]byte(p.Chain), key)
	if err != nil {
		return err
	}
	p.key, p.leaf = string(key), both.Leaf
	return nil
}

// check says what is wrong with a chain and its key, both in PEM, for some names,
// and gives the first certificate of the chain.
func check(names []string, chain, key []byte, now time.Time) (*x509.Certificate, error) {
	certificates, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	leaf := certificates[0]
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the key is not that of the certificate: %w", err).
			WithHint("the key is in PEM, without a password, and the certificate of the site itself comes first in the chain")
	}
	for i, certificate := range certificates[1:] {
		if err := certificates[i].CheckSignatureFrom(certificate); err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "certificate %d of the chain is not signed by the next one: %w", i+1, err).
				WithHint("each certificate of the chain is followed by the one that signed it; the root may be left out")
		}
	}
	for _, certificate := range certificates {
		switch {
		case !now.Before(certificate.NotAfter):
			return nil, springtide.Errorf(springtide.Invalid, "the certificate of %s ran out on %s", certificate.Subject, certificate.NotAfter.UTC().Format(time.DateTime))
		case now.Add(skew).Before(certificate.NotBefore):
			return nil, springtide.Errorf(springtide.Invalid, "the certificate of %s is not valid before %s", certificate.Subject, certificate.NotBefore.UTC().Format(time.DateTime))
		}
	}
	for _, name := range names {
		if !covers(leaf, name) {
			return nil, springtide.Errorf(springtide.Invalid, "the certificate is not for %s", name).
				WithHint("it is for %s", strings.Join(leaf.DNSNames, ", "))
		}
	}
	return leaf, nil
}

// covers reports whether a certificate is for a host name, or for a wildcard.
func covers(leaf *x509.Certificate, name string) bool {
	if !strings.HasPrefix(name, "*.") {
		return leaf.VerifyHostname(name) == nil
	}
	for _, own := range leaf.DNSNames {
		if strings.EqualFold(own, name) {
			return true
		}
	}
	return false
}

// parseChain reads certificates in PEM; there is at least one.
func parseChain(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, springtide.Errorf(springtide.Invalid, "the chain holds a %s", strings.ToLower(block.Type)).
				WithHint("the chain has certificates only; the key is a file of its own")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "certificate %d of the chain: %w", len(all)+1, err)
		}
		all = append(all, certificate)
	}
	if len(all) == 0 || strings.TrimSpace(string(text)) != "" {
		return nil, springtide.Errorf(springtide.Invalid, "the chain is not in PEM").
			WithHint("it begins with -----BEGIN CERTIFICATE-----")
	}
	return all, nil
}
