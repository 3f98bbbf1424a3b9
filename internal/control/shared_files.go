package control

import (
	"context"
	"io"
	"path"
	"slices"
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
	mover *mover
	// cluster keeps files too; nil: there is none.
	cluster *cluster
}

func (f sharedFiles) open(id springtide.EnvironmentID, name springtide.FilesName) (*files.Folder, error) {
	if err := f.seen(id, name); err != nil {
		return nil, err
	}
	return f.store.Open(files.FolderID{Environment: id, Name: name})
}

// FilesUsage implements api.SharedFiles.
func (f sharedFiles) FilesUsage(ctx context.Context, id springtide.EnvironmentID) ([]api.FilesUsage, error) {
	folders, err := f.store.All()
	if err != nil {
		return nil, err
	}
	every := id == (springtide.EnvironmentID{})
	folders = slices.DeleteFunc(folders, func(folder files.FolderID) bool { return !every && folder.Environment != id })
	if _, _, err := f.fleet.Environment(id); err != nil && len(folders) == 0 && !every {
		return nil, err
	}
	slices.SortFunc(folders, func(a, b files.FolderID) int { return strings.Compare(a.String(), b.String()) })
	all := []api.FilesUsage{}
	for _, folder := range folders {
		usage, err := f.usage(folder)
		if springtide.KindOf(err) == springtide.NotFound {
			continue // it was just destroyed
		}
		if err != nil {
			return nil, err
		}
		all = append(all, usage)
	}
	claims, err := f.claims(ctx, id)
	return append(all, claims...), err
}

func (f sharedFiles) usage(id files.FolderID) (api.FilesUsage, error) {
	folder, err := f.store.Open(id)
	if err != nil {
		return api.FilesUsage{}, err
	}
	defer folder.Close()
	usage, err := folder.Usage()
	wanted, named := f.wanted(id)
	return api.FilesUsage{
		Environment: id.Environment, Name: id.Name, Path: wanted.Path, Bytes: usage.Bytes, Files: usage.Files, Counted: usage.Counted,
		Quota: usage.Quota, Public: wanted.Public, Bucket: wanted.Bucket, Moved: folder.Moved != "" && wanted.Bucket != "", Orphan: !named,
	}, err
}

// wanted is what the active release says of a folder, if it names it.
func (f sharedFiles) wanted(id files.FolderID) (springtide.Files, bool) {
	_, release, err := f.fleet.Environment(id.Environment)
	wanted, named := release.App.Files[id.Name]
	return wanted, named && err == nil
}

// MoveFiles implements api.SharedFiles.
func (f sharedFiles) MoveFiles(ctx context.Context, id springtide.EnvironmentID, name springtide.FilesName, move api.FilesMove) (api.FilesMoved, error) {
	folder, err := f.open(id, name)
	if err != nil {
		return api.FilesMoved{}, err
	}
	defer folder.Close()
	bucket, err := f.mover.bucket(files.FolderID{Environment: id, Name: name}, move.To)
	if err != nil {
		return api.FilesMoved{}, err
	}
	done, err := folder.CopyTo(ctx, bucket, files.CopyOptions{After: move.After, Check: move.Check, Limit: moveLimit})
	return api.FilesMoved(done), err
}

// moveLimit is about how long one request may copy files.
const moveLimit = 20 * time.Second

// DestroyFiles implements api.SharedFiles.
func (f sharedFiles) DestroyFiles(_ context.Context, id springtide.EnvironmentID, name springtide.FilesName) error {
	if err := f.seen(id, name); err != nil {
		return err
	}
	folder := files.FolderID{Environment: id, Name: name}
	if wanted, named := f.wanted(folder); named {
		usage, err := f.usage(folder)
		switch {
		case err != nil:
			return err
		case wanted.Bucket == "":
			return springtide.Errorf(springtide.Conflict, "the shared folder %s is in use", folder).
				WithHint("take it out of the manifest and deploy, or destroy the environment, first")
		case !usage.Moved:
			return springtide.Errorf(springtide.Conflict, "not all of the shared folder %s is in its bucket yet", folder).
				WithHint("`tide files` tells when it is")
		}
	}
	return f.store.Destroy(folder)
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
