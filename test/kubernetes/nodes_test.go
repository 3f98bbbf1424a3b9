package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const daemonSetPath = "../../deploy/kubernetes/springtide-daemonset.yaml"

// nodeAddresses are those of the nodes themselves.
var nodeAddresses = []string{"10.200.0.11", "10.200.0.12"}

// servesOnTheNodes has the edges, which a load balancer would have clients come to, serve
// on the nodes' own addresses from now on.
func (i *installation) servesOnTheNodes() {
	i.Helper()
	i.kubectl("label", "namespace", ownNamespace, "--overwrite", "pod-security.kubernetes.io/enforce=privileged")
	i.inNamespace("delete", "deployment", "springtide-edge")
	i.applyManifest(daemonSetPath)
	i.inNamespace("rollout", "status", "daemonset/springtide-edge", "--timeout="+patience.String())
	i.addresses.Store(&nodeAddresses)
	if err := i.deploy("three"); err != nil {
		i.Fatal(err)
	}
	i.until("each node to serve the app", i.serves("three"))
	for _, address := range nodeAddresses {
		i.knowsItsClients(address)
	}
	i.updatesEdges()
	i.losesANode()
}

// at gives a client of one node only.
func (i *installation) at(address string) *http.Client {
	one := installation{T: i.T, tries: 1}
	one.addresses.Store(&[]string{address})
	return one.client()
}

// knowsItsClients looks whether an edge tells an app who its client is, and redirects
// one who comes without TLS. His connection is left idle, as browsers leave theirs.
func (i *installation) knowsItsClients(address string) {
	i.Helper()
	if text, err := answerOf(i.T.Context(), i.at(address), "https://page.localhost/client"); err != nil || text != "10.200.0.254" {
		i.Errorf("at %s the app's client is %q, %v", address, text, err)
	}
	request, err := http.NewRequestWithContext(i.T.Context(), http.MethodGet, "http://"+address+"/where?a=b", http.NoBody)
	if err != nil {
		i.Fatal(err)
	}
	request.Host = "page.localhost"
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		i.Fatal(err)
	}
	defer answer.Body.Close()
	if to := answer.Header.Get("Location"); answer.StatusCode != http.StatusPermanentRedirect || to != "https://page.localhost/where?a=b" {
		i.Errorf("%s without TLS: %s to %q", address, answer.Status, to)
	}
}

// refusedLimit is how long a node's address may refuse new connections while its edge is
// replaced: 5 s for idle ones, which would have a minute otherwise, and what a start takes
// where much else runs.
const refusedLimit = 40 * time.Second

// updatesEdges replaces the edges. Two of a node cannot have its ports at once, so each
// address refuses new connections for a while, one after the other: who tries another
// then is served all the while, and what is open ends well.
func (i *installation) updatesEdges() {
	i.Helper()
	ctx, cancel := context.WithTimeout(i.T.Context(), patience)
	defer cancel()
	replaced := make(chan error, len(nodeAddresses))
	for _, address := range nodeAddresses {
		go func() { replaced <- i.replaced(ctx, address) }()
	}
	i.tries = len(nodeAddresses)
	i.under("an update of the edges", func() {
		i.inNamespace("rollout", "restart", "daemonset/springtide-edge")
		for range nodeAddresses {
			if err := <-replaced; err != nil {
				i.Error(err)
			}
		}
		i.inNamespace("rollout", "status", "daemonset/springtide-edge", "--timeout="+patience.String())
	})
	i.tries = 1
}

// replaced asks at a node's address until its edge has been replaced. What is sent there
// meanwhile ends only once new connections are refused.
func (i *installation) replaced(ctx context.Context, address string) error {
	body, rest := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		sender := i.at(address)
		sender.Timeout = patience
		_, err := send(ctx, sender, http.MethodPost, "https://page.localhost/", body)
		ended <- err
	}()
	client := i.at(address)
	var refused time.Time
	for ; ; time.Sleep(10 * time.Millisecond) {
		_, err := ask(ctx, client)
		switch {
		case err == nil && refused.IsZero():
			_, _ = rest.Write([]byte("more")) // whether it gets there is told by the answer
		case err == nil:
			i.T.Logf("%s refused new connections for %s", address, time.Since(refused).Round(100*time.Millisecond))
			if time.Since(refused) > refusedLimit {
				return fmt.Errorf("%s waited for an idle client before it served again", address)
			}
			return nil
		case !errors.Is(err, errUnconnected) || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET):
			return fmt.Errorf("%s neither serves nor refuses: %w", address, err)
		case refused.IsZero():
			refused = time.Now()
			rest.Close()
			if err := <-ended; err != nil {
				return fmt.Errorf("what was sent to %s: %w", address, err)
			}
		}
	}
}

// losesANode cuts off the node with fewer instances: the other's address serves on.
func (i *installation) losesANode() {
	i.Helper()
	first, all := 0, i.ready("instance")
	for _, address := range all {
		if strings.HasPrefix(address, "10.244.1.") {
			first++
		}
	}
	kept, lost := 1, 2
	if 2*first < len(all) {
		kept, lost = lost, kept
	}
	addresses := nodeAddresses[kept-1 : kept]
	i.addresses.Store(&addresses)
	i.under("the loss of the other node", func() {
		if err := i.Cut(lost); err != nil {
			i.Fatal(err)
		}
		i.until("the node to be missed", func() bool { return i.nodes("NotReady") == 1 })
	})
}
