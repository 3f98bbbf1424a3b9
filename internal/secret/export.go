package secret

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/springtide/springtide"
)

// Export gives the secrets of an environment as a .env file that is encrypted to
// an age recipient, as text. References stay what they are.
func (k *Keyring) Export(ctx context.Context, id springtide.EnvironmentID, recipient string) ([]byte, error) {
	recipients, err := age.ParseRecipients(strings.NewReader(recipient))
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%.100q is no age recipient: %w", recipient, err).
			WithHint("age-keygen prints one, like age1…")
	}
	latest, err := k.Latest(ctx, id)
	if err != nil {
		return nil, err
	}
	values, err := k.Values(ctx, id, latest)
	if err != nil {
		return nil, err
	}
	text, err := formatEnv(values)
	if err != nil {
		return nil, err
	}
	sealed, err := encrypt(text, recipients...)
	if err != nil {
		return nil, err
	}
	var armored bytes.Buffer
	writer := armor.NewWriter(&armored)
	_, err = writer.Write(sealed)
	err = errors.Join(err, writer.Close()) // which writes the end
	return armored.Bytes(), err
}
