package control

import (
	"fmt"
	"strconv"
	"time"

	"github.com/springtide/springtide"
)

// changes tells what differs from one snapshot to the next, as events.
type changes struct {
	known map[springtide.InstanceID]springtide.Instance
}

// observe gives an event for every instance whose state changed, came or went.
func (c *changes) observe(snapshot springtide.Snapshot) []springtide.Event {
	first := c.known == nil
	now := make(map[springtide.InstanceID]springtide.Instance, len(snapshot.Instances))
	var events []springtide.Event
	for _, instance := range snapshot.Instances {
		now[instance.ID] = instance
		if before, known := c.known[instance.ID]; !first && (!known || before.State != instance.State) {
			events = append(events, instanceEvent(instance, string(instance.State), sentence(instance)))
		}
	}
	for id, instance := range c.known {
		if _, there := now[id]; !there {
			events = append(events, instanceEvent(instance, "gone", fmt.Sprintf("%s is gone", id)))
		}
	}
	c.known = now
	return events
}

// sentence says what an instance's state means.
func sentence(instance springtide.Instance) string {
	switch instance.State {
	case springtide.InstanceReady:
		return fmt.Sprintf("%s is ready, %.2f s after its order", instance.ID, instance.Ready.Sub(instance.Ordered).Seconds())
	case springtide.InstanceCrashed, springtide.InstanceUnhealthy:
		text := fmt.Sprintf("%s %s: %s", instance.ID, instance.State, instance.Reason)
		if instance.CrashLoop {
			text += " (crash loop)"
		}
		return text
	default:
		return fmt.Sprintf("%s is %s", instance.ID, instance.State)
	}
}

func instanceEvent(instance springtide.Instance, state, message string) springtide.Event {
	return springtide.Event{
		Time: time.Now(), Environment: instance.Group.Environment, Kind: "instance.state", Message: message,
		Fields: map[string]string{
			"instance": string(instance.ID), "state": state,
			"process": string(instance.Group.Process), "release": strconv.Itoa(instance.Group.Release),
		},
	}
}
