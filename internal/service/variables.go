package service

import (
	"maps"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// Variables gives what tells an environment's instances where its services are:
// NAME_URL of each, with a replica also NAME_REPLICA_URL, with a pooler, which
// NAME_URL leads to, NAME_DIRECT_URL. The only SQL server, or
// that which is named "db", is DATABASE_URL too; the only Redis, or that which is
// named "redis", is REDIS_URL.
func (m *Manager) Variables(id springtide.EnvironmentID, services map[springtide.ServiceName]springtide.Service) (map[string]string, error) {
	all := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		urls, err := m.urls(springtide.ServiceID{Environment: id, Name: name}, services[name])
		if err != nil {
			return nil, err
		}
		for suffix, url := range urls {
			all[variable(name)+suffix] = url
		}
	}
	aliases(all, services)
	return all, nil
}

// Leading gives those of [Manager.Variables] that lead to one of the services, were
// it at the URL, and its replica too.
func Leading(services map[springtide.ServiceName]springtide.Service, name springtide.ServiceName, url string) map[string]string {
	all := map[string]string{variable(name) + "_URL": url}
	if services[name].Replica {
		all[variable(name)+"_REPLICA_URL"] = url
	}
	aliases(all, services)
	return all
}

// aliases gives the variables of services that are known by their kind too another
// name.
func aliases(all map[string]string, services map[springtide.ServiceName]springtide.Service) {
	sql := func(spec springtide.Service) bool {
		return spec.Kind == springtide.ServicePostgres || spec.Kind == springtide.ServiceMariaDB
	}
	redis := func(spec springtide.Service) bool { return spec.Kind == springtide.ServiceRedis }
	alias(all, services, "DATABASE", chosen(services, sql, "db"))
	alias(all, services, "REDIS", chosen(services, redis, "redis"))
}

// variable is how a service's name begins its variables.
func variable(name springtide.ServiceName) string {
	return strings.ToUpper(strings.ReplaceAll(string(name), "-", "_"))
}

// chosen gives the one service that is meant when none is named; empty if that
// cannot be told.
func chosen(services map[springtide.ServiceName]springtide.Service, fits func(springtide.Service) bool, usual springtide.ServiceName) springtide.ServiceName {
	var found []springtide.ServiceName
	for name, spec := range services {
		if fits(spec) {
			found = append(found, name)
		}
	}
	switch {
	case slices.Contains(found, usual):
		return usual
	case len(found) == 1:
		return found[0]
	}
	return ""
}

// What the names of variables end with.
const (
	urlSuffix     = "_URL"
	replicaSuffix = "_REPLICA_URL"
	directSuffix  = "_DIRECT_URL"
)

// alias gives a service's variables another name, unless a service has that name.
func alias(all map[string]string, services map[springtide.ServiceName]springtide.Service, name string, of springtide.ServiceName) {
	for other := range services {
		if of == "" || variable(other) == name {
			return
		}
	}
	for _, suffix := range []string{urlSuffix, replicaSuffix, directSuffix} {
		if value, ok := all[variable(of)+suffix]; ok {
			all[name+suffix] = value
		}
	}
}

// urls gives those of a service, by the end of the variable.
func (m *Manager) urls(id springtide.ServiceID, spec springtide.Service) (map[string]string, error) {
	if spec.External != "" {
		url, err := m.externalURL(id.Environment, spec)
		return map[string]string{urlSuffix: url}, err
	}
	c, err := m.cluster(id)
	if err != nil {
		return nil, err
	}
	r := c.snapshot()
	one := r.member(RolePrimary)
	if one == nil || !one.Made || r.Scratch {
		return nil, springtide.Errorf(springtide.Unavailable, "service %s is not made yet", id)
	}
	url := func(server Server) string { return c.driver().URL(server, r.keys.Current) }
	urls := map[string]string{urlSuffix: url(c.server(r, *one))}
	if other := r.member(RoleReplica); other != nil {
		urls[replicaSuffix] = url(c.server(r, *other))
	}
	if spec.Pool.Mode != "" && r.hasPooler() {
		urls[urlSuffix], urls[directSuffix] = url(c.poolerServer(r)), urls[urlSuffix]
	}
	return urls, nil
}
