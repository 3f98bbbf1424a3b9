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

func (s *Server) allFilesUsage(ctx context.Context, _ *struct{}) ([]FilesUsage, error) {
	return s.platform.Files.FilesUsage(ctx, springtide.EnvironmentID{})
}

// FolderPath is the part of a path that names a shared folder.
type FolderPath struct {
	EnvironmentPath
	Name springtide.FilesName `path:"files" maxLength:"40" pattern:"^[a-z0-9-]+$"`
}

// FilesPath is the part of a request that names a file or a folder.
type FilesPath struct {
	FolderPath
	Path string `query:"path" maxLength:"4096" doc:"relative to the shared folder, with slashes"`
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

type moveFilesInput struct {
	FolderPath
	Body FilesMove
}

func (s *Server) moveFiles(ctx context.Context, in *moveFilesInput) (FilesMoved, error) {
	return s.platform.Files.MoveFiles(ctx, in.id(), in.Name, in.Body)
}

type destroyFilesInput struct {
	FolderPath
	Confirm string `query:"confirm" required:"true" doc:"app/environment/name, typed out"`
}

func (s *Server) destroyFiles(ctx context.Context, in *destroyFilesInput) error {
	if name := in.id().String() + "/" + string(in.Name); in.Confirm != name {
		return springtide.Errorf(springtide.Invalid, "%q is not the name of what would be deleted", in.Confirm).
			WithHint("all files of the shared folder are deleted for good; to do that, name it as %s", name)
	}
	return s.platform.Files.DestroyFiles(context.WithoutCancel(ctx), in.id(), in.Name)
}
