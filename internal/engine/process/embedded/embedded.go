// Package embedded holds the program tide-init, which `make` puts into its
// folder: the first process of every instance and of every run.
package embedded

import (
	"embed"

	"github.com/springtide/springtide"
)

// The pattern fits README too, so that the package compiles without the program.
//
//go:embed [Rt]*
var files embed.FS

// Init gives the program tide-init. The error is of kind Internal: this binary
// was built without it.
func Init() ([]byte, error) {
	program, err := files.ReadFile("tide-init")
	if err != nil {
		return nil, springtide.Errorf(springtide.Internal, "this tide binary was built without its init program").WithHint("build it with `make build`")
	}
	return program, nil
}
