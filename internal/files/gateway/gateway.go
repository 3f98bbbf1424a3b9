package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
)

// Options of the gateway.
type Options struct {
	// Store has the shared folders.
	Store *files.Store
	// Key is what credentials are derived from.
	Key []byte
	// Listen is the address for S3, host:port or the path of a socket, which
	// instances reach.
	Listen string
	// Public is the address at which the edge finds public files. It must be
	// reached by nobody else. Empty: none are served.
	Public string
	// Ready is called when the gateway accepts. May be nil.
	Ready  func()
	Logger *slog.Logger
}

const (
	connections = 4096
	requests    = 1024
	// stopAfter is how long requests may go on when the gateway stops.
	stopAfter = 10 * time.Second
)

// Run serves until the context ends; requests under way are given ten seconds.
func Run(ctx context.Context, o Options) error {
	utils.SetBucketNameValidationStrict(false)                                   // ours are checked by the store
	root := middlewares.RootUserConfig{Access: rand.Text(), Secret: rand.Text()} // nobody
	ready := make(chan struct{})
	server, err := s3api.New(&backend{store: o.Store, logger: o.Logger}, root, springtide.S3Region, accounts{key: o.Key}, nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithDisableACL(), s3api.WithMiddleware("/", prepare),
		s3api.WithConcurrencyLimiter(connections, requests), s3api.WithOnListen(func() { close(ready) }))
	if err != nil {
		return err
	}
	public := &http.Server{
		Handler:           files.NewPublic(o.Store, o.Logger),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 2)
	if o.Public != "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, network(o.Public), o.Public)
		if err != nil {
			return fmt.Errorf("public files: %w", err)
		}
		go func() { ended <- public.Serve(listener) }()
	}
	go func() { ended <- server.ServeMultiPort([]string{o.Listen}) }()
	select {
	case err := <-ended:
		return errors.Join(err, public.Close())
	case <-ready:
	}
	if o.Ready != nil {
		o.Ready()
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopAfter)
	defer cancel()
	return errors.Join(err, server.ShutDown(), public.Shutdown(stopping))
}

func network(address string) string {
	if address[0] == '/' {
		return "unix"
	}
	return "tcp"
}

// accounts knows every environment by what its secret is derived from.
type accounts struct{ key []byte }

var errFixed = s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)

// GetUserAccount gives the account that an access key names. It may do anything
// to the folders of its environment, and the backend knows no others.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	id, ok := files.EnvironmentOf(access)
	if !ok {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return auth.Account{Access: access, Secret: files.NewCredentials(a.key, id).SecretKey, Role: auth.RoleAdmin}, nil
}

// The rest of what an account service can do is not done: accounts are not kept.

func (accounts) CreateAccount(auth.Account) error                  { return errFixed }
func (accounts) ResolveAccounts([]string) ([]string, error)        { return nil, errFixed }
func (accounts) UpdateUserAccount(string, auth.MutableProps) error { return errFixed }
func (accounts) DeleteUserAccount(string) error                    { return errFixed }
func (accounts) ListUserAccounts() ([]auth.Account, error)         { return nil, errFixed }
func (accounts) Shutdown() error                                   { return nil }
