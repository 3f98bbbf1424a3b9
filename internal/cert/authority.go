package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// skew is how far a client's clock may be behind.
	skew = time.Hour
)

// Authority is the machine's own certificate authority.
type Authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey

	mutex sync.Mutex
	// leaves are those in force, by their names.
	leaves map[string]leaf
	// forgot is when those that had expired were last forgotten.
	forgot time.Time
}

// OpenAuthority loads the authority of a folder (ca.crt and ca.key), and makes
// it if there is none.
func OpenAuthority(folder string) (*Authority, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, springtide.Errorf(springtide.Unavailable, "certificate authority: %w", err)
	}
	a := &Authority{folder: folder, leaves: map[string]leaf{}}
	key, err := a.openKey()
	if err != nil {
		return nil, err
	}
	a.key = key
	if a.certificate, err = a.openCertificate(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Authority) keyPath() string         { return filepath.Join(a.folder, "ca.key") }
func (a *Authority) certificatePath() string { return filepath.Join(a.folder, "ca.crt") }

// openKey loads the key or makes one. The key is written before the certificate,
// so that a certificate without a key means that somebody took the key away.
func (a *Authority) openKey() (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(a.keyPath())
	if err == nil {
		key, err := parseKey(text)
		if err != nil {
			return nil, a.damaged(a.keyPath(), err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, springtide.Errorf(springtide.Unavailable, "certificate authority: %w", err)
	}
	if _, err := os.Stat(a.certificatePath()); err == nil {
		return nil, a.damaged(a.keyPath(), fs.ErrNotExist)
	}
	key, text, err := makeKey()
	if err != nil {
		return nil, err
	}
	return key, unavailable(durable.WriteFile(a.keyPath(), text, 0o600))
}

// openCertificate loads the certificate or makes one for the key.
func (a *Authority) openCertificate() (*x509.Certificate, error) {
	text, err := os.ReadFile(a.certificatePath())
	if errors.Is(err, fs.ErrNotExist) {
		return a.makeCertificate()
	}
	if err != nil {
		return nil, springtide.Errorf(springtide.Unavailable, "certificate authority: %w", err)
	}
	certificate, err := parseCertificate(text)
	if err != nil {
		return nil, a.damaged(a.certificatePath(), err)
	}
	if !a.key.PublicKey.Equal(certificate.PublicKey) {
		return nil, a.damaged(a.certificatePath(), errors.New("it does not belong to ca.key"))
	}
	if time.Now().After(certificate.NotAfter) {
		return nil, a.damaged(a.certificatePath(), fmt.Errorf("it expired on %s", certificate.NotAfter.Format(time.DateOnly)))
	}
	return certificate, nil
}

func (a *Authority) makeCertificate() (*x509.Certificate, error) {
	now := time.Now()
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	// A common name has 64 characters at most.
	name := fmt.Sprintf("Springtide on %.38s %s", host, now.UTC().Format(time.DateOnly))
	template := &x509.Certificate{
		SerialNumber:          serialNumber(),
		Subject:               pkix.Name{Organization: []string{"Springtide local authority"}, CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return nil, err
	}
	return certificate, unavailable(durable.WriteFile(a.certificatePath(), encodeCertificate(certificate), 0o644))
}

func (a *Authority) damaged(path string, err error) error {
	return springtide.Errorf(springtide.Failed, "certificate authority: %s: %w", path, err).
		WithHint("restore it from a backup, or remove %s for a new authority and trust that one", a.folder)
}

// PEM gives the authority's certificate, for whoever is to trust it.
func (a *Authority) PEM() []byte { return encodeCertificate(a.certificate) }

// Name gives the common name of the authority, as trust stores show it.
func (a *Authority) Name() string { return a.certificate.Subject.CommonName }

// Fingerprint gives the SHA-256 of the authority's certificate as browsers show
// it: "AB:CD:…".
func (a *Authority) Fingerprint() string { return fingerprint(a.certificate) }

func fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

func serialNumber() *big.Int {
	var number [16]byte
	_, _ = rand.Read(number[:]) // never fails
	number[0] &= 0x7f
	return new(big.Int).SetBytes(number[:])
}

func makeKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it holds no key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if key, ok := key.(*ecdsa.PrivateKey); ok {
		return key, nil
	}
	return nil, fmt.Errorf("it holds a %T, not an ECDSA key", key)
}

func encodeCertificate(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// unavailable says that a file of the authority cannot be written.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return springtide.Errorf(springtide.Unavailable, "certificate authority: %w", err)
}
