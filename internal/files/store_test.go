package files

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestASharedFolderIsMadeAgainAndAgainForItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	store, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a/b", "x")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, direct(store, "a/link")); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []int{61001, 61002, 61002} {
		provision(t, store, springtide.Files{}, owner)
		seen := 0
		err := filepath.WalkDir(store.tree(uploads), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != owner || int(stat.Gid) != owner {
				t.Errorf("%s belongs to %d:%d, not %d", path, stat.Uid, stat.Gid, owner)
			}
			seen++
			return nil
		})
		if err != nil || seen != 4 {
			t.Errorf("%d entries, %v", seen, err)
		}
	}
	info, err := os.Stat(outside)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("what a link leads to was handed over: %v", err)
	}
	info, err = os.Stat(store.tree(uploads))
	if err != nil || info.Mode() != os.ModeDir|folderMode {
		t.Errorf("the folder's mode is %v, %v", info.Mode(), err)
	}
	again, err := store.Open(uploads)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	put(t, again, "c", "x")
	if info, err := os.Stat(direct(store, "c")); err != nil || info.Sys().(*syscall.Stat_t).Uid != 61002 {
		t.Errorf("a new file is another's: %v", err)
	}
}

func TestWhatIsNoNameMakesNoFolder(t *testing.T) {
	store, _ := newFolder(t, springtide.Files{})
	for _, name := range []springtide.FilesName{"", "..", "a/b", ".uploads", "A", "-a"} {
		err := store.Provision(t.Context(), shop, map[springtide.FilesName]springtide.Files{name: {}}, os.Geteuid())
		wantKind(t, err, springtide.Invalid)
		_, err = store.Open(FolderID{shop, name})
		wantKind(t, err, springtide.Invalid)
	}
	_, err := store.Open(FolderID{shop, "missing"})
	wantKind(t, err, springtide.NotFound)
	all, err := store.All()
	if err != nil || len(all) != 1 || all[0] != uploads {
		t.Errorf("there are %v, %v", all, err)
	}
}

