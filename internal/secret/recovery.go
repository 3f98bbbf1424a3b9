package secret

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// recoveryFile is the name of the file in the data folder, and on the target of
// backups.
const recoveryFile = "recovery.json"

// recovery is that file. It can be read by everybody, and opened with the
// recovery key.
type recovery struct {
	// Recipient is the public part of the recovery key.
	Recipient string `json:"recipient"`
	// Lines are those of the file of the root key, also those that were in it
	// earlier: an older backup may need them. The newest come last.
	Lines []sealedLine `json:"lines"`
}

type sealedLine struct {
	// Digest tells whether a line is here.
	Digest string `json:"digest"`
	Sealed []byte `json:"sealed"`
}

// RecoveryKey makes the key with which all can be brought back on an empty
// machine. It is kept nowhere: show it once. It is a Conflict if there is one
// already, unless it is to be renewed; the one before then opens only what was
// exported before.
func (k *Keyring) RecoveryKey(renew bool) (string, error) {
	k.rooting.Lock()
	defer k.rooting.Unlock()
	if _, err := k.readRecovery(); err == nil && !renew {
		return "", springtide.Errorf(springtide.Conflict, "this platform has a recovery key already; it was shown when it was made")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) && !renew {
		return "", err
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	return identity.String(), k.addToRecovery(recovery{Recipient: identity.Recipient().String()})
}

// RecoveryRecipient is the public part of the recovery key; nil if there is none.
func (k *Keyring) RecoveryRecipient() (*age.X25519Recipient, error) {
	r, err := k.readRecovery()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return age.ParseX25519Recipient(r.Recipient)
}

// ExportRecovery gives the file that backups take along. It is of kind NotFound
// if there is no recovery key.
func (k *Keyring) ExportRecovery() ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(k.options.Folder, recoveryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, springtide.Errorf(springtide.NotFound, "this platform has no recovery key").WithHint("make one")
	}
	return data, err
}

func (k *Keyring) readRecovery() (r recovery, err error) {
	data, err := os.ReadFile(filepath.Join(k.options.Folder, recoveryFile))
	if err != nil {
		return recovery{}, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return recovery{}, springtide.Errorf(springtide.Failed, "%s is damaged: %w", recoveryFile, err).WithHint("make a new recovery key")
	}
	return r, nil
}

// keepRecovery has the file hold what the root key's file holds, if there is a
// recovery key.
func (k *Keyring) keepRecovery() error {
	r, err := k.readRecovery()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		k.options.Logger.Error("the recovery file cannot be read; make a new recovery key", "error", err)
		return nil // whoever has lost the one must not lose the other
	}
	return k.addToRecovery(r)
}

// addToRecovery seals the lines that are missing.
func (k *Keyring) addToRecovery(r recovery) error {
	recipient, err := age.ParseX25519Recipient(r.Recipient)
	if err != nil {
		return springtide.Errorf(springtide.Failed, "%s: the recipient: %w", recoveryFile, err)
	}
	known := len(r.Lines)
	for _, line := range slices.Backward(k.root().lines()) {
		sum := sha256.Sum256([]byte(line))
		digest := hex.EncodeToString(sum[:])
		if slices.ContainsFunc(r.Lines, func(l sealedLine) bool { return l.Digest == digest }) {
			continue
		}
		sealed, err := encrypt([]byte(line), recipient)
		if err != nil {
			return err
		}
		r.Lines = append(r.Lines, sealedLine{digest, sealed})
	}
	if len(r.Lines) == known {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return k.written(durable.WriteFile(filepath.Join(k.options.Folder, recoveryFile), data, 0o600))
}

func encrypt(plain []byte, recipients ...age.Recipient) ([]byte, error) {
	var sealed bytes.Buffer
	writer, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return nil, err
	}
	_, err = writer.Write(plain)
	err = errors.Join(err, writer.Close()) // which writes the end
	return sealed.Bytes(), err
}

// Recovery is what the recovery key opens.
type Recovery struct {
	keys rootKeys
}

// OpenRecovery opens what ExportRecovery gave. A key that is not the right one is
// of kind Denied.
func OpenRecovery(file []byte, recoveryKey string) (Recovery, error) {
	var r recovery
	if err := json.Unmarshal(file, &r); err != nil || r.Recipient == "" {
		return Recovery{}, springtide.Errorf(springtide.Invalid, "this is no recovery file of a platform")
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(recoveryKey))
	if err != nil {
		return Recovery{}, springtide.Errorf(springtide.Invalid, "this is no recovery key").WithHint("it begins with AGE-SECRET-KEY-1 and has 74 characters")
	}
	if own := identity.Recipient().String(); own != r.Recipient {
		return Recovery{}, springtide.Errorf(springtide.Denied, "the recovery key is another platform's, or an earlier one: the file is for %s, the key is %s", r.Recipient, own)
	}
	var lines []string
	for _, line := range slices.Backward(r.Lines) {
		plain, err := decrypt(line.Sealed, identity)
		if err != nil {
			return Recovery{}, springtide.Errorf(springtide.Failed, "the recovery file is damaged: %w", err).WithHint("take another copy of it")
		}
		lines = append(lines, string(plain))
	}
	keys, err := parseRootKeys(lines)
	if err != nil {
		return Recovery{}, springtide.Errorf(springtide.Failed, "the recovery file is damaged: %w", err).WithHint("take another copy of it")
	}
	return Recovery{keys}, nil
}

func decrypt(sealed []byte, identities ...age.Identity) ([]byte, error) {
	reader, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// BackupKey opens the backups.
func (r Recovery) BackupKey() *age.X25519Identity { return r.keys.backup }

// Install puts the root key into an empty data folder, and the recovery file with
// it. It is a Conflict if there is a root key.
func (r Recovery) Install(folder string, file []byte) error {
	if _, err := os.Lstat(filepath.Join(folder, rootKeyFile)); !errors.Is(err, fs.ErrNotExist) {
		return springtide.Errorf(springtide.Conflict, "there is a root key in %s already", folder).WithHint("restore into an empty folder")
	}
	if err := durable.WriteFile(filepath.Join(folder, recoveryFile), file, 0o600); err != nil {
		return err
	}
	return r.keys.write(folder)
}
