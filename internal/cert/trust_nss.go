package cert

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
)

// nssDatabases gives the folders of the user's NSS databases, as patterns under
// the home folder.
func nssDatabases() []string {
	return []string{
		".pki/nssdb", // Chrome and Chromium
		"snap/chromium/current/.pki/nssdb",
		".mozilla/firefox/*",
		"snap/firefox/common/.mozilla/firefox/*",
	}
}

// installInNSS adds the authority to the user's databases and reports on each.
func (t Trust) installInNSS(ctx context.Context, certificate *x509.Certificate) []string {
	name := nickname(certificate)
	return t.eachNSS(func(certutil, database string) string {
		switch {
		case run(ctx, nil, certutil, "-L", "-d", "sql:"+database, "-n", name) == nil:
			return database + " has it already"
		case t.DryRun:
			return "would add it to " + database
		}
		err := run(ctx, encodeCertificate(certificate), certutil, "-A", "-a", "-d", "sql:"+database, "-t", "C,,", "-n", name)
		if err != nil {
			return database + " cannot be changed: " + err.Error()
		}
		return "trusted by " + database + " (restart the browser)"
	})
}

// uninstallFromNSS is the reverse of installInNSS.
func (t Trust) uninstallFromNSS(ctx context.Context, certificate *x509.Certificate) []string {
	name := nickname(certificate)
	return t.eachNSS(func(certutil, database string) string {
		switch {
		case run(ctx, nil, certutil, "-L", "-d", "sql:"+database, "-n", name) != nil:
			return database + " does not have it"
		case t.DryRun:
			return "would remove it from " + database
		}
		if err := run(ctx, nil, certutil, "-D", "-d", "sql:"+database, "-n", name); err != nil {
			return database + " cannot be changed: " + err.Error()
		}
		return "removed from " + database
	})
}

// nickname is how the databases call the authority: its name, and a part of its
// fingerprint because two of them may have the same name.
func nickname(certificate *x509.Certificate) string {
	return certificate.Subject.CommonName + " (" + fingerprint(certificate)[:11] + ")"
}

// eachNSS does something to every database of the user and collects what it
// reports.
func (t Trust) eachNSS(do func(certutil, database string) string) []string {
	home := t.Home
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return nil
		}
	}
	var databases []string
	for _, pattern := range nssDatabases() {
		found, err := filepath.Glob(filepath.Join(home, pattern, "cert9.db"))
		if err == nil {
			databases = append(databases, found...)
		}
	}
	if len(databases) == 0 {
		return nil
	}
	certutil, ok := t.findCommand("certutil")
	if !ok {
		return []string{"browsers: certutil is missing, so Firefox and Chrome cannot be told (Debian: libnss3-tools, RHEL: nss-tools)"}
	}
	var report []string
	for _, database := range databases {
		report = append(report, "browsers: "+do(certutil, filepath.Dir(database)))
	}
	return report
}
