package process

// Notes says what is missing from the best isolation, and what would bring it.
func (i Isolation) Notes() []string {
	var notes []string
	note := func(missing bool, text string) {
		if missing {
			notes = append(notes, text)
		}
	}
	note(!i.PIDNamespace, "no PID namespaces: a process that leaves its group may outlive its instance; run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)")
	note(!i.MountNamespace, "no mount namespaces: instances find shared folders only by what their variables say, and their credentials lie in /dev/shm or $XDG_RUNTIME_DIR")
	note(i.Network == "shared", "instances share the machine's network: they listen on 127.0.0.1, each on a port of its own; run as root for a network namespace each")
	note(i.Network != "shared" && !i.Outbound, "instances cannot reach the world: this kernel has no nftables masquerading")
	note(!i.UserPerApp, "all apps run as this user and can read each other's files; run as root for a user each")
	note(!i.MemoryLimit, "memory limits are not enforced: no control groups that tide may write; under systemd, Delegate=yes gives them")
	note(!i.CPULimit, "CPU limits are not enforced: no control groups that tide may write")
	return notes
}
