package process

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// subnetBits is the size of the private subnet of a data folder; its first
// address is the bridge's, the others are for instances.
const (
	subnetBits = 22
	firstSlot  = 2
	lastSlot   = 1<<(32-subnetBits) - 2
)

// network joins the network namespaces of the instances to a bridge of this
// machine. Ports of the bridge are isolated: instances reach the machine and,
// where the firewall allows it, the world, but not each other.
type network struct {
	path   string
	pool   netip.Prefix
	name   string // the bridge's; also that of the firewall's table
	prefix string // of the names of the machine's ends of the pairs
	slots  *numbers

	mu     sync.Mutex // for what follows, and while the bridge is made
	subnet netip.Prefix
	bridge int // the index of the bridge's link; 0: it has not been seen yet
	// outbound says that the firewall lets instances reach the world.
	outbound bool
}

func newNetwork(data string, pool netip.Prefix) *network {
	sum := sha256.Sum256([]byte(data))
	short := hex.EncodeToString(sum[:4])
	n := &network{
		path: filepath.Join(data, "instances", "network.json"), pool: pool,
		name: "tide" + short, prefix: "t" + short, slots: newNumbers(firstSlot, lastSlot),
	}
	var kept struct{ Subnet netip.Prefix }
	if readJSON(n.path, &kept) == nil && kept.Subnet.IsValid() && kept.Subnet.Bits() == subnetBits {
		n.subnet = kept.Subnet
	}
	return n
}

// address gives the address of a slot, address 1 being the bridge's.
func (n *network) address(slot int) netip.Addr {
	first := n.subnet.Addr().As4()
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], binary.BigEndian.Uint32(first[:])+uint32(slot))
	return netip.AddrFrom4(address)
}

// hardware gives the hardware address of a slot: the same each time, so that
// nobody remembers a wrong one, and known without asking.
func (n *network) hardware(slot int) net.HardwareAddr {
	address := n.address(slot).As4()
	return append(net.HardwareAddr{0x02, 0x54}, address[:]...)
}

// neighbour says who is at the address of a slot, seen from a link. Asking the
// network instead loses a second if the first question comes too early.
func (n *network) neighbour(link, slot int) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: link, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: n.address(slot).AsSlice(), HardwareAddr: n.hardware(slot),
	}
}

func (n *network) link(slot int) string { return fmt.Sprintf("%s%04x", n.prefix, slot) }

// ensure makes the bridge, unless it is there.
func (n *network) ensure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bridge != 0 {
		if _, err := netlink.LinkByIndex(n.bridge); err == nil {
			return nil
		}
		n.bridge = 0
	}
	if !n.subnet.IsValid() {
		if err := n.choose(); err != nil {
			return err
		}
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = n.name
	attributes.HardwareAddr = n.hardware(1) // Otherwise it changes with the ports.
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make the bridge %s: %w", n.name, err)
	}
	bridge, err := netlink.LinkByName(n.name)
	if err != nil {
		return fmt.Errorf("find the bridge %s: %w", n.name, err)
	}
	if err := netlink.AddrReplace(bridge, &netlink.Addr{IPNet: n.ipNet(1)}); err != nil {
		return fmt.Errorf("give the bridge %s its address: %w", n.name, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bring the bridge %s up: %w", n.name, err)
	}
	n.outbound = n.openFirewall() == nil
	n.bridge = bridge.Attrs().Index
	return nil
}

func (n *network) ipNet(slot int) *net.IPNet {
	return &net.IPNet{IP: n.address(slot).AsSlice(), Mask: net.CIDRMask(subnetBits, 32)}
}

// choose picks a subnet that overlaps nothing that the machine has an address
// in or a route to, and remembers it.
func (n *network) choose() error {
	taken, err := takenPrefixes()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(n.name))
	count := uint32(1) << (subnetBits - n.pool.Bits())
	first := n.pool.Masked().Addr().As4()
	base, start := binary.BigEndian.Uint32(first[:]), binary.BigEndian.Uint32(sum[:4])
	for i := range count {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], base+(start+i)%count<<(32-subnetBits))
		subnet := netip.PrefixFrom(netip.AddrFrom4(address), subnetBits)
		if overlapsAny(subnet, taken) {
			continue
		}
		data, err := json.Marshal(struct{ Subnet netip.Prefix }{subnet})
		if err != nil {
			return err
		}
		if err := durable.WriteFile(n.path, data, 0o600); err != nil {
			return err
		}
		n.subnet = subnet
		return nil
	}
	return springtide.Errorf(springtide.Unavailable, "every subnet of %s is in use on this machine", n.pool)
}

