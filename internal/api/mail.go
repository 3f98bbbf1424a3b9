package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) listMails(ctx context.Context, in *EnvironmentPath) ([]CaughtMail, error) {
	return s.platform.Mail.List(ctx, in.id())
}

type mailPath struct {
	EnvironmentPath
	Name string `path:"name"`
}

func (s *Server) readMail(ctx context.Context, in *mailPath) (func(huma.Context), error) {
	text, err := s.platform.Mail.Read(ctx, in.id(), in.Name)
	if err != nil {
		return nil, err
	}
	return sendText(text, "message/rfc822"), nil
}

func (s *Server) listSuppressions(ctx context.Context, in *EnvironmentPath) ([]Suppression, error) {
	return s.platform.Mail.Suppressions(ctx, in.id())
}

type suppressInput struct {
	EnvironmentPath
	Body struct {
		Address string `json:"address" minLength:"3" maxLength:"254" pattern:"^[^@ ]+@[^@ ]+$"`
	}
}

func (s *Server) suppress(ctx context.Context, in *suppressInput) error {
	return s.platform.Mail.Suppress(ctx, in.id(), in.Body.Address)
}

type unsuppressInput struct {
	EnvironmentPath
	Address string `query:"address" required:"true"`
}

func (s *Server) unsuppress(ctx context.Context, in *unsuppressInput) error {
	return s.platform.Mail.Unsuppress(ctx, in.id(), in.Address)
}
