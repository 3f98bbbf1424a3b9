package api

import (
	"net/http"
	"strconv"

	"github.com/springtide/springtide"
)

// Version is the version of the API that this package speaks. It grows when a
// client of the version before would misunderstand the server.
const Version = 1

// oldestClient is the oldest version of a client that the server still serves.
const oldestClient = 1

// VersionHeader carries the client's [Version] in requests and the server's in
// responses. A request without it is taken as it is.
const VersionHeader = "Tide-API"

// checkVersion gives an error that says which side to upgrade.
func checkVersion(header string) error {
	if header == "" {
		return nil
	}
	client, err := strconv.Atoi(header)
	switch {
	case err != nil:
		return springtide.Errorf(springtide.Invalid, "%s: %q is not a number", VersionHeader, header)
	case client < oldestClient:
		return springtide.Errorf(springtide.Invalid, "this client speaks version %d of the API, the server wants %d or newer", client, oldestClient).
			WithHint("upgrade the `tide` command you are using")
	case client > Version:
		return springtide.Errorf(springtide.Invalid, "this client speaks version %d of the API, the server only up to %d", client, Version).
			WithHint("upgrade the `tide` that serves, or use an older command")
	}
	return nil
}

// speakVersion refuses clients that the server would misunderstand.
func speakVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(VersionHeader, strconv.Itoa(Version))
		if err := checkVersion(r.Header.Get(VersionHeader)); err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
