package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/springtide/springtide"
)

// What CloudNativePG calls its own, https://cloudnative-pg.io.
const (
	cnpgGroup     = "postgresql.cnpg.io"
	cnpgVersion   = cnpgGroup + "/v1"
	cnpgHibernate = "cnpg.io/hibernation"
	cnpgImage     = "ghcr.io/cloudnative-pg/postgresql"
	// longestCluster is how long the name of one of its clusters may be.
	longestCluster = 50
)

// PostgresOptions say how databases are kept on the cluster. Backups, storage that
// grows, monitoring are the operator's business, on the object that is made here:
// what is not written here is left as others write it.
type PostgresOptions struct {
	// Storage of each copy, in bytes. Default: 10 GiB.
	Storage int64
	// StorageClass of it. Empty: the cluster's standard.
	StorageClass string
	// Every is how often a database that is being made is looked at. Default: 2 s.
	Every time.Duration
}

// Postgres keeps databases by the objects of CloudNativePG, where a cluster has its
// operator.
type Postgres struct {
	client  *client
	options PostgresOptions
}

// Postgres gives what keeps databases on the engine's cluster.
func (e *Engine) Postgres(options PostgresOptions) *Postgres {
	or(&options.Storage, 10<<30)
	or(&options.Every, 2*time.Second)
	return &Postgres{e.client, options}
}

// Database is where a database is reached from within the cluster.
type Database struct {
	URL string
	// ReplicaURL leads to its replicas, for readers; empty if it has none.
	ReplicaURL string
}

