package apitest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// mails implements [api.Mail].
type mails struct {
	p          *Platform
	caught     map[springtide.EnvironmentID][]caught
	suppressed map[springtide.EnvironmentID][]api.Suppression // in order of address
}

type caught struct {
	api.CaughtMail
	text string
}

func newMails(p *Platform) *mails {
	return &mails{p: p, caught: map[springtide.EnvironmentID][]caught{}, suppressed: map[springtide.EnvironmentID][]api.Suppression{}}
}

// Catch catches a mail.
func (p *Platform) Catch(id springtide.EnvironmentID, from, to, subject, text string) {
	p.update(func() {
		text = fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\n%s\r\n", from, to, subject, text)
		p.mails.caught[id] = append(p.mails.caught[id], caught{text: text, CaughtMail: api.CaughtMail{
			Name: fmt.Sprintf("mail-%d", len(p.mails.caught[id])+1), Time: Epoch(), From: from, To: []string{to}, Subject: subject, Size: int64(len(text)),
		}})
	})
}

func (m *mails) List(_ context.Context, id springtide.EnvironmentID) (all []api.CaughtMail, err error) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	for _, mail := range slices.Backward(m.caught[id]) {
		all = append(all, mail.CaughtMail)
	}
	return all, nil
}

func (m *mails) Read(_ context.Context, id springtide.EnvironmentID, name string) (io.ReadCloser, error) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	for _, mail := range m.caught[id] {
		if mail.Name == name {
			return io.NopCloser(strings.NewReader(mail.text)), nil
		}
	}
	return nil, springtide.Errorf(springtide.NotFound, "%s has no mail %s", id, name).WithHint("`tide mail` lists them")
}

func (m *mails) Suppressions(_ context.Context, id springtide.EnvironmentID) ([]api.Suppression, error) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return slices.Clone(m.suppressed[id]), nil
}

func byAddress(s api.Suppression, address string) int { return strings.Compare(s.Address, address) }

func (m *mails) Suppress(_ context.Context, id springtide.EnvironmentID, address string) error {
	m.p.update(func() {
		if at, found := slices.BinarySearchFunc(m.suppressed[id], address, byAddress); !found {
			m.suppressed[id] = slices.Insert(m.suppressed[id], at, api.Suppression{Address: address, Since: Epoch(), Reason: "by hand"})
		}
	})
	return nil
}

func (m *mails) Unsuppress(_ context.Context, id springtide.EnvironmentID, address string) (err error) {
	m.p.update(func() {
		at, found := slices.BinarySearchFunc(m.suppressed[id], address, byAddress)
		if !found {
			err = springtide.Errorf(springtide.NotFound, "%s is sent mails", address)
			return
		}
		m.suppressed[id] = slices.Delete(m.suppressed[id], at, at+1)
	})
	return err
}
