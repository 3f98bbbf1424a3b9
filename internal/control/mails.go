package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/mail"
)

// smtpVariable is what apps know their SMTP server by.
const smtpVariable = "SMTP_URL"

// mails implements api.Mail.
type mails struct {
	sender  *mail.Sender
	catcher *mail.Catcher
}

func newMails(fleet *deploy.Fleet, access *access, app *call.Caller, data string, private []netip.Prefix, logger *slog.Logger) (mails, error) {
	catcher := mail.NewCatcher(mail.CatcherOptions{
		Folder: filepath.Join(data, "mail", "caught"), Logger: logger,
		Verify: func(id springtide.EnvironmentID, token string) bool {
			return access.mayMail(id, token)
		},
	})
	sender, err := mail.New(mail.Options{
		Folder: filepath.Join(data, "mail"), Catcher: catcher, App: app, AllowPrivate: private, Logger: logger,
		Settings: func(id springtide.EnvironmentID) (mail.Settings, error) {
			_, release, err := fleet.Environment(id)
			if err != nil {
				return mail.Settings{}, err
			}
			server := release.App.Env[smtpVariable]
			if set, has := release.Config[smtpVariable]; has {
				server = set
			}
			return mail.Settings{Server: server, From: release.App.Jobs.MailFrom}, nil
		},
	})
	return mails{sender: sender, catcher: catcher}, err
}

// List implements api.Mail.
func (m mails) List(_ context.Context, id springtide.EnvironmentID) ([]api.CaughtMail, error) {
	caught, err := m.catcher.List(id)
	list := make([]api.CaughtMail, len(caught))
	for i, kept := range caught {
		list[i] = api.CaughtMail(kept)
	}
	return list, err
}

// Read implements api.Mail.
func (m mails) Read(_ context.Context, id springtide.EnvironmentID, name string) (io.ReadCloser, error) {
	return m.catcher.Read(id, name)
}

// Suppressions implements api.Mail.
func (m mails) Suppressions(_ context.Context, id springtide.EnvironmentID) ([]api.Suppression, error) {
	known, err := m.sender.Suppressions(id)
	list := make([]api.Suppression, len(known))
	for i, one := range known {
		list[i] = api.Suppression{Address: one.Address, Since: one.Time, Reason: one.Reason}
	}
	return list, err
}

// Suppress implements api.Mail.
func (m mails) Suppress(_ context.Context, id springtide.EnvironmentID, address string) error {
	return m.sender.Suppress(id, address, "by hand")
}

// Unsuppress implements api.Mail.
func (m mails) Unsuppress(_ context.Context, id springtide.EnvironmentID, address string) error {
	return m.sender.Unsuppress(id, address)
}

// forget deletes what is kept of an environment.
func (m mails) forget(id springtide.EnvironmentID) error {
	return errors.Join(m.sender.Forget(id), m.catcher.Forget(id))
}
