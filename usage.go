package springtide

import "time"

// Usage is what the instances of a machine use of it, as their engine measures
// it at one moment.
type Usage struct {
	// CPUs is how many cores the machine has.
	CPUs float64 `json:"cpus"`
	// Idle is for how long the machine's processors had nothing to do since it was
	// started, all of them together; 0: not known.
	Idle time.Duration `json:"idle,omitzero"`
	// Memory is how much instances may have altogether, in bytes: what they have,
	// and what is free; 0: not known.
	Memory int64 `json:"memory"`
	// Instances are in order of Group and ID. One that is not measured is left out.
	Instances []InstanceUsage `json:"instances"`
}

// InstanceUsage is what one instance uses.
type InstanceUsage struct {
	Instance InstanceID `json:"instance"`
	Group    GroupID    `json:"group"`
	// CPU is the processor time that its processes had since the current attempt
	// started; it only grows until the next.
	CPU time.Duration `json:"cpu"`
	// Memory is what it holds, in bytes, without what the kernel would give back
	// at once (inactive pages of files).
	Memory int64 `json:"memory"`
}
