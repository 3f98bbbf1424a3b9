package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// makeCertificate makes the certificate that all subjects have.
func (b *bench) makeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"bench.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	chainText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	b.roots = x509.NewCertPool()
	b.roots.AppendCertsFromPEM(chainText)
	for name, file := range map[*string][]byte{&b.chain: chainText, &b.key: keyText, &b.both: append(chainText, keyText...)} {
		*name = filepath.Join(b.folder, map[*string]string{&b.chain: "chain.pem", &b.key: "key.pem", &b.both: "both.pem"}[name])
		if err := os.WriteFile(*name, file, 0o600); err != nil {
			return err
		}
	}
	return nil
}
