package secret

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/springtide/springtide"
)

// Vault is a server that speaks HashiCorp Vault's HTTP API, with version 2 of its
// key-value engine.
type Vault struct {
	// Address is its URL, like https://vault.example.com:8200.
	Address string `json:"address"`
	// Token is what the platform identifies itself with.
	Token string `json:"token"`
	// Namespace is one of Vault Enterprise. May be empty.
	Namespace string `json:"namespace,omitempty"`
}

func (v Vault) validate() error {
	if v.Token == "" {
		return springtide.Errorf(springtide.Invalid, "there is no token for Vault")
	}
	return checkAddress(v.Address)
}

// fetch gives the newest version of what lies at mount/path.
func (v Vault) fetch(ctx context.Context, client *http.Client, path string) (answer, error) {
	mount, rest, found := strings.Cut(strings.Trim(path, "/"), "/")
	if !found {
		return nil, springtide.Errorf(springtide.Invalid, "%s%s does not name a mount and a path", vaultPrefix, path).
			WithHint("write it as vault://mount/path#key")
	}
	target, err := url.JoinPath(v.Address, "v1", mount, "data", rest)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s%s: %w", vaultPrefix, path, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s%s: %w", vaultPrefix, path, err)
	}
	request.Header.Set("X-Vault-Token", v.Token)
	request.Header.Set("X-Vault-Request", "true")
	if v.Namespace != "" {
		request.Header.Set("X-Vault-Namespace", v.Namespace)
	}
	var told struct {
		Data struct {
			Data map[string]json.RawMessage `json:"data"`
		} `json:"data"`
	}
	if err := exchange(client, request, &told); err != nil {
		return nil, err
	}
	return fields(told.Data.Data), nil
}
