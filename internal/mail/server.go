package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/springtide/springtide"
)

// server is the SMTP server that an environment sends through.
type server struct {
	host, port     string
	user, password string
	// implicit says that the connection is TLS from the start.
	implicit bool
}

// parseServer reads smtp://user:password@host:587 or smtps://host:465. Nothing
// of it is in the error: there is a password in it.
func parseServer(text string) (server, error) {
	where, err := url.Parse(text)
	if err != nil || (where.Scheme != "smtp" && where.Scheme != "smtps") || where.Hostname() == "" {
		return server{}, springtide.Errorf(springtide.Invalid, "SMTP_URL is not smtp:// or smtps:// with a host").
			WithHint("it looks like smtp://user:password@mail.example.com:587; in the password, what is not a letter or a digit is written as %%XX")
	}
	s := server{host: where.Hostname(), port: cmp.Or(where.Port(), "587"), user: where.User.Username()}
	s.password, _ = where.User.Password()
	if where.Scheme == "smtps" {
		s.implicit, s.port = true, cmp.Or(where.Port(), "465")
	}
	return s, nil
}

// connect says hello, in TLS where it can, and as whom. A password goes through
// TLS, or to this machine. When ctx ends the connection is closed, so it must.
func (s *Sender) connect(ctx context.Context, to server) (*smtp.Client, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(standardTimeout)
	}
	config := &tls.Config{ServerName: to.host, RootCAs: s.options.Roots, MinVersion: tls.VersionTLS12}
	options := []gomail.Option{
		gomail.WithTLSConfig(config),
		gomail.WithTLSPolicy(gomail.TLSOpportunistic),
		gomail.WithoutSMTPUTF8(), // all is ASCII, and not every server down the road has it
		gomail.WithTimeout(max(time.Until(deadline), time.Millisecond)),
		gomail.WithDialContextFunc(func(within context.Context, network, _ string) (net.Conn, error) {
			conn, err := s.dial(within, network, net.JoinHostPort(to.host, to.port))
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			if to.implicit {
				return tls.Client(conn, config), nil
			}
			return conn, nil
		}),
	}
	if to.user != "" {
		options = append(options, gomail.WithUsername(to.user), gomail.WithPassword(to.password), gomail.WithTLSPolicy(gomail.TLSMandatory),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthCramMD5))
	}
	switch {
	case to.implicit:
		options = append(options, gomail.WithSSL())
	case loopback(to.host): // whose certificate is seldom one that could be checked
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	client, err := gomail.NewClient(to.host, options...)
	if err != nil {
		return nil, err
	}
	return client.DialToSMTPClientWithContext(ctx)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
