package api

import "context"

func (s *Server) status(ctx context.Context, _ *struct{}) (Status, error) {
	status, err := s.platform.Machine.Status(ctx)
	status.APIVersion = Version
	return status, err
}

// Authority is the certificate that clients of local names have to trust.
type Authority struct {
	PEM string `json:"pem"`
}

func (s *Server) certificateAuthority(ctx context.Context, _ *struct{}) (Authority, error) {
	pem, err := s.platform.Machine.CertificateAuthority(ctx)
	return Authority{PEM: pem}, err
}

func (s *Server) drain(ctx context.Context, _ *struct{}) error {
	if err := ownerOnly(ctx, "drain the platform"); err != nil {
		return err
	}
	return s.platform.Machine.Drain(ctx)
}

type upgradePlatformInput struct{ Body UpgradePlatformRequest }

func (s *Server) upgrade(ctx context.Context, in *upgradePlatformInput) (Upgrade, error) {
	if err := ownerOnly(ctx, "upgrade the platform"); err != nil {
		return Upgrade{}, err
	}
	return s.platform.Machine.Upgrade(ctx, in.Body.File)
}
