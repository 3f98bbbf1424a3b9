package springtide

import "time"

// Environment is one running copy of an app: what is wanted of it apart from
// its releases.
type Environment struct {
	ID      EnvironmentID `json:"id"`
	Created time.Time     `json:"created"`
	// Active is the number of the release that has the traffic; 0: none yet.
	Active int `json:"active"`
	// Generation is that of the groups that have the traffic.
	Generation int `json:"generation"`
	// Stopped says that its groups are held at no instances and its requests are
	// refused until `tide start` or the next deploy.
	Stopped bool `json:"stopped,omitempty"`
	// Maintenance says that edges answer its requests themselves, until `tide
	// maintenance off`; nil: they do not.
	Maintenance *Maintenance `json:"maintenance,omitempty"`
	// Config is what `tide config set` holds; the next release takes a snapshot.
	Config map[string]string `json:"config,omitempty"`
	// Domains were added by hand, besides those of the manifest.
	Domains []string `json:"domains,omitempty"`
	// Scale holds what `tide scale` set; it outlives releases and wins over the manifest.
	Scale map[ProcessName]ScaleRange `json:"scale,omitempty"`
	// Occasions are what `tide events` announced, in order of ID.
	Occasions []Occasion `json:"-"`
}

// ScaleRange is how many instances a process may have. Min equal to Max fixes it.
type ScaleRange struct {
	Min int `json:"min"`
	Max int `json:"max"`
}
