package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

const (
	scramName       = "SCRAM-SHA-256"
	scramIterations = 4096
	// mostIterations is beyond what anybody sets, and keeps us from counting for ever.
	mostIterations = 1 << 20
)

// verifier is what the server keeps of a password, in its own notation. It is made
// here, so that no statement ever holds the password.
func verifier(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	return verifierWith(password, salt, scramIterations)
}

func verifierWith(password string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	sign := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored, text := sha256.Sum256(sign("Client Key")), base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scramName, iterations, text(salt), text(stored[:]), text(sign("Server Key"))), nil
}

// verifies says whether a verifier that the server keeps is that of the password.
func verifies(kept, password string) bool {
	parts := strings.FieldsFunc(kept, func(r rune) bool { return r == '$' || r == ':' })
	if len(parts) != 5 || parts[0] != scramName {
		return false
	}
	iterations, err1 := strconv.Atoi(parts[1])
	salt, err2 := base64.StdEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil || iterations < 1 || iterations > mostIterations {
		return false
	}
	wanted, err := verifierWith(password, salt, iterations)
	return err == nil && wanted == kept
}
