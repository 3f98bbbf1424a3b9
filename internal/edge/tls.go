package edge

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"

	"github.com/springtide/springtide"
)

// certificates are those of one table, by server name. It is immutable.
type certificates struct {
	byName map[string]*tls.Certificate
	first  *tls.Certificate
}

// newCertificates reads the certificates of a table once. One that cannot be
// read is left out, and the others still serve.
func newCertificates(list []springtide.Certificate, logger *slog.Logger) *certificates {
	c := &certificates{byName: map[string]*tls.Certificate{}}
	for _, entry := range list {
		certificate, err := tls.X509KeyPair([]byte(entry.Chain), []byte(entry.Key))
		if err != nil {
			logger.Error("a certificate cannot be used", "names", entry.Names, "error", err)
			continue
		}
		if c.first == nil {
			c.first = &certificate
		}
		for _, name := range entry.Names {
			if name = strings.ToLower(name); c.byName[name] == nil {
				c.byName[name] = &certificate
			}
		}
	}
	return c
}

// find gives the certificate for a server name: its own, its wildcard's, or
// the default one.
func (c *certificates) find(name string) (*tls.Certificate, error) {
	name = hostOf(name)
	if certificate := c.byName[name]; certificate != nil {
		return certificate, nil
	}
	if certificate := c.byName[wildcardOf(name)]; certificate != nil {
		return certificate, nil
	}
	if c.first == nil {
		return nil, fmt.Errorf("no certificate for %q yet", name)
	}
	return c.first, nil
}

// newTLSConfig makes the configuration of the HTTPS listeners, which follows
// the table in force.
func newTLSConfig(router *router) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		// Records as long as they may be: what is sent is there already.
		DynamicRecordSizingDisabled: true,
		GetConfigForClient:          router.challengeConfig,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return router.table.Load().certificates.find(hello.ServerName)
		},
	}
}
