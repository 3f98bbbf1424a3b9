package service

import "github.com/springtide/springtide"

// Connections is how many connections the app may have open at a time.
func Connections(spec springtide.Service) int {
	switch {
	case spec.Connections > 0:
		return spec.Connections
	case spec.Kind == springtide.ServiceRedis:
		return 1000
	}
	return 100
}

// What servers plan with where nothing is said, in bytes.
const (
	postgresMemory = 512 << 20
	mariadbMemory  = 128 << 20
	redisMemory    = 256 << 20
)

// Memory is what a server is to plan with, in bytes: of PostgreSQL all that its
// sessions share and sort with, of MariaDB the cache of its tables, of Redis all
// that it holds. Where nothing is said it leaves half of the limit to the rest.
func Memory(spec springtide.Service) int64 {
	if spec.Memory > 0 {
		return spec.Memory
	}
	usual := map[springtide.ServiceKind]int64{
		springtide.ServicePostgres: postgresMemory, springtide.ServiceMariaDB: mariadbMemory, springtide.ServiceRedis: redisMemory,
	}[spec.Kind]
	if limit := spec.Limits.Memory; limit > 0 {
		return min(usual, limit/2)
	}
	return usual
}

// Fit says whether so many instances can have all connections of their pools open
// at a time; where it is not known how many those are, whether each can have one.
// The error is of kind Invalid. With a pooler there are always enough.
func Fit(name springtide.ServiceName, spec springtide.Service, instances int) error {
	pool, limit := max(spec.Pool.Each, 1), Connections(spec)
	wanted := instances * pool
	if spec.External != "" || spec.Pool.Mode != "" || wanted <= limit {
		return nil
	}
	pooler := ""
	if spec.Kind == springtide.ServicePostgres {
		pooler = ", or put a pooler between them: pool: { mode: transaction }"
	}
	return springtide.Errorf(springtide.Invalid, "%d instances x pool %d = %d > %d connections of service %s", instances, pool, wanted, limit, name).
		WithHint("set services.%s.connections to %d, or have each instance open at most %d%s", name, wanted, max(limit/max(instances, 1), 1), pooler)
}
