package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where everything is.
const (
	controlAddress = "10.200.0.1" // of the API server
	machineAddress = "10.200.0.254"
	services       = "10.96.0.0/16"
	// Registry is where nodes pull images from, over plain HTTP.
	Registry = machineAddress + ":5000"
)

// The processes of the control plane, for [Cluster.Kill], [Cluster.Freeze],
// [Cluster.Thaw] and [Cluster.Restart].
const (
	Etcd        = "etcd"
	APIServer   = "kube-apiserver"
	Controllers = "kube-controller-manager"
	Scheduler   = "kube-scheduler"
)

// Options are what [Start] needs.
type Options struct {
	// Folder takes all state and the logs; it is created.
	Folder string
	Programs
	// Nodes is how many to start with. Default: 1.
	Nodes int
	// Toleration is how long a pod stays on a node that does not answer, in whole
	// seconds. Default: 5 s.
	Toleration time.Duration
}

// Cluster is a running Kubernetes.
type Cluster struct {
	options Options
	network network
	running map[string]*process
	nodes   map[int]*node
	close   []func() error
	turn    *os.File // locked as long as the cluster runs
}

// process is one that can be started again.
type process struct {
	arguments []string
	command   *exec.Cmd
	ended     chan struct{}
}

// Start starts a cluster and returns when its API server answers; its nodes may
// not be ready yet.
func Start(ctx context.Context, options Options) (_ *Cluster, err error) {
	if options.Nodes == 0 {
		options.Nodes = 1
	}
	if options.Toleration == 0 {
		options.Toleration = 5 * time.Second
	}
	c := &Cluster{options: options, running: map[string]*process{}, nodes: map[int]*node{}}
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	c.endWhenInterrupted()
	if err := c.clearLeft(); err != nil {
		return nil, err
	}
	for _, name := range []string{"credentials", "etcd", "log"} {
		if err := os.MkdirAll(c.path(name), 0o700); err != nil {
			return nil, err
		}
	}
	if err := c.network.makeFabric(); err != nil {
		return nil, err
	}
	if err := makeCredentials(c.path("credentials")); err != nil {
		return nil, err
	}
	if err := c.startRegistry(); err != nil {
		return nil, err
	}
	for _, start := range []func() error{c.startEtcd, c.startAPIServer} {
		if err := start(); err != nil {
			return nil, err
		}
	}
	if err := c.awaitAPIServer(ctx); err != nil {
		return nil, err
	}
	for _, start := range []func() error{c.startControllers, c.startScheduler} {
		if err := start(); err != nil {
			return nil, err
		}
	}
	for n := 1; n <= options.Nodes; n++ {
		if err := c.PowerOn(n); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close ends everything and leaves nothing but the folder.
func (c *Cluster) Close() error {
	var failed []error
	for n := range c.nodes {
		failed = append(failed, c.PowerOff(n))
	}
	for name := range c.running {
		failed = append(failed, c.Kill(name))
	}
	for _, end := range c.close {
		failed = append(failed, end())
	}
	failed = append(failed, c.network.clear(), c.turn.Truncate(0), c.turn.Close())
	return errors.Join(failed...)
}

// clearLeft removes what a cluster has left whose test was killed, and notes that this
// one's folder is to be removed if that happens to it.
func (c *Cluster) clearLeft() error {
	if err := c.network.clear(); err != nil {
		return err
	}
	left, err := io.ReadAll(c.turn)
	if err == nil && len(left) > 0 {
		err = os.RemoveAll(string(left))
	}
	if err == nil {
		err = c.turn.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("remove what a cluster before has left: %w", err)
	}
	_, err = c.turn.WriteAt([]byte(c.options.Folder), 0)
	return err
}

// endWhenInterrupted has nothing be left by a test that its user ends; until [Close],
// which knows better what is running.
func (c *Cluster) endWhenInterrupted() {
	signals, closed := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	c.close = append(c.close, func() error {
		signal.Stop(signals)
		close(closed)
		return nil
	})
	go func() {
		select {
		case <-signals:
			if err := errors.Join(c.network.clear(), os.RemoveAll(c.options.Folder)); err != nil {
				fmt.Fprintln(os.Stderr, "what the cluster has left is removed with the next one:", err)
			}
			os.Exit(130)
		case <-closed:
		}
	}()
}

// takeTurn waits until no other cluster runs on this machine.
func (c *Cluster) takeTurn(ctx context.Context) (err error) {
	c.turn, err = os.OpenFile(filepath.Join(os.TempDir(), "springtide-test-kubernetes.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	for syscall.Flock(int(c.turn.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
			c.turn.Close()
			return fmt.Errorf("another cluster runs on this machine: %w", ctx.Err())
		case <-time.After(time.Second):
		}
	}
	return nil
}

// Kubeconfig is the path of the administrator's.
func (c *Cluster) Kubeconfig() string { return c.path("credentials", "admin.kubeconfig") }

// Kubectl runs kubectl as the administrator and gives what it prints.
func (c *Cluster) Kubectl(ctx context.Context, arguments ...string) (string, error) {
	return c.kubectl(ctx, nil, arguments)
}

// Create applies objects written in YAML.
func (c *Cluster) Create(ctx context.Context, objects string) error {
	_, err := c.kubectl(ctx, strings.NewReader(objects), []string{"apply", "-f", "-"})
	return err
}

func (c *Cluster) kubectl(ctx context.Context, input io.Reader, arguments []string) (string, error) {
	arguments = append([]string{"kubectl", "--kubeconfig", c.Kubeconfig()}, arguments...)
	command := exec.CommandContext(ctx, c.options.Server, arguments...)
	command.Stdin = input
	var told strings.Builder
	command.Stderr = &told
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(arguments, " "), err, told.String())
	}
	return string(output), nil
}

