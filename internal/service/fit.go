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

// Fit says whether all instances can have all connections of their pools open
// at a time. The error is of kind Invalid.
func Fit(name springtide.ServiceName, spec springtide.Service, instances, pool int) error {
	wanted, limit := instances*pool, Connections(spec)
	if spec.External != "" || wanted <= limit {
		return nil
	}
	return springtide.Errorf(springtide.Invalid, "%d instances with %d connections each want %d of service %s, which allows %d",
		instances, pool, wanted, name, limit).
		WithHint("set services.%s.connections to %d, or have each instance open at most %d", name, wanted, max(limit/max(instances, 1), 1))
}
