package control

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/mail"
)

// instanceListeners are where the control plane listens for instances.
type instanceListeners struct {
	api, smtp net.Listener
}

// listenForInstances listens on the address of the machine that instances reach,
// and nobody from elsewhere.
func listenForInstances(ctx context.Context, data string, engine *process.Engine) (l instanceListeners, err error) {
	host, err := engine.Host()
	if err != nil {
		return l, err
	}
	if l.api, err = listenKept(ctx, data, "instance-api", host); err != nil {
		return l, err
	}
	l.smtp, err = listenKept(ctx, data, "instance-smtp", host)
	return l, err
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
	catcher := url.URL{Scheme: "smtp", User: url.UserPassword(mail.UserName(id), token), Host: listeners.smtp.Addr().String()}
	return map[string]string{
		"TIDE_API":      fmt.Sprintf("http://%s/v1/apps/%s/environments/%s", listeners.api.Addr(), id.App, id.Name),
		tokenVariable:   token,
		webhookVariable: call.SecretText(a.webhookSecret(id)),
		"SMTP_URL":      catcher.String(),
	}
}
