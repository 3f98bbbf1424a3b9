package control

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/mail"
)

// instanceListeners are where the control plane listens for instances.
type instanceListeners struct {
	api, smtp net.Listener // nil: nowhere
	// url is where instances reach the API, and catcher where the catcher of mails.
	url, catcher string
	// tls is what the API speaks, and authority vouches for it; nil: plain HTTP.
	tls       *tls.Config
	authority []byte
}

// listenForInstances listens on the address of the machine that instances reach,
// and nobody from elsewhere.
func (p *plane) listenForInstances(ctx context.Context) (l instanceListeners, err error) {
	if p.cluster != nil {
		return p.listenForPods(ctx)
	}
	if l.api, err = listenKept(ctx, p.DataFolder, "instance-api", p.kept.host); err != nil {
		return l, err
	}
	if l.smtp, err = listenKept(ctx, p.DataFolder, "instance-smtp", p.kept.host); err != nil {
		return l, err
	}
	l.url, l.catcher = "http://"+l.api.Addr().String(), l.smtp.Addr().String()
	return l, nil
}

// listenForPods listens where pods reach this machine: on the address itself if it is
// this machine's, else on the port, which somebody else leads to. Tokens travel through
// a network there, so that TLS is spoken.
func (p *plane) listenForPods(ctx context.Context) (l instanceListeners, err error) {
	address := p.Engine.InstanceAddress
	if address == "" {
		return l, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return l, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return l, err
	}
	if l.tls, err = apiTLS(p.authority, address); err != nil {
		return l, err
	}
	own := cmp.Or(p.Advertise, host) // in a pod its own; a Service leads there
	if l.api, err = listenAt(ctx, own, number); err != nil {
		return l, err
	}
	if l.smtp, err = listenAt(ctx, own, number+1); err != nil {
		l.api.Close()
		return instanceListeners{}, err
	}
	l.url, l.catcher = "https://"+address, net.JoinHostPort(host, strconv.Itoa(number+1))
	l.authority = p.authority.PEM()
	return l, nil
}

func listenAt(ctx context.Context, host string, port int) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		listener, err = config.Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(port)))
	}
	if err != nil {
		return nil, springtide.Errorf(springtide.Conflict, "instances cannot be listened for on port %d: %w", port, err).
			WithHint("choose another port with --instance-address")
	}
	return listener, nil
}

// listenKept listens on an address of the machine that its instances reach, on
// the same port each time if it can: instances that run were told it.
func listenKept(ctx context.Context, data, name string, host netip.Addr) (net.Listener, error) {
	path := filepath.Join(data, "run", name+".port")
	var config net.ListenConfig
	if text, err := os.ReadFile(path); err == nil {
		port, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
		if err == nil {
			if listener, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(host, uint16(port)).String()); err == nil {
				return listener, nil
			}
		}
	}
	listener, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return listener, durable.WriteFile(path, []byte(strconv.Itoa(port)+"\n"), 0o600)
}

// What an instance is told and should not say.
const (
	tokenVariable   = "TIDE_TOKEN"
	webhookVariable = "TIDE_WEBHOOK_SECRET"
)

// authorityVariable has the certificate, in PEM, that the API of instances is known
// by; in the grant it becomes a file.
const authorityVariable = "TIDE_CA"

// variables gives what an instance is told of the platform: where its API is,
// and who the instance is there. SMTP_URL is that of the catcher; the app's own
// wins over it.
func (a *access) variables(subject process.Subject, listeners instanceListeners) map[string]string {
	id := subject.Environment
	token, err := a.token(jobs.Identity{
		Environment: id, Release: subject.Release, Generation: subject.Generation,
		Process: subject.Process, Instance: string(subject.Instance) + subject.Task,
	})
	if err != nil {
		return nil // its environment is gone, and so will it be
	}
	variables := map[string]string{webhookVariable: call.SecretText(a.webhookSecret(id))}
	if listeners.api == nil {
		return variables
	}
	password := token
	if listeners.authority != nil {
		variables[authorityVariable], password = string(listeners.authority), a.mailPassword(id)
	}
	catcher := url.URL{Scheme: "smtp", User: url.UserPassword(mail.UserName(id), password), Host: listeners.catcher}
	variables["TIDE_API"] = fmt.Sprintf("%s/v1/apps/%s/environments/%s", listeners.url, id.App, id.Name)
	variables[tokenVariable], variables[smtpVariable] = token, catcher.String()
	return variables
}

// mailPassword lets mails of an environment be caught, and nothing else: it travels
// through the network of a cluster.
func (a *access) mailPassword(id springtide.EnvironmentID) string {
	return base64.RawURLEncoding.EncodeToString(sign(a.key, []byte("mail "+id.String())))
}

// mayMail reports whether somebody may have mails of an environment caught.
func (a *access) mayMail(id springtide.EnvironmentID, password string) bool {
	who, err := a.Identify(password)
	return err == nil && who.Environment == id || hmac.Equal([]byte(password), []byte(a.mailPassword(id)))
}
