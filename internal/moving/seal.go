package moving

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/springtide/springtide"
)

// ageHeader is what every file begins with (age-encryption.org/v1).
const ageHeader = "age-encryption.org/"

// Recipients reads age recipients, one in each text.
func Recipients(texts []string) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, text := range texts {
		recipients, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "%.100q is no age recipient: %w", text, err).
				WithHint("age-keygen prints one, like age1…")
		}
		all = append(all, recipients...)
	}
	if len(all) == 0 {
		return nil, springtide.Errorf(springtide.Invalid, "nobody is named who may read the export").
			WithHint("name an age recipient, or a passphrase")
	}
	return all, nil
}

// Seal encrypts what is written to it; the file is whole when it is closed.
func Seal(w io.Writer, recipients ...age.Recipient) (io.WriteCloser, error) {
	return age.Encrypt(w, recipients...)
}

// Unseal decrypts a file. One that is none is of kind Invalid, one that the keys do
// not open of kind Denied. That it was cut or changed shows while it is read.
func Unseal(r io.Reader, identities ...age.Identity) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if begins, _ := buffered.Peek(len(ageHeader)); string(begins) != ageHeader {
		return nil, springtide.Errorf(springtide.Invalid, "it is no export of tide: it is not encrypted with age").
			WithHint("name a file that `tide export` wrote")
	}
	plain, err := age.Decrypt(buffered, identities...)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return nil, springtide.Errorf(springtide.Denied, "the key, or the passphrase, is not one that the export was made for: %w", err)
	case err != nil:
		return nil, damaged(err.Error())
	}
	return plain, nil
}