// Kill ends a process of the control plane by SIGKILL.
func (c *Cluster) Kill(name string) error {
	if c.running[name] == nil {
		return fmt.Errorf("there is no process %s", name)
	}
	return c.running[name].kill()
}

func (p *process) kill() error {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// Restart starts a process of the control plane that was killed.
func (c *Cluster) Restart(name string) error { return c.start(name, c.running[name].arguments) }

// Freeze stops a process of the control plane, which keeps its connections.
func (c *Cluster) Freeze(name string) error {
	return c.running[name].command.Process.Signal(syscall.SIGSTOP)
}

// Thaw has a frozen process go on.
func (c *Cluster) Thaw(name string) error {
	return c.running[name].command.Process.Signal(syscall.SIGCONT)
}

func (c *Cluster) path(names ...string) string {
	return filepath.Join(append([]string{c.options.Folder}, names...)...)
}

func (c *Cluster) credential(name string) string { return c.path("credentials", name) }

// start runs a program of the server binary in the fabric's namespace.
func (c *Cluster) start(name string, arguments []string) error {
	started, err := begin(c.path("log", name+".log"), fabric, append([]string{c.options.Server, name}, arguments...), 0)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	started.arguments = arguments
	c.running[name] = started
	return nil
}

// begin starts a process in a network namespace, and in new ones of the kinds that
// are given. It ends with this one.
func begin(log, namespace string, argv []string, others uintptr) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	// Not "ip netns exec", which mounts /sys anew and hides the control groups.
	command := exec.Command("nsenter", append([]string{"--net=/run/netns/" + namespace}, argv...)...)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: others}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{command: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait() // it is ended on purpose, or its log says why
		close(p.ended)
	}()
	return p, nil
}

func (c *Cluster) startEtcd() error {
	const clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	return c.start(Etcd, []string{
		"--data-dir", c.path("etcd"), "--log-level", "warn", "--unsafe-no-fsync",
		"--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers,
	})
}

func (c *Cluster) startAPIServer() error {
	toleration := fmt.Sprint(int(c.options.Toleration.Seconds()))
	return c.start(APIServer, []string{
		"--etcd-servers=http://127.0.0.1:2379", "--bind-address=" + controlAddress, "--advertise-address=" + controlAddress,
		"--secure-port=6443", "--service-cluster-ip-range=" + services,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--client-ca-file=" + c.credential("ca.crt"),
		"--tls-cert-file=" + c.credential("apiserver.crt"), "--tls-private-key-file=" + c.credential("apiserver.key"),
		"--kubelet-client-certificate=" + c.credential("kubelet-client.crt"), "--kubelet-client-key=" + c.credential("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.credential("service-accounts.pub"), "--service-account-signing-key-file=" + c.credential("service-accounts.key"),
		"--requestheader-client-ca-file=" + c.credential("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.credential("front-proxy-client.crt"), "--proxy-client-key-file=" + c.credential("front-proxy-client.key"),
		"--enable-aggregator-routing=true",
		"--default-not-ready-toleration-seconds=" + toleration, "--default-unreachable-toleration-seconds=" + toleration,
	})
}

func (c *Cluster) startControllers() error {
	config := c.credential("controller-manager.kubeconfig")
	return c.start(Controllers, []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.credential("service-accounts.key"), "--root-ca-file=" + c.credential("ca.crt"),
		"--cluster-signing-cert-file=" + c.credential("ca.crt"), "--cluster-signing-key-file=" + c.credential("ca.key"),
		"--node-monitor-period=1s", "--node-monitor-grace-period=8s", "--attach-detach-reconcile-sync-period=2s",
		"--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-downscale-stabilization=10s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=5s", "--horizontal-pod-autoscaler-initial-readiness-delay=2s",
	})
}

func (c *Cluster) startScheduler() error {
	config := c.credential("scheduler.kubeconfig")
	return c.start(Scheduler, []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--leader-elect=false",
	})
}

// awaitAPIServer returns once the API server says that it is ready.
func (c *Cluster) awaitAPIServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client, err := c.httpClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, apiURL+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready; see %s", c.path("log"))
		case <-c.running[APIServer].ended:
			return fmt.Errorf("the API server has ended; see %s", c.path("log"))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// httpClient is the administrator's.
func (c *Cluster) httpClient() (*http.Client, error) {
	authority, err := os.ReadFile(c.credential("ca.crt"))
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(c.credential("admin.crt"), c.credential("admin.key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}
