package control

import (
	"context"
	"io"
	"path"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/files"
)

// sharedFiles implements api.SharedFiles.
type sharedFiles struct {
	store *files.Store
	fleet *deploy.Fleet
}

func (f sharedFiles) open(id springtide.EnvironmentID, name springtide.FilesName) (*files.Folder, error) {
	return f.store.Open(files.FolderID{Environment: id, Name: name})
}

// FilesUsage implements api.SharedFiles.
func (f sharedFiles) FilesUsage(_ context.Context, id springtide.EnvironmentID) ([]api.FilesUsage, error) {
	names, err := f.store.Names(id)
	if err != nil {
		return nil, err
	}
	_, release, err := f.fleet.Environment(id)
	if err != nil && len(names) == 0 {
		return nil, err
	}
	all := []api.FilesUsage{}
	for _, name := range names {
		folder, err := f.open(id, name)
		if err != nil {
			return nil, err
		}
		usage, err := folder.Usage()
		if closed := folder.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return nil, err
		}
		wanted := release.App.Files[name]
		all = append(all, api.FilesUsage{
			Name: name, Path: wanted.Path, Bytes: usage.Bytes, Files: usage.Files, Counted: usage.Counted,
			Quota: usage.Quota, Public: wanted.Public,
		})
	}
	return all, nil
}

// ListFiles implements api.SharedFiles.
func (f sharedFiles) ListFiles(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace, after string, limit int, deep bool) ([]api.FileInfo, error) {
	folder, err := f.open(id, place.Files)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	options := files.ListOptions{After: after, Limit: limit}
	if inside := strings.Trim(place.Path, "/"); inside != "" {
		options.Prefix = inside + "/"
	}
	if !deep {
		options.Delimiter = "/"
	}
	all := []api.FileInfo{}
	for len(all) < limit {
		options.Limit = min(limit-len(all), files.PageLimit)
		page, err := folder.List(ctx, options)
		if err != nil {
			return nil, err
		}
		for _, entry := range page.Entries {
			all = append(all, fileInfo(entry))
		}
		if page.Next == "" {
			break
		}
		options.After = page.Next
	}
	return all, nil
}

func fileInfo(entry files.Entry) api.FileInfo {
	return api.FileInfo{Path: strings.TrimSuffix(entry.Name, "/"), Size: entry.Size, Modified: entry.Modified, Folder: entry.Folder}
}

// openFile is a file whose folder is closed with it.
type openFile struct {
	*files.File
	folder *files.Folder
}

// Close closes both.
func (f openFile) Close() error {
	err := f.File.Close()
	if closed := f.folder.Close(); err == nil {
		err = closed
	}
	return err
}

// OpenFile implements api.SharedFiles.
func (f sharedFiles) OpenFile(_ context.Context, id springtide.EnvironmentID, place api.FilePlace) (io.ReadSeekCloser, api.FileInfo, error) {
	folder, err := f.open(id, place.Files)
	if err != nil {
		return nil, api.FileInfo{}, err
	}
	file, err := folder.Read(place.Path)
	if err != nil {
		folder.Close()
		return nil, api.FileInfo{}, err
	}
	return openFile{file, folder}, fileInfo(file.Entry), nil
}

// PutFile implements api.SharedFiles.
func (f sharedFiles) PutFile(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace, content io.Reader, modified time.Time) (api.FileInfo, error) {
	folder, err := f.open(id, place.Files)
	if err != nil {
		return api.FileInfo{}, err
	}
	defer folder.Close()
	entry, err := folder.Put(ctx, path.Clean(place.Path), content, files.PutOptions{Size: -1, Modified: modified})
	return fileInfo(entry), err
}

// DeleteFile implements api.SharedFiles.
func (f sharedFiles) DeleteFile(_ context.Context, id springtide.EnvironmentID, place api.FilePlace) error {
	folder, err := f.open(id, place.Files)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Delete(place.Path, false)
}