func TestAnInstanceIsToldWhereItsFilesAre(t *testing.T) {
	store, err := New(Options{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	own := springtide.Bucket{Endpoint: "http://10.0.0.1:9000", Region: springtide.S3Region, Name: "user-uploads"}
	buckets := map[springtide.FilesName]Bucket{"user-uploads": {own, NewCredentials([]byte("key"), shop)}}
	wanted := map[springtide.FilesName]springtide.Files{"user-uploads": {Path: "/data/uploads"}}
	mounts := store.Mounts(shop, wanted)
	source := filepath.Join(store.folder, "shop/production/user-uploads")
	if len(mounts) != 1 || mounts[0] != (Mount{Source: source, Target: "/data/uploads"}) {
		t.Errorf("got %+v", mounts)
	}
	mounted, direct := store.Variables(shop, wanted, true, buckets), store.Variables(shop, wanted, false, buckets)
	for name, want := range map[string]string{
		"FILES_USER_UPLOADS": "/data/uploads", "S3_ENDPOINT": "http://10.0.0.1:9000", "S3_BUCKET": "user-uploads",
		"S3_ACCESS_KEY_ID": "shop.production", "AWS_ACCESS_KEY_ID": "shop.production", "AWS_REGION": "us-east-1",
		"AWS_SECRET_ACCESS_KEY": mounted["S3_SECRET_ACCESS_KEY"], "AWS_ENDPOINT_URL_S3": "http://10.0.0.1:9000",
		"S3_SECRET_ACCESS_KEY_USER_UPLOADS": mounted["S3_SECRET_ACCESS_KEY"],
	} {
		if mounted[name] != want {
			t.Errorf("%s is %q, want %q", name, mounted[name], want)
		}
	}
	if direct["FILES_USER_UPLOADS"] != source || len(mounted["S3_SECRET_ACCESS_KEY"]) < 40 {
		t.Errorf("got %v", direct)
	}
	other := NewCredentials([]byte("key"), springtide.EnvironmentID{App: "shop", Name: "staging"})
	if other.SecretKey == mounted["S3_SECRET_ACCESS_KEY"] {
		t.Error("two environments have one secret")
	}
	if id, ok := EnvironmentOf("shop.production"); !ok || id != shop {
		t.Errorf("got %v, %v", id, ok)
	}
}

func TestWhatIsNotTheSameForAllFilesIsToldByTheirNamesOnly(t *testing.T) {
	store, err := New(Options{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	local := springtide.Bucket{Endpoint: "http://10.0.0.1:9000", Region: springtide.S3Region, Name: "a"}
	second := local
	second.Name = "b"
	keys := Credentials{AccessKey: "access", SecretKey: "secret"}
	wanted := map[springtide.FilesName]springtide.Files{"a": {Path: "/a"}, "b": {Path: "/b"}}
	told := store.Variables(shop, wanted, true, map[springtide.FilesName]Bucket{"a": {local, keys}, "b": {second, keys}})
	if told["S3_BUCKET_A"] != "a" || told["S3_BUCKET_B"] != "b" || told["S3_BUCKET"] != "" || told["S3_ENDPOINT"] != local.Endpoint {
		t.Errorf("got %v", told)
	}
	elsewhere, err := springtide.ParseBucket("s3://b/pre?endpoint=https://s3.example.com&region=eu-west-3")
	if err != nil {
		t.Fatal(err)
	}
	wanted["b"] = springtide.Files{Bucket: "s3://b"}
	told = store.Variables(shop, wanted, true, map[springtide.FilesName]Bucket{"a": {local, keys}, "b": {elsewhere, Credentials{AccessKey: "other"}}})
	if told["S3_PREFIX_B"] != "pre/" || told["S3_REGION_B"] != "eu-west-3" || told["S3_ENDPOINT"] != "" || told["AWS_ACCESS_KEY_ID"] != "" || told["FILES_B"] != "" {
		t.Errorf("got %v", told)
	}
}

// told gathers events.
type told struct {
	mutex  sync.Mutex
	events []springtide.Event
}

func (t *told) happened(event springtide.Event) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.events = append(t.events, event)
}

func (t *told) percents() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var all []string
	for _, event := range t.events {
		all = append(all, event.Fields["percent"])
	}
	return strings.Join(all, " ")
}

func TestAQuotaRefusesWhatGoesByThePlatformAtOnce(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Quota: 100})
	put(t, folder, "a", strings.Repeat("x", 90))
	for _, said := range []int64{11, -1} {
		_, err := folder.Put(t.Context(), "b", strings.NewReader(strings.Repeat("x", 11)), PutOptions{Size: said})
		wantKind(t, err, springtide.Failed)
	}
	put(t, folder, "a", strings.Repeat("x", 100)) // in place of the old
	if err := folder.Delete("a", false); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Put(t.Context(), "b", strings.NewReader(strings.Repeat("x", 100)), PutOptions{Size: -1}); err != nil {
		t.Errorf("of unknown length: %v", err)
	}
	if usage, err := folder.Usage(); err != nil || usage.Bytes != 100 || usage.Files != 1 {
		t.Errorf("counted %+v, %v", usage, err)
	}
	nothingHalf(t, store)
	var writers sync.WaitGroup
	for i := range 8 { // all at once, each would fit
		writers.Go(func() {
			_, _ = folder.Put(t.Context(), fmt.Sprint("c", i), strings.NewReader("xxxxxx"), PutOptions{Size: 6})
		})
	}
	writers.Wait()
	if usage, err := folder.Usage(); err != nil || usage.Bytes > 100 {
		t.Errorf("counted %+v, %v", usage, err)
	}
}

