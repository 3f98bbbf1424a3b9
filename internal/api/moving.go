package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/moving"
)

// importPath takes bodies of any size.
const importPath = "/v1/platform/import"

// Moving takes apps from one platform to another. Implemented by the control
// plane's wiring.
type Moving interface {
	// Export gives what writes a file that only the recipients, of age, can read; all
	// apps where none is named.
	Export(ctx context.Context, apps []springtide.AppName, recipients []string) (func(io.Writer) error, error)
	// PlanImport tells what importing a file with that inventory would do.
	PlanImport(ctx context.Context, inventory moving.Inventory) (moving.ImportPlan, error)
	// Import takes in a decrypted file, or some of its apps, each whole or not at
	// all, and tells what it did. The rollouts go on by themselves.
	Import(ctx context.Context, apps []springtide.AppName, file io.Reader) (moving.ImportPlan, error)
}

type exportAppsInput struct {
	Body ExportRequest
}

// ExportRequest says what is exported for whom.
type ExportRequest struct {
	// Apps are all where none is named.
	Apps []springtide.AppName `json:"apps,omitempty"`
	// Recipients are of age, like age1….
	Recipients []string `json:"recipients"`
}

func (s *Server) export(ctx context.Context, in *exportAppsInput) (func(huma.Context), error) {
	if err := ownerOnly(ctx, "export apps"); err != nil { // secrets are in it
		return nil, err
	}
	write, err := s.platform.Moving.Export(ctx, in.Body.Apps, in.Body.Recipients)
	if err != nil {
		return nil, err
	}
	return func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := write(w); err != nil {
			s.logger.Error("an export broke off", "error", err)
			panic(http.ErrAbortHandler) // a part of it must not look whole
		}
	}, nil
}

type planImportInput struct {
	Body moving.Inventory
}

func (s *Server) planImport(ctx context.Context, in *planImportInput) (moving.ImportPlan, error) {
	return s.platform.Moving.PlanImport(ctx, in.Body)
}

type importAppsInput struct {
	Apps []springtide.AppName `query:"app,explode" doc:"those to take; default: all"`
	File wholeBody
}

func (s *Server) importApps(ctx context.Context, in *importAppsInput) (moving.ImportPlan, error) {
	return s.platform.Moving.Import(ctx, in.Apps, in.File.reader)
}
