package cache

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"github.com/zeebo/xxh3"

	"github.com/springtide/springtide"
)

// Options of a cache.
type Options struct {
	// Name is this cache's in Cache-Status. Default: "Springtide".
	Name string
	// Memory bounds what is kept in memory, in bytes. Default: 256 MiB.
	Memory int64
	// Folder is where the disk tier is. Default: there is none.
	Folder string
	// Disk bounds the disk tier, in bytes. Default: 10 GiB.
	Disk int64
	// MaxObject is the longest body that is stored, in bytes. Default: half of Disk,
	// and without a disk tier a quarter of Memory.
	MaxObject int64
	Logger    *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "Springtide"
	}
	if o.Memory == 0 {
		o.Memory = 256 << 20
	}
	if o.Disk == 0 {
		o.Disk = 10 << 30
	}
	if o.MaxObject == 0 && o.Folder != "" {
		o.MaxObject = o.Disk / 2
	} else if o.MaxObject == 0 {
		o.MaxObject = o.Memory / 4
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate says what makes no sense.
func (o Options) Validate() error {
	if o.Memory < 0 || o.Disk < 0 || o.MaxObject < 0 {
		return springtide.Errorf(springtide.Invalid, "the cache's sizes must not be negative").
			WithHint("give them in bytes, or 0 for the default")
	}
	return nil
}

// Cache is a shared cache. All its methods may be called at the same time.
type Cache struct {
	options Options
	// seed has clients not find targets whose numbers are the same.
	seed uint64
	// entries have records by number, parts have slices of large bodies.
	entries *otter.Cache[uint64, *entry]
	parts   *otter.Cache[sliceKey, []byte]
	disk    *disk // nil: none
	flights flights
	purges  purges
	// changes order what is published with what is invalidated: by number of resource.
	changes [1024]change
	// unstored has, by its number, a resource whose last response was not stored, so
	// that nobody waits for the next.
	unstored [1 << 15]atomic.Uint64
	coding   chan *entry
	count    counters
}

// change counts the invalidations of some resources. A response that was asked for
// before one is not stored after it.
type change struct {
	mu           sync.Mutex
	invalidation atomic.Uint64
	// version changes with whatever is kept or removed, by its own number.
	version atomic.Uint64
}

func (c *Cache) lastUnstored(primary uint64) *atomic.Uint64 {
	return &c.unstored[primary%uint64(len(c.unstored))]
}

func (c *Cache) change(primary uint64) *change { return &c.changes[primary%uint64(len(c.changes))] }

// sliceKey names a slice of a body.
type sliceKey struct {
	object uint64
	number int64
}

func (k sliceKey) hash() uint64 {
	var both [16]byte
	binary.LittleEndian.PutUint64(both[:], k.object)
	binary.LittleEndian.PutUint64(both[8:], uint64(k.number))
	return xxh3.Hash(both[:])
}

// New makes a cache, which serves from memory at once, and from disk when [Cache.Run]
// has found it to be its own.
func New(options Options) (*Cache, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	c := &Cache{options: options, seed: randomNumber(), coding: make(chan *entry, 64)}
	c.purges.latest = map[purge]uint64{}
	var err error
	if c.entries, err = otter.New(&otter.Options[uint64, *entry]{
		MaximumWeight: uint64(options.Memory) * 3 / 4,
		Weigher:       func(_ uint64, e *entry) uint32 { return e.weight() },
	}); err != nil {
		return nil, err
	}
	if c.parts, err = otter.New(&otter.Options[sliceKey, []byte]{
		MaximumWeight: uint64(options.Memory) / 4,
		Weigher:       func(_ sliceKey, data []byte) uint32 { return uint32(len(data)) + 64 },
	}); err != nil {
		return nil, err
	}
	if options.Folder == "" {
		return c, nil
	}
	if c.disk, err = newDisk(options); err != nil {
		return nil, err
	}
	c.seed = c.disk.seed
	return c, nil
}

// Run does what is done beside requests: it takes the disk tier over as soon as no
// other process has it, writes to it, and compresses. It ends with ctx, when what was
// to be written is. A disk tier that cannot be used is logged; there is memory without it.
func (c *Cache) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.compress(ctx) })
	if c.disk != nil {
		if err := c.disk.run(ctx, &c.purges); err != nil {
			c.options.Logger.Error("the cache goes on without its disk tier", "error", err)
		}
	}
	<-ctx.Done()
	return nil
}

// Release gives the disk tier up for another process to take over: the edge that
// comes after this one. What goes on here is served from memory.
func (c *Cache) Release() {
	if c.disk != nil {
		c.disk.release()
	}
}

