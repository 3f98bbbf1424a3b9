package apitest

import (
	"context"
	"io"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/moving"
)

// mover implements api.Moving: releases come without artifacts and secrets, and
// what is imported is only told.
type mover struct{ *Platform }

// Export implements api.Moving.
func (p mover) Export(ctx context.Context, apps []springtide.AppName, recipients []string) (func(io.Writer) error, error) {
	to, err := moving.Recipients(recipients)
	if err != nil {
		return nil, err
	}
	inventory := moving.Inventory{Format: moving.Format, Version: "v1.2.3", Created: Epoch(), Environments: []moving.Packed{}, Blobs: []moving.Blob{}}
	all, err := p.Environments(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if len(apps) == 0 || slices.Contains(apps, one.ID.App) {
			inventory.Environments = append(inventory.Environments, moving.Packed{ID: one.ID, Config: one.Config, Releases: []springtide.Release{}})
		}
	}
	if _, err := inventory.Only(apps); err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		sealed, err := moving.Seal(w, to...)
		if err == nil {
			err = moving.Write(sealed, inventory, nil, nil)
		}
		if err == nil {
			err = sealed.Close()
		}
		return err
	}, nil
}

// PlanImport implements api.Moving.
func (p mover) PlanImport(ctx context.Context, inventory moving.Inventory) (moving.ImportPlan, error) {
	if err := inventory.Validate(); err != nil {
		return moving.ImportPlan{}, err
	}
	plan := moving.ImportPlan{Steps: []moving.Step{}}
	for _, arriving := range inventory.Environments {
		status, err := p.Environment(ctx, arriving.ID)
		here := moving.Here{Known: err == nil, Active: springtide.Release{Number: status.Active}}
		plan.Steps = append(plan.Steps, moving.Compare(arriving, here))
	}
	return plan, nil
}

// Import implements api.Moving.
func (p mover) Import(ctx context.Context, apps []springtide.AppName, file io.Reader) (moving.ImportPlan, error) {
	reader, inventory, err := moving.Open(file)
	if err != nil {
		return moving.ImportPlan{}, err
	}
	if inventory, err = inventory.Only(apps); err != nil {
		return moving.ImportPlan{}, err
	}
	plan, err := p.PlanImport(ctx, inventory)
	if err == nil {
		err = plan.Err()
	}
	if err == nil {
		_, err = reader.Secrets()
	}
	if err == nil {
		err = reader.Blobs(func(moving.Blob, io.Reader) error { return nil })
	}
	return plan, err
}
