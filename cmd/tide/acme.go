package main

import (
	"os"

	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/cli"
)

// acmeVariable begins the names of what says who is asked for certificates.
const acmeVariable = "TIDE_ACME_"

// acmeServer reads who is asked for certificates from the environment.
func acmeServer() cert.ACME {
	of := func(name string) string { return os.Getenv(acmeVariable + name) }
	return cert.ACME{Email: of("EMAIL"), Directory: of("DIRECTORY"), Root: of("ROOT"), Hook: of("DNS_HOOK"), AccountID: of("EAB_KID"), AccountKey: of("EAB_KEY")}
}

// checkACME tries what is said of certificates, and hands it to the control plane.
func checkACME(o cli.ServeOptions) error {
	for name, value := range map[string]string{
		"EMAIL": o.ACMEEmail, "DIRECTORY": o.ACMEDirectory, "ROOT": o.ACMERoot, "DNS_HOOK": o.ACMEDNSHook,
		"EAB_KID": o.ACMEAccountID, "EAB_KEY": o.ACMEAccountKey,
	} {
		if value == "" {
			continue
		}
		if err := os.Setenv(acmeVariable+name, value); err != nil {
			return err
		}
	}
	return acmeServer().Validate()
}
