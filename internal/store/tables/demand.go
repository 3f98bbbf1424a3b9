package tables

import (
	"context"

	"github.com/springtide/springtide/internal/store"
)

// PutDemand implements store.Demand.
func (s *Store) PutDemand(ctx context.Context, hours []store.DemandHour, usage map[store.ProcessID][]byte) error {
	return s.db.Note(ctx, func(tx Transaction) error {
		for _, hour := range hours {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO demand (app, environment, process, hour, minutes)
				SELECT app, name, ?3, ?4, ?5 FROM environments WHERE app = ?1 AND name = ?2
				ON CONFLICT (app, environment, process, hour) DO UPDATE SET minutes = excluded.minutes`,
				hour.Of.Environment.App, hour.Of.Environment.Name, hour.Of.Process, hour.Hour, hour.Minutes); err != nil {
				return err
			}
		}
		for of, seen := range usage {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO usage (app, environment, process, seen)
				SELECT app, name, ?3, ?4 FROM environments WHERE app = ?1 AND name = ?2
				ON CONFLICT (app, environment, process) DO UPDATE SET seen = excluded.seen`,
				of.Environment.App, of.Environment.Name, of.Process, seen); err != nil {
				return err
			}
		}
		return nil
	})
}

// Demand implements store.Demand.
func (s *Store) Demand(ctx context.Context, of store.ProcessID, from, to int64) ([]store.DemandHour, error) {
	scan := func(row row) (store.DemandHour, error) {
		hour := store.DemandHour{Of: of}
		err := row.Scan(&hour.Hour, &hour.Minutes)
		return hour, err
	}
	return read(ctx, s, scan, `
		SELECT hour, minutes FROM demand WHERE app = ? AND environment = ? AND process = ? AND hour BETWEEN ? AND ? ORDER BY hour`,
		of.Environment.App, of.Environment.Name, of.Process, from, to)
}

// ForgetDemand implements store.Demand.
func (s *Store) ForgetDemand(ctx context.Context, before int64) error {
	return s.db.Note(ctx, func(tx Transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM demand WHERE hour < ? AND hour < (SELECT MIN(hour) FROM demand) + 24`, before)
		return err
	})
}

// Usage implements store.Demand.
func (s *Store) Usage(ctx context.Context, of store.ProcessID) ([]byte, error) {
	scan := func(row row) (seen []byte, err error) {
		err = row.Scan(&seen)
		return seen, err
	}
	found, err := read(ctx, s, scan, `SELECT seen FROM usage WHERE app = ? AND environment = ? AND process = ?`,
		of.Environment.App, of.Environment.Name, of.Process)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}
