package call

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestTheSignatureIsThatOfThePublishedExample(t *testing.T) {
	// The example of the reference libraries of Standard Webhooks.
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if SecretText(key) != secret {
		t.Errorf("the secret is written %s", SecretText(key))
	}
}
