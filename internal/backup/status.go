package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// Proof is what is known of whether a subject can be restored: not from its
// backups, but from having done it.
type Proof struct {
	// Proven is when a drill was begun that succeeded; zero: none has.
	Proven time.Time     `json:"proven,omitzero"`
	Took   time.Duration `json:"took,omitempty"`
	// Backup is the one that was tried last, Taken when it was begun.
	Backup string    `json:"backup,omitempty"`
	Taken  time.Time `json:"taken,omitzero"`
	// Lost is how much would have been lost at most, had all been lost when the drill
	// was begun.
	Lost time.Duration `json:"lost,omitempty"`
	// Rows is how much there was, by table or by folder. Checked says what was done.
	Rows    map[string]int64 `json:"rows,omitempty"`
	Checked string           `json:"checked,omitempty"`
	// Tried is when the last drill was begun, Problem why it failed; empty: it did not.
	Tried   time.Time `json:"tried,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

// String is the proof in a sentence.
func (p Proof) String() string {
	switch {
	case p.Problem != "":
		return fmt.Sprintf("NOT restorable on %s: %s", p.Tried.Format(time.DateOnly), p.Problem)
	case p.Proven.IsZero():
		return "not proven restorable yet"
	}
	return fmt.Sprintf("proven restorable: %s, took %s, lost at most %s", p.Proven.Format(time.DateOnly),
		roundly(p.Took), roundly(p.Lost))
}

// roundly drops what nobody wants to read.
func roundly(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// lost works out what would be lost: what came after the backup, and after the
// newest of the changes that can be applied to it.
func (p *Proof) lost(now time.Time, m Manifest, standing Standing) {
	newest := m.Begun
	if m.Lineage != "" && standing.lineage == m.Lineage && standing.Restorable.After(newest) {
		newest = standing.Restorable
	}
	p.Lost = max(now.Sub(newest), 0)
}

// Status is all that is known of how safe a subject is.
type Status struct {
	Standing
	Proof Proof `json:"proof"`
	// Unproven says that nothing was proven for so long that somebody was told.
	Unproven bool `json:"unproven,omitempty"`
	// Failure is how the last attempt to make a backup failed, if none has succeeded
	// since.
	Failure Failure `json:"failure,omitzero"`
	// Reading is how far all that restic keeps was read again; of shared files only.
	Reading *Reading `json:"reading,omitempty"`
}

// Failure is how an attempt to make a backup failed.
type Failure struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// Statuses tells how safe each subject is, in order.
func (k *Keeper) Statuses() []Status {
	var all []Status
	for _, standing := range k.Standings() {
		status := Status{Standing: standing}
		var err error
		if status.Proof, err = k.Proof(standing.Subject); err != nil {
			status.Proof.Problem = err.Error()
		}
		if err := readState(k.failureFile(standing.Subject), &status.Failure); err != nil {
			status.Failure.Reason = err.Error()
		}
		status.Unproven = time.Since(cmp.Or(status.Proof.Proven, standing.since)) > proofAge
		if standing.Of == springtide.BackupFiles && k.files != nil {
			if reading, err := k.files.reading(standing.Subject); err == nil && !reading.Last.IsZero() {
				status.Reading = &reading
			}
		}
		all = append(all, status)
	}
	return all
}

// proofFile is where what is proven of a subject is written down.
func (k *Keeper) proofFile(of Subject) string { return k.fileAbout(of, ".json") }

// failureFile is where the last failure to make a backup is written down.
func (k *Keeper) failureFile(of Subject) string { return k.fileAbout(of, ".failed") }

func (k *Keeper) fileAbout(of Subject, what string) string {
	return filepath.Join(k.options.Drills.Folder, strings.ReplaceAll(of.String(), "/", ".")+what)
}

// Proof gives what is proven of a subject; nothing is if there was no drill.
func (k *Keeper) Proof(of Subject) (proof Proof, err error) {
	err = readState(k.proofFile(of), &proof)
	return proof, err
}

// readState reads what keepState kept; nothing if there is nothing.
func readState(path string, into any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	return unavailable(err)
}

// keepState replaces a file of the keeper's own.
func keepState(path string, state any) error {
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return unavailable(durable.WriteFile(path, data, 0o600))
}

func (k *Keeper) keepProof(of Subject, proof Proof) error {
	if err := os.MkdirAll(k.options.Drills.Folder, 0o700); err != nil {
		return unavailable(err)
	}
	return keepState(k.proofFile(of), proof)
}

// proofAge is how old a proof may be before somebody is told.
const proofAge = 50 * time.Hour

// WatchProofs tells of what has not been proven restorable for two days, once a day.
func (k *Keeper) WatchProofs(ctx context.Context) {
	plans, err := k.options.Plans(ctx)
	if err != nil {
		return // Watch says so
	}
	for _, plan := range plans {
		if plan.Daily == "" {
			continue
		}
		proof, err := k.Proof(plan.Subject)
		now, tell := time.Now(), false
		standing := k.note(plan.Subject, func(s *Standing) {
			if old := now.Sub(cmp.Or(proof.Proven, s.since)) > proofAge; old && now.Sub(s.toldOfProof) > tellEvery {
				s.toldOfProof, tell = now, true
			}
		})
		switch {
		case err != nil:
			k.options.Logger.Warn("what was proven cannot be read", "of", plan.Subject, "error", err)
		case tell:
			k.happened(plan.Subject, "drill.old", fmt.Sprintf("%s has not been proven restorable since %s", plan.Subject,
				cmp.Or(proof.Proven, standing.since).Format(time.DateTime)), nil)
		}
	}
}
