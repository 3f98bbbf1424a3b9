package control

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/service"
)

// appFolder is where the app is in the images that nodes pull.
const appFolder = "/app"

// isClaim says that files are a claim on the cluster, not in a bucket.
func isClaim(spec springtide.Files) bool { return spec.Bucket == "" }

// others gives those of an app's files that the cluster does not keep itself.
func (c *cluster) others(all map[springtide.FilesName]springtide.Files) map[springtide.FilesName]springtide.Files {
	if c == nil {
		return all
	}
	left := maps.Clone(all)
	maps.DeleteFunc(left, func(_ springtide.FilesName, spec springtide.Files) bool { return isClaim(spec) })
	return left
}

// external gives those of an app's services that the cluster does not keep itself.
func (c *cluster) external(all map[springtide.ServiceName]springtide.Service) map[springtide.ServiceName]springtide.Service {
	if c == nil {
		return all
	}
	left := maps.Clone(all)
	maps.DeleteFunc(left, func(_ springtide.ServiceName, spec springtide.Service) bool { return spec.External == "" })
	return left
}

// checkKept refuses services and files that the cluster cannot keep.
func (c *cluster) checkKept(ctx context.Context, app springtide.App) error {
	for _, name := range app.ServiceNames() {
		if spec := app.Services[name]; spec.External == "" {
			if err := c.databases.Check(ctx, name, spec); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Files)) {
		spec := app.Files[name]
		if isClaim(spec) && spec.Enqueue != "" {
			return springtide.Errorf(springtide.Invalid, "the files %s are kept by the cluster, where the platform sees no uploads to enqueue", name).
				WithHint("enqueue the run where the file is made: POST $TIDE_API/jobs")
		}
		if isClaim(spec) && (spec.Public != "" || spec.Signed) {
			return springtide.Errorf(springtide.Invalid, "the files %s cannot be served by edges from a cluster's storage", name).
				WithHint("keep them in a bucket: files: { %s: { s3: … } }", name)
		}
	}
	return nil
}

// claim makes the shared folders of a release on the cluster.
func (c *cluster) claim(ctx context.Context, release springtide.Release) error {
	if c == nil {
		return nil
	}
	for name, spec := range release.App.Files {
		if isClaim(spec) {
			if err := c.Claim(ctx, release.Environment, name, spec); err != nil {
				return err
			}
		}
	}
	return nil
}

// grantClaims shows an instance the shared folders of its release on the cluster.
func (s *state) grantClaims(release springtide.Release, grant *process.Grant) {
	if s.cluster == nil {
		return
	}
	claims := maps.Clone(release.App.Files)
	maps.DeleteFunc(claims, func(_ springtide.FilesName, spec springtide.Files) bool { return !isClaim(spec) })
	at := func(place string) string {
		if path.IsAbs(place) {
			return path.Clean(place)
		}
		return path.Join(appFolder, place)
	}
	for variable, place := range withoutOwn(release, s.files.Variables(release.Environment, claims, true, nil)) {
		grant.Env[variable] = at(place)
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		grant.Mounts = append(grant.Mounts, process.Mount{
			Source: kubernetes.ClaimName(release.Environment, name), Target: at(claims[name].Path),
		})
	}
}

// provide has the databases of a release be there, which the cluster keeps.
func (c *cluster) provide(ctx context.Context, release springtide.Release, say func(string)) error {
	if c == nil {
		return nil
	}
	for _, name := range release.App.ServiceNames() {
		if spec := release.App.Services[name]; spec.External == "" {
			if err := c.databases.Provide(ctx, springtide.ServiceID{Environment: release.Environment, Name: name}, spec, say); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep has the services go on that an environment still needs, and no others.
func (s *state) keep(ctx context.Context, id springtide.EnvironmentID, services map[springtide.ServiceName]springtide.Service) error {
	if s.cluster != nil {
		if err := s.cluster.databases.Keep(ctx, id, services); err != nil {
			return err
		}
	}
	return s.services.Keep(ctx, id, s.cluster.external(services))
}

// serviceVariables tells where a release's services are.
func (s *state) serviceVariables(ctx context.Context, release springtide.Release) (map[string]string, error) {
	all := release.App.Services
	variables, err := s.services.Variables(release.Environment, s.cluster.external(all))
	if err != nil || s.cluster == nil {
		return variables, err
	}
	for name, spec := range all {
		if spec.External != "" {
			continue
		}
		database, err := s.cluster.databases.Find(ctx, springtide.ServiceID{Environment: release.Environment, Name: name}, spec)
		if err != nil {
			return nil, err
		}
		for variable, url := range service.Leading(all, name, database.URL) {
			if strings.HasSuffix(variable, "_REPLICA_URL") {
				url = database.ReplicaURL
			}
			variables[variable] = url
		}
	}
	return variables, nil
}
