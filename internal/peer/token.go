package peer

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// shortest is how many characters a token has at least.
const shortest = 32

// Token is what the edges and the control planes of one platform share.
type Token struct{ text string }

// ParseToken makes a token of a text. It is an error of kind Invalid if that is
// too short.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if len(text) < shortest {
		return Token{}, springtide.Errorf(springtide.Invalid, "the token of the edges has %d characters; it needs %d, by chance", len(text), shortest).
			WithHint("make one: openssl rand -hex 32")
	}
	return Token{text}, nil
}

// ReadToken reads the token in a file.
func ReadToken(path string) (Token, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Token{}, springtide.Errorf(springtide.Invalid, "the token of the edges cannot be read: %w", err)
	}
	return ParseToken(string(text))
}

// The two ends of a connection.
const (
	controlPlane = "control plane"
	edges        = "edge"
)

// key is that of one end: whoever has the token has both.
func (t Token) key(end string) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, []byte(t.text), nil, "springtide feed: "+end, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// config is the TLS of one end, which speaks to nobody but the other one.
func (t Token) config(own, other string) (*tls.Config, error) {
	key, err := t.key(own)
	if err != nil {
		return nil, err
	}
	theirs, err := t.key(other)
	if err != nil {
		return nil, err
	}
	wanted := theirs.Public().(ed25519.PublicKey)
	// TLS wants keys in certificates. What this one says besides is not looked at.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "springtide " + own}, NotAfter: time.Unix(1<<33, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, //nolint:gosec // the key itself is what is expected, not what somebody says of it
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !wanted.Equal(state.PeerCertificates[0].PublicKey) {
				return springtide.Errorf(springtide.Denied, "the other end is no %s with our token", other).
					WithHint("give the edges and the control planes the same --edge-token")
			}
			return nil
		},
	}, nil
}
