package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/control"
)

// engineOptions reads what runs instances from the environment.
func engineOptions() (control.EngineOptions, error) {
	of := func(name string) string { return os.Getenv("TIDE_" + name) }
	o := control.EngineOptions{
		Kind: of("ENGINE"), Kubeconfig: of("KUBECONFIG"), Context: of("CONTEXT"), Namespace: of("NAMESPACE"),
		RegistryHost: of("REGISTRY_HOST"), InstanceAddress: of("INSTANCE_ADDRESS"), RunnerImage: of("RUNNER_IMAGE"),
		FilesClass: of("FILES_CLASS"), DatabaseClass: of("DATABASE_CLASS"),
	}
	if text := of("SPARE_CPU"); text != "" {
		var err error
		if o.SpareCPU, err = strconv.ParseFloat(text, 64); err != nil {
			return o, springtide.Errorf(springtide.Invalid, "$TIDE_SPARE_CPU is %q, which is no number of processors", text)
		}
	}
	if text := of("SPARE_MEMORY"); text != "" {
		mebibytes, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return o, springtide.Errorf(springtide.Invalid, "$TIDE_SPARE_MEMORY is %q, which is no number of MiB", text)
		}
		o.SpareMemory = mebibytes << 20
	}
	if text := of("PLACE_WITHIN"); text != "" {
		var err error
		if o.PlaceWithin, err = time.ParseDuration(text); err != nil {
			return o, springtide.Errorf(springtide.Invalid, "$TIDE_PLACE_WITHIN is %q, which is no time", text).WithHint("write it like 5m")
		}
	}
	return o, nil
}

// checkEngine tries what is said of the engine, and hands it to the control plane.
func checkEngine(ctx context.Context, o cli.ServeOptions) error {
	kubeconfig := o.Kubeconfig
	if kubeconfig != "" {
		var err error
		if kubeconfig, err = filepath.Abs(kubeconfig); err != nil {
			return err
		}
	}
	within, spareCPU, spareMemory := "", "", ""
	if o.PlaceWithin != 0 {
		within = o.PlaceWithin.String()
	}
	if o.SpareCPU != 0 {
		spareCPU = strconv.FormatFloat(o.SpareCPU, 'g', -1, 64)
	}
	if o.SpareMemory != 0 {
		spareMemory = strconv.Itoa(o.SpareMemory)
	}
	for name, value := range map[string]string{
		"ENGINE": o.Engine, "KUBECONFIG": kubeconfig, "CONTEXT": o.Context, "NAMESPACE": o.Namespace,
		"REGISTRY_HOST": o.RegistryHost, "INSTANCE_ADDRESS": o.InstanceAddress, "RUNNER_IMAGE": o.RunnerImage, "PLACE_WITHIN": within,
		"SPARE_CPU": spareCPU, "SPARE_MEMORY": spareMemory, "FILES_CLASS": o.FilesClass, "DATABASE_CLASS": o.DatabaseClass,
	} {
		if value == "" {
			continue
		}
		if err := os.Setenv("TIDE_"+name, value); err != nil {
			return err
		}
	}
	engine, err := engineOptions()
	if err != nil {
		return err
	}
	return control.CheckEngine(ctx, engine, o.Data, os.Getenv(storeVariable), newLogger(os.Stderr, "serve", slog.LevelInfo))
}
