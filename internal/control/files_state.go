package control

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/files"
)

// provisionFiles makes the shared folders of a release, and has them served.
func (s *state) provisionFiles(ctx context.Context, release springtide.Release, say func(string)) error {
	if err := s.cluster.claim(ctx, release); err != nil {
		return err
	}
	if release.App.Files = s.cluster.others(release.App.Files); len(release.App.Files) == 0 {
		return nil
	}
	owner, _, err := s.machine.User(release.Environment.App)
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
	if bucket.AccessKey, err = s.bucketKey(id, access); err != nil {
		return bucket, err
	}
	bucket.SecretKey, err = s.bucketKey(id, secret)
	return bucket, err
}

func (s *state) bucketKey(id files.FolderID, name springtide.SecretName) (string, error) {
	value, err := s.secret(id.Environment, name)
	if springtide.KindOf(err) == springtide.NotFound {
		return "", springtide.Errorf(springtide.Invalid, "%s has no secret %s, for the bucket of %s", id.Environment, name, id.Name).
			WithHint("set it: tide secrets set %s --app %s --env %s", name, id.Environment.App, id.Environment.Name)
	}
	return value, err
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

// grantFiles gives an instance its release's shared folders.
func (s *state) grantFiles(release springtide.Release, grant *process.Grant) error {
	s.grantClaims(release, grant)
	release.App.Files = s.cluster.others(release.App.Files)
	buckets, err := s.buckets(release, grant.Env)
	if err != nil {
		return err
	}
	grant.Places = map[string]string{}
	variables := s.files.Variables(release.Environment, release.App.Files, s.machine.Isolation().MountNamespace, buckets)
	for name, value := range withoutOwn(release, variables) {
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

// withoutOwn leaves out what the app sets itself; all names of Amazon's, if it
// sets any of those: half of an account is none.
func withoutOwn(release springtide.Release, variables map[string]string) map[string]string {
	amazon := func(name string) bool { return strings.HasPrefix(name, "AWS_") }
	own, hasAmazon := map[string]bool{}, false
	note := func(name string) { own[name], hasAmazon = true, hasAmazon || amazon(name) }
	for name := range release.App.Env {
		note(name)
	}
	for name := range release.Config {
		note(name)
	}
	for name := range release.Secrets {
		note(string(name))
	}
	left := maps.Clone(variables)
	maps.DeleteFunc(left, func(name, _ string) bool { return own[name] || hasAmazon && amazon(name) })
	return left
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
