package mail

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"golang.org/x/net/netutil"

	"github.com/springtide/springtide"
)

// mostConnections is how many apps speak to the catcher at a time.
const mostConnections = 100

// UserName is what an environment's instances are called by the catcher: their
// SMTP_URL is smtp://UserName:token@address.
func UserName(id springtide.EnvironmentID) string { return string(id.App) + "." + string(id.Name) }

// environmentOf reads what [UserName] gives.
func environmentOf(userName string) (springtide.EnvironmentID, bool) {
	app, name, ok := strings.Cut(userName, ".")
	// It becomes a folder, whatever is thought of it later.
	sound := func(name string) bool {
		return name != "" && len(name) <= 40 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	}
	return springtide.EnvironmentID{App: springtide.AppName(app), Name: springtide.EnvironmentName(name)}, ok && sound(app) && sound(name)
}

// Serve speaks SMTP until ctx ends, to instances that say with AUTH PLAIN whose
// they are. It has no TLS: it is for the networks of this machine.
func (c *Catcher) Serve(ctx context.Context, listener net.Listener) error {
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{catcher: c}, nil }))
	server.Domain = "springtide"
	server.AllowInsecureAuth = true
	server.MaxMessageBytes = messageLimit
	server.MaxRecipients = 1000
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(netutil.LimitListener(listener, mostConnections))
	if errors.Is(err, smtp.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

// session is one connection.
type session struct {
	catcher     *Catcher
	environment springtide.EnvironmentID // zero: not known yet
	from        string
	to          []string
}

// AuthMechanisms implements [smtp.AuthSession].
func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements [smtp.AuthSession].
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, userName, token string) error {
		id, ok := environmentOf(userName)
		if !ok || s.catcher.options.Verify == nil || !s.catcher.options.Verify(id, token) {
			return smtp.ErrAuthFailed
		}
		s.environment = id
		return nil
	}), nil
}

// Mail implements [smtp.Session].
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.environment == (springtide.EnvironmentID{}) {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

// Rcpt implements [smtp.Session].
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data implements [smtp.Session].
func (s *session) Data(r io.Reader) error {
	_, err := s.catcher.Keep(s.environment, s.from, s.to, bufio.NewReader(r))
	if _, ours := errors.AsType[*os.PathError](err); ours || errors.Is(err, syscall.ENOSPC) {
		s.catcher.options.Logger.Error("a mail could not be kept", "environment", s.environment, "error", err)
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "The mail cannot be kept now"}
	}
	return err
}

// Reset implements [smtp.Session].
func (s *session) Reset() { s.from, s.to = "", nil }

// Logout implements [smtp.Session].
func (*session) Logout() error { return nil }
