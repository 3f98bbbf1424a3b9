package process

import (
	"net"
	"strconv"
	"sync"

	"github.com/springtide/springtide"
)

// numbers hands out whole numbers within bounds, each to one holder at a time:
// ports of the loopback interface, or places in the private subnet.
type numbers struct {
	first, last int

	mu   sync.Mutex
	used map[int]bool
	next int
}

func newNumbers(first, last int) *numbers {
	return &numbers{first: first, last: last, used: map[int]bool{}, next: first}
}

// take gives a number that nobody holds and that is free. It goes round, so that
// a number that was given back rests for as long as possible.
func (n *numbers) take(free func(int) bool) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range n.last - n.first + 1 {
		number := n.next
		if n.next++; n.next > n.last {
			n.next = n.first
		}
		if !n.used[number] && free(number) {
			n.used[number] = true
			return number, nil
		}
	}
	return 0, springtide.Errorf(springtide.Unavailable, "all of %d to %d are in use on this machine", n.first, n.last)
}

// hold marks a number that an instance of an earlier control plane holds.
func (n *numbers) hold(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used[number] = true
	if number >= n.next && number < n.last {
		n.next = number + 1
	}
}

func (n *numbers) giveBack(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, number)
}

// portIsFree tries whether somebody could listen on the port.
func portIsFree(port int) bool {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

func always(int) bool { return true }
