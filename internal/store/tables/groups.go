package tables

import (
	"context"

	"github.com/springtide/springtide"
)

const (
	selectGroups = `SELECT app, environment, process, release, generation, replicas, template FROM groups `
	inOrder      = ` ORDER BY app, environment, generation, process`
	ofGroup      = ` WHERE app = ? AND environment = ? AND generation = ? AND process = ? AND release = ?`
)

func scanGroup(row row) (springtide.Group, error) {
	var g springtide.Group
	err := row.Scan(&g.ID.Environment.App, &g.ID.Environment.Name, &g.ID.Process, &g.ID.Release, &g.ID.Generation,
		&g.Replicas, document{&g.Template})
	return g, err
}

// PutGroup implements store.Groups.
func (s *Store) PutGroup(ctx context.Context, group springtide.Group) error {
	id := group.ID
	if group.Replicas < 0 {
		return negativeReplicas(id, group.Replicas)
	}
	return s.db.Write(ctx, func(tx Transaction) error {
		if _, err := release(ctx, tx, springtide.ReleaseID{Environment: id.Environment, Number: id.Release}); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO groups (app, environment, generation, process, release, replicas, artifact, template)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (app, environment, generation, process, release) DO UPDATE SET replicas = excluded.replicas, artifact = excluded.artifact, template = excluded.template`,
			id.Environment.App, id.Environment.Name, id.Generation, id.Process, id.Release, group.Replicas,
			group.Template.Artifact, document{group.Template})
		return err
	})
}

// SetReplicas implements store.Groups.
func (s *Store) SetReplicas(ctx context.Context, id springtide.GroupID, replicas int) error {
	if replicas < 0 {
		return negativeReplicas(id, replicas)
	}
	return s.db.Write(ctx, func(tx Transaction) error {
		missing := springtide.Errorf(springtide.NotFound, "there is no group %s", id)
		return must(ctx, tx, missing, `UPDATE groups SET replicas = ?`+ofGroup,
			replicas, id.Environment.App, id.Environment.Name, id.Generation, id.Process, id.Release)
	})
}

func negativeReplicas(id springtide.GroupID, replicas int) error {
	return springtide.Errorf(springtide.Invalid, "group %s cannot have %d replicas", id, replicas)
}

// DeleteGroup implements store.Groups.
func (s *Store) DeleteGroup(ctx context.Context, id springtide.GroupID) error {
	return s.db.Write(ctx, func(tx Transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM groups`+ofGroup,
			id.Environment.App, id.Environment.Name, id.Generation, id.Process, id.Release)
		return err
	})
}

// Groups implements store.Groups.
func (s *Store) Groups(ctx context.Context) ([]springtide.Group, error) {
	return read(ctx, s, scanGroup, selectGroups+inOrder)
}

// GroupsOf implements store.Groups.
func (s *Store) GroupsOf(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Group, error) {
	return read(ctx, s, scanGroup, selectGroups+`WHERE app = ? AND environment = ?`+inOrder, id.App, id.Name)
}
