package control

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"path"
	"path/filepath"
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
	mover *mover
}

func (f sharedFiles) open(id springtide.EnvironmentID, name springtide.FilesName) (*files.Folder, error) {
	return f.store.Open(files.FolderID{Environment: id, Name: name})
}

// FilesUsage implements api.SharedFiles.
func (f sharedFiles) FilesUsage(_ context.Context, id springtide.EnvironmentID) ([]api.FilesUsage, error) {
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
	return all, nil
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
		Quota: usage.Quota, Public: wanted.Public, Bucket: wanted.Bucket, Moved: folder.Moved != "" && folder.Moved == wanted.Bucket, Orphan: !named,
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
	if err := s.mover.begin(ctx, release, say); err != nil {
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

// bucketOf gives the bucket at a URL with the keys that an environment has for
// the files of a name.
func (s *state) bucketOf(id files.FolderID, url string) (files.Bucket, error) {
	place, err := springtide.ParseBucket(url)
	if err != nil {
		return files.Bucket{}, err
	}
	access, secret := files.BucketSecrets(id.Name)
	bucket := files.Bucket{Bucket: place}
	for name, value := range map[springtide.SecretName]*string{access: &bucket.AccessKey, secret: &bucket.SecretKey} {
		if *value, err = s.secret(id.Environment, name); err != nil {
			return bucket, springtide.Errorf(springtide.Invalid, "%s has no secret %s, for the bucket of %s", id.Environment, name, id.Name).
				WithHint("set it: tide secrets set %s --app %s --env %s", name, id.Environment.App, id.Environment.Name)
		}
	}
	return bucket, nil
}

// checkFiles refuses an app whose buckets have no keys.
func (s *state) checkFiles(id springtide.EnvironmentID, app springtide.App) error {
	for _, name := range slices.Sorted(maps.Keys(app.Files)) {
		if url := app.Files[name].Bucket; url != "" {
			if _, err := s.bucketOf(files.FolderID{Environment: id, Name: name}, url); err != nil {
				return err
			}
		}
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
	grant.Places = map[string]string{}
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
		if strings.HasPrefix(name, "FILES_") && !filepath.IsAbs(value) {
			grant.Places[name] = value
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
