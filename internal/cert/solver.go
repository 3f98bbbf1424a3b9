package cert

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/springtide/springtide"
)

// solver answers challenges by the routing table: the edges answer, and the
// authority is told to look only when all of them know how. It implements
// acmez.Solver and acmez.Waiter.
type solver struct {
	// settle returns when every live edge has a table with what is here now.
	settle func(context.Context) error

	mu      sync.Mutex
	answers map[string]springtide.Challenge // by the URL of the challenge
}

// current gives the challenges for the next table.
func (s *solver) current() []springtide.Challenge {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []springtide.Challenge
	for _, answer := range s.answers {
		all = append(all, answer)
	}
	return all
}

// Present implements acmez.Solver.
func (s *solver) Present(_ context.Context, c acme.Challenge) error {
	answer := springtide.Challenge{Host: strings.ToLower(c.Identifier.Value), Token: c.Token, Answer: c.KeyAuthorization}
	if c.Type == acme.ChallengeTypeTLSALPN01 {
		certificate, err := acmez.TLSALPN01ChallengeCert(c)
		if err != nil {
			return err
		}
		key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
		if err != nil {
			return err
		}
		answer = springtide.Challenge{
			Host:  answer.Host,
			Chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})),
			Key:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[c.URL] = answer
	return nil
}

// Wait implements acmez.Waiter.
func (s *solver) Wait(ctx context.Context, _ acme.Challenge) error { return s.settle(ctx) }

// CleanUp implements acmez.Solver: the next table is without the challenge.
func (s *solver) CleanUp(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answers, c.URL)
	return nil
}

// hookLimit is how long a hook may take: it waits until the name servers know.
const hookLimit = 5 * time.Minute

// hook answers DNS-01 by a program of the operator's: PROGRAM present NAME VALUE
// makes a TXT record and returns when the name servers tell it, PROGRAM cleanup
// NAME VALUE removes it. It implements acmez.Solver.
type hook struct{ program string }

// Present implements acmez.Solver.
func (h hook) Present(ctx context.Context, c acme.Challenge) error { return h.run(ctx, "present", c) }

// CleanUp implements acmez.Solver. It is done also when the attempt was given up.
func (h hook) CleanUp(ctx context.Context, c acme.Challenge) error {
	return h.run(context.WithoutCancel(ctx), "cleanup", c)
}

func (h hook) run(ctx context.Context, what string, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, hookLimit)
	defer cancel()
	command := exec.CommandContext(ctx, h.program, what, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if err != nil {
		said := strings.TrimSpace(string(output[max(0, len(output)-500):]))
		return springtide.Errorf(springtide.Failed, "%s %s: %w: %s", h.program, what, err, said)
	}
	return nil
}