func overlapsAny(subnet netip.Prefix, taken []netip.Prefix) bool {
	return slices.ContainsFunc(taken, subnet.Overlaps)
}

// takenPrefixes lists the machine's IPv4 addresses and routes, but for the
// default route.
func takenPrefixes() ([]netip.Prefix, error) {
	var taken []netip.Prefix
	add := func(n *net.IPNet) {
		if n == nil {
			return
		}
		if address, ok := netip.AddrFromSlice(n.IP); ok {
			if bits, _ := n.Mask.Size(); bits > 0 {
				taken = append(taken, netip.PrefixFrom(address.Unmap(), bits))
			}
		}
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	for _, address := range addresses {
		add(address.IPNet)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the machine's routes: %w", err)
	}
	for _, route := range routes {
		add(route.Dst)
	}
	return taken, nil
}

// attach gives the network namespace of the process a link to the bridge with
// the address of the slot.
func (n *network) attach(pid, slot int) error {
	if err := n.ensure(); err != nil {
		return err
	}
	name := n.link(slot)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	veth := netlink.NewVeth(attributes)
	veth.PeerName = "eth0"
	veth.PeerNamespace = netlink.NsPid(pid)
	veth.PeerHardwareAddr = n.hardware(slot)
	err := netlink.LinkAdd(veth)
	if errors.Is(err, unix.EEXIST) {
		n.detach(slot)
		err = netlink.LinkAdd(veth)
	}
	if err != nil {
		return fmt.Errorf("make the link %s: %w", name, err)
	}
	inside, err := handleOf(pid)
	if err != nil {
		return fmt.Errorf("enter the network of the instance: %w", err)
	}
	defer inside.Close()
	if err := n.configure(inside, slot); err != nil {
		return fmt.Errorf("set up the network of the instance: %w", err)
	}
	// The machine's end last: a port that has a carrier when it comes up forwards
	// at once.
	if err := netlink.NeighSet(n.neighbour(n.bridge, slot)); err != nil {
		return fmt.Errorf("tell the machine about %s: %w", name, err)
	}
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0) // Nobody uses it there.
	if err := netlink.LinkSetMasterByIndex(veth, n.bridge); err != nil {
		return fmt.Errorf("join %s to the bridge: %w", name, err)
	}
	if err := netlink.LinkSetIsolated(veth, true); err != nil {
		return fmt.Errorf("isolate %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	awaitCarrier(inside, name)
	return nil
}

// awaitCarrier waits until both ends of a link carry: the kernel gets there a
// moment after they are up, and loses what is sent before.
func awaitCarrier(inside *netlink.Handle, name string) {
	up := func(link netlink.Link, err error) bool { return err == nil && link.Attrs().OperState == netlink.OperUp }
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); time.Sleep(500 * time.Microsecond) {
		if up(netlink.LinkByName(name)) && up(inside.LinkByName("eth0")) {
			return
		}
	}
}

// handleOf talks to the kernel about the network namespace of a process.
func handleOf(pid int) (*netlink.Handle, error) {
	namespace, err := netns.GetFromPath("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	return netlink.NewHandleAt(namespace, unix.NETLINK_ROUTE)
}

// configure sets up the instance's end.
func (n *network) configure(inside *netlink.Handle, slot int) error {
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(loopback); err != nil {
		return err
	}
	link, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := inside.AddrAdd(link, &netlink.Addr{IPNet: n.ipNet(slot)}); err != nil {
		return err
	}
	if err := inside.LinkSetUp(link); err != nil {
		return err
	}
	if err := inside.NeighSet(n.neighbour(link.Attrs().Index, 1)); err != nil {
		return err
	}
	return inside.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: n.address(1).AsSlice()})
}

// detach takes the link of the slot away, if the kernel has not done so.
func (n *network) detach(slot int) {
	n.mu.Lock()
	bridge := n.bridge
	n.mu.Unlock()
	if bridge != 0 {
		_ = netlink.NeighDel(n.neighbour(bridge, slot))
	}
	if link, err := netlink.LinkByName(n.link(slot)); err == nil {
		_ = netlink.LinkDel(link)
	}
}

// remove takes the bridge and the firewall's table away.
func (n *network) remove() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bridge = 0
	closeErr := n.closeFirewall()
	if link, err := netlink.LinkByName(n.name); err == nil {
		return errors.Join(netlink.LinkDel(link), closeErr)
	}
	if errors.Is(closeErr, fs.ErrNotExist) || errors.Is(closeErr, unix.ENOENT) {
		return nil
	}
	return closeErr
}
