package call

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// SecretText is how a key is told to those who check signatures: "whsec_" and
// base64, as Standard Webhooks writes it.
func SecretText(key []byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// sign gives the header webhook-signature of Standard Webhooks 1.0.0, "Signature
// scheme": HMAC-SHA256 over id, seconds and body, joined by full stops.
func sign(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
