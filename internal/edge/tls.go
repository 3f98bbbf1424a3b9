package edge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// certificates are those of one table, by server name. It is immutable.
type certificates struct {
	byName map[string]*certificate
	first  *certificate
	// trusted says that some of them are known to everybody.
	trusted bool
	// faults are what is not as it should be, by the chain.
	faults map[string]springtide.CertificateFault
}

// certificate is one as it was given, and as it is served.
type certificate struct {
	given springtide.Certificate
	tls.Certificate
	// trusted says that it leads to an authority that the system knows.
	trusted bool
}

// newCertificates reads the certificates of a table once; those of the table
// before are not read again. One that cannot be read, does not match its key or
// has run out is not served as long as the one before it, for the same name, is
// better. The others do not suffer from it.
func newCertificates(list []springtide.Certificate, before *certificates, logger *slog.Logger) *certificates {
	c := &certificates{byName: make(map[string]*certificate, len(list)), faults: map[string]springtide.CertificateFault{}}
	now := time.Now()
	for _, given := range list {
		read, err := before.read(given)
		if err == nil && now.After(read.Leaf.NotAfter) {
			err = fmt.Errorf("it ran out on %s", read.Leaf.NotAfter.UTC().Format(time.DateOnly))
		}
		if err != nil {
			c.faults[given.Chain] = springtide.CertificateFault{Names: given.Names, Fault: err.Error()}
			if _, told := before.faults[given.Chain]; !told {
				logger.Error("a certificate is not as it should be; what was served before stays", "names", given.Names, "error", err)
			}
		}
		for _, name := range given.Names {
			name = strings.ToLower(name)
			serve := read
			if last := before.byName[name]; err != nil && last != nil && (read == nil || now.Before(last.Leaf.NotAfter)) {
				serve = last
			}
			if serve != nil && c.byName[name] == nil {
				c.byName[name] = serve
				c.trusted = c.trusted || serve.trusted
				if c.first == nil {
					c.first = serve
				}
			}
		}
	}
	return c
}

// read gives a certificate that was read before, or reads it.
func (c *certificates) read(given springtide.Certificate) (*certificate, error) {
	for _, name := range given.Names {
		if last := c.byName[strings.ToLower(name)]; last != nil && last.given.Chain == given.Chain && last.given.Key == given.Key {
			return last, nil
		}
	}
	pair, err := tls.X509KeyPair([]byte(given.Chain), []byte(given.Key))
	if err != nil {
		return nil, err
	}
	return &certificate{given: given, Certificate: pair, trusted: isTrusted(pair)}, nil
}

// isTrusted says that everybody's system knows who signed a certificate, as far
// as this one's tells. It is asked for names that are not only of this machine.
func isTrusted(pair tls.Certificate) bool {
	if len(pair.Leaf.DNSNames) == 0 || strings.HasSuffix(pair.Leaf.DNSNames[0], ".localhost") {
		return false
	}
	intermediates := x509.NewCertPool()
	for _, raw := range pair.Certificate[1:] {
		if parsed, err := x509.ParseCertificate(raw); err == nil {
			intermediates.AddCert(parsed)
		}
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Intermediates: intermediates})
	return err == nil
}

// of gives the certificate of a name: its own or its wildcard's; nil: it has none.
func (c *certificates) of(name string) *certificate {
	if own := c.byName[name]; own != nil {
		return own
	}
	return c.byName[wildcardOf(name)]
}

// trusts says that a host has a certificate that is known to everybody.
func (c *certificates) trusts(host string) bool {
	if !c.trusted {
		return false
	}
	own := c.of(host)
	return own != nil && own.trusted
}

// find gives the certificate for a server name: its own, its wildcard's, or
// the default one.
func (c *certificates) find(name string) (*tls.Certificate, error) {
	if own := c.of(hostOf(name)); own != nil {
		return &own.Certificate, nil
	}
	if c.first == nil {
		return nil, fmt.Errorf("no certificate for %q yet", name)
	}
	return &c.first.Certificate, nil
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
