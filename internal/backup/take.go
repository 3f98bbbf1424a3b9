package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// attemptLimit is how long an attempt may take: what is left of older ones is
// swept away once they are twice as old.
const attemptLimit = 24 * time.Hour

// backuper gives a service's server, and how it is kept safe.
func (k *Keeper) backuper(of Subject) (service.Server, service.Driver, service.Backuper, error) {
	server, driver, err := k.options.Services.Server(of.Service())
	if err != nil {
		return server, nil, nil, err
	}
	backuper, can := driver.(service.Backuper)
	if !can {
		return server, nil, nil, springtide.Errorf(springtide.Invalid, "a service of kind %s cannot be backed up", server.Spec.Kind)
	}
	return server, driver, backuper, nil
}

// backupService makes the backups of a service: its whole and its dump. What an
// earlier attempt of the run has made is not made again.
func (k *Keeper) backupService(ctx context.Context, run springtide.Run, of Subject) (any, error) {
	server, driver, backuper, err := k.backuper(of)
	if err != nil {
		return nil, err
	}
	before, _, err := k.vault.manifests(ctx, of)
	if err != nil {
		return nil, err
	}
	whole, made := madeBy(before, run.ID, KindWhole)
	if !made {
		if whole, err = k.takeWhole(ctx, run, of, server, driver, backuper); err != nil {
			return nil, err
		}
	}
	if dump, made := madeBy(before, run.ID, KindDump); !made {
		dump = begin(run, of, KindDump, server)
		err := k.take(ctx, &dump, "dump", 0, func(to io.Writer) error { return backuper.Dump(ctx, server, to) })
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, fmt.Errorf("the whole copy was made, but not the dump: %w", err)
		}
	}
	if err := k.retain(ctx, of); err != nil {
		k.options.Logger.Warn("what is too old could not be removed", "of", of, "error", err)
	}
	return resultOf(whole), nil
}

// takeWhole makes the copy to which changes can be applied.
func (k *Keeper) takeWhole(ctx context.Context, run springtide.Run, of Subject, server service.Server, driver service.Driver, backuper service.Backuper) (Manifest, error) {
	m := begin(run, of, KindWhole, server)
	size := int64(0)
	if info, err := driver.Inspect(ctx, server); err == nil {
		size = info.Size
	}
	plan, err := k.planOf(ctx, of)
	if err != nil {
		return m, err
	}
	if plan.PointInTime {
		if m.Lineage, m.After, err = k.shipped(ctx, of, server, backuper); err != nil {
			return m, err
		}
	}
	err = k.take(ctx, &m, "whole", size, func(to io.Writer) error {
		info, err := backuper.Backup(ctx, server, to)
		m.Begin, m.End, m.Rows = info.Begin, info.End, info.Rows
		return err
	})
	if err != nil {
		return m, err
	}
	k.happened(of, "backup.made", fmt.Sprintf("%s is safe: %d bytes in %s", of, m.Size(), m.Finished.Sub(m.Begun).Round(time.Millisecond)),
		map[string]string{"run": string(run.ID), "id": m.ID})
	return m, nil
}

// madeBy finds the backup that an earlier attempt of the run has made.
func madeBy(all []Manifest, run springtide.RunID, kind Kind) (Manifest, bool) {
	for _, m := range all {
		if run != "" && m.Run == run && m.Kind == kind {
			return m, true
		}
	}
	return Manifest{}, false
}

func begin(run springtide.Run, of Subject, kind Kind, server service.Server) Manifest {
	now := time.Now()
	return Manifest{
		ID: newID(now), Subject: of, Kind: kind, Run: run.ID, Fence: run.Fence,
		Service: &server.Spec, Version: server.Version, Begun: now.UTC(),
	}
}

// take puts a backup's one object on the target, and then its manifest. size is
// about what it will be, in bytes; 0: nobody knows.
func (k *Keeper) take(ctx context.Context, m *Manifest, name string, size int64, produce func(io.Writer) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	entry, err := k.vault.put(ctx, k.vault.objectName(m.Subject, m.ID, name), func(to io.Writer) error {
		return produce(&progress{Writer: to, size: size, tell: func(p springtide.Progress) {
			p.Message = name + ": " + p.Message
			k.options.Progress(m.Run, m.Fence, p)
		}})
	})
	if err != nil {
		return err
	}
	m.Objects, m.Finished = []Entry{entry}, time.Now().UTC()
	if err := k.vault.record(ctx, *m); err != nil {
		return err
	}
	k.made(*m)
	return nil
}

func resultOf(m Manifest) Result {
	return Result{ID: m.ID, Size: m.Size(), Plain: m.Plain(), Seconds: m.Finished.Sub(m.Begun).Seconds(), Begin: m.Begin, End: m.End}
}

// progress tells, every second, how much has been written.
type progress struct {
	io.Writer
	size, done int64
	told       time.Time
	tell       func(springtide.Progress)
}

func (p *progress) Write(data []byte) (int, error) {
	n, err := p.Writer.Write(data)
	p.done += int64(n)
	if now := time.Now(); now.Sub(p.told) >= time.Second {
		p.told = now
		said := springtide.Progress{Message: fmt.Sprintf("%d MiB", p.done>>20)}
		if p.size > 0 {
			said.Percent = min(99, 100*float64(p.done)/float64(p.size))
		}
		p.tell(said)
	}
	return n, err
}
