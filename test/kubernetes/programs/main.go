// Programs makes those of a cluster before its tests want them: `go run ./programs`
// in the folder of the module.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

func main() {
	if _, err := cluster.Build(context.Background(), "."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
