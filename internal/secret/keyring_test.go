package secret

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// The test binary is a program that changes secrets in the folder that the first
// names, and is killed before so many calls to the store.
const (
	changerFolder = "SECRETTEST_FOLDER"
	changerCalls  = "SECRETTEST_CALLS"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(changerFolder); folder != "" {
		calls, _ := strconv.Atoi(os.Getenv(changerCalls))
		if err := changeSecrets(context.Background(), folder, calls); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var (
	quiz    = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	staging = springtide.EnvironmentID{App: "quiz", Name: "staging"}
)

type values = map[springtide.SecretName][]byte

// openStore opens the database of the folder, with both environments in it.
func openStore(ctx context.Context, folder string) (*sqlite.Store, error) {
	s, err := sqlite.Open(ctx, filepath.Join(folder, "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	for _, id := range []springtide.EnvironmentID{quiz, staging} {
		if _, err := s.CreateEnvironment(ctx, id); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func testStore(t *testing.T, folder string) *sqlite.Store {
	t.Helper()
	s, err := openStore(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func options(t *testing.T, folder string, of store.Secrets) Options {
	return Options{Folder: folder, Store: of, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func testKeyring(t *testing.T, folder string) *Keyring {
	t.Helper()
	k, err := Open(t.Context(), options(t, folder, testStore(t, folder)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must[T any](t *testing.T) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (k *Keyring) latestValues(t *testing.T, id springtide.EnvironmentID) map[string]string {
	t.Helper()
	latest := must[map[springtide.SecretName]int](t)(k.Latest(t.Context(), id))
	texts := map[string]string{}
	for name, value := range must[values](t)(k.Values(t.Context(), id, latest)) {
		texts[string(name)] = string(value)
	}
	return texts
}

func wantKind(t *testing.T, err error, kind springtide.ErrorKind) {
	t.Helper()
	if springtide.KindOf(err) != kind || err == nil {
		t.Errorf("got %v, want an error of kind %s", err, kind)
	}
}

func succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAReleaseFindsTheVersionsThatItWasMadeWith(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	k := testKeyring(t, folder)
	succeed(t, k.Set(ctx, quiz, values{"KEY": []byte("first"), "OTHER": []byte("\x00\xff"), "GONE": []byte("x")}))
	release := must[map[springtide.SecretName]int](t)(k.Latest(ctx, quiz))
	succeed(t, k.Change(ctx, quiz, values{"KEY": []byte("second"), "OTHER": []byte("\x00\xff")}, []springtide.SecretName{"GONE"}))
	k = testKeyring(t, folder)
	if diff := cmp.Diff(map[springtide.SecretName]int{"KEY": 2, "OTHER": 1}, must[map[springtide.SecretName]int](t)(k.Latest(ctx, quiz))); diff != "" {
		t.Error(diff)
	}
	want := values{"KEY": []byte("first"), "OTHER": []byte("\x00\xff"), "GONE": []byte("x")}
	if diff := cmp.Diff(want, must[values](t)(k.Values(ctx, quiz, release))); diff != "" {
		t.Error(diff)
	}
	list := must[[]Listing](t)(k.List(ctx, quiz))
	if len(list) != 2 || list[0].Name != "KEY" || list[0].Version != 2 || time.Since(list[0].Created) > time.Minute {
		t.Errorf("listed: %+v", list)
	}
	if left := k.latestValues(t, staging); len(left) != 0 {
		t.Errorf("another environment has %v", left)
	}
	succeed(t, k.Set(ctx, quiz, values{"GONE": []byte("back")}))
	if got := must[map[springtide.SecretName]int](t)(k.Latest(ctx, quiz))["GONE"]; got != 3 {
		t.Errorf("a secret that was unset has version %d, want 3", got)
	}
	if forgotten := must[int](t)(k.Forget(ctx, quiz)); forgotten != 0 {
		t.Errorf("%d versions were forgotten that were followed just now", forgotten)
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	ctx := t.Context()
	k := testKeyring(t, t.TempDir())
	for _, name := range []springtide.SecretName{"", "1A", "A-B", "A|B", "A B", "Ä", springtide.SecretName(strings.Repeat("A", 101))} {
		wantKind(t, k.Set(ctx, quiz, values{name: []byte("x")}), springtide.Invalid)
	}
	wantKind(t, k.Set(ctx, quiz, values{"A": make([]byte, ValueLimit+1)}), springtide.Invalid)
	wantKind(t, k.Unset(ctx, quiz, "A"), springtide.NotFound)
	wantKind(t, k.Change(ctx, quiz, values{"A": nil}, []springtide.SecretName{"A"}), springtide.Invalid)
	wantKind(t, k.Set(ctx, springtide.EnvironmentID{App: "no", Name: "where"}, values{"A": nil}), springtide.NotFound)
	_, err := k.Values(ctx, quiz, map[springtide.SecretName]int{"A": 7})
	wantKind(t, err, springtide.NotFound)
	_, err = Open(ctx, Options{})
	wantKind(t, err, springtide.Internal)
}

func TestRowsThatAreMovedOrChangedAreNotOpened(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	k := testKeyring(t, folder)
	succeed(t, k.Set(ctx, quiz, values{"A": []byte("of A"), "B": []byte("of B")}))
	succeed(t, k.Set(ctx, quiz, values{"A": []byte("newer")}))
	whole := must[[]store.Secret](t)(k.options.Store.Secrets(ctx, quiz))
	for what, move := range map[string]func(rows []store.Secret){
		"names swapped":    func(rows []store.Secret) { rows[0].Sealed, rows[2].Sealed = rows[2].Sealed, rows[0].Sealed },
		"an older version": func(rows []store.Secret) { rows[1].Sealed = rows[0].Sealed },
		"a bit":            func(rows []store.Secret) { rows[0].Sealed[20] ^= 1 },
		"cut":              func(rows []store.Secret) { rows[0].Sealed = rows[0].Sealed[:5] },
		"nothing":          func(rows []store.Secret) { rows[0].Sealed = []byte{} },
	} {
		rows := make([]store.Secret, len(whole))
		for n, row := range whole {
			rows[n] = row
			rows[n].Sealed = append([]byte{}, row.Sealed...)
		}
		move(rows)
		k := must[*Keyring](t)(Open(ctx, options(t, folder, rowsOf{k.options.Store, rows})))
		_, err := k.Values(ctx, quiz, map[springtide.SecretName]int{"A": rows[0].Version, "B": 1})
		if _, err2 := k.Values(ctx, quiz, map[springtide.SecretName]int{"A": 2}); err == nil && err2 == nil {
			t.Errorf("%s: it was not noticed", what)
		}
		_, err = k.Values(ctx, staging, map[springtide.SecretName]int{"B": 1})
		wantKind(t, err, springtide.Failed) // the rows of another environment
	}
}

// kept is a store under another name than that of its method.
type kept = store.Secrets

// rowsOf is a store whose rows somebody has changed.
type rowsOf struct {
	kept
	rows []store.Secret
}

func (r rowsOf) Secrets(context.Context, springtide.EnvironmentID) ([]store.Secret, error) {
	return r.rows, nil
}

func TestOtherPartsSealAndOpenByName(t *testing.T) {
	folder := t.TempDir()
	k := testKeyring(t, folder)
	sealed := must[[]byte](t)(k.Seal("service/db", []byte("password")))
	succeed(t, k.RotateRoot(t.Context()))
	k = testKeyring(t, folder)
	if plain := must[[]byte](t)(k.Open("service/db", sealed)); string(plain) != "password" {
		t.Errorf("got %q", plain)
	}
	_, err := k.Open("service/other", sealed)
	wantKind(t, err, springtide.Failed)
}

func TestTheRootKeyIsChangedWhileSecretsAreUsed(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	k := testKeyring(t, folder)
	succeed(t, k.Set(ctx, quiz, values{"KEY": []byte("value")}))
	before := must[rootKeys](t)(readRootKeys(folder))
	var using sync.WaitGroup
	done := make(chan struct{})
	for n := range 4 {
		using.Go(func() {
			id := springtide.EnvironmentID{App: "quiz", Name: springtide.EnvironmentName("customer" + strconv.Itoa(n))}
			if _, err := k.options.Store.(*sqlite.Store).CreateEnvironment(ctx, id); err != nil {
				t.Error(err)
			}
			for count := 0; ; count++ {
				select {
				case <-done:
					return
				default:
				}
				if err := k.Set(ctx, id, values{"COUNT": []byte(strconv.Itoa(count))}); err != nil {
					t.Error(err)
				}
				if got, err := k.Values(ctx, quiz, map[springtide.SecretName]int{"KEY": 1}); err != nil || string(got["KEY"]) != "value" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	for range 10 {
		succeed(t, k.RotateRoot(ctx))
	}
	close(done)
	using.Wait()
	after := must[rootKeys](t)(readRootKeys(folder))
	if len(after.roots) != 1 || after.roots[0] == before.roots[0] || after.backup.String() != before.backup.String() {
		t.Errorf("the file has %d root keys", len(after.roots))
	}
	if got := testKeyring(t, folder).latestValues(t, quiz); got["KEY"] != "value" {
		t.Errorf("got %v", got)
	}
	succeed(t, before.write(folder))
	_, err := Open(ctx, options(t, folder, k.options.Store))
	wantKind(t, err, springtide.Failed) // with the root key of before
}

func TestWithoutItsRootKeyAKeyringIsNotMadeAnew(t *testing.T) {
	folder := t.TempDir()
	k := testKeyring(t, folder)
	path := filepath.Join(folder, rootKeyFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, content := range []string{"", "rubbish\n", "AGE-SECRET-KEY-1\n", base64.StdEncoding.EncodeToString(make([]byte, 32))} {
		succeed(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := Open(t.Context(), options(t, folder, k.options.Store))
		wantKind(t, err, springtide.Failed)
	}
	succeed(t, os.Remove(path))
	_, err := Open(t.Context(), options(t, folder, k.options.Store))
	wantKind(t, err, springtide.Failed)
}

func TestWhatNobodyCouldMakeAgainIsToldOfBeforeItIsDone(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	opts := options(t, folder, testStore(t, folder))
	told := map[string]string{}
	var refusal error
	opts.Written = func() error {
		for _, name := range []string{rootKeyFile, recoveryFile, sourcesFile} {
			text, _ := os.ReadFile(filepath.Join(folder, name))
			told[name] = string(text)
		}
		return refusal
	}
	k := must[*Keyring](t)(Open(ctx, opts))
	for _, step := range []struct {
		file string
		do   func() error
	}{
		{sourcesFile, func() error { return k.SetSources(Sources{Vault: &Vault{Address: "https://vault", Token: "token"}}) }},
		{recoveryFile, func() error { _, err := k.RecoveryKey(false); return err }},
		{rootKeyFile, func() error { return k.RotateRoot(ctx) }},
	} {
		before := told[step.file]
		succeed(t, step.do())
		if now, err := os.ReadFile(filepath.Join(folder, step.file)); err != nil || told[step.file] != string(now) || before == string(now) {
			t.Errorf("of %s it was told %q, and then it is %q, %v", step.file, told[step.file], now, err)
		}
	}
	refusal = errors.New("the store is away")
	if err := k.SetSources(Sources{}); !errors.Is(err, refusal) {
		t.Errorf("a change that nobody could be told of gives %v", err)
	}
}

func TestNoFileHasTheValueOfASecretInIt(t *testing.T) {
	const value = "a value that is found nowhere"
	ctx, folder := t.Context(), t.TempDir()
	k := testKeyring(t, folder)
	succeed(t, k.Set(ctx, quiz, values{"KEY": []byte(value)}))
	must[string](t)(k.RecoveryKey(false))
	succeed(t, k.SetSources(Sources{Vault: &Vault{Address: "https://vault", Token: value}}))
	k.keepAnswer("vault://kv/x", answer{"key": value})
	succeed(t, k.RotateRoot(ctx))
	succeed(t, k.Set(ctx, quiz, values{"KEY": []byte("other")}))
	wantNowhere(t, folder, value, base64.StdEncoding.EncodeToString([]byte(value))[:30])
}

func wantNowhere(t *testing.T, folder string, texts ...string) {
	t.Helper()
	files := 0
	succeed(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, text := range texts {
			if strings.Contains(string(content), text) {
				t.Errorf("%s has %q in it", path, text)
			}
		}
		return err
	}))
	if files < 3 {
		t.Errorf("only %d files were looked at", files)
	}
}

// killing kills this process before the given call.
type killing struct {
	kept
	left *int
}

func (k killing) count() {
	if *k.left--; *k.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k killing) SecretKeys(ctx context.Context) (map[springtide.EnvironmentID][]byte, error) {
	k.count()
	return k.kept.SecretKeys(ctx)
}

func (k killing) ReplaceSecretKeys(ctx context.Context, keys map[springtide.EnvironmentID][]byte) error {
	k.count()
	defer k.count()
	return k.kept.ReplaceSecretKeys(ctx, keys)
}

func (k killing) AddSecretKey(ctx context.Context, id springtide.EnvironmentID, sealed []byte) ([]byte, error) {
	k.count()
	defer k.count()
	return k.kept.AddSecretKey(ctx, id, sealed)
}

func (k killing) AddSecrets(ctx context.Context, id springtide.EnvironmentID, secrets []store.Secret) error {
	k.count()
	defer k.count()
	return k.kept.AddSecrets(ctx, id, secrets)
}

// changeSecrets says which value was set.
func changeSecrets(ctx context.Context, folder string, calls int) error {
	s, err := openStore(ctx, folder)
	if err != nil {
		return err
	}
	defer s.Close()
	k, err := Open(ctx, Options{Folder: folder, Store: killing{s, &calls}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	for n := range 3 {
		value := fmt.Sprintf("%d after %d calls", n, calls)
		if err := k.Set(ctx, quiz, values{"KEY": []byte(value), springtide.SecretName("KEY" + strconv.Itoa(n)): []byte(value)}); err != nil {
			return err
		}
		fmt.Println(value)
		if err := k.RotateRoot(ctx); err != nil {
			return err
		}
	}
	return nil
}

func TestValuesSurviveAKillBeforeAndAfterEachStep(t *testing.T) {
	folder, last := t.TempDir(), ""
	var file []byte
	var recoveryKey string
	for calls := 1; ; calls++ {
		changer := exec.CommandContext(t.Context(), os.Args[0])
		changer.Env = append(os.Environ(), changerFolder+"="+folder, changerCalls+"="+strconv.Itoa(calls))
		changer.Stderr = os.Stderr
		output := must[io.ReadCloser](t)(changer.StdoutPipe())
		succeed(t, changer.Start())
		for lines := bufio.NewScanner(output); lines.Scan(); {
			last = lines.Text()
		}
		err := changer.Wait()
		s := must[*sqlite.Store](t)(openStore(t.Context(), folder))
		k := must[*Keyring](t)(Open(t.Context(), options(t, folder, s)))
		if got := k.latestValues(t, quiz)["KEY"]; got != last && !strings.Contains(got, " after ") {
			t.Fatalf("after %d calls: got %q, acknowledged was %q", calls, got, last)
		} else {
			last = got
		}
		if roots := must[rootKeys](t)(readRootKeys(folder)).roots; len(roots) != 1 {
			t.Fatalf("after %d calls: %d root keys are left", calls, len(roots))
		}
		if calls == 1 {
			recoveryKey = must[string](t)(k.RecoveryKey(false))
		}
		file = must[[]byte](t)(k.ExportRecovery())
		recovered := must[Recovery](t)(OpenRecovery(file, recoveryKey))
		if recovered.keys.roots[0] != k.root().roots[0] {
			t.Fatalf("after %d calls: the recovery key does not bring back the root key", calls)
		}
		succeed(t, s.Close())
		if err == nil {
			t.Logf("killed at %d places", calls-1)
			return
		}
		if calls > 100 {
			t.Fatal("it does not come to its end")
		}
	}
}
