package api

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

func (s *Server) getConfig(ctx context.Context, in *EnvironmentPath) (map[string]string, error) {
	status, err := s.platform.Environments.Environment(ctx, in.id())
	return status.Config, err
}

type configInput struct {
	EnvironmentPath
	Body ConfigChange
}

// variableName is what every shell takes as a variable.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (s *Server) changeConfig(ctx context.Context, in *configInput) (map[string]string, error) {
	for name, value := range in.Body.Set {
		if err := checkVariable(name, value); err != nil {
			return nil, err
		}
	}
	return s.platform.Settings.ChangeConfig(ctx, in.id(), in.Body)
}

// checkVariable refuses what cannot be a variable of the environment.
func checkVariable(name, value string) error {
	switch {
	case !variableName.MatchString(name):
		return springtide.Errorf(springtide.Invalid, "%q cannot be the name of a variable", name).
			WithHint("letters, digits and _, not beginning with a digit")
	case slices.Contains(reserved, name) || strings.HasPrefix(name, "TIDE_"):
		return springtide.Errorf(springtide.Invalid, "%s is set by the platform", name)
	case strings.ContainsRune(value, 0):
		return springtide.Errorf(springtide.Invalid, "the value of %s holds a zero byte", name)
	}
	return nil
}

// reserved are the variables that the engine gives each instance.
var reserved = []string{"PORT", "HOME", "TMPDIR"}

func (s *Server) getDomains(ctx context.Context, in *EnvironmentPath) ([]string, error) {
	status, err := s.platform.Environments.Environment(ctx, in.id())
	return status.Domains, err
}

type domainsInput struct {
	EnvironmentPath
	Body DomainsChange
}

func (s *Server) changeDomains(ctx context.Context, in *domainsInput) ([]string, error) {
	for i, domain := range in.Body.Add {
		name, err := hostName(domain)
		if err != nil {
			return nil, err
		}
		in.Body.Add[i] = name
	}
	return s.platform.Settings.ChangeDomains(ctx, in.id(), in.Body)
}

// hostLabel is one part of a host name.
var hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// hostName gives a host name in lower case, or an error that says what it should be.
func hostName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	for label := range strings.SplitSeq(strings.TrimPrefix(name, "*."), ".") {
		if !hostLabel.MatchString(label) || len(name) > 253 {
			return "", springtide.Errorf(springtide.Invalid, "%q is not a host name", s).
				WithHint("for example shop.example.com or *.example.com, without https:// and path")
		}
	}
	return name, nil
}

func (s *Server) getScale(ctx context.Context, in *EnvironmentPath) ([]ProcessStatus, error) {
	status, err := s.platform.Environments.Environment(ctx, in.id())
	return status.Processes, err
}

type scaleInput struct {
	EnvironmentPath
	Body ScaleChange
}

func (s *Server) changeScale(ctx context.Context, in *scaleInput) ([]ProcessStatus, error) {
	for process, size := range in.Body.Set {
		switch {
		case size.Min < 0 || size.Max < size.Min:
			return nil, springtide.Errorf(springtide.Invalid, "%s: %d..%d is not a range", process, size.Min, size.Max).
				WithHint("for example %s=2..10", process)
		case size.Max > springtide.MostInstances:
			return nil, springtide.Errorf(springtide.Invalid, "%d instances of %s are more than a process can have", size.Max, process).
				WithHint("at most %d, as in the manifest", springtide.MostInstances)
		case slices.Contains(in.Body.Reset, process):
			return nil, springtide.Errorf(springtide.Invalid, "%s is to have a range, and that of the manifest", process).WithHint("choose one of them")
		}
	}
	if err := s.platform.Settings.ChangeScale(ctx, in.id(), in.Body); err != nil {
		return nil, err
	}
	return s.getScale(ctx, &in.EnvironmentPath)
}
