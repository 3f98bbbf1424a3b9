package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
)

func (s *session) serve() *cobra.Command {
	var options ServeOptions
	var level string
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the platform until it is told to end",
		Long: `Run the platform until it is told to end.

SIGTERM and Ctrl-C let go of every instance and end everything, a second one at
once. Apps come back at the next start.

Backups are kept in the data folder, or at --backup-target. ` + backupVariables,
		Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			if err := options.LogLevel.UnmarshalText([]byte(level)); err != nil {
				return springtide.Errorf(springtide.Invalid, "--log-level %q is no level", level).WithHint("one of debug, info, warn, error")
			}
			data, err := s.dataFolder()
			if err != nil {
				return err
			}
			options.Data = data
			options.Ready = func() { s.tell("tide serves on %s; data in %s", options.HTTPS, data) }
			force, stop := s.forceAfter()
			defer stop()
			options.Force = force
			told := context.AfterFunc(ctx, s.tellLettingGo)
			defer told()
			return s.program.Serve(ctx, options)
		}),
	}
	s.addServeFlags(command, &options)
	command.Flags().StringVar(&level, "log-level", slog.LevelInfo.String(), "how much the platform logs: debug, info, warn or error")
	return command
}

func (s *session) tellLettingGo() { s.tell("letting go; once more ends it at once") }

func (s *session) addServeFlags(command *cobra.Command, options *ServeOptions) {
	flags := command.Flags()
	flags.StringSliceVar(&options.HTTPS, "https", []string{"127.0.0.1:8443"}, "addresses for HTTPS")
	flags.StringSliceVar(&options.HTTP, "http", []string{"127.0.0.1:8080"}, "addresses for HTTP, which redirects to HTTPS")
	flags.BoolVar(&options.HTTP3, "http3", true, "serve HTTP/3 by UDP at the addresses for HTTPS")
	flags.StringVar(&options.API, "api", "", "an address for clients with tokens; none by default")
	flags.StringVar(&options.Metrics, "metrics", "", "a private address for Prometheus; none by default")
	flags.StringVar(&options.Ledger, "ledger", "", "where jobs are kept: postgres://... to share them between servers (better in $TIDE_LEDGER); by default in the data folder")
	flags.StringVar(&options.Store, "store", "", "where the platform's own state is kept, and the jobs unless --ledger says otherwise: postgres://... (better in $TIDE_STORE); by default in the data folder")
	flags.StringVar(&options.Engine, "engine", "", "what runs instances: process, on this machine, or kubernetes (or in $TIDE_ENGINE); by default process")
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "the file that says where the cluster is (or in $TIDE_KUBECONFIG); by default what kubectl takes, or in a pod its service account")
	flags.StringVar(&options.Context, "context", "", "the file's context (or in $TIDE_CONTEXT); by default its current one")
	flags.StringVar(&options.Namespace, "namespace", "", "the namespace of all instances, which must exist and be used by nobody else (or in $TIDE_NAMESPACE); by default the context's")
	flags.StringVar(&options.RegistryHost, "registry-host", "", "host and port by which a cluster's nodes reach --api, to pull images (or in $TIDE_REGISTRY_HOST); by default the name of this machine")
	flags.StringVar(&options.InstanceAddress, "instance-address", "", "host and port by which a cluster's pods reach this machine; mails are caught on the next port (or in $TIDE_INSTANCE_ADDRESS); without it jobs cannot be leased")
	flags.StringVar(&options.RunnerImage, "runner-image", "", "an image of tide, which a cluster's pods take the runner from for workers whose command is started for each job (or in $TIDE_RUNNER_IMAGE); none by default")
	flags.DurationVar(&options.PlaceWithin, "place-within", 0, "how long a cluster may take to find room for an instance and to pull its image before a deploy fails (or in $TIDE_PLACE_WITHIN); by default 5m")
	flags.Float64Var(&options.SpareCPU, "spare-cpu", 0, "how many processors a cluster keeps free for a surge, by pods that give way (or in $TIDE_SPARE_CPU); none by default")
	flags.IntVar(&options.SpareMemory, "spare-memory", 0, "how much memory it keeps free, in MiB (or in $TIDE_SPARE_MEMORY); none by default")
	flags.StringVar(&options.FilesClass, "files-class", "", "the StorageClass of shared files on a cluster, which all nodes write to (or in $TIDE_FILES_CLASS); by default the cluster's standard")
	flags.StringVar(&options.DatabaseClass, "database-class", "", "the StorageClass of databases on a cluster (or in $TIDE_DATABASE_CLASS); by default the cluster's standard")
	flags.StringVar(&options.Edges, "edges", "", "an address for edges elsewhere, see `tide edge --control`; then this one has none")
	addEdgeToken(command, &options.EdgeToken)
	flags.StringVar(&options.Advertise, "advertise", "", "the host by which other control planes of the store reach this one: whoever comes to one that does not lead is passed on")
	flags.StringVar(&options.SharedKey, "shared-key", "", "a file with 32 or more characters by chance: keys and certificates are kept in the store, sealed with it, for all control planes that have it")
	flags.StringVar(&options.BackupTarget, "backup-target", "", "where backups are kept (or in $TIDE_BACKUP_TARGET); by default in the data folder, which a lost disk takes along")
	flags.StringVar(&options.ACMEEmail, "acme-email", "", "have an ACME server give certificates for public names, agree to its terms, and let it write to this address (or in $TIDE_ACME_EMAIL)")
	flags.StringVar(&options.ACMEDirectory, "acme-directory", "", "its URL (or in $TIDE_ACME_DIRECTORY); by default Let's Encrypt")
	flags.StringVar(&options.ACMERoot, "acme-root", "", "a file with the certificate it is known by, if the system does not know it (or in $TIDE_ACME_ROOT)")
	flags.StringVar(&options.ACMEDNSHook, "acme-dns-hook", "", "a program that answers by DNS, which wildcards need (or in $TIDE_ACME_DNS_HOOK)")
	flags.StringVar(&options.ACMEAccountID, "acme-eab-kid", "", "the name of an account that the server has of you already, if it wants one (or in $TIDE_ACME_EAB_KID)")
	flags.StringVar(&options.ACMEAccountKey, "acme-eab-key", "", "a file with the key that it gave for that account, in base64url (or in $TIDE_ACME_EAB_KEY)")
	addEdgeFlags(command, &options.TrustedProxies, &options.ProxyProtocol, &options.MaxConnectionsPerAddress, &options.RefuseFloods, &options.CacheMemory, &options.CacheDisk)
	flags.StringSliceVar(&options.AllowCalls, "allow-calls", nil, "private networks that jobs of kind http may call, such as 10.1.0.0/16; none by default")
}

// forceAfter gives every signal to end but the first: the second Ctrl-C.
func (s *session) forceAfter() (<-chan os.Signal, func()) {
	signals, force := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		first := true
		for {
			select {
			case <-done:
				return
			case received := <-signals:
				if first {
					first = false // the one that ends the command's context
					continue
				}
				select {
				case force <- received:
				default:
				}
			}
		}
	}()
	return force, func() { signal.Stop(signals); close(done) }
}
