package control

import (
	"crypto/tls"
	"net"
	"os"

	"github.com/springtide/springtide/internal/cert"
)

// apiTLS gives the API a certificate of the platform's own authority, for every
// name that this machine is reached by.
func apiTLS(authority *cert.Authority, addresses ...string) (*tls.Config, error) {
	names := []string{"localhost", "127.0.0.1"}
	for _, address := range addresses {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" && !net.ParseIP(host).IsUnspecified() {
			names = append(names, host)
		}
	}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, address := range own {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			names = append(names, network.IP.String())
		}
	}
	// It is asked for at every handshake, because it is renewed.
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		issued, err := authority.Certificate(names)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair([]byte(issued.Chain), []byte(issued.Key))
		return &pair, err
	}}, nil
}
