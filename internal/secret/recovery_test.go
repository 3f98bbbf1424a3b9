package secret

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/springtide/springtide"
)

func TestWithTheRecoveryKeyAloneAPlatformIsBroughtBackOnAnEmptyMachine(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	k := testKeyring(t, folder)
	succeed(t, k.Set(ctx, quiz, values{"KEY": []byte("value")}))
	recoveryKey := must[string](t)(k.RecoveryKey(false))
	older := copyOfStore(t, folder)
	succeed(t, k.RotateRoot(ctx))
	succeed(t, k.Set(ctx, quiz, values{"KEY": []byte("newer")}))
	file := must[[]byte](t)(k.ExportRecovery())
	wantNowhere(t, folder, recoveryKey)
	for want, database := range map[string]string{"newer": copyOfStore(t, folder), "value": older} {
		empty := filepath.Dir(database)
		recovery := must[Recovery](t)(OpenRecovery(file, " "+recoveryKey+"\n"))
		if recovery.BackupKey().String() != k.BackupKey().String() {
			t.Error("it has another key of backups")
		}
		succeed(t, recovery.Install(empty, file))
		wantKind(t, recovery.Install(empty, file), springtide.Conflict)
		back := testKeyring(t, empty)
		if got := back.latestValues(t, quiz)["KEY"]; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if own := must[*age.X25519Recipient](t)(back.RecoveryRecipient()); own == nil || !strings.Contains(string(file), own.String()) {
			t.Errorf("its recovery key is %v", own)
		}
	}
}

// copyOfStore copies the database into an empty folder and gives its path.
func copyOfStore(t *testing.T, folder string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"tide.db", "tide.db-wal"} {
		succeed(t, os.WriteFile(filepath.Join(to, name), must[[]byte](t)(os.ReadFile(filepath.Join(folder, name))), 0o600))
	}
	return filepath.Join(to, "tide.db")
}

func TestARecoveryKeyThatDoesNotFitSaysSo(t *testing.T) {
	k := testKeyring(t, t.TempDir())
	_, err := k.ExportRecovery()
	wantKind(t, err, springtide.NotFound)
	if recipient, err := k.RecoveryRecipient(); recipient != nil || err != nil {
		t.Errorf("%v, %v", recipient, err)
	}
	first := must[string](t)(k.RecoveryKey(false))
	_, err = k.RecoveryKey(false)
	wantKind(t, err, springtide.Conflict)
	early := must[[]byte](t)(k.ExportRecovery())
	second := must[string](t)(k.RecoveryKey(true))
	file := must[[]byte](t)(k.ExportRecovery())
	must[Recovery](t)(OpenRecovery(early, first))
	must[Recovery](t)(OpenRecovery(file, second))
	_, err = OpenRecovery(file, first)
	wantKind(t, err, springtide.Denied)
	_, err = OpenRecovery(file, "rubbish")
	wantKind(t, err, springtide.Invalid)
	_, err = OpenRecovery([]byte("{}"), second)
	wantKind(t, err, springtide.Invalid)
	damaged := bytes.Replace(file, []byte(`"sealed": "YWdl`), []byte(`"sealed": "YWdm`), 1)
	if _, err := OpenRecovery(damaged, second); bytes.Equal(damaged, file) || springtide.KindOf(err) != springtide.Failed {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestADamagedRecoveryFileKeepsNobodyFromTheirSecrets(t *testing.T) {
	folder := t.TempDir()
	k := testKeyring(t, folder)
	succeed(t, k.Set(t.Context(), quiz, values{"KEY": []byte("value")}))
	must[string](t)(k.RecoveryKey(false))
	succeed(t, os.WriteFile(filepath.Join(folder, recoveryFile), []byte("{"), 0o600))
	k = testKeyring(t, folder)
	if got := k.latestValues(t, quiz)["KEY"]; got != "value" {
		t.Errorf("got %q", got)
	}
	must[string](t)(k.RecoveryKey(true))
}
