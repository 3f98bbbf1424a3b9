package edge

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

const (
	// challengePath is where HTTP-01 looks (RFC 8555 section 8.3).
	challengePath = "/.well-known/acme-challenge/"
	// challengeProtocol is what a client of TLS-ALPN-01 offers, and only that
	// (RFC 8737 section 3).
	challengeProtocol = "acme-tls/1"
)

// challenges are the answers of one table to certificate authorities. It is
// immutable.
type challenges struct {
	answers map[challengeKey]string
	// configs are of TLS-ALPN-01, by host.
	configs map[string]*tls.Config
}

type challengeKey struct{ host, token string }

// newChallenges reads the challenges of a table. One that cannot be read is left
// out: the certificate authority says then that it failed.
func newChallenges(list []springtide.Challenge, logger *slog.Logger) *challenges {
	c := &challenges{answers: map[challengeKey]string{}, configs: map[string]*tls.Config{}}
	for _, entry := range list {
		if entry.Token != "" {
			c.answers[challengeKey{entry.Host, entry.Token}] = entry.Answer
			continue
		}
		certificate, err := tls.X509KeyPair([]byte(entry.Chain), []byte(entry.Key))
		if err != nil {
			logger.Error("a challenge cannot be answered", "host", entry.Host, "error", err)
			continue
		}
		c.configs[entry.Host] = &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{challengeProtocol},
			Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true,
		}
	}
	return c
}

// challenge gives the answer of HTTP-01 for a request, by its host in lower case
// and without port.
func (r *router) challenge(host, path string) (text string, ok bool) {
	token, ok := strings.CutPrefix(path, challengePath)
	if !ok {
		return "", false
	}
	text, ok = r.table.Load().challenges.answers[challengeKey{host, token}]
	return text, ok
}

// challengeConfig is the GetConfigForClient of the TLS listeners: it answers
// TLS-ALPN-01. For everybody else it gives nil, which is the usual configuration.
// That speaks no "acme-tls/1", so that a challenge that nobody knows is refused.
func (r *router) challengeConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Equal(hello.SupportedProtos, []string{challengeProtocol}) {
		return nil, nil //nolint:nilnil // it is how GetConfigForClient says so
	}
	return r.table.Load().challenges.configs[hostOf(hello.ServerName)], nil
}

// answerChallenge answers HTTP-01.
func (e *edge) answerChallenge(x *exchange, text string) {
	e.reply(x, http.StatusOK, message.Fields{{Name: "Content-Type", Value: "application/octet-stream"}}, text)
}
