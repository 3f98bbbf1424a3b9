package manifest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
)

const (
	effectServices = "the service, and a restart of every process"
	effectBackups  = "backups only"
)

// state compares services, files, secrets and backups.
func (d *difference) state(from, to springtide.App) {
	eachOf(from.Services, to.Services, func(name springtide.ServiceName, before, after *springtide.Service) {
		path := "services." + string(name)
		switch {
		case before == nil:
			d.add(Change{Path: path, Kind: Added, To: serviceOf(*after), Effect: effectServices})
		case after == nil:
			d.add(Change{Path: path, Kind: Removed, From: serviceOf(*before), Effect: "end of the service; its data is kept"})
		default:
			d.service(path, *before, *after)
		}
	})
	eachOf(from.Files, to.Files, func(name springtide.FilesName, before, after *springtide.Files) {
		var was, is springtide.Files
		if before != nil {
			was = *before
		}
		if after != nil {
			is = *after
		}
		path := "files." + string(name)
		d.value(path+".path", effectAll, was.Path, is.Path)
		d.value(path+".quota", effectKeeping, sizeOf(was.Quota), sizeOf(is.Quota))
		d.value(path+".public", effectRoutes, was.Public, is.Public)
		d.value(path+".signed", effectRoutes, strconv.FormatBool(was.Signed), strconv.FormatBool(is.Signed))
		d.value(path+".enqueue", effectKeeping, string(was.Enqueue), string(is.Enqueue))
		d.value(path+".s3", effectAll, was.Bucket, is.Bucket)
	})
	d.list("secrets", effectAll, texts(from.Secrets), texts(to.Secrets))
	eachOf(from.Backups, to.Backups, func(of string, before, after *springtide.Backup) {
		path := "backups." + of
		switch {
		case before == nil:
			d.add(Change{Path: path, Kind: Added, To: after.Daily, Effect: effectBackups})
		case after == nil:
			d.add(Change{Path: path, Kind: Removed, From: before.Daily, Effect: effectBackups})
		default:
			d.value(path+".daily", effectBackups, before.Daily, after.Daily)
			d.value(path+".keep", effectBackups, formatDuration(before.Keep), formatDuration(after.Keep))
			d.value(path+".pitr", effectBackups, strconv.FormatBool(before.PointInTime), strconv.FormatBool(after.PointInTime))
			d.value(path+".smoke", effectBackups, before.Smoke, after.Smoke)
		}
	})
}

func (d *difference) service(path string, from, to springtide.Service) {
	d.value(path, effectServices, serviceOf(from), serviceOf(to))
	d.value(path+".replica", effectServices, strconv.FormatBool(from.Replica), strconv.FormatBool(to.Replica))
	d.value(path+".synchronous", effectServices, strconv.FormatBool(from.Synchronous), strconv.FormatBool(to.Synchronous))
	d.value(path+".memory", effectServices, sizeOf(from.Memory), sizeOf(to.Memory))
	d.value(path+".connections", effectServices, whole(from.Connections), whole(to.Connections))
	d.limits(path+".limits", effectServices, from.Limits, to.Limits)
	d.value(path+".pool.each", effectKeeping, whole(from.Pool.Each), whole(to.Pool.Each))
	d.value(path+".pool.mode", effectServices, string(from.Pool.Mode), string(to.Pool.Mode))
	d.value(path+".pool.size", effectServices, whole(from.Pool.Size), whole(to.Pool.Size))
	d.value(path+".policy", effectServices, from.Policy, to.Policy)
	if !slices.Equal(from.Extensions, to.Extensions) {
		d.list(path+".extensions", effectServices, from.Extensions, to.Extensions)
	}
}

// serviceOf says what serves. URLs never hold passwords.
func serviceOf(s springtide.Service) string {
	if s.External != "" {
		return s.External
	}
	return strings.TrimSpace(string(s.Kind) + " " + s.Version)
}

func sizeOf(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return formatSize(bytes)
}
