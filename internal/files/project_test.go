package files

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// projectDisk mounts a small ext4 with project quotas.
func projectDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	image, disk := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota", image).CombinedOutput(); err != nil {
		t.Skipf("no ext4 can be made: %s", output)
	}
	if output, err := exec.Command("mount", "-o", "loop,prjquota", image, disk).CombinedOutput(); err != nil {
		t.Skipf("this kernel has no project quotas: %s", output)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	return disk
}
