package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// version is that of Kubernetes; the server says so of itself.
const version = "1.34.4"

// Programs are the paths of what a cluster is made of.
type Programs struct {
	Server   string // Kubernetes in one binary, made of the module test/kubernetes/server
	Pause    string // the program of the first container of each pod
	Policies string // holds a node to the policies of the network
}

// Build makes the programs, or finds them in the cache: they are kept by the
// content of their sources. Kubernetes takes ten minutes of two processors and
// 2.4 GiB. folder is that of the module test/kubernetes.
func Build(ctx context.Context, folder string) (Programs, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Programs{}, err
	}
	const variable = " -X k8s.io/component-base/version."
	flags := "-s -w" + variable + "gitVersion=v" + version + variable + "gitMajor=1" + variable + "gitMinor=34" + variable + "gitTreeState=clean"
	server, err := build(ctx, cache, filepath.Join(folder, "server"), flags, "go.mod", "go.sum", "main.go")
	if err != nil {
		return Programs{}, err
	}
	pause, err := build(ctx, cache, filepath.Join(folder, "pause"), "-s -w", "main.go")
	if err != nil {
		return Programs{}, err
	}
	policies, err := build(ctx, cache, filepath.Join(folder, "policies"), "-s -w", "main.go", "rules.go", "../go.sum")
	return Programs{server, pause, policies}, err
}

func build(ctx context.Context, cache, folder, flags string, sources ...string) (string, error) {
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
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", folder, err, output)
	}
	return path, os.Rename(path+".new", path)
}