// cnpgCluster is as much of a Cluster as is looked at.
type cnpgCluster struct {
	Metadata struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
		Created     time.Time         `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Instances int    `json:"instances"`
		ImageName string `json:"imageName"`
	} `json:"spec"`
	Status struct {
		Phase          string `json:"phase"`
		PhaseReason    string `json:"phaseReason"`
		ReadyInstances int    `json:"readyInstances"`
		Conditions     []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

// Check refuses what the operator does not keep, and a cluster that has no operator.
func (p *Postgres) Check(ctx context.Context, name springtide.ServiceName, spec springtide.Service) error {
	external := fmt.Sprintf("services: { %s: { url: \"secret:%s\", kind: %s } }", name, strings.ToUpper(strings.ReplaceAll(string(name), "-", "_"))+"_URL", spec.Kind)
	switch {
	case spec.Kind != springtide.ServicePostgres:
		return springtide.Errorf(springtide.Invalid, "the service %s cannot be run on a cluster: the platform runs no %s there", name, spec.Kind).
			WithHint("name the URL of a server that is there: %s", external)
	case spec.Pool.Mode != "":
		return springtide.Errorf(springtide.Invalid, "the service %s cannot have a pooler on a cluster", name).
			WithHint("leave pool.mode out and make a Pooler of CloudNativePG, or name the URL of a server that is there: %s", external)
	}
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	_, err := p.client.core.Get().AbsPath("/apis", cnpgVersion).DoRaw(limited)
	if apierrors.IsNotFound(err) {
		return springtide.Errorf(springtide.Invalid, "the service %s cannot be run on this cluster, which has no CloudNativePG", name).
			WithHint("install its operator, or name the URL of a server that is there: %s", external)
	}
	return p.client.fault("service "+string(name), err)
}

// Provide has a database be as wanted, and waits until it serves or ctx ends; say is
// told what the operator is doing. It may be called again at any time.
func (p *Postgres) Provide(ctx context.Context, id springtide.ServiceID, spec springtide.Service, say func(string)) error {
	name, what := clusterName(id), "service "+id.String()
	err := p.request(ctx, http.MethodPost, "", p.cluster(id, spec), nil)
	if apierrors.IsAlreadyExists(err) {
		err = p.adopt(ctx, id, spec)
	}
	if err != nil {
		return p.client.fault(what, err)
	}
	for told := ""; ; {
		var cluster cnpgCluster
		err := p.request(ctx, http.MethodGet, name, nil, &cluster)
		if err == nil && cluster.ready(instancesOf(spec)) {
			return nil
		}
		now := strings.Trim(cluster.Status.Phase+": "+cluster.Status.PhaseReason, ": ")
		if err != nil {
			now = p.client.fault(what, err).Error()
		}
		if now != told {
			say(what + ": " + oneLine(now))
		}
		told = now
		select {
		case <-ctx.Done():
			return springtide.Errorf(springtide.Unavailable, "%s is not ready: %s", what, oneLine(now)).
				WithHint("kubectl -n %s describe clusters.%s %s", p.client.namespace, cnpgGroup, name)
		case <-time.After(p.options.Every):
		}
	}
}

func (c cnpgCluster) ready(instances int) bool {
	for _, condition := range c.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True" && c.Status.ReadyInstances >= instances
		}
	}
	return false
}

// adopt has a database that is there already be as wanted, and awake.
func (p *Postgres) adopt(ctx context.Context, id springtide.ServiceID, spec springtide.Service) error {
	var have cnpgCluster
	if err := p.request(ctx, http.MethodGet, clusterName(id), nil, &have); err != nil {
		return err
	}
	if have.Metadata.Annotations[noteOf] != id.String() {
		return springtide.Errorf(springtide.Conflict, "there is a cluster %s already, which somebody else made", clusterName(id))
	}
	wanted := p.cluster(id, spec)["spec"].(map[string]any)
	delete(wanted, "bootstrap") // it is read once
	delete(wanted, "storage")   // it may have grown
	return p.request(ctx, http.MethodPatch, clusterName(id), map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{cnpgHibernate: nil}}, "spec": wanted,
	}, nil)
}

// Keep stops the databases of an environment but for those that are named, and keeps
// their data.
func (p *Postgres) Keep(ctx context.Context, environment springtide.EnvironmentID, wanted map[springtide.ServiceName]springtide.Service) error {
	var list struct {
		Items []cnpgCluster `json:"items"`
	}
	err := p.request(ctx, http.MethodGet, "", nil, &list)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil // there never were any
	}
	keep := map[string]bool{}
	for name, spec := range wanted {
		keep[springtide.ServiceID{Environment: environment, Name: name}.String()] = spec.External == ""
	}
	for _, each := range list.Items {
		of := each.Metadata.Annotations[noteOf]
		if strings.HasPrefix(of, environment.String()+"/") && !keep[of] && each.Metadata.Annotations[cnpgHibernate] != "on" {
			err = errors.Join(err, p.request(ctx, http.MethodPatch, each.Metadata.Name, map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{cnpgHibernate: "on"}},
			}, nil))
		}
	}
	return p.client.fault("services of "+environment.String(), err)
}

// Find tells where a database is that was provided, by the Secret that the operator
// made.
func (p *Postgres) Find(ctx context.Context, id springtide.ServiceID, spec springtide.Service) (database Database, err error) {
	secret, name := &corev1.Secret{}, clusterName(id)
	if err := p.client.get(ctx, p.client.secrets(), name+"-app", secret); err != nil {
		return database, p.client.fault("service "+id.String(), err)
	}
	data := func(key string) string { return string(secret.Data[key]) }
	if data("username") == "" || data("password") == "" || data("dbname") == "" {
		return database, springtide.Errorf(springtide.Failed, "service %s: the Secret %s-app lacks its username, password or dbname", id, name)
	}
	of := func(service string) string {
		location := url.URL{
			Scheme: "postgres", User: url.UserPassword(data("username"), data("password")),
			Host: fmt.Sprintf("%s-%s.%s:5432", name, service, p.client.namespace), Path: "/" + data("dbname"),
		}
		return location.String()
	}
	if database.URL = of("rw"); spec.Replica {
		database.ReplicaURL = of("ro")
	}
	return database, nil
}

// cluster is the object that has the operator keep a database.
func (p *Postgres) cluster(id springtide.ServiceID, spec springtide.Service) map[string]any {
	storage := map[string]any{"size": strconv.FormatInt(p.options.Storage, 10)}
	if p.options.StorageClass != "" {
		storage["storageClass"] = p.options.StorageClass
	}
	start := map[string]any{"database": "app", "owner": "app"}
	if len(spec.Extensions) > 0 {
		statements := make([]string, len(spec.Extensions))
		for n, name := range spec.Extensions {
			statements[n] = `CREATE EXTENSION IF NOT EXISTS "` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		start["postInitApplicationSQL"] = statements
	}
	parameters := map[string]string{}
	if spec.Memory > 0 {
		parameters["shared_buffers"] = strconv.FormatInt(spec.Memory>>20, 10) + "MB"
	}
	if spec.Connections > 0 {
		parameters["max_connections"] = strconv.Itoa(spec.Connections)
	}
	postgres := map[string]any{"parameters": parameters}
	if spec.Synchronous {
		postgres["synchronous"] = map[string]any{"method": "any", "number": 1}
	}
	wanted := map[string]any{
		"instances": instancesOf(spec), "storage": storage, "postgresql": postgres, "bootstrap": map[string]any{"initdb": start},
	}
	if spec.Version != "" {
		wanted["imageName"] = cnpgImage + ":" + spec.Version
	}
	if spec.Limits.CPU > 0 || spec.Limits.Memory > 0 {
		wanted["resources"] = resources(spec.Limits)
	}
	environment := id.Environment
	return map[string]any{
		"apiVersion": cnpgVersion, "kind": "Cluster",
		"metadata": map[string]any{
			"name": clusterName(id), "namespace": p.client.namespace, "annotations": map[string]string{noteOf: id.String()},
			"labels": map[string]string{labelManager: manager, "app.kubernetes.io/name": string(environment.App), "app.kubernetes.io/instance": string(environment.Name)},
		},
		"spec": wanted,
	}
}

func instancesOf(spec springtide.Service) int {
	if spec.Replica {
		return 2
	}
	return 1
}

// clusterName leaves room for the operator's endings, and for what tells names apart.
func clusterName(id springtide.ServiceID) string {
	return dnsLabel(string(id.Name)+"-"+string(id.Environment.App), longestCluster-10) + "-" + short(id.String())
}

// request asks for something of CloudNativePG's objects: plain JSON, since nobody
// here has to know their kinds.
func (p *Postgres) request(ctx context.Context, method, name string, given map[string]any, into any) error {
	path := []string{"/apis", cnpgVersion, "namespaces", p.client.namespace, "clusters"}
	if name != "" {
		path = append(path, name)
	}
	request := p.client.core.Verb(method).AbsPath(path...).SetHeader("Accept", "application/json")
	if given != nil {
		body, err := json.Marshal(given)
		if err != nil {
			return err
		}
		request = request.SetHeader("Content-Type", contentType(method)).Body(body)
	}
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	answer, err := request.DoRaw(limited)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func contentType(method string) string {
	if method == http.MethodPatch {
		return string(types.MergePatchType)
	}
	return "application/json"
}
