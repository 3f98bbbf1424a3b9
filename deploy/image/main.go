// Command image makes a container image of the tide binary, without a container
// engine: a static program on a base.
//
//	go run ./deploy/image -tide bin/tide -push registry.example.com/springtide/tide:1
//	go run ./deploy/image -tide bin/tide -file tide.tar      # for ctr images import, docker load
//
// A control plane builds apps where it runs: the base has a shell, and what build
// commands need, such as golang:1.26.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // it is a program
	}
}

// certificates are what servers are trusted by: small bases have none.
const certificates = "etc/ssl/certs/ca-certificates.crt"

func run() error {
	tide := flag.String("tide", "bin/tide", "the static binary")
	base := flag.String("base", "debian:12-slim", "the image to put it on")
	push := flag.String("push", "", "where to push it: REGISTRY/NAME:TAG")
	file := flag.String("file", "", "a file to write it to")
	tag := flag.String("tag", "springtide/tide:latest", "what it is called in the file")
	flag.Parse()
	if *push == "" && *file == "" {
		return errors.New("say where to put it: -push or -file")
	}
	image, err := build(*tide, *base)
	if err != nil {
		return err
	}
	if *push != "" {
		to, err := name.ParseReference(*push)
		if err != nil {
			return err
		}
		if err := remote.Write(to, image, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return err
		}
	}
	if *file == "" {
		return nil
	}
	called, err := name.NewTag(*tag)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(*file, called, image)
}

// build puts the binary on the base.
func build(tide, base string) (v1.Image, error) {
	from, err := name.ParseReference(base)
	if err != nil {
		return nil, err
	}
	on, err := remote.Image(from, remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return nil, err
	}
	text, err := pack(tide)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(on, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint, config.Config.Cmd, config.Config.User = []string{"/usr/bin/tide"}, nil, "65532:65532"
	return mutate.ConfigFile(image, config)
}

// pack makes the layer.
func pack(tide string) ([]byte, error) {
	var text bytes.Buffer
	writer := tar.NewWriter(&text)
	for _, file := range []struct {
		path, from string
		mode       int64
	}{{"usr/bin/tide", tide, 0o755}, {certificates, "/" + certificates, 0o644}} {
		content, err := os.ReadFile(file.from)
		if err != nil {
			return nil, err
		}
		if err := writer.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file.path, Mode: file.mode, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := writer.Write(content); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), writer.Close()
}
