package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// required is the version of Kubernetes in a module file; the server says so of itself.
var required = regexp.MustCompile(`\tk8s\.io/kubernetes (v1\.(\d+)\.\d+)\n`)

// Programs are the paths of what a cluster is made of.
type Programs struct {
	Server   string // Kubernetes in one binary, made of the module test/kubernetes/server
	Pause    string // the program of the first container of each pod
	Policies string // holds a node to the policies of the network
}

// Build makes the programs, or finds them in the cache: they are kept by the
// content of their sources. Kubernetes takes ten minutes of two processors and
// 2.4 GiB. It is that of server/go.mod, or of server/go-1.37.mod if the environment
// says KUBERNETES=1.37; such a file is made of the one line that requires Kubernetes
// and of the replacements, by go mod tidy -modfile=go-1.37.mod. folder is that of
// the module test/kubernetes.
func Build(ctx context.Context, folder string) (Programs, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Programs{}, err
	}
	server, err := buildServer(ctx, cache, filepath.Join(folder, "server"))
	if err != nil {
		return Programs{}, err
	}
	pause, err := build(ctx, cache, filepath.Join(folder, "pause"), "-mod=readonly", "-s -w", "main.go")
	if err != nil {
		return Programs{}, err
	}
	policies, err := build(ctx, cache, filepath.Join(folder, "policies"), "-mod=readonly", "-s -w", "main.go", "rules.go", "../go.sum")
	return Programs{server, pause, policies}, err
}

func buildServer(ctx context.Context, cache, folder string) (string, error) {
	module := "go"
	if minor := os.Getenv("KUBERNETES"); minor != "" {
		module += "-" + minor
	}
	text, err := os.ReadFile(filepath.Join(folder, module+".mod"))
	if err != nil {
		return "", err
	}
	version := required.FindSubmatch(text)
	if version == nil {
		return "", fmt.Errorf("%s.mod in %s requires no Kubernetes", module, folder)
	}
	const variable = " -X k8s.io/component-base/version."
	flags := fmt.Sprintf("-s -w"+variable+"gitVersion=%s"+variable+"gitMajor=1"+variable+"gitMinor=%s"+variable+"gitTreeState=clean", version[1], version[2])
	return build(ctx, cache, folder, "-mod=readonly -modfile="+module+".mod", flags, module+".mod", module+".sum", "main.go")
}

func build(ctx context.Context, cache, folder, settings, flags string, sources ...string) (string, error) {
	hash := sha256.New()
	for _, name := range sources {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	name := filepath.Base(folder) + "-" + hex.EncodeToString(hash.Sum(nil)[:8])
	path := filepath.Join(cache, "springtide-test-kubernetes", name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", flags, "-o", path+".new", ".")
	command.Dir = folder
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+settings)
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", folder, err, output)
	}
	return path, os.Rename(path+".new", path)
}
