package redis

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/service"
)

// most is how many kinds of commands are told of.
const most = 20

// Inspect gives facts in the server's words, and its latencies over all commands
// since it was started: the time that it took to carry them out, without that on
// the way. They are upper limits, to a factor of two.
func (Driver) Inspect(ctx context.Context, server service.Server) (service.Info, error) {
	var info service.Info
	err := with(ctx, server, func(c *connection) error {
		facts, err := c.info("everything")
		if err != nil {
			return err
		}
		reply, err := c.do("LATENCY", "HISTOGRAM")
		if err != nil {
			return err
		}
		info = infoOf(facts)
		// The platform's own connections are not the app's.
		info.Connections, info.MaxConnections = max(info.Connections-1, 0), service.Connections(server.Spec)
		counts := parseHistograms(reply)
		info.Activity.Latency, _ = counts.percentile(0.99)
		for name, share := range map[string]float64{"latency_p50": 0.5, "latency_p99": 0.99, "latency_p99.9": 0.999} {
			if limit, ok := counts.percentile(share); ok {
				info.Details[name] = limit.String()
			}
		}
		return nil
	})
	return info, err
}

func infoOf(facts map[string]string) service.Info {
	info := service.Info{Details: map[string]string{}, Statements: statements(facts)}
	info.Size, _ = strconv.ParseInt(facts["used_memory"], 10, 64)
	info.Connections, _ = strconv.Atoi(facts["connected_clients"])
	for name, count := range map[string]*int64{
		"total_commands_processed": &info.Activity.Transactions, "keyspace_hits": &info.Activity.CacheHits,
		"keyspace_misses": &info.Activity.CacheMisses, "used_memory": &info.Activity.Memory, "evicted_keys": &info.Activity.Evicted,
	} {
		*count, _ = strconv.ParseInt(facts[name], 10, 64)
	}
	for _, name := range []string{
		"redis_version", "valkey_version", "uptime_in_seconds", "role", "used_memory", "used_memory_peak", "maxmemory",
		"maxmemory_policy", "mem_fragmentation_ratio", "instantaneous_ops_per_sec", "keyspace_hits", "keyspace_misses",
		"evicted_keys", "expired_keys", "rejected_connections", "connected_slaves", "aof_last_write_status",
		"aof_last_bgrewrite_status", "aof_delayed_fsync", "aof_current_size",
	} {
		if value, ok := facts[name]; ok {
			info.Details[name] = value
		}
	}
	for name, value := range facts {
		if isDatabase(name) {
			info.Details[name] = value
		}
	}
	return info
}

// statements reads "cmdstat_get:calls=7,usec=21,usec_per_call=3.00,…".
func statements(facts map[string]string) []service.Statement {
	var all []service.Statement
	for name, text := range facts {
		command, ok := strings.CutPrefix(name, "cmdstat_")
		if !ok {
			continue
		}
		counts := parseCounts(text)
		mean, _ := strconv.ParseFloat(counts["usec_per_call"], 64)
		calls, _ := strconv.ParseInt(counts["calls"], 10, 64)
		all = append(all, service.Statement{Text: command, Calls: calls, Mean: time.Duration(mean * float64(time.Microsecond))})
	}
	slices.SortFunc(all, func(a, b service.Statement) int {
		return cmp.Or(cmp.Compare(b.Mean, a.Mean), cmp.Compare(a.Text, b.Text))
	})
	return all[:min(len(all), most)]
}

// parseCounts reads "keys=3,expires=1".
func parseCounts(text string) map[string]string {
	counts := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		counts[name] = value
	}
	return counts
}

// histogram has the number of calls by the longest that they took.
type histogram map[time.Duration]int64

// parseHistograms adds up those of all commands: lists of name and facts, among
// them "histogram_usec", pairs of a limit and how many calls were below it.
func parseHistograms(reply any) histogram {
	counts := histogram{}
	commands, _ := reply.([]any)
	for _, command := range commands {
		facts, _ := command.([]any)
		for i, fact := range facts {
			if fact != "histogram_usec" || i+1 == len(facts) {
				continue
			}
			buckets, _ := facts[i+1].([]any)
			var before int64
			for pair := range slices.Chunk(buckets, 2) {
				if len(pair) < 2 {
					break
				}
				limit, _ := pair[0].(int64)
				below, _ := pair[1].(int64)
				counts[time.Duration(limit)*time.Microsecond] += below - before
				before = below
			}
		}
	}
	return counts
}

// percentile is the limit below which that share of the calls was; there is none
// without calls.
func (h histogram) percentile(share float64) (time.Duration, bool) {
	var all, below int64
	for _, count := range h {
		all += count
	}
	for _, limit := range slices.Sorted(maps.Keys(h)) {
		if below += h[limit]; float64(below) >= share*float64(all) {
			return limit, true
		}
	}
	return 0, false
}
