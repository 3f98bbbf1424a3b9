package files

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/springtide/springtide"
)

// Credentials let an environment use the gateway.
type Credentials struct {
	// AccessKey names the environment.
	AccessKey string
	SecretKey string
}

// NewCredentials derives the credentials of an environment from the gateway's
// key: nothing is stored, and a new key makes all of them new.
func NewCredentials(key []byte, id springtide.EnvironmentID) Credentials {
	// Neither name contains a dot.
	access := string(id.App) + "." + string(id.Name)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("springtide shared files\x00" + access))
	return Credentials{AccessKey: access, SecretKey: base64.RawURLEncoding.EncodeToString(mac.Sum(nil))}
}

// EnvironmentOf gives the environment that an access key names.
func EnvironmentOf(accessKey string) (springtide.EnvironmentID, bool) {
	app, environment, ok := strings.Cut(accessKey, ".")
	ok = ok && checkNoun(app) == nil && checkNoun(environment) == nil
	return springtide.EnvironmentID{App: springtide.AppName(app), Name: springtide.EnvironmentName(environment)}, ok
}
