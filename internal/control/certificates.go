package control

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/routing"
)

// joinCertificates joins what public names are served with. What is kept is there
// before the first routing table is made.
func (p *plane) joinCertificates(context.Context) (err error) {
	p.certificates, err = cert.OpenKeeper(cert.KeeperOptions{
		Folder: filepath.Join(p.DataFolder, "certificates"), Sealer: p.kept.secrets, ACME: p.ACME,
		Domains: func() []cert.Domain { return domains(p.fleet) },
		Settle:  p.publisher.Settle, Happened: p.events.Publish, Logger: p.Logger,
	})
	if err != nil {
		return err
	}
	p.metrics.Certificates(func() []observe.Certificate {
		var all []observe.Certificate
		for _, s := range p.certificates.Statuses() {
			all = append(all, observe.Certificate{Environment: s.Environment, Name: s.Name, NotAfter: s.Until, Failures: s.Failures})
		}
		return all
	})
	return nil
}

// domains are the host names of everything that has a release.
func domains(fleet *deploy.Fleet) []cert.Domain {
	var all []cert.Domain
	for _, environment := range fleet.Environments() {
		environment, release, err := fleet.Environment(environment.ID)
		if err != nil || release.Number == 0 {
			continue // gone meanwhile, or nothing is served
		}
		for _, host := range deploy.Hosts(environment, release) {
			all = append(all, cert.Domain{Name: host, Environment: environment.ID})
		}
	}
	return all
}

// certificates implements api.Certificates.
type certificates struct {
	keeper *cert.Keeper
	fleet  *deploy.Fleet
	keep   func(context.Context) error // has other control planes know of a change
}

// Certificates implements api.Certificates.
func (c certificates) Certificates(context.Context) ([]api.Certificate, error) {
	all := []api.Certificate{}
	for _, s := range c.keeper.Statuses() {
		all = append(all, api.Certificate{
			Name: s.Name, Environment: s.Environment, Source: string(s.Source), Issuer: s.Issuer,
			NotBefore: s.From, NotAfter: s.Until, Renewal: s.Renewal, Failure: s.Failure, Failed: s.Failed, Trouble: s.Trouble,
		})
	}
	return all, nil
}

// addFaults has the certificates say that edges do not serve them.
func addFaults(all []api.Certificate, edges []routing.Edge) {
	for _, edge := range edges {
		for _, fault := range edge.Faults {
			for i := range all {
				if all[i].Trouble == "" && slices.Contains(fault.Names, all[i].Name) {
					all[i].Trouble = fmt.Sprintf("%s does not serve it, but the one before: %s", edge.Name, fault.Fault)
				}
			}
		}
	}
}

// domain finds a host name of an environment.
func (c certificates) domain(id springtide.EnvironmentID, name string) (cert.Domain, error) {
	if _, _, err := c.fleet.Environment(id); err != nil {
		return cert.Domain{}, err
	}
	domain := cert.Domain{Name: name, Environment: id}
	if !slices.Contains(domains(c.fleet), domain) {
		return domain, springtide.Errorf(springtide.NotFound, "%s is not served under %s", id, name).
			WithHint("add it with `tide domains add %s`, or to domains in the manifest", name)
	}
	return domain, nil
}

// AddCertificate implements api.Certificates.
func (c certificates) AddCertificate(ctx context.Context, id springtide.EnvironmentID, file api.CertificateFile) error {
	var all []cert.Domain
	for _, name := range file.Names {
		domain, err := c.domain(id, name)
		if err != nil {
			return err
		}
		all = append(all, domain)
	}
	if err := c.keeper.Add(ctx, all, []byte(file.Chain), []byte(file.Key)); err != nil {
		return err
	}
	return c.keep(ctx)
}

// RemoveCertificate implements api.Certificates: also for a name that is not
// served any more.
func (c certificates) RemoveCertificate(ctx context.Context, id springtide.EnvironmentID, name string) error {
	if err := c.keeper.Remove(ctx, cert.Domain{Name: name, Environment: id}); err != nil {
		return err
	}
	return c.keep(ctx)
}

// RenewCertificate implements api.Certificates.
func (c certificates) RenewCertificate(ctx context.Context, id springtide.EnvironmentID, name string) error {
	domain, err := c.domain(id, name)
	if err != nil {
		return err
	}
	return c.keeper.Renew(ctx, domain)
}
