package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// handler is every route of the API.
func (s *Server) handler() http.Handler {
	const (
		apps = "/v1/apps"
		app  = "/v1/apps/{app}/environments"
		env  = "/v1/apps/{app}/environments/{environment}"
	)
	mux := &routes{ServeMux: http.NewServeMux(), around: func(handler http.HandlerFunc) http.HandlerFunc { return handler }}
	r := humago.New(mux, configuration())

	// The platform.
	get(r, "/v1/status", "get-status", "Tell what platform this is and how it stands", s.status)
	get(r, "/v1/ca", "get-ca", "Get the certificate of the platform's own authority", s.certificateAuthority)
	do(r, "POST", "/v1/platform/drain", "drain", "Let go of every instance; returns when nothing runs", s.drain)
	change(r, "POST", "/v1/platform/upgrade", "upgrade-platform", "Have the tide that is on disk take over", s.upgrade)
	get(r, "/v1/tokens", "list-tokens", "List the tokens", s.listTokens)
	create(r, "/v1/tokens", "create-token", "Make a token; its secret is told this once", s.createToken)
	do(r, "DELETE", "/v1/tokens/{name}", "delete-token", "Revoke a token", s.deleteToken)
	get(r, "/v1/registry", "get-registry", "Tell how images are pulled", s.getRegistry)
	events(r, "/v1/events", "follow-events", "Follow what happens, as Server-Sent Events", s.events)

	// Environments.
	get(r, apps, "list-apps", "List the environments of all apps", s.listApps)
	get(r, app, "list-environments", "List the environments of an app", s.listEnvironments)
	get(r, env, "get-environment", "Tell how an environment stands", s.getEnvironment)
	do(r, "DELETE", env, "destroy-environment", "Destroy an environment with its releases", s.destroy)
	do(r, "POST", env+"/stop", "stop", "Stop every instance and refuse requests", s.stop)
	do(r, "POST", env+"/start", "start", "End what stop began", s.start)
	change(r, "PUT", env+"/maintenance", "begin-maintenance", "Have the edges answer with a page, or change it", s.beginMaintenance)
	do(r, "DELETE", env+"/maintenance", "end-maintenance", "Serve the environment again", s.endMaintenance)

	// Deploys.
	upload(r, env+"/deploys", "deploy", "Build a source and roll it out; answers when the source has arrived", s.deploy)
	accept(r, env+"/rollback", "rollback", "Roll out an earlier release again", s.rollback)
	accept(r, env+"/restart", "restart", "Roll out the active release again", s.restart)
	get(r, "/v1/deploys/{deploy}", "get-deploy", "Tell how far a deploy has come", s.getDeploy)
	get(r, env+"/releases", "list-releases", "List the releases that are kept, the newest first", s.releases)
	change(r, "POST", env+"/plan", "plan", "Tell what a deploy would change, without changing it", s.plan)

	// Settings.
	get(r, env+"/config", "get-config", "Get the variables that are set", s.getConfig)
	change(r, "PATCH", env+"/config", "change-config", "Set and remove variables; the next release gets them", s.changeConfig)
	get(r, env+"/domains", "get-domains", "List the host names that were added by hand", s.getDomains)
	change(r, "PATCH", env+"/domains", "change-domains", "Add and remove host names", s.changeDomains)
	get(r, env+"/scale", "get-scale", "Tell how many instances each process has and may have", s.getScale)
	change(r, "PATCH", env+"/scale", "change-scale", "Set how many instances processes have", s.changeScale)

	// Announcements: what people know as events.
	get(r, env+"/announcements", "list-announcements", "List the times at which more traffic is expected, the next first", s.announced)
	change(r, "PATCH", env+"/announcements", "change-announcements", "Announce more traffic, or take that back", s.announce)

	// What was, and what follows from it.
	get(r, env+"/history/{process}", "get-history", "Tell what was asked of a process, minute by minute", s.minutes)
	get(r, env+"/rightsize", "list-recommendations", "Recommend limits, by what instances used", s.recommendations)

	// Instances.
	get(r, env+"/instances", "list-instances", "List the instances", s.instances)
	get(r, env+"/decisions", "list-decisions", "List scaling decisions, the newest first", s.decisions)
	live(r, env+"/live", "follow-live", "Follow the figures of each second, as Server-Sent Events", s.live)
	lines(r, env+"/logs", "get-logs", "Read or follow output, as lines of JSON", s.logs)
	terminal(r, env+"/instances/{instance}/shell", "shell", "Open a terminal in an instance, over WebSocket", s.shell)

	// The cache.
	get(r, env+"/cache", "get-cache", "Tell how an environment is cached, and what came of it", s.getCache)
	change(r, "POST", env+"/cache/purge", "purge-cache", "Have the edges forget what they keep; returns when all have", s.purge)

	// Certificates.
	get(r, "/v1/certificates", "list-certificates", "Tell what host names are served with", s.listCertificates)
	change(r, "POST", env+"/certificates", "add-certificate", "Serve host names with a certificate of one's own", s.addCertificate)
	do(r, "DELETE", env+"/certificates/{name}", "remove-certificate", "Forget a certificate of one's own", s.removeCertificate)
	do(r, "POST", env+"/certificates/{name}/renew", "renew-certificate", "Ask the ACME server now; returns when it has answered", s.renewCertificate)

	// Secrets.
	get(r, env+"/secrets", "list-secrets", "List the secrets, without what they hold", s.listSecrets)
	change(r, "PATCH", env+"/secrets", "change-secrets", "Set and remove secrets; what runs gets a new release with them", s.changeSecrets)
	get(r, env+"/secrets/export", "export-secrets", "Get all secrets as a .env file that only a recipient can read", s.exportSecrets)
	download(r, "/v1/platform/export", "export", "Get apps with all that is theirs, as a file that only its recipients can read", s.export)
	change(r, "POST", "/v1/platform/import/plan", "plan-import", "Tell what importing an export would do, without doing it", s.planImport)
	take(r, importPath, "import", "Take in an export that was decrypted; each app whole or not at all, then rolled out", s.importApps)
	create(r, "/v1/platform/recovery-key", "create-recovery-key", "Make the key by which all can be brought back; it is shown this once", s.recoveryKey)
	do(r, "PATCH", "/v1/platform/secret-sources", "set-secret-sources", "Say how the places are reached that secrets may refer to", s.setSources)
	do(r, "POST", "/v1/platform/root-key/rotate", "rotate-root-key", "Seal every key of the platform anew", s.rotateRootKey)

	// Services.
	get(r, "/v1/services", "list-all-services", "List the services of all environments", s.listAllServices)
	get(r, env+"/services", "list-services", "List the services", s.listServices)
	get(r, env+"/services/{service}", "get-service", "Tell how a service stands", s.getService)
	plain(r, env+"/services/{service}/log", "get-service-log", "text/plain", "Read the end of what its servers wrote", s.serviceLog)
	do(r, "POST", env+"/services/{service}/restart", "restart-service", "Restart its servers", s.restartService)
	do(r, "POST", env+"/services/{service}/promote", "promote-service", "Have the replica take over", s.promoteService)
	do(r, "POST", env+"/services/{service}/rotate", "rotate-service", "Give the app a new login; returns when the old one is worth nothing", s.rotateService)
	change(r, "POST", env+"/services/{service}/upgrade", "upgrade-service", "Take it to another version", s.upgradeService)
	do(r, "DELETE", env+"/services/{service}", "destroy-service", "Delete a service and all of its data", s.destroyService)
	do(r, "POST", env+"/services/{service}/fork", "fork-service", "Give another environment a copy of it", s.forkService)
	terminal(r, env+"/services/{service}/shell", "service-shell", "Open its own client, over WebSocket", s.serviceShell)

	// Shared files.
	get(r, "/v1/files", "list-all-shared-folders", "Tell how full the shared folders of all environments are", s.allFilesUsage)
	get(r, env+"/files", "list-shared-folders", "Tell how full the shared folders are", s.filesUsage)
	get(r, env+"/files/{files}", "list-files", "List a folder", s.listFiles)
	plain(r, env+"/files/{files}/content", "get-file", "application/octet-stream", "Read a file; ranges are served", s.readFile)
	put(r, env+"/files/{files}/content", "put-file", "Write a whole file", s.putFile)
	do(r, "DELETE", env+"/files/{files}/content", "delete-file", "Delete a file", s.deleteFile)
	change(r, "POST", env+"/files/{files}/move", "move-files", "Copy to a bucket what it lacks, for about 20 s", s.moveFiles)
	do(r, "DELETE", env+"/files/{files}", "destroy-shared-folder", "Delete a shared folder that no release uses", s.destroyFiles)

	// Backups.
	get(r, env+"/backups", "list-backups", "List backups, the newest first", s.listBackups)
	get(r, env+"/backups/status", "get-backup-status", "Tell how safe everything is", s.backupStatus)
	accept(r, env+"/backups/{of}/run", "run-backup", "Make a backup now, besides the planned ones", s.runBackup)
	accept(r, env+"/backups/{of}/drill", "run-drill", "Prove now that the newest backup can be restored", s.runDrill)
	do(r, "POST", env+"/backups/files/accept", "accept-files", "Keep shared files safe as they are, though they were emptied", s.acceptFiles)
	change(r, "POST", env+"/backups/{of}/verify", "verify-backups", "Read all backups again and compare", s.verifyBackups)
	create(r, env+"/backups/{of}/restore", "restore", "Make a state of the past beside what is in use", s.restore)
	do(r, "POST", env+"/backups/{of}/restored/{restored}/promote", "promote-restored", "Use what was restored; again: what was in use before", s.promoteRestored)
	do(r, "DELETE", env+"/backups/{of}/restored/{restored}", "discard-restored", "Delete what was restored and is not in use", s.discardRestored)

	// One-off commands.
	accept(r, env+"/runs", "start-run", "Run a command once in the active release", s.startRun)
	get(r, env+"/runs/{run}", "get-run", "Tell how a command stands, or wait for its end", s.getRun)

	// From here on only of environments that there are: jobs,
	mux.around = s.ofKnownEnvironment
	s.registerEnqueue(r, env+"/jobs")
	get(r, env+"/jobs", "list-jobs", "List runs, the newest first", s.listJobs)
	get(r, env+"/jobs/{run}", "get-job", "Tell how a run stands, or wait for its end", s.getJob)
	plain(r, env+"/jobs/{run}/output", "get-job-output", "text/plain", "Read or follow what a run wrote", s.jobOutput)
	change(r, "POST", env+"/jobs/{run}/cancel", "cancel-job", "Cancel a run: at once, or its runner is asked", s.cancelJob)
	change(r, "POST", env+"/jobs/{run}/retry", "retry-job", "Make a run that is dead, cancelled or waiting available now", s.retryJob)
	change(r, "POST", env+"/jobs/replay", "replay-jobs", "Retry every dead run", s.replayJobs)
	createLarge(r, env+"/batches", "enqueue-batch", "Make runs of many jobs, all or none", s.enqueueBatch)
	get(r, env+"/batches/{batch}", "get-batch", "Tell how far a batch has come", s.getBatch)
	get(r, env+"/queues", "list-queues", "Tell how the queues stand", s.listQueues)
	do(r, "POST", env+"/queues/{queue}/pause", "pause-queue", "Give out no more runs of a queue", s.pauseQueue)
	do(r, "POST", env+"/queues/{queue}/resume", "resume-queue", "End that", s.resumeQueue)
	get(r, env+"/schedules", "list-schedules", "Tell how the schedules stand", s.listSchedules)
	get(r, env+"/schedules/next", "list-slots", "List the coming slots of all schedules", s.comingSlots)
	create(r, env+"/schedules/{schedule}/trigger", "trigger-schedule", "Make a run now, besides the slots", s.triggerSchedule)
	do(r, "POST", env+"/schedules/{schedule}/pause", "pause-schedule", "Record the slots of a schedule as skipped", s.pauseSchedule)
	do(r, "POST", env+"/schedules/{schedule}/resume", "resume-schedule", "End that", s.resumeSchedule)

	// what runners say,
	direct(r, mux, env+"/leases", "lease", "Get runs to carry out", s.lease)
	direct(r, mux, env+"/leases/start", "start-leased", "Tell that runs are about to begin", s.startRuns)
	direct(r, mux, env+"/leases/heartbeat", "heartbeat", "Keep leases, and tell how runs come along", s.heartbeat)
	direct(r, mux, env+"/leases/complete", "complete", "Tell how runs ended", s.complete)
	directOutput(r, mux, env+"/leases/output", "append-output", "Add to the output of a run", s.appendOutput)

	// locks for apps,
	get(r, env+"/locks", "list-locks", "List the locks that somebody has", s.listLocks)
	change(r, "POST", env+"/locks/{name}", "take-lock", "Take a lock, or wait for it", s.takeLock)
	change(r, "POST", env+"/locks/{name}/renew", "renew-lock", "Keep a lock", s.renewLock)
	do(r, "DELETE", env+"/locks/{name}", "release-lock", "Give a lock back", s.releaseLock)

	// and mail.
	get(r, env+"/mail", "list-mails", "List the mails that were caught instead of being sent, the newest first", s.listMails)
	plain(r, env+"/mail/{name}", "get-mail", "message/rfc822", "Read a mail that was caught", s.readMail)
	get(r, env+"/mail/suppressions", "list-suppressions", "List the addresses that are sent nothing", s.listSuppressions)
	do(r, "POST", env+"/mail/suppressions", "suppress", "Send an address nothing more", s.suppress)
	do(r, "DELETE", env+"/mail/suppressions", "unsuppress", "End that", s.unsuppress)

	mux.Handle("GET /openapi.json", document(r))
	mux.Handle("/", otherwise(mux.ServeMux))
	return mux
}

// routes puts something around the handlers that are registered.
type routes struct {
	*http.ServeMux
	around func(http.HandlerFunc) http.HandlerFunc
}

// HandleFunc implements humago.Mux.
func (m *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.ServeMux.HandleFunc(pattern, m.around(handler))
}

// ofKnownEnvironment answers an operator who asks for an environment that there
// is not: a shared ledger may have one of the name for another platform. That of
// an instance's token is known.
func (s *Server) ofKnownEnvironment(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if callerOf(r.Context()).instance == nil {
			if _, err := s.platform.Environments.Environment(r.Context(), pathID(r)); err != nil {
				writeError(w, err)
				return
			}
		}
		next(w, r)
	}
}

func configuration() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Springtide",
				Version:     "v1",
				Description: "Deploys apps, keeps them running and tells how they stand.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "Needed over TLS; on the Unix socket there is none."},
				},
			},
			Security: []map[string][]string{{"token": {}}, {}},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{describeRefusals},
	}
}
