package postgres

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// The files beside the data. They are no part of it: copies of the data get ones
// of their own.
const (
	configFile      = "server.conf"
	hbaFile         = "hba.conf"
	identFile       = "ident.conf"
	certificateFile = "server.crt"
	keyFile         = "server.key"
)

const (
	// superuser is the platform's, ownerRole owns all that the app makes.
	superuser = "postgres"
	ownerRole = "app_owner"
	// replicaName is that of the one replica, and of the slot that it follows by.
	replicaName = "replica"
)

// certificateAge is how long the server's certificate is valid. Nobody is asked
// to trust it: it makes TLS possible for clients that ask for it.
const certificateAge = 20 * 365 * 24 * time.Hour

// prepare writes the files beside the data, where they are not as they should be.
func (d *Driver) prepare(s service.Server) error {
	if err := d.installed(s.Version); err != nil {
		return err
	}
	if err := s.MakeFolders(); err != nil {
		return err
	}
	ident, err := ident(s)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{configFile: config(s), hbaFile: hba(s), identFile: ident} {
		if err := write(s, filepath.Join(s.Folder, name), []byte(content)); err != nil {
			return err
		}
	}
	return certify(s)
}

// config is what a running server may have to change.
func config(s service.Server) string {
	names := ""
	if s.Role == service.RolePrimary && s.Standby && s.Spec.Synchronous {
		names = replicaName
	}
	return fmt.Sprintf("# Written by the platform. ALTER SYSTEM wins over this file, the command line over both.\n"+
		"lc_messages = 'C.UTF-8'\ndefault_text_search_config = 'pg_catalog.english'\nsynchronous_standby_names = '%s'\n", names)
}

// hba says who may connect: the platform by the socket, which lies in a folder
// that is closed to others; the app's logins by TCP, each to its own database. Who
// comes by the socket with one of those is the pooler, which has asked for the
// password.
func hba(s service.Server) string {
	pooler := ""
	if s.Spec.Pool.Mode != "" {
		pooler = fmt.Sprintf("local %q +%s trust\n", s.Logins.Database, ownerRole)
	}
	return pooler + fmt.Sprintf("local all %q peer map=platform\nlocal replication %q,%q peer map=platform\nhost %q +%s all scram-sha-256\n",
		superuser, superuser, s.Logins.Replication.Name, s.Logins.Database, ownerRole)
}

// ident says which of the machine's users the platform is.
func ident(s service.Server) (string, error) {
	uid := s.User.UID
	if s.User == (service.User{}) {
		uid = os.Geteuid()
	}
	found, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || uid == 0 {
		return "", springtide.Errorf(springtide.Unavailable, "PostgreSQL cannot run as user %d: it wants one that has a name and is not root", uid)
	}
	lines := fmt.Sprintf("platform %q %q\nplatform %q %q\n", found.Username, superuser, found.Username, s.Logins.Replication.Name)
	if os.Geteuid() == 0 {
		lines += fmt.Sprintf("platform root %q\n", superuser)
	}
	return lines, nil
}

// certify makes the server's certificate, which it signs itself.
func certify(s service.Server) error {
	keyPath, certificatePath := filepath.Join(s.Folder, keyFile), filepath.Join(s.Folder, certificateFile)
	if _, err := os.Stat(certificatePath); err == nil {
		return give(s, certificatePath) // The key was there before.
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: string(s.ID.Name)}, IPAddresses: []net.IP{s.Address.Addr().AsSlice()},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(certificateAge), BasicConstraintsValid: true,
	}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := write(s, keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return err
	}
	return write(s, certificatePath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// write has a file of the server's user hold the content.
func write(s service.Server, path string, content []byte) error {
	if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, content) {
		if err := durable.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return give(s, path)
}

// give makes the server's user the owner of a file.
func give(s service.Server, path string) error {
	if s.User == (service.User{}) {
		return nil
	}
	return os.Lchown(path, s.User.UID, s.User.GID)
}
