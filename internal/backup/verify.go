package backup

import (
	"context"
	"fmt"
	"io"

	"github.com/springtide/springtide"
)

// Checked tells what reading a subject's backups again has shown.
type Checked struct {
	Backups int `json:"backups"`
	Changes int `json:"changes"`
	// Bytes is how much was read: of backups what the target has, of changes what is
	// in them.
	Bytes int64 `json:"bytes"`
	// Problems are all that is not as it was put there.
	Problems []string `json:"problems,omitempty"`
}

// List gives the backups of a subject, the oldest first.
func (k *Keeper) List(ctx context.Context, of Subject) ([]Manifest, error) {
	all, _, err := k.vault.manifests(ctx, of)
	return all, err
}

// Subjects gives all that there are backups of on the target.
func (k *Keeper) Subjects(ctx context.Context) ([]Subject, error) { return k.vault.subjects(ctx) }

// Verify reads all backups of a subject again, and the changes since. What is
// wrong with them is no error: that is where it could not be found out.
func (k *Keeper) Verify(ctx context.Context, of Subject) (Checked, error) {
	var checked Checked
	all, ids, err := k.vault.manifests(ctx, of)
	if err != nil {
		return checked, err
	}
	if broken := len(ids) - len(all); broken > 0 {
		checked.Problems = append(checked.Problems, fmt.Sprintf("%d manifests are damaged", broken))
	}
	after := map[string]int64{}
	for _, m := range all {
		for _, entry := range m.Objects {
			if err := checked.note(k.vault.check(ctx, entry)); err != nil {
				return checked, err
			}
			checked.Bytes += entry.Size
		}
		checked.Backups++
		if _, known := after[m.Lineage]; m.Lineage != "" && m.Kind == KindWhole && !known {
			after[m.Lineage] = m.After
		}
	}
	for lineage, first := range after {
		if err := k.verifyChanges(ctx, of, lineage, first, &checked); err != nil {
			return checked, err
		}
	}
	return checked, nil
}

// verifyChanges reads those of a lineage that come after the first of its backups.
func (k *Keeper) verifyChanges(ctx context.Context, of Subject, lineage string, first int64, checked *Checked) error {
	segments, err := k.vault.segments(ctx, of, lineage)
	if err != nil {
		return err
	}
	next := first + 1
	for _, s := range segments {
		if s.number <= first {
			continue
		}
		if s.number > next {
			checked.Problems = append(checked.Problems, fmt.Sprintf("the target has lost the changes from number %d to %d", next, s.number-1))
		}
		next = s.number + 1
		read := counter{Writer: io.Discard}
		if err := checked.note(k.vault.copyOut(ctx, s.object, &read)); err != nil {
			return fmt.Errorf("read change %s: %w", s.name, err)
		}
		checked.Changes++
		checked.Bytes += read.size
	}
	return nil
}

// note takes down what is wrong with an object; the error is that nobody knows.
func (c *Checked) note(err error) error {
	switch springtide.KindOf(err) {
	case "":
		return nil
	case springtide.Failed, springtide.NotFound:
		c.Problems = append(c.Problems, err.Error())
		return nil
	}
	return err
}
