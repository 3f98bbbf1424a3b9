package cache

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

// A disk of 1 MiB that is full while edges follow each other: nobody notices.
func TestUpgradesOnAFullCacheDiskFailNoRequest(t *testing.T) {
	data := story.Folder(t)
	disk := filepath.Join(data, "edge", "cache")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a disk of its own takes root: %v", err)
	}
	p, err := platform.Start(t.Context(), platform.Options{Tide: story.Binary(t), Data: data})
	if err != nil {
		_ = syscall.Unmount(disk, 0)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	folder := story.Folder(t)
	write(t, filepath.Join(folder, "tide.yaml"), manifest)
	write(t, filepath.Join(folder, "app.py"), strings.Replace(app, "FIRST\".encode()", "\".encode() + b'FIRST' * 10000", 1))
	url := story.Deploy(t, p, folder)
	client := story.HTTP(t, p)

	var asked, failed atomic.Int64
	var load sync.WaitGroup
	end := make(chan struct{})
	for reader := range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				default:
				}
				if err := whole(client, fmt.Sprintf("%s/large/%d/%d", url, reader, i/2)); err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for range 5 {
		before := asked.Load()
		story.Eventually(t, "more answers than the disk has room for", time.Minute, func() bool { return asked.Load() > before+100 || failed.Load() > 0 })
		if _, err := p.CLI(t.Context(), "upgrade"); err != nil {
			t.Error(err)
		}
	}
	close(end)
	load.Wait()
	var room syscall.Statfs_t
	if err := syscall.Statfs(disk, &room); err != nil || room.Bavail*uint64(room.Bsize) > 200<<10 {
		t.Errorf("the disk was not full: %d bytes are free, %v", room.Bavail*uint64(room.Bsize), err)
	}
	out, err := p.CLI(t.Context(), "cache", "--app", "counted", "--json")
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d requests, %d failed; %s", asked.Load(), failed.Load(), out)
}

// whole asks for a page, and gives an error if it is not all there.
func whole(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || strings.Count(string(body), "FIRST") != 10000) {
		err = fmt.Errorf("%s: %s, %d bytes", url, response.Status, len(body))
	}
	return err
}
