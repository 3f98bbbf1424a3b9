package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/springtide/springtide"
)

func (s *Server) filesUsage(ctx context.Context, in *EnvironmentPath) ([]FilesUsage, error) {
	return s.platform.Files.FilesUsage(ctx, in.id())
}

// FilesPath is the part of a request that names a file or a folder.
type FilesPath struct {
	EnvironmentPath
	Name springtide.FilesName `path:"files" maxLength:"40" pattern:"^[a-z0-9-]+$"`
	Path string               `query:"path" maxLength:"4096" doc:"relative to the shared folder, with slashes"`
}

func (p FilesPath) place() FilePlace { return FilePlace{p.Name, p.Path} }

type listFilesInput struct {
	FilesPath
	After string `query:"after" doc:"the path to go on behind"`
	Limit int    `query:"limit" default:"1000" minimum:"1" maximum:"10000"`
	Deep  bool   `query:"deep" doc:"list what is in folders too"`
}

func (s *Server) listFiles(ctx context.Context, in *listFilesInput) ([]FileInfo, error) {
	return s.platform.Files.ListFiles(ctx, in.id(), in.place(), in.After, in.Limit, in.Deep)
}

func (s *Server) readFile(ctx context.Context, in *FilesPath) (func(huma.Context), error) {
	content, info, err := s.platform.Files.OpenFile(ctx, in.id(), in.place())
	if err != nil {
		return nil, err
	}
	return func(ctx huma.Context) {
		defer content.Close()
		r, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", info.Modified, content)
	}, nil
}

type putFileInput struct {
	FilesPath
	Modified time.Time `query:"modified" doc:"when it was changed; default: now"`
	Content  wholeBody
}

func (s *Server) putFile(ctx context.Context, in *putFileInput) (FileInfo, error) {
	return s.platform.Files.PutFile(ctx, in.id(), in.place(), in.Content.reader, in.Modified)
}

func (s *Server) deleteFile(ctx context.Context, in *FilesPath) error {
	return s.platform.Files.DeleteFile(ctx, in.id(), in.place())
}
