package platform

import (
	"net/netip"
	"os"
	"syscall"
)

// Address is one of 127.0.0.1 that nobody else of this machine is given for as long as
// it is kept: it is bound, and nobody listens. Whoever is told it can listen on it, as
// servers do, with SO_REUSEADDR, again and again.
type Address struct {
	text string
	kept *os.File
}

// Reserve gives a free address.
func Reserve() (*Address, error) {
	syscall.ForkLock.RLock()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	a := &Address{kept: os.NewFile(uintptr(socket), "address")}
	err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		a.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		a.Close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	local := bound.(*syscall.SockaddrInet4) // as it was bound
	a.text = netip.AddrPortFrom(netip.AddrFrom4(local.Addr), uint16(local.Port)).String()
	return a, nil
}

// String gives host and port.
func (a *Address) String() string { return a.text }

// Close lets go of it.
func (a *Address) Close() error { return a.kept.Close() }
