package control

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/process"
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

// provisionFiles makes the shared folders of a release, and has them served.
func (s *state) provisionFiles(ctx context.Context, release springtide.Release, say func(string)) error {
	if len(release.App.Files) == 0 {
		return nil
	}
	owner, _, err := s.engine.User(release.Environment.App)
	if err != nil {
		return err
	}
	if err := s.files.Provision(ctx, release.Environment, release.App.Files, owner); err != nil {
		return err
	}
	for _, spec := range release.App.Files {
		if spec.Bucket != "" {
			continue
		}
		if err := s.gateway.need(ctx); err != nil { // the folder is there all the same
			say("shared files are not served as S3: " + err.Error())
		}
		return ctx.Err()
	}
	return nil
}

// buckets tells where a release's files are as S3, for those who have its secrets.
func (s *state) buckets(release springtide.Release, secrets map[string]string) (map[springtide.FilesName]files.Bucket, error) {
	buckets := map[springtide.FilesName]files.Bucket{}
	for name, spec := range release.App.Files {
		if spec.Bucket == "" {
			address, _, err := s.gateway.addresses()
			if err != nil {
				return nil, err
			}
			buckets[name] = files.Bucket{
				Bucket:      springtide.Bucket{Endpoint: "http://" + address.String(), Region: springtide.S3Region, Name: string(name)},
				Credentials: files.NewCredentials(s.gateway.key(), release.Environment),
			}
			continue
		}
		bucket, err := springtide.ParseBucket(spec.Bucket)
		if err != nil {
			return nil, err
		}
		access, secret := files.BucketSecrets(name)
		buckets[name] = files.Bucket{
			Bucket: bucket, Credentials: files.Credentials{AccessKey: secrets[string(access)], SecretKey: secrets[string(secret)]},
		}
	}
	return buckets, nil
}

// grantFiles gives an instance its release's shared folders. What the app says
// itself wins; of the names of Amazon's it gets none if it has any of its own.
func (s *state) grantFiles(release springtide.Release, grant *process.Grant) error {
	buckets, err := s.buckets(release, grant.Env)
	if err != nil {
		return err
	}
	amazon := func(name string) bool { return strings.HasPrefix(name, "AWS_") }
	own := map[string]bool{}
	for _, names := range []iter.Seq[string]{maps.Keys(release.App.Env), maps.Keys(release.Config), texts(maps.Keys(release.Secrets))} {
		for name := range names {
			own[name] = true
			own["AWS_"] = own["AWS_"] || amazon(name)
		}
	}
	for name, value := range s.files.Variables(release.Environment, release.App.Files, s.engine.Isolation().MountNamespace, buckets) {
		if own[name] || own["AWS_"] && amazon(name) {
			continue
		}
		grant.Env[name] = value
		if strings.Contains(name, "SECRET_ACCESS_KEY") && value != "" {
			grant.Credentials[name] = []byte(value)
			grant.Hide = append(grant.Hide, []byte(value))
		}
	}
	for _, mount := range s.files.Mounts(release.Environment, release.App.Files) {
		grant.Mounts = append(grant.Mounts, process.Mount{Source: mount.Source, Target: mount.Target, ReadOnly: mount.ReadOnly})
	}
	return nil
}

func texts[T ~string](names iter.Seq[T]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range names {
			if !yield(string(name)) {
				return
			}
		}
	}
}

// routes adds to the fleet's routes the folders whose files are served without
// asking an instance.
func (s *state) routes(ctx context.Context) ([]springtide.Route, error) {
	routes, err := s.fleet.Routes(ctx)
	for i, route := range routes {
		_, release, unknown := s.fleet.Environment(route.Environment)
		if unknown != nil {
			continue // it has just gone
		}
		served, problem := s.publicFiles(release)
		routes[i].Files, err = served, errors.Join(err, problem)
	}
	return routes, err
}

func (s *state) publicFiles(release springtide.Release) ([]springtide.PublicFiles, error) {
	var served []springtide.PublicFiles
	for _, name := range slices.Sorted(maps.Keys(release.App.Files)) {
		spec := release.App.Files[name]
		if spec.Public == "" && !spec.Signed {
			continue
		}
		s3, public, err := s.gateway.addresses()
		if err != nil {
			return nil, err
		}
		folder := files.FolderID{Environment: release.Environment, Name: name}.String()
		if spec.Public != "" {
			served = append(served, springtide.PublicFiles{Prefix: strings.TrimSuffix(spec.Public, "/"), Folder: folder, Address: public.String()})
		}
		if spec.Signed {
			served = append(served, springtide.PublicFiles{Prefix: "/" + string(name), Folder: folder, Address: s3.String()})
		}
	}
	return served, nil
}