func TestTheWatcherFindsWhatWasWrittenDirectlyAndTellsOfIt(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Quota: 100})
	var got told
	store.happened = got.happened
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	defer func() { // before the folder is removed under it
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	write := func(size int) {
		if err := os.WriteFile(direct(store, "direct"), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(50)
	waitFor(t, func() bool {
		usage, err := folder.Usage()
		return err == nil && usage.Bytes == 50 && !usage.Counted.IsZero()
	})
	write(80)
	waitFor(t, func() bool { return got.percents() == "80" })
	write(150)
	waitFor(t, func() bool { return got.percents() == "80 100" })
	_, err := folder.Put(t.Context(), "more", strings.NewReader("x"), PutOptions{Size: 1})
	wantKind(t, err, springtide.Failed)
	write(10)
	waitFor(t, func() bool { usage, err := folder.Usage(); return err == nil && usage.Bytes == 10 })
	put(t, folder, "more", "x")
	write(100)
	waitFor(t, func() bool { return got.percents() == "80 100 100" })
	event := got.events[1]
	if event.Kind != "files.quota" || event.Environment != shop || !strings.Contains(event.Message, "cannot be stopped") {
		t.Errorf("got %+v", event)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}

func TestTheWatcherSweepsWhatKilledWritersLeft(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	alive, err := folder.temporary()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	temporary := filepath.Join(store.side(uploads), "temporary")
	dead, young := filepath.Join(temporary, "dead"), filepath.Join(temporary, "young")
	for _, path := range []string{dead, young} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begun, err := folder.BeginUpload("a", Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	forgotten, err := folder.BeginUpload("b", Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-abandoned - time.Hour)
	for _, path := range []string{alive.Name(), dead, folder.uploadFolder(forgotten.ID)} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.look(t.Context(), uploads); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead writer left is still there")
	}
	for _, path := range []string{alive.Name(), young, folder.uploadFolder(begun.ID)} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	_, err = folder.Upload(forgotten.ID)
	wantKind(t, err, springtide.NotFound)
}

func TestThousandsOfFilesAreCountedByFolder(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	for i := range 3 {
		below := direct(store, fmt.Sprintf("d%02d/e", i))
		if err := os.MkdirAll(below, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 1000 {
			if err := os.WriteFile(filepath.Join(below, fmt.Sprint(j)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(direct(store, "top"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sums, err := folder.Du(t.Context(), "")
	if err != nil || len(sums) != 4 || sums[0] != (Usage{Name: "d00", Files: 1000}) || sums[3] != (Usage{Name: "top", Files: 1, Bytes: 5}) {
		t.Errorf("counted %+v, %v", sums, err)
	}
	t.Logf("3,001 files in %v", time.Since(began))
	if sums, err := folder.Du(t.Context(), "d01"); err != nil || len(sums) != 1 || sums[0].Name != "d01/e" {
		t.Errorf("counted %+v, %v", sums, err)
	}
	_, err = folder.Du(t.Context(), "missing")
	wantKind(t, err, springtide.NotFound)
}

// TestAProjectQuotaIsEnforcedByTheKernel needs a file system with project
// quotas, which not every kernel has.
func TestAProjectQuotaIsEnforcedByTheKernel(t *testing.T) {
	disk := projectDisk(t)
	store, folder := newFolderIn(t, disk, springtide.Files{Quota: 1 << 20})
	if !folder.Kernel {
		t.Fatal("the quota is not enforced")
	}
	put(t, folder, "a/b", "x")
	err := os.WriteFile(direct(store, "direct"), make([]byte, 2<<20), 0o600)
	if err == nil {
		t.Error("more than the quota was written directly")
	}
	provision(t, store, springtide.Files{}, os.Geteuid())
	if err := os.WriteFile(direct(store, "direct"), make([]byte, 2<<20), 0o600); err != nil {
		t.Errorf("without a quota: %v", err)
	}
}

func TestWhereTheKernelDoesNotEnforceAQuotaItIsNotClaimed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	if _, folder := newFolderIn(t, disk, springtide.Files{Quota: 1 << 20}); folder.Kernel {
		t.Error("it is claimed")
	}
}

func TestAFolderThatIsDestroyedIsGoneAndMayComeBackEmpty(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a/b", "x")
	if err := store.Destroy(uploads); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(store.tree(uploads))); err != nil || len(entries) != 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
	_, err := store.Open(uploads)
	wantKind(t, err, springtide.NotFound)
	wantKind(t, store.Destroy(uploads), springtide.NotFound)
	provision(t, store, springtide.Files{}, os.Geteuid())
	again, err := store.Open(uploads)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	put(t, again, "c", "y")
}

func TestAnEndOfAFolderThatWasCutOffIsDoneAgain(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a", "x")
	// The tree was renamed, and no more.
	gone := filepath.Join(store.side(uploads), "temporary")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(store.tree(uploads), gone); err != nil {
		t.Fatal(err)
	}
	if all, err := store.All(); err != nil || len(all) != 1 {
		t.Fatalf("it is known no more: %v, %v", all, err)
	}
	if err := store.Destroy(uploads); err != nil {
		t.Fatal(err)
	}
	if all, err := store.All(); err != nil || len(all) != 0 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestAFolderThatIsNotEmptyIsNotDeletedAndIsSaidToBe(t *testing.T) {
	_, folder := newFolder(t, springtide.Files{})
	put(t, folder, "a/b", "x")
	err := folder.Delete("a", false)
	wantKind(t, err, springtide.Conflict)
	if err == nil || !strings.HasPrefix(err.Error(), "the folder a is not empty") {
		t.Errorf("got %v", err)
	}
}
