package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// binds gives where the folders are to be mounted, and makes the places.
func (e *Engine) binds(root string, mounts []Mount) ([]order.Bind, error) {
	var binds []order.Bind
	for _, mount := range mounts {
		place := placeInRelease
		if filepath.IsAbs(mount.Target) {
			place = e.placeOnMachine
		}
		target, err := place(root, mount.Target)
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(mount.Source); err != nil || !info.IsDir() {
			return nil, springtide.Errorf(springtide.Failed, "the folder %s, which is to be seen at %s, is not there", mount.Source, mount.Target)
		}
		binds = append(binds, order.Bind{Source: mount.Source, Target: target, ReadOnly: mount.ReadOnly})
	}
	// What lies in another one is mounted after it.
	slices.SortFunc(binds, func(a, b order.Bind) int { return strings.Compare(a.Target, b.Target) })
	return binds, nil
}

// placeInRelease makes the place in the unpacked release, which the app itself
// cannot write to. A link that leads out of it is not followed.
func placeInRelease(root, target string) (string, error) {
	if target = filepath.Clean(target); target == "." || !filepath.IsLocal(target) {
		return "", springtide.Errorf(springtide.Invalid, "%q is no folder within the app", target)
	}
	release, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer release.Close()
	info, err := release.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		if err = release.MkdirAll(target, 0o755); err == nil {
			info, err = release.Stat(target)
		}
	}
	if err != nil {
		return "", springtide.Errorf(springtide.Failed, "the app has no room for the folder %s: %w", target, err).
			WithHint("it must not be behind a file or a link in the app")
	}
	if !info.IsDir() {
		return "", springtide.Errorf(springtide.Invalid, "%s is to be a shared folder, but the app has a file there", target)
	}
	return filepath.Join(root, target), nil
}

// placeOnMachine makes the place outside of the app, an empty folder of the
// machine if there is none. Folders of the system are not hidden from apps.
func (e *Engine) placeOnMachine(_, target string) (string, error) {
	resolved, err := resolve(filepath.Clean(target))
	if err != nil {
		return "", springtide.Errorf(springtide.Failed, "look at %s: %w", target, err)
	}
	if e.isOfSystem(resolved) {
		return "", springtide.Errorf(springtide.Invalid, "%s belongs to the system: no shared folder can be there", target).
			WithHint("choose a path relative to the app, or one below /srv or /data")
	}
	if err := os.MkdirAll(resolved, 0o755); err != nil {
		return "", springtide.Errorf(springtide.Failed, "the folder %s cannot be made: %w", target, err).
			WithHint("make it by hand, or choose a path relative to the app")
	}
	return resolved, nil
}

// resolve follows the links of the part of a path that is there.
func resolve(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == "/" {
		return resolved, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", errors.New("it is a link to nowhere")
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// isOfSystem reports whether apps need what is at the path as it is.
func (e *Engine) isOfSystem(path string) bool {
	whole := []string{"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/boot", "/dev", "/proc", "/sys", "/run", "/root", e.options.Data}
	if slices.ContainsFunc(whole, func(folder string) bool { return isWithin(path, folder) }) {
		return true
	}
	alone := []string{"/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/cache", "/var/tmp", "/var/www", e.options.Data}
	return slices.ContainsFunc(alone, func(folder string) bool { return isWithin(folder, path) })
}

// isWithin reports whether the path is the folder or lies in it.
func isWithin(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(relative)
}
