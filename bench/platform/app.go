package platform

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/springtide/springtide/internal/api"
)

// versionLine is the constant that makes one version of the quiz differ from the next.
var versionLine = regexp.MustCompile(`const Version = "[^"]*"`)

// CopyApp copies an example, so that it can be changed.
func CopyApp(from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// SetVersion makes a new version of a copy of the quiz.
func SetVersion(folder, version string) error {
	path := filepath.Join(folder, "version.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !versionLine.Match(source) {
		return fmt.Errorf("%s has no line like %s", path, versionLine)
	}
	return os.WriteFile(path, versionLine.ReplaceAll(source, fmt.Appendf(nil, "const Version = %q", version)), 0o644)
}

// Deploy runs `tide deploy` on a folder and gives how it went.
func (p *Platform) Deploy(ctx context.Context, folder string, arguments ...string) (api.Deploy, error) {
	var deploy api.Deploy
	output, err := p.CLI(ctx, append([]string{"deploy", folder, "--json"}, arguments...)...)
	if err != nil {
		return deploy, err
	}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &deploy); err != nil {
		return deploy, fmt.Errorf("the last line of tide deploy --json: %w", err)
	}
	return deploy, nil
}

// Build builds the tide binary of the source tree whose folder is root, and
// gives its path.
func Build(ctx context.Context, root string) (string, error) {
	command := exec.CommandContext(ctx, "make", "-s", "-C", root, "build")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w\n%s", err, output)
	}
	return filepath.Join(root, "bin", "tide"), nil
}
