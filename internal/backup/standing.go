package backup

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Standing tells how well a subject is kept safe.
type Standing struct {
	Subject
	// Last is when the newest backup was finished; zero: there is none.
	Last time.Time `json:"last,omitzero"`
	ID   string    `json:"id,omitempty"`
	// Size is that of the newest backup on the target, in bytes; Took is how long it took.
	Size int64         `json:"size"`
	Took time.Duration `json:"took"`
	// Restorable is the newest moment that can be gone back to.
	Restorable time.Time `json:"restorable,omitzero"`
	// Waiting is how much of its changes is not on the target yet, in bytes.
	Waiting int64 `json:"waiting"`
	// Late says that there should be a newer backup, or that changes wait for long.
	Late   bool   `json:"late,omitempty"`
	Reason string `json:"reason,omitempty"`

	lineage string               // of the newest backup
	reached map[string]time.Time // how far the changes of lineages go
	since   time.Time            // when it was first looked at
	known   bool                 // what the target has has been looked at
	stuck   time.Time            // since when changes could not be shipped; zero: they can
	told    time.Time            // when it was last told that it is late
	asked   time.Time            // when a backup was last asked for
	// toldOfProof is when it was last told that its proof is old.
	toldOfProof time.Time
}

// Standings tells how well each subject is kept safe, in order.
func (k *Keeper) Standings() []Standing {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]Standing, 0, len(k.standings))
	for _, standing := range k.standings {
		all = append(all, *standing)
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// note changes what is known of a subject.
func (k *Keeper) note(of Subject, change func(*Standing)) Standing {
	k.mu.Lock()
	defer k.mu.Unlock()
	standing := k.standings[of]
	if standing == nil {
		standing = &Standing{Subject: of, since: time.Now()}
		k.standings[of] = standing
	}
	change(standing)
	standing.Restorable = standing.Last
	if reached := standing.reached[standing.lineage]; reached.After(standing.Last) {
		standing.Restorable = reached
	}
	return *standing
}

// made notes a backup that there is.
func (k *Keeper) made(m Manifest) {
	k.note(m.Subject, func(s *Standing) {
		if m.Kind == KindDump || m.Finished.Before(s.Last) {
			return
		}
		s.Last, s.ID, s.Size, s.Took = m.Finished, m.ID, m.Size(), m.Finished.Sub(m.Begun)
		s.lineage = m.Lineage
	})
}

// look finds out what the target has of a subject, once.
func (k *Keeper) look(ctx context.Context, of Subject) error {
	if k.note(of, func(*Standing) {}).known {
		return nil
	}
	all, _, err := k.vault.manifests(ctx, of)
	if err != nil {
		return err
	}
	for _, m := range all {
		k.made(m)
	}
	k.note(of, func(s *Standing) { s.known = true })
	return nil
}
