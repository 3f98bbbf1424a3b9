package cert

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

const (
	leafLife = 90 * 24 * time.Hour
	// renewBefore is how much of its life a certificate has left when the next one
	// is made.
	renewBefore = leafLife / 3
	// forgetEvery is how often what has expired is looked for.
	forgetEvery = time.Hour
)

// leaf is a certificate for some names.
type leaf struct {
	springtide.Certificate
	from, until time.Time
}

// inForce reports whether the leaf needs no renewal.
func (l leaf) inForce(now time.Time) bool {
	return now.After(l.from) && now.Before(l.until.Add(-renewBefore))
}

// Certificate gives a certificate for the names, which may be IP addresses or
// begin with "*.". It is made when needed, kept in the folder and renewed when
// a third of its life is left. Many clients do not accept a wildcard of a top
// domain ("*.localhost"): name the hosts.
func (a *Authority) Certificate(names []string) (springtide.Certificate, error) {
	names, err := canonical(names)
	if err != nil {
		return springtide.Certificate{}, err
	}
	key := strings.Join(names, " ")
	now := time.Now()
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if known, ok := a.leaves[key]; ok && known.inForce(now) {
		return known.Certificate, nil
	}
	found, ok := a.loadLeaf(names)
	if !ok || !found.inForce(now) {
		if found, err = a.makeLeaf(names, now); err != nil {
			return springtide.Certificate{}, err
		}
		a.forgetExpired(now)
	}
	a.leaves[key] = found
	return found.Certificate, nil
}

// canonical gives the names in lower case, in order and each once.
func canonical(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, springtide.Errorf(springtide.Invalid, "a certificate needs a name")
	}
	canonical := make([]string, 0, len(names))
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if net.ParseIP(name) == nil && !isHost(strings.TrimPrefix(name, "*.")) {
			return nil, springtide.Errorf(springtide.Invalid, "%q is not a host name", name)
		}
		canonical = append(canonical, name)
	}
	slices.Sort(canonical)
	return slices.Compact(canonical), nil
}

// isHost reports whether a lower-case name is made of labels of letters, digits
// and hyphens.
func isHost(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func (a *Authority) leafPath(names []string) string {
	sum := sha256.Sum256([]byte(strings.Join(names, " ")))
	return filepath.Join(a.folder, "leaves", hex.EncodeToString(sum[:16])+".pem")
}

// makeLeaf makes and keeps a certificate with a key of its own.
func (a *Authority) makeLeaf(names []string, now time.Time) (leaf, error) {
	key, keyText, err := makeKey()
	if err != nil {
		return leaf{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{Organization: []string{"Springtide"}},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return leaf{}, err
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return leaf{}, err
	}
	made := leaf{
		Certificate: springtide.Certificate{Names: names, Chain: string(encodeCertificate(certificate)), Key: string(keyText)},
		from:        certificate.NotBefore, until: certificate.NotAfter,
	}
	path := a.leafPath(names)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return leaf{}, unavailable(err)
	}
	return made, unavailable(durable.WriteFile(path, []byte(made.Chain+made.Key), 0o600))
}

// loadLeaf gives what the folder holds for the names, if it is whole and signed
// by this authority.
func (a *Authority) loadLeaf(names []string) (leaf, bool) {
	text, err := os.ReadFile(a.leafPath(names))
	if err != nil {
		return leaf{}, false
	}
	chain, key, err := splitLeaf(string(text))
	if err != nil {
		return leaf{}, false
	}
	certificate, err := parseCertificate([]byte(chain))
	if err != nil || certificate.CheckSignatureFrom(a.certificate) != nil {
		return leaf{}, false
	}
	return leaf{
		Certificate: springtide.Certificate{Names: names, Chain: chain, Key: key},
		from:        certificate.NotBefore, until: certificate.NotAfter,
	}, true
}

// splitLeaf parts a file of the cache into chain and key.
func splitLeaf(text string) (chain, key string, err error) {
	at := strings.Index(text, "-----BEGIN PRIVATE KEY-----")
	if at < 0 {
		return "", "", errors.New("it holds no key")
	}
	if _, err := parseKey([]byte(text[at:])); err != nil {
		return "", "", err
	}
	return text[:at], text[at:], nil
}

// forgetExpired removes what nobody can use any more: sets of names change as
// apps come and go.
func (a *Authority) forgetExpired(now time.Time) {
	if now.Sub(a.forgot).Abs() < forgetEvery { // a thousand may be made at once
		return
	}
	a.forgot = now
	for names, known := range a.leaves {
		if now.After(known.until) {
			delete(a.leaves, names)
		}
	}
	paths, err := filepath.Glob(filepath.Join(a.folder, "leaves", "*.pem"))
	if err != nil {
		return
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if certificate, err := parseCertificate(text); err != nil || now.After(certificate.NotAfter) {
			_ = os.Remove(path) // one that stays does no harm
		}
	}
}
