package apitest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// certificates implements [api.Certificates]: the ACME server gives none where it
// has given none before.
type certificates struct{ *Platform }

const refused = "the ACME server says connection: 192.0.2.1: Connection refused"

// Certificates implements [api.Certificates].
func (c certificates) Certificates(context.Context) ([]api.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.served), nil
}

// AddCertificate implements [api.Certificates]: any text is a certificate.
func (c certificates) AddCertificate(_ context.Context, id springtide.EnvironmentID, file api.CertificateFile) error {
	if strings.TrimSpace(file.Key) == "" {
		return springtide.Errorf(springtide.Invalid, "the key is not that of the certificate").WithHint("the key is in PEM")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range file.Names {
		c.served = append(c.served, api.Certificate{
			Name: name, Environment: id, Source: "file", Issuer: "Example Authority", NotBefore: Epoch(), NotAfter: Epoch().Add(90 * 24 * time.Hour),
		})
	}
	return nil
}

// RemoveCertificate implements [api.Certificates].
func (c certificates) RemoveCertificate(_ context.Context, id springtide.EnvironmentID, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.served)
	c.served = slices.DeleteFunc(c.served, func(v api.Certificate) bool { return v.Environment == id && v.Name == name })
	if len(c.served) == before {
		return springtide.Errorf(springtide.NotFound, "%s has no certificate of its own", name)
	}
	return nil
}

// RenewCertificate implements [api.Certificates].
func (c certificates) RenewCertificate(_ context.Context, _ springtide.EnvironmentID, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.served, func(v api.Certificate) bool { return v.Name == name && v.Failure != "" }) {
		return springtide.Errorf(springtide.Failed, "%s", refused)
	}
	return nil
}