// find gives the entry with a number, from memory or from disk, if it has not been
// purged since it was stored.
func (c *Cache) find(id uint64) *entry {
	if e, ok := c.entries.GetIfPresent(id); ok {
		if c.purges.survives(e) {
			return e
		}
		c.forget(e)
		return nil
	}
	if c.disk == nil {
		return nil
	}
	version := c.change(id).version.Load()
	block, ok := c.disk.read(fileKey{id: id})
	if !ok {
		return nil
	}
	r, err := decode(block)
	if err != nil {
		c.options.Logger.Warn("a file of the cache is damaged and was removed", "file", fileKey{id: id}.name())
		c.disk.remove(fileKey{id: id})
		return nil
	}
	e := newEntry(id, r)
	if !c.purges.survives(e) {
		c.disk.remove(fileKey{id: id})
		return nil
	}
	c.count.fromDisk.Add(1)
	if present, set := c.entries.SetIfAbsent(id, e); !set && present != nil {
		return present
	}
	if c.change(id).version.Load() != version { // what was read may be what was replaced
		c.entries.Invalidate(id)
		return nil
	}
	return e
}

// keep puts an entry into both tiers, on disk first, as remove takes it out: who reads
// what was there before, and keeps it in memory, sees that the version is another.
func (c *Cache) keep(e *entry) {
	if c.disk != nil {
		c.disk.write(fileKey{id: e.id}, e.encode())
	}
	c.change(e.id).version.Add(1)
	c.entries.Set(e.id, e)
}

// forget takes an entry out of both tiers. The slices of its body are left to be
// evicted: nothing finds them any more.
func (c *Cache) forget(e *entry) { c.remove(e.id) }

func (c *Cache) remove(id uint64) {
	if c.disk != nil {
		c.disk.remove(fileKey{id: id})
	}
	c.change(id).version.Add(1)
	c.entries.Invalidate(id)
}

// slice gives a slice of a large body, if it is stored.
func (c *Cache) slice(object uint64, number int64) ([]byte, bool) {
	at := sliceKey{object, number}
	if data, ok := c.parts.GetIfPresent(at); ok {
		return data, true
	}
	if c.disk == nil {
		return nil, false
	}
	block, ok := c.disk.read(at.file())
	if !ok {
		return nil, false
	}
	data, ok := unseal(block)
	if !ok {
		c.options.Logger.Warn("a file of the cache is damaged and was removed", "file", at.file().name())
		c.disk.remove(at.file())
		return nil, false
	}
	c.parts.Set(at, data)
	return data, true
}

// keepSlice takes a block with a slice in it.
func (c *Cache) keepSlice(object uint64, number int64, block []byte) {
	at := sliceKey{object, number}
	c.parts.Set(at, block[blockHead:])
	if c.disk != nil {
		c.disk.writeNow(at.file(), seal(block))
	}
}

func (c *Cache) removeSlice(object uint64, number int64) {
	at := sliceKey{object, number}
	c.parts.Invalidate(at)
	if c.disk != nil {
		c.disk.remove(at.file())
	}
}

// hasSlice says whether a slice is stored, without reading it.
func (c *Cache) hasSlice(object uint64, number int64) bool {
	at := sliceKey{object, number}
	if _, ok := c.parts.GetEntryQuietly(at); ok {
		return true
	}
	return c.disk != nil && c.disk.has(at.file())
}

func (k sliceKey) file() fileKey { return fileKey{id: k.object, part: k.number + 1} }

func randomNumber() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// counters are what a cache counts; see [Cache.Stats].
type counters struct {
	hits, stale, misses, revalidated, collapsed, passed, stored, fromDisk atomic.Int64
}

// Stats are counts since the start, and what there is now.
type Stats struct {
	// Hits were answered by what was stored, Stale of them by what had to be
	// refreshed. Revalidated were validated first, Collapsed waited for another's
	// fetch, Misses had to be fetched, Passed were none of the cache's business.
	Hits, Stale, Revalidated, Collapsed, Misses, Passed int64
	// Stored counts responses stored, FromDisk those read from the disk tier.
	Stored, FromDisk int64
	// MemoryBytes and DiskBytes are what both tiers hold.
	MemoryBytes, DiskBytes int64
	// DiskErrors counts what could not be written.
	DiskErrors int64
}

// Stats gives the counts.
func (c *Cache) Stats() Stats {
	n := &c.count
	s := Stats{
		Hits: n.hits.Load(), Stale: n.stale.Load(), Revalidated: n.revalidated.Load(), Collapsed: n.collapsed.Load(),
		Misses: n.misses.Load(), Passed: n.passed.Load(), Stored: n.stored.Load(), FromDisk: n.fromDisk.Load(),
		MemoryBytes: int64(c.entries.WeightedSize() + c.parts.WeightedSize()),
	}
	if c.disk != nil {
		s.DiskBytes, s.DiskErrors = c.disk.size()
	}
	return s
}
