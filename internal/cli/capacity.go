package cli

import (
	"fmt"

	"github.com/springtide/springtide/internal/api"
)

// capacityRows tell how the memory of the machine is shared, and who lacks how much.
func capacityRows(capacity *api.Capacity) [][]string {
	if capacity == nil {
		return nil
	}
	var rows [][]string
	if capacity.Memory > 0 {
		rows = append(rows, []string{"memory", fmt.Sprintf("%s of %s wanted", size(capacity.Wanted), size(capacity.Memory))})
	}
	for _, short := range capacity.Short {
		rows = append(rows, []string{"", fmt.Sprintf("at capacity: %s has %d of the %d instances it wants", short.Group, short.Granted, short.Wanted)})
	}
	if capacity.Full != "" {
		rows = append(rows, []string{"", "at capacity: " + capacity.Full})
	}
	if len(rows) > 0 && rows[0][0] == "" {
		rows[0][0] = "memory"
	}
	return rows
}
