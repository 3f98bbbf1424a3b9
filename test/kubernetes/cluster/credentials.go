package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const apiURL = "https://" + controlAddress + ":6443"

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// makeCredentials writes the certificates and kubeconfigs of every part
// (kubernetes.io, "PKI certificates and requirements").
func makeCredentials(folder string) error {
	root, err := newAuthority(folder, "ca")
	if err != nil {
		return err
	}
	frontProxy, err := newAuthority(folder, "front-proxy-ca")
	if err != nil {
		return err
	}
	const service = "kubernetes.default.svc"
	failed := []error{
		root.issue(folder, "apiserver", "kube-apiserver", "", controlAddress, "10.96.0.1", "127.0.0.1", "localhost", "kubernetes.default", service, service+".cluster.local"),
		root.issue(folder, "kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
		frontProxy.issue(folder, "front-proxy-client", "front-proxy-client", ""),
		root.user(folder, "admin", "kubernetes-admin", "system:masters"),
		root.user(folder, "controller-manager", "system:kube-controller-manager", ""),
		root.user(folder, "scheduler", "system:kube-scheduler", ""),
		root.user(folder, "kube-proxy", "system:kube-proxy", ""),
		root.user(folder, "policies", "policies", "system:masters"),
		serviceAccountKey(folder),
	}
	for n := 1; n <= mostNodes; n++ {
		failed = append(failed, root.user(folder, nodeName(n), "system:node:"+nodeName(n), "system:nodes"))
	}
	return errors.Join(failed...)
}

func newAuthority(folder, name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateFor(name, "")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	a := &authority{certificate: template, key: key}
	if err := a.sign(folder, name, template, key); err != nil {
		return nil, err
	}
	return a, nil
}

func certificateFor(name, organization string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // rand.Reader never fails
	}
	subject := pkix.Name{CommonName: name}
	if organization != "" {
		subject.Organization = []string{organization}
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(folder, name string, template *x509.Certificate, key *ecdsa.PrivateKey) error {
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(folder, name+".crt"), "CERTIFICATE", certificate),
		writePEM(filepath.Join(folder, name+".key"), "EC PRIVATE KEY", private),
	)
}

// issue writes a certificate for a name, with the hosts it serves.
func (a *authority) issue(folder, file, name, organization string, hosts ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certificateFor(name, organization)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return a.sign(folder, file, template, key)
}

// user writes a certificate and a kubeconfig with it.
func (a *authority) user(folder, file, name, organization string) error {
	if err := a.issue(folder, file, name, organization, file); err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: user, user: {client-certificate: %q, client-key: %q}}]
contexts: [{name: test, context: {cluster: test, user: user}}]
current-context: test
`, apiURL, filepath.Join(folder, "ca.crt"), filepath.Join(folder, file+".crt"), filepath.Join(folder, file+".key"))
	return os.WriteFile(filepath.Join(folder, file+".kubeconfig"), []byte(config), 0o600)
}

// serviceAccountKey writes the pair that signs service accounts' tokens.
func serviceAccountKey(folder string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(folder, "service-accounts.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		writePEM(filepath.Join(folder, "service-accounts.pub"), "PUBLIC KEY", public),
	)
}

func writePEM(path, kind string, data []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
}
