package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// startRegistry serves images from memory, with the one that every pod needs.
func (c *Cluster) startRegistry() error {
	listener, err := net.Listen("tcp", Registry)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: 10 * time.Second}
	c.close = append(c.close, server.Close)
	go func() { _ = server.Serve(listener) }()
	return c.AddImage("pause:1", Image{Program: c.options.Pause})
}

// Image is an image with one static program in it, or a few.
type Image struct {
	Program string // its path on this machine; /program in the image
	// Others are further programs: paths on this machine by those in the image.
	Others map[string]string
	// Links are symbolic links in the image, and what they lead to.
	Links       map[string]string
	Folder      string // the working folder
	User        string // default: root
	Arguments   []string
	Environment []string // NAME=value
}

// AddImage has the registry serve an image as NAME:TAG.
func (c *Cluster) AddImage(reference string, image Image) error {
	made, err := image.build()
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	tag, err := name.NewTag(Registry+"/"+reference, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(tag, made)
}

func (i Image) build() (v1.Image, error) {
	archive, err := i.archive()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{Entrypoint: []string{"/program"}, Cmd: i.Arguments, Env: i.Environment, WorkingDir: i.Folder, User: i.User}
	return mutate.ConfigFile(image, config)
}

// archive is the one layer.
func (i Image) archive() ([]byte, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	programs := map[string]string{"program": i.Program}
	maps.Copy(programs, i.Others)
	if err := writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		program, err := os.ReadFile(programs[name])
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(name, "/"), Mode: 0o755, Size: int64(len(program))}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(program); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Links)) {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(name, "/"), Linkname: i.Links[name], Mode: 0o777}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	return archive.Bytes(), writer.Close()
}

// Trust has the nodes know a registry by its authority's certificate, in PEM; nil: no
// more.
func (c *Cluster) Trust(registry string, authority []byte) error {
	for n := range c.nodes {
		folder := c.path(nodeName(n), "certs.d", registry)
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		if authority == nil {
			continue
		}
		hosts := fmt.Sprintf("[host.\"https://%s\"]\n  ca = %q\n", registry, filepath.Join(folder, "ca.pem"))
		if err := errors.Join(
			os.MkdirAll(folder, 0o755),
			os.WriteFile(filepath.Join(folder, "ca.pem"), authority, 0o600),
			os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(hosts), 0o600),
		); err != nil {
			return err
		}
	}
	return nil
}
