package cluster

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
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

// Image is an image with one static program in it.
type Image struct {
	Program     string // its path on this machine; /program in the image
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
	program, err := os.ReadFile(i.Program)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	headers := []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: "program", Mode: 0o755, Size: int64(len(program))},
	}
	for _, header := range headers {
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	if _, err := writer.Write(program); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
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
	config.Config = v1.Config{Entrypoint: []string{"/program"}, Cmd: i.Arguments, Env: i.Environment}
	return mutate.ConfigFile(image, config)
}
