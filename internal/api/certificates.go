package api

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// Certificates are those of the host names of all apps. Implemented by the control
// plane's wiring.
type Certificates interface {
	// Certificates are in order of their names.
	Certificates(ctx context.Context) ([]Certificate, error)
	// AddCertificate has host names of an environment served with a file of somebody's
	// own; what is not valid for all of them is refused.
	AddCertificate(ctx context.Context, id springtide.EnvironmentID, file CertificateFile) error
	// RemoveCertificate forgets such a file.
	RemoveCertificate(ctx context.Context, id springtide.EnvironmentID, name string) error
	// RenewCertificate asks the ACME server now; it returns when there is a
	// certificate, or none.
	RenewCertificate(ctx context.Context, id springtide.EnvironmentID, name string) error
}

// Certificate tells what a host name is served with. Times are zero where there
// are none.
type Certificate struct {
	Name        string                   `json:"name"`
	Environment springtide.EnvironmentID `json:"environment"`
	// Source is acme, file, or own: of the platform's own authority.
	Source string `json:"source"`
	Issuer string `json:"issuer"`
	// NotBefore and NotAfter are its life.
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// Renewal is when the ACME server is asked next.
	Renewal time.Time `json:"renewal,omitzero"`
	// Failure is how it was last asked in vain, at Failed; empty: it was not.
	Failure string    `json:"failure,omitempty"`
	Failed  time.Time `json:"failed,omitzero"`
	// Trouble says what somebody should see to; empty: all is well.
	Trouble string `json:"trouble,omitempty"`
}

// CertificateFile is a certificate of somebody's own.
type CertificateFile struct {
	Names []string `json:"names" minItems:"1" maxItems:"100" doc:"host names of the environment that are served with it"`
	Chain string   `json:"chain" maxLength:"200000" doc:"certificates in PEM, that of the site first"`
	Key   string   `json:"key" maxLength:"50000" doc:"its private key in PEM, without a password"`
}

type certificatePath struct {
	EnvironmentPath
	Name string `path:"name" maxLength:"255" doc:"a host name"`
}

type certificateInput struct {
	EnvironmentPath
	Body CertificateFile
}

func (s *Server) listCertificates(ctx context.Context, _ *struct{}) ([]Certificate, error) {
	return s.platform.Certificates.Certificates(ctx)
}

func (s *Server) addCertificate(ctx context.Context, in *certificateInput) ([]Certificate, error) {
	for i, name := range in.Body.Names {
		host, err := hostName(name)
		if err != nil {
			return nil, err
		}
		in.Body.Names[i] = host
	}
	if err := s.platform.Certificates.AddCertificate(ctx, in.id(), in.Body); err != nil {
		return nil, err
	}
	return s.platform.Certificates.Certificates(ctx)
}

func (s *Server) removeCertificate(ctx context.Context, in *certificatePath) error {
	return s.platform.Certificates.RemoveCertificate(ctx, in.id(), in.Name)
}

func (s *Server) renewCertificate(ctx context.Context, in *certificatePath) error {
	// Who waits may go away; an attempt that was begun is taken to its end.
	return s.platform.Certificates.RenewCertificate(context.WithoutCancel(ctx), in.id(), in.Name)
}
